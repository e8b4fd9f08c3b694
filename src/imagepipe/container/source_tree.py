"""The digest of what lambda-image/ holds, which stands for the image where none is built: on the local cloud.

The function host of the local cloud runs the handlers from that folder, so the digest names exactly what runs.
"""

import hashlib
import json
import os
from typing import Any

from imagepipe.files import write_atomically
from imagepipe.live.environments import ROOT

IMAGE_SOURCE = ROOT / "lambda-image"
#: What HCL reads when a release says `worktree`; a real build leaves its digest in the same place.
BUILT_IMAGE = ROOT / "build/image.json"


def digest() -> str:
    """sha256 over names, executable bits and contents of every file under lambda-image/, caches left out."""
    total = hashlib.sha256()
    for file in sorted(IMAGE_SOURCE.rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts:
            name = file.relative_to(IMAGE_SOURCE).as_posix()
            content = file.read_bytes()
            total.update(f"{name}\0{os.access(file, os.X_OK):d}\0{len(content)}\0".encode())
            total.update(content)
    return f"sha256:{total.hexdigest()}"


#: What the record says the digest is of, as long as no image is built.
_STANDS_IN = "source tree"


def stands_in() -> bool:
    """Whether `worktree` leads to a digest that no registry knows, or to none at all."""
    return not BUILT_IMAGE.exists() or json.loads(BUILT_IMAGE.read_text()).get("built_from") == _STANDS_IN


def recorded() -> str:
    """The digest that `worktree` stands for."""
    return str(json.loads(BUILT_IMAGE.read_text())["digest"])


def record_digest() -> None:
    """Writes the digest where HCL finds it, unless it is there already."""
    record({"digest": digest(), "built_from": _STANDS_IN})


def record(image: dict[str, Any]) -> None:
    """Says what `worktree` stands for from now on."""
    content = json.dumps(image, indent=2) + "\n"
    if not BUILT_IMAGE.exists() or BUILT_IMAGE.read_text() != content:
        write_atomically(BUILT_IMAGE, content)
