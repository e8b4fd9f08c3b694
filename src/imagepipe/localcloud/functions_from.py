"""What the functions of the local cloud run from: the source tree, which is quick, or the image, as it ships.

The choice is kept until it is made again, so that every command after `make up` deploys and runs the same.
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
    SOURCE = "source"
    IMAGE = "image"


def chosen() -> Functions:
    return Functions.IMAGE if Folder(ROOT).runs_images.exists() else Functions.SOURCE


def choose(wanted: Functions | None, say: Callable[[str], None]) -> None:
    """Makes the choice, or stays with the last one. The image is built, for this machine's platform, if it is not."""
    marker = Folder(ROOT).runs_images
    if wanted is Functions.SOURCE:
        marker.unlink(missing_ok=True)
    if (wanted or chosen()) is Functions.IMAGE:
        build.image(build.native_platform(), say)
        image_store.add(Folder(ROOT), Layout(build.IMAGE))
        marker.touch()
    record()


def record() -> None:
    """Writes what `worktree` stands for where HCL finds it: the image that was built, or the source tree."""
    if chosen() is Functions.SOURCE:
        source_tree.record_digest()
    elif known := build.last_build():
        source_tree.record(known)
    else:
        raise PipelineError("functions run from the image, and there is none: make up FUNCTIONS=image builds it")
