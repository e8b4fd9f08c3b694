"""Versions: a tag on the main branch, and what the changelog says of it."""

import re

from imagepipe.errors import PipelineError
from imagepipe.live.environments import ROOT
from imagepipe.releases import repository

_VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")


def tag(version: str) -> str:
    """Tags the checkout as v<version>, with the changelog's words, and returns those.

    Raises:
        PipelineError: no version, not newer than the last one, not in the changelog, or the checkout is not on main.
    """
    if not _VERSION.fullmatch(version):
        raise PipelineError(f"{version!r} is no version: VERSION is three numbers, like 1.4.0 (semver.org)")
    name = f"v{version}"
    if repository.git("tag", "--list", name):
        raise PipelineError(f"{name} is there already: tags do not move")
    newest = max((_numbers(each) for each in repository.git("tag", "--list", "v*").splitlines()), default=(-1, 0, 0))
    if _numbers(name) <= newest:
        raise PipelineError(f"{name} is older than v{'.'.join(map(str, newest))}, which is there already")
    if changes := repository.uncommitted():
        raise PipelineError(f"{changes[0]} is not committed: a release is a commit")
    main = repository.main_branch()
    if not repository.is_ancestor("HEAD", main):
        raise PipelineError(f"the checkout is not on {main}: only what was merged is released")
    words = notes(version)
    # Git would take the changelog's headings for comments, and drop them.
    repository.git("tag", "--annotate", "--cleanup", "whitespace", "--message", f"{name}\n\n{words}", name)
    return words


def notes(version: str) -> str:
    """What CHANGELOG.md says of a version.

    Raises:
        PipelineError: nothing.
    """
    text = (ROOT / "CHANGELOG.md").read_text()
    heading = rf"^## \[?v?{re.escape(version)}\b[^\n]*"
    if not (found := re.search(rf"{heading}\n(?P<words>.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)):
        raise PipelineError(f"CHANGELOG.md has no heading ## {version}: say there what has changed, and commit it")
    if not (words := found["words"].strip()):
        raise PipelineError(f"CHANGELOG.md says nothing below ## {version}")
    return words


def _numbers(tag: str) -> tuple[int, ...]:
    found = _VERSION.fullmatch(tag.removeprefix("v"))
    return tuple(map(int, found.groups())) if found else (-1,)
