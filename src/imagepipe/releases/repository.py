"""What git knows of this repository."""

import os
import subprocess

from imagepipe.errors import PipelineError
from imagepipe.live.environments import ROOT

#: What plans are made of. Whatever else changes, they stay the same.
DEPLOYED = ("live", "modules", "scripts/refuse_mock_outputs.sh", "terragrunt.hcl", "tools.json")


def git(*arguments: str, **variables: str) -> str:
    """What git prints, with some variables in its environment.

    Raises:
        PipelineError: with git's own last line.
    """
    command = ["git", "-c", "core.quotePath=off", *arguments]
    finished = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **variables}, capture_output=True, text=True, check=False
    )
    if finished.returncode:
        lines = finished.stderr.strip().splitlines() or ["it said nothing"]
        raise PipelineError(f"git {arguments[0]}: {lines[-1].removeprefix('fatal: ')}")
    return finished.stdout.strip("\n")


def commit(ref: str) -> str:
    """The commit that a ref names.

    Raises:
        PipelineError: there is none in this clone.
    """
    try:
        return git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    except PipelineError:
        raise PipelineError(
            f"there is no commit {ref!r} in this clone: git fetch --tags, and --unshallow where the clone is shallow"
        ) from None


def merge_base(ref: str) -> str:
    """The last commit that a ref and the checkout have in common."""
    try:
        return git("merge-base", commit(ref), "HEAD")
    except PipelineError as error:
        if "there is no commit" in str(error):
            raise
        raise PipelineError(
            f"{ref} and the checkout have no commit in common: a shallow clone needs git fetch --unshallow"
        ) from None


def is_ancestor(older: str, newer: str) -> bool:
    command = ["git", "merge-base", "--is-ancestor", older, newer]
    return subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 0


def changed(base: str, head: str | None = None) -> set[str]:
    """Files that differ between two commits or, without the second, between a commit and what lies in the folder."""
    found = _names("diff", "--name-only", "--no-renames", "-z", base, *([head] if head else []), "--")
    return found if head else found | _names("ls-files", "--others", "--exclude-standard", "-z")


def uncommitted() -> list[str]:
    """Changes to what plans are made of that no commit holds."""
    return sorted(_names("diff", "--name-only", "-z", "HEAD", "--", *DEPLOYED)) + sorted(
        _names("ls-files", "--others", "--exclude-standard", "-z", "--", *DEPLOYED)
    )


def trees(ref: str = "HEAD") -> dict[str, str]:
    """Git's own hashes of what plans are made of: equal hashes are equal contents, whatever the commit."""
    return {path: git("rev-parse", f"{ref}:{path}") for path in DEPLOYED}


def main_branch() -> str:
    """The branch that everything is merged into, as far as this clone has heard of it."""
    for name in ("origin/main", "main"):
        try:
            commit(name)
        except PipelineError:
            continue
        return name
    raise PipelineError("this clone has no branch main: git fetch origin main")


def _names(*arguments: str) -> set[str]:
    return {name for name in git(*arguments).split("\0") if name}
