"""The image, built twice: in this clone's copy and in a clone of that, as two people would."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import clones
import pytest
from imagepipe.image import base, build
from imagepipe.image.layout import Layout
from imagepipe.localcloud import sandbox
from imagepipe.localcloud.sandbox import Image


class Clone(clones.Clone):
    @property
    def image(self) -> Layout:
        return Layout(self.top / "build/image")

    @property
    def record(self) -> dict[str, Any]:
        return dict(json.loads((self.top / "build/image.json").read_text()))

    def use(self, root: Path) -> None:
        """The tools and the base of the clone that runs the tests, which take minutes to make."""
        self.use_tools(root)
        (self.top / "build").mkdir()
        native = base.stand_in(build.native_platform().split("/")[1]).relative_to(root)
        if (root / native).exists():
            shutil.copytree(root / native, self.top / native)


@pytest.fixture(scope="session")
def base_image(root: Path) -> None:
    """A base for this machine's platform: the pinned one where its registry answers, else a stand-in."""
    architecture = build.native_platform().split("/")[1]
    if base.registry.digest(base.pinned()) is None and not (base.stand_in(architecture) / "index.json").exists():
        base.make(architecture)


@pytest.fixture(scope="session")
def clone(
    root: Path, base_image: None, tmp_path_factory: pytest.TempPathFactory, copy_working_tree: Callable[..., None]
) -> Iterator[Clone]:
    """A clone with everything committed and the image built."""
    found = Clone(tmp_path_factory.mktemp("image") / "clone")
    copy_working_tree(found.top)
    found.begin()
    found.use(root)
    found.imagepipe("build", "--platform", build.native_platform())
    yield found
    found.imagepipe("down", check=False)


@pytest.fixture(scope="session")
def other_clone(root: Path, clone: Clone, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone of the clone, elsewhere, by somebody whose new files nobody else may read, in another time zone."""
    found = Clone(tmp_path_factory.mktemp("elsewhere") / "a longer name" / "clone")
    found.top.parent.mkdir()
    before = os.umask(0o077)
    try:
        subprocess.run(["git", "clone", "--quiet", str(clone.top), str(found.top)], check=True)
        found.use(root)
        found.imagepipe("build", "--platform", build.native_platform(), TZ="Asia/Tokyo", PYTHONHASHSEED="7")
    finally:
        os.umask(before)
    return found


@pytest.fixture(scope="session")
def run(clone: Clone, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a command in the image as Lambda would run its function."""
    image = Image.unpack(clone.image, tmp_path_factory.mktemp("root"))

    def run(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        whole = sandbox.command(image, (), variables, None, temporary_mb=512)
        return subprocess.run([*whole[: whole.index("--") + 1], *command], capture_output=True, text=True, check=False)

    return run
