"""A release from one environment to the next: one file changes, and it takes what really runs, not what git says.

promote   reads what runs in an environment, and makes a branch that releases it to the next one
rollback  the same road backwards: a branch that releases once more what an environment ran before
check     what must hold of a pull request that changes a release file, whoever made it
"""

import json
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from botocore.exceptions import ClientError
from pydantic import BaseModel

from imagepipe.console import time_in_words
from imagepipe.container import REPOSITORY
from imagepipe.errors import PipelineError
from imagepipe.live import environments
from imagepipe.live.environments import ROOT, WORKTREE, Release
from imagepipe.releases import canary, record, repository
from imagepipe.releases.record import Deployment
from imagepipe.terragrunt.target import Cloud, Target, target

#: What people read of a promotion, and a workflow makes a pull request of.
RESULT = ROOT / "build/promotion"

#: The branch itself in there, as `git bundle` packs it.
COMMIT = "commit.gitbundle"

#: What a pull request says of its plan where whoever makes it has no credentials for one.
PLANNED_LATER = "It follows as a comment of its own."

_FUNCTIONS = ("announcer", "api", "processor")

#: Whose history tells what changed: paths of what a ref of the modules and a commit of the image stand for.
_MODULES, _IMAGE = ("modules",), ("lambda-image",)


@dataclass(frozen=True)
class Proposal:
    """A branch with one commit that changes one release file."""

    branch: str
    commit: str
    title: str
    body: str


@dataclass(frozen=True)
class Running:
    """What an environment runs, as found there."""

    environment: environments.Environment
    release: Release
    deployment: Deployment

    @property
    def evidence(self) -> list[str]:
        name, deployment = self.environment.name, self.deployment
        return [
            f"every function of {name} runs `{self.release.image}` behind its alias",
            f"deployed by {deployment.who}, from `{deployment.commit[:12]}`, {deployment.finished:%Y-%m-%d %H:%M} UTC",
            f"an image went through all of it on {deployment.smoked:%Y-%m-%d %H:%M} UTC",
            f"no alarm of {name} is raised",
            f"it has run for {time_in_words(deployment.age)}; {time_in_words(self.environment.soak)} were asked for",
        ]


def running(source: Target) -> Running:
    """What an environment runs, if it may go on from there.

    Raises:
        PipelineError: with what speaks against it.
    """
    environment = source.environment
    name = environment.name
    digest = _deployed_digest(source)
    if first := canary.under_way(source):
        raise PipelineError(
            f"the rollout of {name} is under way ({first.percent} % of the calls of {first.functions}): "
            "bring it to an end first"
        )
    deployment = record.read(source)
    if deployment is None:
        raise PipelineError(f"nobody kept a record of what {name} runs: deploy it by make apply ENV={name}")
    if deployment.status != "succeeded":
        why = f" ({deployment.refuted})" if deployment.refuted else ""
        raise PipelineError(f"the last deployment of {name} is {deployment.status}{why}: bring it to an end first")
    if deployment.dirty:
        raise PipelineError(f"{name} runs changes that no commit holds: commit them, and deploy {name} again")
    if deployment.image != digest:
        raise PipelineError(
            f"{name} runs {digest}, and its last deployment was of {deployment.image}: make apply ENV={name}"
        )
    if deployment.smoked is None:
        raise PipelineError(f"nobody has tried out what {name} runs: make smoke ENV={name}")
    if raised := _raised_alarms(source):
        raise PipelineError(f"{raised[0]} is raised in {name}{_more(raised)}: nothing goes on before it is quiet")
    if deployment.age < environment.soak:
        raise PipelineError(
            f"{name} has run this for {time_in_words(deployment.age)}, and live/{name}/env.hcl asks for "
            f"{time_in_words(environment.soak)}: come back in {time_in_words(environment.soak - deployment.age)}"
        )
    return Running(environment, _release_of(source, deployment), deployment)


def promote(source: Target, to: str, plan: Callable[[Release], str]) -> Proposal | None:
    """Makes the branch promote/<to>, which releases to one environment what runs in the one before it.

    Args:
        plan: what the pull request says of a release's plan.

    Returns:
        None where the environment has that release already.

    Raises:
        PipelineError: what runs may not go on, or another promotion to the same environment is under way.
    """
    found = running(source)
    release = found.release
    before = _release_at(repository.main_branch(), to)
    if before == release:
        return None
    title = f"Promote {_short(release)} from {source.environment.name} to {to}"
    body = _body(
        f"Releases to `{to}` what runs in `{source.environment.name}`.", before, release, found.evidence, plan(release)
    )
    return _propose(f"promote/{to}", to, release, title, body)


