"""The base of the container image: the public Python image that the Dockerfile names, or a stand-in for it.

The stand-in is made where no registry answers. It has the same minor version of Python, from Debian's packages, which
mmdebstrap fetches, verifies and unpacks. It configures none of them, so a stand-in for another architecture needs no
emulation; a few lines below do what Python needs of that. The stand-in is for trials: it gets security updates only
when it is made again.
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

#: The release of Debian that has the Python of the public image: 3.13.
SUITE = "trixie"
PACKAGES = (
    *("base-files", "base-passwd", "ca-certificates", "coreutils", "dash", "libc-bin", "netbase", "tzdata"),
    *("libpython3-stdlib", "libstdc++6", "python3-minimal", "python3-pip"),
)
#: Date of everything in the stand-in, in seconds since 1970: 14 November 2023.
MOMENT = 1_700_000_000

_EXCLUDED = ("/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*", "/usr/share/doc/*/*")
#: Writes the list of packages where scanners look for it, and does what Python needs of the maintainer scripts.
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
    """One base image."""

    kind: str  # PUBLIC or STAND_IN
    name: str
    reference: str  # for a builder
    digest: str
    diff_ids: tuple[str, ...]  # of its layers


def pinned_name() -> str:
    """Return the base image that the Dockerfile names."""
    match = _ARGUMENT.search(DOCKERFILE.read_text())
    assert match, "the Dockerfile names its base in ARG BASE_IMAGE"
    return match[1]


def stand_in(architecture: str) -> Path:
    """Return the folder of the stand-in for an architecture (amd64, arm64)."""
    return ROOT / f"build/base/{architecture}"


def find(architecture: str, say: Callable[[str], None] = lambda _: None) -> Base:
    """Return the pinned base if its registry answers, else the stand-in, which is made if it is missing.

    Raises:
        PipelineError: the stand-in cannot be made; see `make`.
    """
    name = pinned_name()
    if (digest := registry.digest(name, f"linux/{architecture}")) is not None:
        reference = f"{name.split('@')[0].rsplit(':', 1)[0]}@{digest}"
        return Base(PUBLIC, name, reference, digest, tuple(registry.config(reference)["rootfs"]["diff_ids"]))
    folder = stand_in(architecture)
    if not (folder / "index.json").exists():
        say(f"{name} is out of reach: making a stand-in from Debian packages, in about half a minute")
        make(architecture)
    image = Layout(folder)
    diff_ids = tuple(image.config["rootfs"]["diff_ids"])
    # Relative to build/: a builder allows no blanks in the name of an image, and the path of a clone may have some.
    reference = f"oci:{folder.relative_to(ROOT / 'build')}"
    return Base(STAND_IN, f"Debian {SUITE} packages", reference, image.digest, diff_ids)


def pin(name: str) -> str | None:
    """Write the newest digest of a public image into the Dockerfile, and return it.

    Without an answer of the registry the file stays as it is, and the result is None.
    """
    tag = name.split("@")[0]
    digest = registry.digest(tag)
    if digest is not None:
        DOCKERFILE.write_text(_ARGUMENT.sub(f"ARG BASE_IMAGE={tag}@{digest}", DOCKERFILE.read_text()))
    return digest


def make(architecture: str) -> Layout:
    """Make the stand-in, in about half a minute. The same packages give the same digest.

    Raises:
        PipelineError: mmdebstrap is missing or failed, because the user is not root or packages are out of reach.
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
            raise PipelineError(
                f"mmdebstrap could not make a base for {architecture}; it needs root and Debian's packages:\n{tail}"
            )
        # Sorted and dated anew: a tar has the order of a directory on this disk.
        layer = layout.merge([Layer(tar.read_bytes())], MOMENT)
    config = {
        "architecture": architecture,
        "config": {"Cmd": ["python3"], "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]},
        "created": "2023-11-14T22:13:20Z",
        "os": "linux",
    }
    return layout.write(stand_in(architecture), [layer], config)
