"""Runs a function from the files of an image, daemonless and with what Lambda gives it: bubblewrap.

A read-only root, a /tmp of the configured size, no other user's processes, the machine's network, and an unprivileged
user id that is nobody's. https://github.com/containers/bubblewrap
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from imagepipe.container.layout import Layout
from imagepipe.errors import PipelineError

#: Lambda runs functions under an id of its own choosing; any must do.
USER_ID = 993
#: Where the local cloud's certificate appears to the function, as its path is one of this machine's.
CERTIFICATE = "/run/local-cloud.pem"
MEGABYTE = 1024 * 1024


@dataclass(frozen=True)
class Image:
    """An unpacked image and its configuration."""

    root: Path
    config: dict[str, Any]

    @classmethod
    def unpack(cls, layout: Layout, folder: Path) -> Self:
        """The image's files and configuration under a folder, unpacked unless they are there."""
        configuration = folder / "config.json"
        if not configuration.exists():
            layout.unpack(folder / "root")
            configuration.write_text(json.dumps(layout.config))  # last: it says that the rest is there
        return cls.read(folder)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """An image that was unpacked there."""
        return cls(folder / "root", json.loads((folder / "config.json").read_text()))

    @property
    def variables(self) -> dict[str, str]:
        return dict(entry.split("=", 1) for entry in self.config["config"].get("Env", []))

    @property
    def folder(self) -> str:
        return str(self.config["config"].get("WorkingDir") or "/")

    def command(self, arguments: tuple[str, ...]) -> list[str]:
        """What is started: the entry point with a function's own command, or else the image's."""
        settings = self.config["config"]
        return [*settings.get("Entrypoint", []), *(arguments or settings.get("Cmd", []))]


def command(
    image: Image,
    arguments: tuple[str, ...],
    variables: dict[str, str],
    certificate: Path | None,
    temporary_mb: int,
) -> list[str]:
    """The command line that runs an image's function; the process it starts ends with it.

    Raises:
        PipelineError: bubblewrap is not installed.
    """
    program = shutil.which("bwrap")
    if program is None:
        raise PipelineError("bubblewrap runs functions from the image without Docker (Debian: apt install bubblewrap)")
    sandbox = ["--ro-bind", str(image.root), "/", "--proc", "/proc", "--dev", "/dev", "--chdir", image.folder]
    sandbox += ["--size", str(temporary_mb * MEGABYTE), "--tmpfs", "/tmp", "--tmpfs", "/run"]  # noqa: S108 - the function's own
    for file in ("/etc/hosts", "/etc/resolv.conf"):
        if (image.root / file[1:]).exists() and Path(file).exists():
            sandbox += ["--ro-bind", file, file]
    if certificate:
        sandbox += ["--ro-bind", str(certificate), CERTIFICATE]
    sandbox += ["--remount-ro", "/run", "--unshare-user", "--uid", str(USER_ID), "--gid", str(USER_ID), "--unshare-pid"]
    sandbox += [
        "--unshare-ipc",
        "--unshare-uts",
        "--cap-drop",
        "ALL",
        "--new-session",
        "--die-with-parent",
        "--clearenv",
    ]
    for name, value in {**image.variables, **variables}.items():
        sandbox += ["--setenv", name, value]
    return [program, *sandbox, "--", *image.command(arguments)]
