"""Images that functions of the local cloud may run from: the ones built here, and what its registry holds."""

import tempfile
from pathlib import Path

from imagepipe.container.layout import Layout
from imagepipe.container.registry import Registry
from imagepipe.errors import PipelineError
from imagepipe.localcloud import image_registry
from imagepipe.localcloud.folder import Folder
from imagepipe.localcloud.sandbox import Image


def add(folder: Folder, layout: Layout) -> Image:
    """Unpacks an image; one that is there already is left alone."""
    return Image.unpack(layout, _place(folder, layout.digest))


def find(folder: Folder, digest: str, repository: str) -> Image:
    """The image of a digest, pulled by it from the local registry where it has not been unpacked yet.

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
                f"no image {digest} here: make build and make up FUNCTIONS=image, or make build-push ({error})"
            ) from None
        return Image.unpack(Layout(layout), place)


def _place(folder: Folder, digest: str) -> Path:
    return folder.images / digest.replace(":", "-")
