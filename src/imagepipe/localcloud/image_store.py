"""Images that functions of the local cloud can run from: those built here, and those in its registry."""

import tempfile
from pathlib import Path

from imagepipe.container.layout import Layout
from imagepipe.container.registry import Registry
from imagepipe.errors import PipelineError
from imagepipe.localcloud import image_registry
from imagepipe.localcloud.folder import Folder
from imagepipe.localcloud.sandbox import Image


def add(folder: Folder, layout: Layout) -> Image:
    """Unpack an image unless it is unpacked already."""
    return Image.unpack(layout, _place(folder, layout.digest))


def find(folder: Folder, digest: str, repository: str) -> Image:
    """Return the unpacked image of a digest; pull it from the local registry if it is not unpacked yet.

    Raises:
        PipelineError: the registry has no such image either.
    """
    place = _place(folder, digest)
    if (place / "config.json").exists():
        return Image.read(place)
    with tempfile.TemporaryDirectory(dir=folder.temporary) as scratch:
        layout = Path(scratch) / "image"
        try:
            Registry(image_registry.up(folder.root)).pull(f"{repository}@{digest}", layout)
        except PipelineError as error:
            raise PipelineError(
                f"image {digest} is not here: run make build and make up FUNCTIONS=image, or make build-push ({error})"
            ) from None
        return Image.unpack(Layout(layout), place)


def _place(folder: Folder, digest: str) -> Path:
    return folder.images / digest.replace(":", "-")
