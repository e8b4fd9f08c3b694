"""Source of the local cloud's functions: the source tree, which is quick, or the image, as it ships.

The choice is stored, so that every command after `make up` deploys and runs the same.
"""

from collections.abc import Callable
from enum import StrEnum

from imagepipe.container import build, source_tree
from imagepipe.container.layout import Layout
from imagepipe.errors import PipelineError
from imagepipe.live.environments import ROOT
from imagepipe.localcloud import image_store
from imagepipe.localcloud.folder import Folder


class Functions(StrEnum):
    """Choices of `FUNCTIONS=`."""

    SOURCE = "source"
    IMAGE = "image"


def chosen() -> Functions:
    """Return the stored choice; the default is the source tree."""
    return Functions.IMAGE if Folder(ROOT).runs_images.exists() else Functions.SOURCE


def choose(wanted: Functions | None, say: Callable[[str], None]) -> None:
    """Store a choice, or keep the last one if None; build the image for this machine's platform if it is chosen."""
    marker = Folder(ROOT).runs_images
    if wanted is Functions.SOURCE:
        marker.unlink(missing_ok=True)
    if (wanted or chosen()) is Functions.IMAGE:
        build.image(build.native_platform(), say)
        image_store.add(Folder(ROOT), Layout(build.IMAGE))
        marker.touch()
    record()


def record() -> None:
    """Write the digest that `worktree` means to where HCL reads it: that of the built image, or of the source tree.

    Raises:
        PipelineError: functions run from the image, and no image is built.
    """
    if chosen() is Functions.SOURCE:
        source_tree.record_digest()
    elif known := build.last_build():
        source_tree.record(known)
    else:
        raise PipelineError("functions run from the image, but no image is built: run make up FUNCTIONS=image")
