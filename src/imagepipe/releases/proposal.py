"""A branch with one commit that changes one release file, and the text of its pull request."""

import json
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from imagepipe.errors import PipelineError
from imagepipe.live.environments import ROOT, Release
from imagepipe.releases import release_files, repository

#: Holds title, body and branch for a workflow that makes a pull request of them.
RESULT = ROOT / "build/promotion"

#: The branch itself in that folder, as `git bundle` packs it.
COMMIT = "commit.gitbundle"

#: Paths whose history a ref of the modules and a commit of the image stand for.
_MODULES, _IMAGE = ("modules",), ("lambda-image",)


@dataclass(frozen=True)
class Proposal:
    """A branch with one commit that changes one release file."""

    branch: str
    commit: str
    title: str
    body: str


def propose(branch: str, name: str, release: Release, title: str, body: str, *, replace: bool = False) -> Proposal:
    """Make a branch with one commit on top of the main branch. The checkout stays as it is.

    Args:
        name: of the environment that is released to.
        replace: whether the branch takes the place of one with the same name.

    Raises:
        PipelineError: the branch exists with another commit on it, and `replace` is not set.
    """
    main = repository.commit(repository.main_branch())
    for ref in (f"refs/heads/{branch}", f"refs/remotes/origin/{branch}"):
        if existing := repository.git("for-each-ref", "--format=%(objectname)", ref):
            if release_files.release_at(existing, name) == release and repository.is_ancestor(f"{existing}~1", main):
                return _write_result(Proposal(branch, existing, title, body))
            if not replace:
                raise PipelineError(
                    f"another release to {name} is under way: merge or delete the branch {branch} first"
                )
    message = f"{title}\n\n{_plain(body)}"
    commit = repository.git("commit-tree", _tree(main, name, release), "-p", main, "-m", message)
    repository.git("update-ref", f"refs/heads/{branch}", commit, *([] if replace else ["0" * 40]))
    return _write_result(Proposal(branch, commit, title, body))


def _tree(commit: str, name: str, release: Release) -> str:
    """Return the tree of a commit with another release of an environment in it."""
    content = json.dumps(release.model_dump(exclude_none=True), indent=2, sort_keys=True) + "\n"
    with tempfile.TemporaryDirectory(prefix="promotion-") as folder:
        file = Path(folder) / "release.json"
        file.write_text(content)
        blob = repository.git("hash-object", "-w", str(file))
        index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        repository.git("read-tree", commit, **index)
        repository.git("update-index", "--cacheinfo", f"100644,{blob},{release_files.path(name)}", **index)
        return repository.git("write-tree", **index)


def _write_result(proposal: Proposal) -> Proposal:
    ref = f"refs/heads/{proposal.branch}"
    repository.git("update-ref", ref, proposal.commit)
    RESULT.mkdir(parents=True, exist_ok=True)
    (RESULT / "title.txt").write_text(proposal.title + "\n")
    (RESULT / "body.md").write_text(proposal.body)
    (RESULT / "branch.txt").write_text(proposal.branch + "\n")
    repository.git("bundle", "create", "--quiet", str(RESULT / COMMIT), ref, f"^{proposal.commit}~1")
    return proposal


def body(opening: str, before: Release, after: Release, evidence: list[str], plan: str) -> str:
    """Return the text of a pull request, in Markdown.

    Args:
        evidence: what speaks for the release, a sentence each.
        plan: what the release would change, in Markdown.
    """
    lines = [opening, "", f"| | before | after |\n|---|---|---|\n| image | `{before.image}` | `{after.image}` |"]
    lines += [f"| modules | `{before.modules}` | `{after.modules}` |", "", "### What changes", ""]
    lines += _changes(before, after) or ["No commit between the two touches modules or image."]
    lines += ["", "### Evidence", "", *[f"- {sentence}" for sentence in evidence], "", "### Plan", "", plan]
    return "\n".join(lines) + "\n"


def _changes(before: Release, after: Release) -> list[str]:
    """Return the commits between two releases, first those of the modules, then those of the image."""
    ends = [("modules", before.modules, after.modules, _MODULES)]
    if before.build and after.build:
        ends.append(("image", before.build.commit, after.build.commit, _IMAGE))
    lines = []
    for what, old, new, paths in ends:
        try:
            span = f"{repository.commit(old)}..{repository.commit(new)}"
            log = repository.git("log", "--format=%h %s", span, "--", *paths)
        except PipelineError:
            lines.append(f"- {what}: from `{old}`, which this repository does not know")
            continue
        lines += [f"- {what}: {commit}" for commit in log.splitlines()]
    return lines


def _plain(body: str) -> str:
    return re.sub(r"[`*#]|<[^>]+>", "", body.split("### Plan")[0]).strip()
