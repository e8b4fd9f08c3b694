"""Computes the digest of the files in lambda-image/, which replaces the image's on a local cloud without an image.

The function host of the local cloud runs the handlers from that folder, so the digest names exactly what runs.
"""

import hashlib
import json
import os
import tomllib
from typing import Any

from imagepipe.files import write_atomically
from imagepipe.live.environments import ROOT

IMAGE_SOURCE = ROOT / "lambda-image"
#: The file that HCL reads if a release says `worktree`. A build of the image writes its digest to the same file.
BUILT_IMAGE = ROOT / "build/image.json"


def digest() -> str:
    """Return the sha256 over names, executable bits and contents of all files in lambda-image/ except caches."""
    total = hashlib.sha256()
    for file in sorted(IMAGE_SOURCE.rglob("*")):
        if file.is_file() and not any(part == "__pycache__" or part.endswith(".egg-info") for part in file.parts):
            name = file.relative_to(IMAGE_SOURCE).as_posix()
            content = file.read_bytes()
            total.update(f"{name}\0{os.access(file, os.X_OK):d}\0{len(content)}\0".encode())
            total.update(content)
    return f"sha256:{total.hexdigest()}"


def version() -> str:
    """Return the version of the distribution image_processor, which the image carries."""
    return str(tomllib.loads((IMAGE_SOURCE / "pyproject.toml").read_text())["project"]["version"])


#: What the digest is of, if no image is built.
_STANDS_IN = "source tree"


def stands_in() -> bool:
    """Return whether `worktree` has no digest, or one that no registry has."""
    return not BUILT_IMAGE.exists() or json.loads(BUILT_IMAGE.read_text()).get("built_from") == _STANDS_IN


def recorded_digest() -> str:
    """Return the digest that `worktree` stands for."""
    return str(json.loads(BUILT_IMAGE.read_text())["digest"])


def record_digest() -> None:
    """Write the digest of the source tree for HCL."""
    record({"digest": digest(), "built_from": _STANDS_IN})


def record(image: dict[str, Any]) -> None:
    """Write what `worktree` stands for from now on, if it changed."""
    content = json.dumps(image, indent=2) + "\n"
    if not BUILT_IMAGE.exists() or BUILT_IMAGE.read_text() != content:
        write_atomically(BUILT_IMAGE, content)
