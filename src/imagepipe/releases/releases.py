"""Versions of this repository: a tag on the main branch with the notes of CHANGELOG.md."""

import re

from imagepipe.errors import PipelineError
from imagepipe.live.environments import ROOT
from imagepipe.releases import repository

_VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")


def tag(version: str) -> str:
    """Tag the checkout as v<version> with the changelog's notes, and return the notes.

    Raises:
        PipelineError: the version is malformed, not newer than the last one or not in the changelog, or the checkout
            is not on main.
    """
    if not _VERSION.fullmatch(version):
        raise PipelineError(f"{version!r} is no version: VERSION is three numbers, like 1.4.0 (semver.org)")
    name = f"v{version}"
    if repository.git("tag", "--list", name):
        raise PipelineError(f"{name} exists already, and tags do not move: choose a newer version")
    newest = max((_numbers(tag) for tag in repository.git("tag", "--list", "v*").splitlines()), default=(-1, 0, 0))
    if _numbers(name) <= newest:
        raise PipelineError(
            f"{name} is older than v{'.'.join(map(str, newest))}, which exists already: choose a newer version"
        )
    if changes := repository.uncommitted():
        raise PipelineError(f"{changes[0]} is not committed: commit it first, because a release is a commit")
    main = repository.main_branch()
    if not repository.is_ancestor("HEAD", main):
        raise PipelineError(f"the checkout is not on {main}: merge it first")
    text = notes(version)
    # Git would take the changelog's headings for comments, and drop them.
    repository.git("tag", "--annotate", "--cleanup", "whitespace", "--message", f"{name}\n\n{text}", name)
    return text


def notes(version: str) -> str:
    """Return the notes of a version in CHANGELOG.md.

    Raises:
        PipelineError: there are none.
    """
    text = (ROOT / "CHANGELOG.md").read_text()
    heading = rf"^## \[?v?{re.escape(version)}\b[^\n]*"
    if not (section := re.search(rf"{heading}\n(?P<words>.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)):
        raise PipelineError(f"CHANGELOG.md has no heading ## {version}: write below it what has changed, and commit it")
    if not (words := section["words"].strip()):
        raise PipelineError(f"CHANGELOG.md has no text below ## {version}: write what has changed, and commit it")
    return words


def _numbers(tag: str) -> tuple[int, ...]:
    version = _VERSION.fullmatch(tag.removeprefix("v"))
    return tuple(map(int, version.groups())) if version else (-1,)
