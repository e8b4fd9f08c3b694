"""Releases from one environment to the next: one file changes, and it takes what really runs, not what git says.

promote   makes a branch that releases to an environment what runs in the one before
rollback  makes a branch that releases to an environment what it ran earlier
offer     makes a branch that releases a new image to the first environment
check     judges a pull request that changes a release file, whoever made it
"""

import re
from collections.abc import Callable

from pydantic import BaseModel

from imagepipe.errors import PipelineError
from imagepipe.live import environments
from imagepipe.live.environments import WORKTREE, Environment, Release
from imagepipe.releases import proposal, record, release_files, repository, running, snapshot
from imagepipe.releases.proposal import Proposal
from imagepipe.releases.record import KNOWN
from imagepipe.releases.release_files import earlier_releases, release_at, short
from imagepipe.releases.snapshot import Snapshot
from imagepipe.terragrunt.required_image import require_in_registry
from imagepipe.terragrunt.target import Cloud, target

#: What a pull request says of its plan where its author has no credentials to make one.
PLANNED_LATER = "It follows as a comment of its own."


def promote(source: Snapshot, to: str, plan: Callable[[Release], str]) -> Proposal | None:
    """Make the branch promote/<to>, which releases to an environment what runs in the one before it.

    Args:
        plan: returns what a release would change, in Markdown.

    Returns:
        None where the environment has that release already.

    Raises:
        PipelineError: the release may not go on, or another promotion to the same environment is under way.
    """
    current = running.release_of(source)
    release, name = current.release, source.environment.name
    before = release_at(repository.main_branch(), to)
    if before == release:
        return None
    opening = f"Releases to `{to}` what runs in `{name}`."
    body = proposal.body(opening, before, release, current.evidence, plan(release))
    return proposal.propose(f"promote/{to}", to, release, f"Promote {short(release)} from {name} to {to}", body)


def rollback(name: str, to: str, ran: list[str], plan: Callable[[Release], str]) -> Proposal:
    """Make the branch rollback/<env>, which releases to an environment what it ran earlier to a good end.

    A release that was refuted is named by the history of the main branch as well; only the deployment record knows.

    Args:
        to: a ref at which the release file names the release, or `previous`.
        ran: releases that came to a good end, newest last, as the environment's deployment record names them.
        plan: returns what a release would change, in Markdown.

    Raises:
        PipelineError: there was no such release; the message names those that there were.
    """
    before = release_at(repository.main_branch(), name)
    earlier = [(commit, release) for commit, release in earlier_releases(name, before) if _name(release) in ran]
    if to == "previous":
        chosen = max((release for _, release in earlier), key=lambda release: ran.index(_name(release)), default=None)
    else:
        at_ref = release_at(repository.commit(to), name)
        chosen = at_ref if any(release == at_ref for _, release in earlier) else None
    if chosen is None:
        known = ", ".join(f"{commit[:12]} ({short(release)})" for commit, release in earlier[:5]) or "there was none"
        raise PipelineError(
            f"{name} ran no other release to a good end at {to}; earlier releases of {name} that did, among its last "
            f"{KNOWN}: {known}"
        )
    commit = next(commit for commit, release in earlier if release == chosen)
    commit_in_words = repository.git("show", "--no-patch", "--format=`%h` of %cs, %s", commit)
    body = proposal.body(
        f"Takes `{name}` back to what it ran before.",
        before,
        chosen,
        [f"`{name}` ran this release to a good end before: {commit_in_words}"],
        plan(chosen),
    )
    return proposal.propose(f"rollback/{name}", name, chosen, f"Roll {name} back to {short(chosen)}", body)


def offer(name: str) -> Proposal | None:
    """Make the branch image/<env>, which releases the image that `make build-push` has written into release.json.

    It takes the place of an earlier branch of that name.

    Returns:
        None where the environment has that release already.

    Raises:
        PipelineError: the release file does not say how the image was built.
    """
    before, release = release_at(repository.main_branch(), name), environments.load(name).release
    if release is None or release == before:
        return None
    if release.build is None:
        raise PipelineError(
            f"{release_files.path(name)} does not say how its image was built: make build-push ENV={name}"
        )
    title = f"Release image {release.image.removeprefix('sha256:')[:12]} to {name}"
    opening = f"Releases to `{name}` the image that was built from `{release.build.commit[:12]}`."
    evidence = ["the registry has it, by digest", f"it was built for `{release.build.platform}`"]
    body = proposal.body(opening, before, release, evidence, PLANNED_LATER)
    return proposal.propose(f"image/{name}", name, release, title, body, replace=True)


def changed_release(base: str) -> str | None:
    """Return the environment whose release file has changed since a ref, or None.

    Raises:
        PipelineError: another file has changed as well.
    """
    changed = repository.changed(repository.merge_base(base), "HEAD")
    files = sorted(file for file in changed if re.fullmatch(r"live/[^/]+/release\.json", file))
    if not files:
        return None
    if others := sorted(changed - {files[0]}):
        raise PipelineError(
            f"a release changes {files[0]} and nothing else; this one changes {others[0]} too: make two pull requests"
        )
    return files[0].split("/")[1]


