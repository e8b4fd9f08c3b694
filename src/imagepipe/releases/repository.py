"""Commits and files of this repository, read from git."""

import os
import subprocess

from imagepipe.errors import PipelineError
from imagepipe.live.environments import ROOT

#: Files that plans are made of. No other file changes a plan.
DEPLOYED = (
    "live",
    "modules",
    "provider.lock.hcl",
    "scripts/check_settings.py",
    "scripts/refuse_mock_outputs.sh",
    "terragrunt.hcl",
    "tools.json",
)


def git(*arguments: str, **variables: str) -> str:
    """Run git and return what it prints.

    Args:
        variables: of git's environment.

    Raises:
        PipelineError: git failed; the message is the last line that it wrote.
    """
    command = ["git", "-c", "core.quotePath=off", *arguments]
    finished = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **variables}, capture_output=True, text=True, check=False
    )
    if finished.returncode:
        lines = finished.stderr.strip().splitlines() or ["failed without a message"]
        raise PipelineError(f"git {arguments[0]}: {lines[-1].removeprefix('fatal: ')}")
    return finished.stdout.strip("\n")


def commit(ref: str) -> str:
    """Return the commit that a ref names.

    Raises:
        PipelineError: this clone has no such commit.
    """
    try:
        return git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    except PipelineError:
        raise PipelineError(
            f"there is no commit {ref!r} in this clone: git fetch --tags, and --unshallow where the clone is shallow"
        ) from None


def merge_base(ref: str) -> str:
    """Return the last commit that a ref and the checkout have in common.

    Raises:
        PipelineError: there is none in this clone.
    """
    try:
        return git("merge-base", commit(ref), "HEAD")
    except PipelineError as error:
        if "there is no commit" in str(error):
            raise
        raise PipelineError(
            f"{ref} and the checkout have no commit in common: a shallow clone needs git fetch --unshallow"
        ) from None


def is_ancestor(older: str, newer: str) -> bool:
    """Tell whether a commit is in the history of another one."""
    command = ["git", "merge-base", "--is-ancestor", older, newer]
    return subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 0


def changed(base: str, head: str | None = None) -> set[str]:
    """Return files that differ between two commits or, without the second, between a commit and the folder."""
    files = _names("diff", "--name-only", "--no-renames", "-z", base, *([head] if head else []), "--")
    return files if head else files | _names("ls-files", "--others", "--exclude-standard", "-z")


def uncommitted() -> list[str]:
    """Return uncommitted files among those that plans are made of."""
    return sorted(_names("diff", "--name-only", "-z", "HEAD", "--", *DEPLOYED)) + sorted(
        _names("ls-files", "--others", "--exclude-standard", "-z", "--", *DEPLOYED)
    )


def trees(ref: str = "HEAD") -> dict[str, str]:
    """Return git's hashes of what plans are made of, by path: equal hashes are equal contents."""
    return {path: git("rev-parse", f"{ref}:{path}") for path in DEPLOYED}


def main_branch() -> str:
    """Return the branch that pull requests are merged into, as this clone last fetched it.

    Raises:
        PipelineError: this clone has no such branch.
    """
    for name in ("origin/main", "main"):
        try:
            commit(name)
        except PipelineError:
            continue
        return name
    raise PipelineError("this clone has no branch main: git fetch origin main")


def _names(*arguments: str) -> set[str]:
    return {name for name in git(*arguments).split("\0") if name}
