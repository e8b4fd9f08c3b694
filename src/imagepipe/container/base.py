"""What the image stands on: a public Python image that the Dockerfile names, or a stand-in where no registry answers.

The stand-in has the same minor version of Python, from Debian's packages, which mmdebstrap fetches, checks and unpacks.
None is configured, so that one for another architecture needs no emulation; what configuring would have done for
Python is done by a few lines below. It is for trying things out: it gets security updates only when it is made again.
"""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from imagepipe.container import layout, registry
from imagepipe.container.layout import Layer, Layout
from imagepipe.errors import PipelineError
from imagepipe.live.environments import ROOT

DOCKERFILE = ROOT / "lambda-image/Dockerfile"
_ARGUMENT = re.compile(r"^ARG BASE_IMAGE=(\S+)$", re.MULTILINE)

#: The release of Debian whose Python is the image's: 3.13.
SUITE = "trixie"
PACKAGES = (
    *("base-files", "base-passwd", "ca-certificates", "coreutils", "dash", "libc-bin", "netbase", "tzdata"),
    *("libpython3-stdlib", "libstdc++6", "python3-minimal", "python3-pip"),
)
#: Everything in the stand-in is dated so: 14 November 2023, when it was 1.7 billion seconds since 1970.
MOMENT = 1_700_000_000

_EXCLUDED = ("/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*", "/usr/share/doc/*/*")
#: The list of packages, as scanners look for it, and what maintainer scripts would have done as far as Python needs it.
_UNPACKED = r"""
set -eu
cd "$1"
mkdir -p var/lib/dpkg/status.d
for package in var/cache/apt/archives/*.deb; do
    dpkg-deb --field "$package" > "var/lib/dpkg/status.d/$(dpkg-deb --field "$package" Package)"
done
cat usr/share/ca-certificates/mozilla/*.crt > etc/ssl/certs/ca-certificates.crt
cp usr/share/base-passwd/passwd.master etc/passwd
cp usr/share/base-passwd/group.master etc/group
ln -s python3 usr/bin/python
rm -f usr/lib/python3*/EXTERNALLY-MANAGED
chmod 1777 tmp
"""


PUBLIC, STAND_IN = "public", "stand-in"


@dataclass(frozen=True)
class Base:
    """One base image. `reference` is what a builder finds it by, `diff_ids` are its layers."""

    kind: str  # PUBLIC or STAND_IN
    name: str
    reference: str
    digest: str
    diff_ids: tuple[str, ...]


def pinned() -> str:
    """The Dockerfile's own base."""
    found = _ARGUMENT.search(DOCKERFILE.read_text())
    assert found, "the Dockerfile names its base in ARG BASE_IMAGE"
    return found[1]


def stand_in(architecture: str) -> Path:
    """Where the stand-in of an architecture (amd64, arm64) lies."""
    return ROOT / f"build/base/{architecture}"


def find(architecture: str, say: Callable[[str], None] = lambda _: None) -> Base:
    """The pinned base if its registry answers, else the stand-in, which is made if there is none.

    Raises:
        PipelineError: as `make` does.
    """
    name = pinned()
    if (digest := registry.digest(name, f"linux/{architecture}")) is not None:
        reference = f"{name.split('@')[0].rsplit(':', 1)[0]}@{digest}"
        return Base(PUBLIC, name, reference, digest, tuple(registry.config(reference)["rootfs"]["diff_ids"]))
    folder = stand_in(architecture)
    if not (folder / "index.json").exists():
        say(f"{name} is out of reach: making a stand-in from Debian packages, in about half a minute")
        make(architecture)
    found = Layout(folder)
    diff_ids = tuple(found.config["rootfs"]["diff_ids"])
    # As seen from build/: a builder takes no blanks in the name of an image, and a clone's path may have some.
    reference = f"oci:{folder.relative_to(ROOT / 'build')}"
    return Base(STAND_IN, f"Debian {SUITE} packages", reference, found.digest, diff_ids)


def pin(name: str) -> str | None:
    """Writes a public image's newest digest into the Dockerfile; None where its registry is out of reach."""
    tag = name.split("@")[0]
    digest = registry.digest(tag)
    if digest is not None:
        DOCKERFILE.write_text(_ARGUMENT.sub(f"ARG BASE_IMAGE={tag}@{digest}", DOCKERFILE.read_text()))
    return digest


def make(architecture: str) -> Layout:
    """Makes the stand-in, in about half a minute. The same packages give the same digest.

    Raises:
        PipelineError: no mmdebstrap, no root, or no packages.
    """
    if shutil.which("mmdebstrap") is None:
        raise PipelineError("mmdebstrap is needed to make a base from Debian packages (Debian: apt install mmdebstrap)")
    with tempfile.TemporaryDirectory() as scratch:
        tar = Path(scratch) / "base.tar"
        finished = subprocess.run(
            [
                *("mmdebstrap", "--quiet", "--variant=extract", f"--architectures={architecture}"),
                f"--include={','.join(PACKAGES)}",
                *(f"--dpkgopt=path-exclude={pattern}" for pattern in _EXCLUDED),
                "--dpkgopt=path-include=/usr/share/doc/*/copyright",
                *(f"--extract-hook={_UNPACKED}", SUITE, str(tar)),
            ],
            check=False,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "SOURCE_DATE_EPOCH": str(MOMENT)},
            capture_output=True,
            text=True,
        )
        if finished.returncode:
            tail = "\n".join(finished.stderr.strip().splitlines()[-5:])
            raise PipelineError(f"mmdebstrap could not make a base for {architecture}:\n{tail}")
        # Sorted and dated anew: the order in a tar is that of a directory on somebody's disk.
        layer = layout.merged([Layer(tar.read_bytes())], MOMENT)
    config = {
        "architecture": architecture,
        "config": {"Cmd": ["python3"], "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]},
        "created": "2023-11-14T22:13:20Z",
        "os": "linux",
    }
    return layout.write(stand_in(architecture), [layer], config)