def rollback(name: str, to: str, plan: Callable[[Release], str]) -> Proposal:
    """Makes the branch rollback/<env>, which releases once more what an environment ran before.

    Args:
        to: a ref at which the environment's release file says it, or `previous`.

    Raises:
        PipelineError: no such release; the message names those that there were.
    """
    before = _release_at(repository.main_branch(), name)
    earlier = [(commit, release) for commit, release in _history(name) if release != before and _is_release(release)]
    if to == "previous":
        chosen = earlier[0][1] if earlier else None
    else:
        at = _release_at(repository.commit(to), name)
        chosen = at if any(release == at for _, release in earlier) else None
    if chosen is None:
        known = ", ".join(f"{commit[:12]} ({_short(release)})" for commit, release in earlier[:5]) or "there was none"
        raise PipelineError(f"{name} ran no other release at {to}; earlier releases of {name}: {known}")
    title = f"Roll {name} back to {_short(chosen)}"
    evidence = [f"`{name}` ran this release before: {_words_of_commit(next(c for c, r in earlier if r == chosen))}"]
    body = _body(f"Takes `{name}` back to what it ran before.", before, chosen, evidence, plan(chosen))
    return _propose(f"rollback/{name}", name, chosen, title, body)


def offer(name: str) -> Proposal | None:
    """Makes the branch image/<env>, which releases the image that `make build-push` has just written into release.json.

    One that was made before and is not merged yet gives way to it.

    Returns:
        None where the environment has that release already.
    """
    before, release = _release_at(repository.main_branch(), name), environments.load(name).release
    if release is None or release == before:
        return None
    if release.build is None:
        raise PipelineError(f"nobody knows where the image in {_file(name)} comes from: make build-push ENV={name}")
    title = f"Release image {release.image.removeprefix('sha256:')[:12]} to {name}"
    opening = f"Releases to `{name}` the image that was built from `{release.build.commit[:12]}`."
    evidence = ["the registry has it, by digest", f"it was built for `{release.build.platform}`"]
    body = _body(opening, before, release, evidence, PLANNED_LATER)
    return _propose(f"image/{name}", name, release, title, body, replace=True)


def released(base: str) -> str | None:
    """The environment whose release file has changed since a ref; of several, which no check lets pass, the first."""
    changed = repository.changed(repository.merge_base(base), "HEAD")
    return next((name for name in environments.road() if _file(name) in changed), None)


def witness(name: str) -> str:
    """Return the environment whose account verifies a release: the one before, or the first one itself."""
    return environments.environment_before(name) or name


def check(base: str, cloud: Cloud) -> list[str]:
    """What was found to hold of a change of a release file, in words; nothing where none is changed.

    Raises:
        PipelineError: the first thing that does not hold.
    """
    start = repository.merge_base(base)
    changed = repository.changed(start, "HEAD")
    files = sorted(file for file in changed if re.fullmatch(r"live/[^/]+/release\.json", file))
    if not files:
        return []
    if others := sorted(changed - {files[0]}):
        raise PipelineError(f"a release changes {files[0]} and nothing else; this one changes {others[0]} too")
    name = files[0].split("/")[1]
    environment = environments.load(name)
    release = _release_at("HEAD", name)
    if release.image == WORKTREE:
        raise PipelineError(f"{files[0]}: {WORKTREE} stands for what a checkout holds, and is no release")
    words = _check_origin(environment, release, cloud)
    # On AWS, credentials are of one account; that of an environment may read the registry.
    asked = environments.SHARED if cloud is Cloud.LOCAL else witness(name)
    _require_known_image(environment, release, target(environments.load(asked), cloud))
    words.append(f"the registry has the image, and it was built for {environment.platform}")
    return words


