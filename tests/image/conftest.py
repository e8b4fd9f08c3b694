"""The image, built twice: in this clone's copy and in a clone of that, as two people would."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import certifi
import pytest

import clones
import saved
from imagepipe.container import base, build
from imagepipe.container.layout import Layout
from imagepipe.localcloud import function_filter, sandbox
from imagepipe.localcloud.sandbox import Image

Run = Callable[..., subprocess.CompletedProcess[str]]

FOREIGN = {"linux/amd64": "linux/arm64", "linux/arm64": "linux/amd64"}[build.native_platform()]
CANARY = "lent by the machine 5f1c0c3e"


class Clone(clones.Clone):
    @property
    def image(self) -> Layout:
        return Layout(self.top / "build/image")

    @property
    def record(self) -> dict[str, Any]:
        return dict(json.loads((self.top / "build/image.json").read_text()))

    def use(self, root: Path, *platforms: str) -> None:
        """The tools and the bases of the clone that runs the tests."""
        self.use_tools(root)
        saved.use_base(self, root, build.native_platform(), *platforms)


@pytest.fixture(scope="module")
def clone(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    """A clone with everything committed and the image built."""
    top = tmp_path_factory.mktemp("image") / "clone"
    copy = Clone(saved.copy(saved.with_image(root, tmp_path_factory), top).top)
    yield copy
    copy.imagepipe("down", check=False)


@pytest.fixture(scope="module")
def other_clone(root: Path, clone: Clone, canary: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone of the clone, elsewhere, by somebody whose new files nobody else may read, in another time zone.

    And where Docker builds the first one, this one is built without.
    """
    copy = Clone(tmp_path_factory.mktemp("elsewhere") / "a longer name" / "clone")
    copy.top.parent.mkdir()
    before = os.umask(0o077)
    try:
        subprocess.run(["git", "clone", "--quiet", str(clone.top), str(copy.top)], check=True)
        copy.use(root)
        settings: dict[str, Any] = {
            "TZ": "Asia/Tokyo",
            "PYTHONHASHSEED": "7",
            "DOCKER_HOST": "unix:///nowhere",
            **canary,
        }
        copy.imagepipe("build", "--platform", build.native_platform(), **settings)
    finally:
        os.umask(before)
    return copy


@pytest.fixture(scope="session")
def canary(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What this machine has to reach a package index by, with a word in it that no image may repeat."""
    lent = {
        "PIP_CERT": [os.environ.get(name, "") for name in build._CERTIFICATES],
        "PIP_CONFIG_FILE": [os.environ.get("PIP_CONFIG_FILE", ""), *map(os.path.expanduser, build._PIP_CONFIG[1:])],
    }
    folder = tmp_path_factory.mktemp("lent")
    for name, candidates in lent.items():
        own = next((Path(candidate).read_text() for candidate in candidates if os.path.isfile(candidate)), "")
        (folder / name).write_text(f"{own}\n# {CANARY}\n")
    if "BEGIN CERTIFICATE" not in (folder / "PIP_CERT").read_text():
        # A machine without certificates of its own must not get pip an empty list of them.
        (folder / "PIP_CERT").write_text(f"{Path(certifi.where()).read_text()}\n# {CANARY}\n")
    return {name: str(folder / name) for name in lent}


@pytest.fixture(scope="module")
def foreign_clone(root: Path, clone: Clone, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone whose image is built for the platform that this machine is not."""
    base.find(FOREIGN.split("/")[1])
    copy = Clone(tmp_path_factory.mktemp("foreign") / "clone")
    subprocess.run(["git", "clone", "--quiet", str(clone.top), str(copy.top)], check=True)
    copy.use(root, FOREIGN)
    copy.imagepipe("build", "--platform", FOREIGN)
    return copy


@pytest.fixture(scope="module")
def run(clone: Clone, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs a command in the image as Lambda would run its function; `options` are bubblewrap's."""
    image = Image.unpack(clone.image, tmp_path_factory.mktemp("root"))

    def run(*command: str, options: tuple[str, ...] = (), **variables: str) -> subprocess.CompletedProcess[str]:
        with function_filter.opened() as descriptor:
            whole = sandbox.command(image, (), variables, None, 512, descriptor)
            start = [*whole[: whole.index("--")], *options, "--", *command]
            return subprocess.run(start, capture_output=True, text=True, check=False, pass_fds=(descriptor,))

    return run
