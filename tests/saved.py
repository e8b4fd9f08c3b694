"""A clone with its stopped local cloud, copied elsewhere: cheaper than to build an image or to apply an environment."""

import base64
import hashlib
import os
import re
import shutil
from pathlib import Path

import pytest

from clones import Clone, copy_working_tree
from imagepipe.container import base, build
from imagepipe.localcloud import addresses
from imagepipe.localcloud.folder import Folder
from once import once

#: Large, and written once under a name of its content: copies share the files.
_SHARED = ("build/base/", "build/image/", ".local/images/")

#: Of this place only.
_LEFT_OUT = (".terragrunt-cache", ".local/run", ".local/logs", ".local/tmp", ".local/lock")


def without_image(root: Path, top: Path) -> Clone:
    """Return a clone at `top` of the working tree of `root`: one commit with the tag v0.0.1, the tools in place."""
    copy_working_tree(root, top)
    clone = Clone(top)
    clone.use_tools(root)
    clone.begin()
    clone.git("tag", "v0.0.1")
    return clone


def with_image(root: Path, factory: pytest.TempPathFactory) -> Path:
    """Return such a clone in which the image is built for this machine, to be copied only."""

    def make(top: Path) -> None:
        clone, platform = without_image(root, top), build.native_platform()
        base.find(platform.split("/")[1])
        use_base(clone, root, platform)
        clone.imagepipe("build", "--platform", platform)

    return once(root, factory, "image", "", make)


def use_base(clone: Clone, root: Path, *platforms: str) -> None:
    """Copy the bases of the clone that runs the tests, which take minutes to make."""
    for platform in platforms:
        made = base.stand_in(platform.split("/")[1]).relative_to(root)
        if (root / made).exists():
            shutil.copytree(root / made, clone.top / made)


def copy(saved: Path, top: Path) -> Clone:
    """Return a clone at `top` with all that the one at `saved` has built and deployed. Its local cloud is not started.

    It gets a port of its own: several run side by side.
    """

    def left_out(folder: str, names: list[str]) -> set[str]:
        inside = os.path.relpath(folder, saved)
        return {name for name in names if name in _LEFT_OUT or os.path.normpath(f"{inside}/{name}") in _LEFT_OUT}

    def copy_file(source: str, target: str) -> None:
        if os.path.relpath(source, saved).startswith(_SHARED):
            _share(source, target)
        else:
            shutil.copy2(source, target)

    shutil.copytree(saved, top, symlinks=True, ignore=left_out, copy_function=copy_file)
    folder = Folder(top.resolve())
    if (port := addresses.remembered_port(folder)) is not None:
        folder.addresses.unlink()
        folder.create()
        _renumber(folder, port, addresses.server_port(folder))
    return Clone(top)


def _share(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # not on the same disk
        shutil.copy2(source, target)


def _renumber(folder: Folder, old: int, new: int) -> None:
    """Write another port into all that names the local cloud's: URLs of queues and APIs, in its records and in states.

    A state has its checksums beside it, in the bucket and in the lock table.
    """
    sums: dict[str, str] = {}
    contents = [file for file in folder.objects.rglob("*") if file.is_file() and not file.name.endswith(".meta.json")]
    for file in contents:
        before = file.read_bytes()
        after = before.replace(f":{old}".encode(), f":{new}".encode())
        if after != before:
            file.write_bytes(after)
            sums |= dict(zip(_sums(before), _sums(after), strict=True))
    for file in (*folder.objects.rglob("*.meta.json"), *folder.state.glob("*.json")):
        text = file.read_text().replace(f":{old}", f":{new}")
        if sums:
            text = re.sub("|".join(map(re.escape, sums)), lambda match: sums[match[0]], text)
        file.write_text(text)


def _sums(content: bytes) -> tuple[str, str]:
    return hashlib.md5(content).hexdigest(), base64.b64encode(hashlib.sha256(content).digest()).decode()