def _check_origin(environment: environments.Environment, release: Release, cloud: Cloud) -> list[str]:
    """Where a release comes from: the environment before, the environment's own past or, in the first one, a build."""
    road = environments.road()
    main = repository.main_branch()
    place = road.index(environment.name)
    if place == 0:
        if release.build is None or release.build.dirty:
            raise PipelineError(f"an image for {road[0]} must be built from a commit: make build-push ENV={road[0]}")
        if not repository.is_ancestor(repository.commit(release.build.commit), main):
            raise PipelineError(f"the image was built from {release.build.commit[:12]}, which is not on {main}")
        words = [f"built from {release.build.commit[:12]}, which is on {main}"]
        return words if release.modules == WORKTREE else words + _check_modules(release, main)
    words = _check_modules(release, main)
    if any(earlier == release for _, earlier in _history(environment.name)):
        return [*words, f"{environment.name} ran this release before: a rollback, which need not wait"]
    source = target(environments.load(road[place - 1]), cloud)
    found = running(source)
    for field in ("image", "build"):
        if getattr(found.release, field) != getattr(release, field):
            wanted, proposed = (_words_of(getattr(each, field)) for each in (found.release, release))
            raise PipelineError(f"{road[place - 1]} runs {field} {wanted}, and the release says {proposed}")
    if repository.commit(release.modules) != repository.commit(found.release.modules):
        raise PipelineError(
            f"{road[place - 1]} runs the modules of {found.release.modules}, and the release says {release.modules}"
        )
    return [*words, *found.evidence]


def _check_modules(release: Release, main: str) -> list[str]:
    if release.modules == WORKTREE:
        raise PipelineError("a release names a tag or a commit of the modules: make promote writes it")
    if not repository.is_ancestor(repository.commit(release.modules), main):
        raise PipelineError(f"the modules' {release.modules} is not on {main}: only what was merged is released")
    return [f"the modules' {release.modules} is on {main}"]


def _require_known_image(environment: environments.Environment, release: Release, asked: Target) -> None:
    built = release.build.platform if release.build else "nobody knows what"
    if built != environment.platform:
        raise PipelineError(
            f"the image was built for {built}, and {environment.name} runs {environment.platform}: "
            f"make build-push PLATFORM={environment.platform}"
        )
    registry = environments.load(environments.SHARED)
    try:
        answer = asked.client("ecr").batch_get_image(
            registryId=registry.account_id, repositoryName=REPOSITORY, imageIds=[{"imageDigest": release.image}]
        )
    except ClientError as error:
        raise PipelineError(f"the registry cannot be asked for {release.image}: {error}") from None
    if not answer["images"]:
        raise PipelineError(f"the registry has no {release.image}: it was never pushed, or it was deleted")


def _deployed_digest(source: Target) -> str:
    name, functions, found = source.environment.name, source.client("lambda"), {}
    for each in _FUNCTIONS:
        try:
            answer = functions.get_function(FunctionName=f"{source.environment.prefix}-{each}", Qualifier="live")
        except ClientError as error:
            if error.response["Error"]["Code"] == "ResourceNotFoundException":
                raise PipelineError(f"{name} has no function {each}: make apply ENV={name}") from None
            raise
        found[each] = str(answer["Code"]["ImageUri"]).partition("@")[2]
    if len({*found.values()}) > 1:
        told = ", ".join(f"{each} {digest}" for each, digest in found.items())
        raise PipelineError(f"the functions of {name} run different images ({told}): make apply ENV={name}")
    return found["processor"]


def _release_of(source: Target, deployment: Deployment) -> Release:
    """The deployment as a release, with what is known of the build of its image."""
    name = source.environment.name
    named = _release_at(deployment.commit, name)
    if named.image == WORKTREE:
        raise PipelineError(
            f"{name} runs an image that no release names: make build-push ENV={name}, commit live/{name}/release.json "
            f"and deploy {name}"
        )
    tags = repository.git("tag", "--points-at", deployment.modules, "--list", "v*").splitlines()
    return Release(image=deployment.image, modules=tags[-1] if tags else deployment.modules, build=named.build)


def _raised_alarms(source: Target) -> list[str]:
    alarms = source.client("cloudwatch").get_paginator("describe_alarms")
    pages = alarms.paginate(AlarmNamePrefix=f"{source.environment.prefix}-", StateValue="ALARM")
    return [str(alarm["AlarmName"]) for page in pages for alarm in page["MetricAlarms"]]


def _release_at(ref: str, name: str) -> Release:
    return environments.parse_release(name, repository.git("show", f"{ref}:{_file(name)}"))