def witness(name: str) -> str:
    """Return the environment whose account verifies a release: the one before, or the first one itself."""
    return environments.environment_before(name) or name


def is_named_before(name: str) -> bool:
    """Tell whether the checkout's release was on the main branch before: then its own environment is asked first."""
    release = release_at("HEAD", name)
    return witness(name) != name and any(earlier == release for _, earlier in release_files.history(name))


def ran_to_a_good_end(name: str, cloud: Cloud) -> list[str]:
    """Return the releases that an environment ran to a good end, newest last.

    Raises:
        PipelineError: its deployment record cannot be read.
    """
    deployment = record.read(target(environments.load(name), cloud))
    return deployment.ran if deployment else []


def check(base: str, cloud: Cloud, ran: list[str] | None = None) -> list[str]:
    """Judge the change of a release file since a ref.

    Args:
        ran: releases that its environment ran to a good end, where the caller's credentials are of another one.

    Returns:
        What holds of the release, a sentence each; nothing where no release file is changed.

    Raises:
        PipelineError: with the first reason against the release.
    """
    name = changed_release(base)
    if name is None:
        return []
    environment = environments.load(name)
    release = release_at("HEAD", name)
    if release.image == WORKTREE:
        raise PipelineError(
            f"{release_files.path(name)}: {WORKTREE} stands for what a checkout holds, and is no release: "
            "name an image by its digest"
        )
    sentences = _check_origin(environment, release, cloud, _known(name, cloud) if ran is None else ran)
    _check_platform(environment, release)
    # On AWS, credentials are of one account; that of an environment may read the registry.
    asker = environments.SHARED if cloud is Cloud.LOCAL else witness(name)
    require_in_registry(target(environments.load(asker), cloud), release.image, name)
    return [*sentences, f"the registry has the image, and it was built for {environment.platform}"]


def _known(name: str, cloud: Cloud) -> list[str]:
    """Return what an environment ran to a good end; nothing where the credentials are of another one."""
    try:
        return ran_to_a_good_end(name, cloud)
    except PipelineError:
        return []


def _name(release: Release) -> str:
    return record.name_of(release.image, release.modules)


def _check_origin(environment: Environment, release: Release, cloud: Cloud, ran: list[str]) -> list[str]:
    """Check where a release comes from: the environment before, an earlier release or, in the first one, a build."""
    main = repository.main_branch()
    source = environments.environment_before(environment.name)
    if source is None:
        sentences = [_check_build(environment.name, release, main)]
        return sentences if release.modules == WORKTREE else [*sentences, _check_modules(release, main)]
    sentences = [_check_modules(release, main)]
    if _name(release) in ran and any(earlier == release for _, earlier in release_files.history(environment.name)):
        return [*sentences, f"{environment.name} ran this release to a good end: a rollback, which need not wait"]
    current = running.release_of(snapshot.take(target(environments.load(source), cloud)))
    for field in ("image", "build"):
        if getattr(current.release, field) != getattr(release, field):
            wanted, proposed = (_in_words(getattr(one, field)) for one in (current.release, release))
            raise PipelineError(
                f"{source} runs {field} {wanted}, and the release says {proposed}: "
                f"make promote FROM={source} TO={environment.name} writes what {source} runs"
            )
    if repository.commit(release.modules) != repository.commit(current.release.modules):
        raise PipelineError(
            f"{source} runs the modules of {current.release.modules}, and the release says {release.modules}: "
            f"make promote FROM={source} TO={environment.name} writes what {source} runs"
        )
    return [*sentences, *current.evidence]


def _check_build(name: str, release: Release, main: str) -> str:
    if release.build is None or release.build.dirty:
        raise PipelineError(f"an image for {name} must be built from a commit: make build-push ENV={name}")
    commit = release.build.commit[:12]
    if not repository.is_ancestor(repository.commit(release.build.commit), main):
        raise PipelineError(f"the image was built from {commit}, which is not on {main}: merge that commit first")
    return f"built from {commit}, which is on {main}"


def _check_modules(release: Release, main: str) -> str:
    if release.modules == WORKTREE:
        raise PipelineError("a release names a tag or a commit of the modules: make promote writes it")
    if not repository.is_ancestor(repository.commit(release.modules), main):
        raise PipelineError(f"the modules' {release.modules} is not on {main}: only what was merged is released")
    return f"the modules' {release.modules} is on {main}"


def _check_platform(environment: Environment, release: Release) -> None:
    built = release.build.platform if release.build else "an unknown platform"
    if built != environment.platform:
        raise PipelineError(
            f"the image was built for {built}, and {environment.name} runs {environment.platform}: "
            f"make build-push PLATFORM={environment.platform}"
        )


def _in_words(value: object) -> str:
    return value.model_dump_json() if isinstance(value, BaseModel) else str(value)
