"""The release file of an environment, live/<env>/release.json, at any commit."""

import re

from imagepipe.errors import PipelineError
from imagepipe.live import environments
from imagepipe.live.environments import WORKTREE, Release
from imagepipe.releases import repository


def path(name: str) -> str:
    """Return the path of an environment's release file, from the repository's top."""
    return f"live/{name}/release.json"


def release_at(ref: str, name: str) -> Release:
    """Return an environment's release at a ref.

    Raises:
        PipelineError: there is no such ref or no such file, or the file is malformed.
    """
    return environments.parse_release(name, repository.git("show", f"{ref}:{path(name)}"))


def history(name: str) -> list[tuple[str, Release]]:
    """Return the commits of the main branch that changed an environment's release, newest first, with the release."""
    commits = repository.git("log", "--format=%H", repository.main_branch(), "--", path(name)).splitlines()
    releases = []
    for commit in commits:
        try:
            releases.append((commit, release_at(commit, name)))
        except PipelineError:
            continue  # the file had another format, or was deleted for a while
    return releases


def earlier_releases(name: str, current: Release) -> list[tuple[str, Release]]:
    """Return the history without the current release, and without releases of what a checkout held."""
    return [(commit, release) for commit, release in history(name) if release != current and _names_versions(release)]


def _names_versions(release: Release) -> bool:
    return WORKTREE not in {release.image, release.modules}


def short(release: Release) -> str:
    """Return a release in a few words."""
    modules = release.modules if not re.fullmatch(r"[0-9a-f]{40}", release.modules) else release.modules[:12]
    return f"{release.image.removeprefix('sha256:')[:12]} with modules {modules}"