def _history(name: str) -> list[tuple[str, Release]]:
    """What an environment's release file has said on the main branch, newest first, with the commits that said so."""
    commits = repository.git("log", "--format=%H", repository.main_branch(), "--", _file(name)).splitlines()
    found = []
    for commit in commits:
        try:
            found.append((commit, _release_at(commit, name)))
        except PipelineError:
            continue  # of another format, or deleted for a while
    return found


def _is_release(release: Release) -> bool:
    return WORKTREE not in {release.image, release.modules}


def _propose(branch: str, name: str, release: Release, title: str, body: str, *, replace: bool = False) -> Proposal:
    """Makes a branch with one commit on top of the main branch, and leaves the checkout alone.

    Args:
        replace: whether a branch of that name with something else on it gives way.

    Raises:
        PipelineError: there is a branch of that name with something else on it.
    """
    main = repository.commit(repository.main_branch())
    content = json.dumps(release.model_dump(exclude_none=True), indent=2, sort_keys=True) + "\n"
    with tempfile.TemporaryDirectory(prefix="promotion-") as folder:
        (Path(folder) / "release.json").write_text(content)
        blob = repository.git("hash-object", "-w", str(Path(folder) / "release.json"))
        index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        repository.git("read-tree", main, **index)
        repository.git("update-index", "--cacheinfo", f"100644,{blob},{_file(name)}", **index)
        tree = repository.git("write-tree", **index)
    for ref in (f"refs/heads/{branch}", f"refs/remotes/origin/{branch}"):
        if existing := repository.git("for-each-ref", "--format=%(objectname)", ref):
            if _release_at(existing, name) == release and repository.is_ancestor(f"{existing}~1", main):
                return _told(Proposal(branch, existing, title, body))
            if not replace:
                raise PipelineError(
                    f"another release to {name} is under way: merge or delete the branch {branch} first"
                )
    commit = repository.git("commit-tree", tree, "-p", main, "-m", f"{title}\n\n{_plain(body)}")
    repository.git("update-ref", f"refs/heads/{branch}", commit, *([] if replace else ["0" * 40]))
    return _told(Proposal(branch, commit, title, body))


def _told(proposal: Proposal) -> Proposal:
    ref = f"refs/heads/{proposal.branch}"
    repository.git("update-ref", ref, proposal.commit)
    RESULT.mkdir(parents=True, exist_ok=True)
    (RESULT / "title.txt").write_text(proposal.title + "\n")
    (RESULT / "body.md").write_text(proposal.body)
    (RESULT / "branch.txt").write_text(proposal.branch + "\n")
    repository.git("bundle", "create", "--quiet", str(RESULT / COMMIT), ref, f"^{proposal.commit}~1")
    return proposal


def _body(opening: str, before: Release, after: Release, evidence: list[str], plan: str) -> str:
    lines = [opening, "", f"| | before | after |\n|---|---|---|\n| image | `{before.image}` | `{after.image}` |"]
    lines += [f"| modules | `{before.modules}` | `{after.modules}` |", "", "### What changes", ""]
    lines += _changes(before, after) or ["No commit between the two touches modules or image."]
    lines += ["", "### Evidence", "", *[f"- {each}" for each in evidence], "", "### Plan", "", plan]
    return "\n".join(lines) + "\n"


def _changes(before: Release, after: Release) -> list[str]:
    """Commits between two releases, oldest part first; nothing where one of them is not known."""
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
        lines += [f"- {what}: {each}" for each in log.splitlines()]
    return lines


def _plain(body: str) -> str:
    return re.sub(r"[`*#]|<[^>]+>", "", body.split("### Plan")[0]).strip()


def _file(name: str) -> str:
    return f"live/{name}/release.json"


def _short(release: Release) -> str:
    modules = release.modules if not re.fullmatch(r"[0-9a-f]{40}", release.modules) else release.modules[:12]
    return f"{release.image.removeprefix('sha256:')[:12]} with modules {modules}"


def _words_of(value: object) -> str:
    return value.model_dump_json() if isinstance(value, BaseModel) else str(value)


def _words_of_commit(commit: str) -> str:
    return repository.git("show", "--no-patch", "--format=`%h` of %cs, %s", commit)


def _more(found: list[str]) -> str:
    return f" and {len(found) - 1} more" if len(found) > 1 else ""
