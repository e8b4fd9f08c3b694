"""Runs a function from the files of an image by bubblewrap: without a daemon, and with the limits of Lambda.

The function has a read-only root, a /tmp of the configured size, no view of other processes, the machine's network, an
unprivileged user id and a filter of system calls. https://github.com/containers/bubblewrap
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from imagepipe.container.layout import Layout
from imagepipe.errors import PipelineError

#: Lambda chooses a user id by itself, so a function must run under any.
USER_ID = 993
#: Path of the local cloud's certificate inside the sandbox, where paths of this machine do not exist.
CERTIFICATE = "/run/local-cloud.pem"
MEGABYTE = 1024 * 1024


@dataclass(frozen=True)
class Image:
    """An unpacked image and its configuration."""

    root: Path
    config: dict[str, Any]

    @classmethod
    def unpack(cls, layout: Layout, folder: Path) -> Self:
        """Unpack an image's files and configuration into a folder, unless they are there."""
        configuration = folder / "config.json"
        if not configuration.exists():
            layout.unpack(folder / "root")
            configuration.write_text(json.dumps(layout.config))  # written last: it marks a complete folder
        return cls.read(folder)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Return the image that was unpacked into a folder."""
        return cls(folder / "root", json.loads((folder / "config.json").read_text()))

    @property
    def variables(self) -> dict[str, str]:
        """Environment variables that the image sets."""
        return dict(entry.split("=", 1) for entry in self.config["config"].get("Env", []))

    @property
    def folder(self) -> str:
        """Working directory that the image sets."""
        return str(self.config["config"].get("WorkingDir") or "/")

    def command(self, arguments: tuple[str, ...]) -> list[str]:
        """Return the entry point with a function's own command, by default with the image's."""
        settings = self.config["config"]
        return [*settings.get("Entrypoint", []), *(arguments or settings.get("Cmd", []))]


def command(
    image: Image,
    arguments: tuple[str, ...],
    variables: dict[str, str],
    certificate: Path | None,
    temporary_mb: int,
    filter_descriptor: int,
) -> list[str]:
    """Return the command line that runs a function of an image; the function ends when that command ends.

    The command inherits the descriptor of a filter of system calls (`function_filter.opened`).

    Raises:
        PipelineError: bubblewrap is not installed.
    """
    program = shutil.which("bwrap")
    if program is None:
        raise PipelineError("functions from the image need bubblewrap: install it (Debian: apt install bubblewrap)")
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
        "--seccomp",
        str(filter_descriptor),
    ]
    for name, value in {**image.variables, **variables}.items():
        sandbox += ["--setenv", name, value]
    return [program, *sandbox, "--", *image.command(arguments)]
