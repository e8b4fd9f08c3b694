"""The release that an environment runs, and the reasons why it may not be promoted."""

from dataclasses import dataclass

from imagepipe.console import time_in_words
from imagepipe.errors import PipelineError
from imagepipe.live.environments import WORKTREE, Environment, Release
from imagepipe.releases import alarms, release_files, repository
from imagepipe.releases.record import DeploymentRecord
from imagepipe.releases.snapshot import Snapshot


@dataclass(frozen=True)
class RunningRelease:
    """A release that an environment runs, and that may go on to the next one."""

    environment: Environment
    release: Release
    deployment: DeploymentRecord
    #: Raised alarms that anybody can raise.
    by_anybody: tuple[str, ...] = ()

    @property
    def evidence(self) -> list[str]:
        """Sentences that speak for the release."""
        name, deployment = self.environment.name, self.deployment
        return [
            f"every function of {name} runs `{self.release.image}` behind its alias",
            f"deployed by {deployment.who}, from `{deployment.commit[:12]}`, {deployment.finished:%Y-%m-%d %H:%M} UTC",
            f"an image went through all of it on {deployment.smoked:%Y-%m-%d %H:%M} UTC",
            self._alarms,
            f"it has run for {time_in_words(deployment.age)}; {time_in_words(self.environment.soak)} were asked for",
        ]

    @property
    def _alarms(self) -> str:
        if not self.by_anybody:
            return f"no alarm of {self.environment.name} is raised"
        return f"**raised, as anybody who calls the API can cause**: {', '.join(self.by_anybody)}; look at its cause"


def release_of(snapshot: Snapshot) -> RunningRelease:
    """Return what an environment runs, if it may go on from there.

    Raises:
        PipelineError: with the first reason against it.
    """
    environment, deployment = snapshot.environment, snapshot.record
    name = environment.name
    digest = _running_digest(snapshot)
    if first := snapshot.canary:
        raise PipelineError(
            f"the rollout of {name} is under way ({first.percent} % of the calls of {first.functions}): "
            "bring it to an end first"
        )
    if deployment is None:
        raise PipelineError(f"{name} has no deployment record: make apply ENV={name}")
    if deployment.status != "succeeded":
        why = f" ({deployment.refuted})" if deployment.refuted else ""
        raise PipelineError(f"the last deployment of {name} is {deployment.status}{why}: bring it to an end first")
    if deployment.dirty:
        raise PipelineError(f"{name} runs uncommitted changes: commit them, and make apply ENV={name} again")
    if deployment.image != digest:
        raise PipelineError(
            f"{name} runs {digest}, and its last deployment was of {deployment.image}: make apply ENV={name}"
        )
    if deployment.smoked is None:
        raise PipelineError(f"{name} has not been smoke-tested: make smoke ENV={name}")
    raised, by_anybody = alarms.raised(snapshot)
    if raised:
        more = f" and {len(raised) - 1} more" if len(raised) > 1 else ""
        raise PipelineError(f"{raised[0]} is raised in {name}{more}: mend its cause, and wait until it is quiet")
    if deployment.age < environment.soak:
        raise PipelineError(
            f"{name} has run this for {time_in_words(deployment.age)}, and live/{name}/env.hcl asks for "
            f"{time_in_words(environment.soak)}: come back in {time_in_words(environment.soak - deployment.age)}"
        )
    return RunningRelease(environment, _release(name, deployment), deployment, tuple(by_anybody))


def _running_digest(snapshot: Snapshot) -> str:
    """Return the digest of the image that every function runs.

    Raises:
        PipelineError: a function is missing, or two of them run different images.
    """
    name, digests = snapshot.environment.name, snapshot.running_digests
    if not snapshot.functions:
        raise PipelineError(f"{name} is not deployed: make apply ENV={name}")
    if missing := sorted(snapshot.functions.keys() - digests.keys()):
        raise PipelineError(f"{name} has no function {missing[0]}: make apply ENV={name}")
    if len({*digests.values()}) > 1:
        listed = ", ".join(f"{function} {digest}" for function, digest in digests.items())
        raise PipelineError(f"the functions of {name} run different images ({listed}): make apply ENV={name}")
    return next(iter(digests.values()))


def _release(name: str, deployment: DeploymentRecord) -> Release:
    """Return a deployment as a release, with the build of its image."""
    at_commit = release_files.release_at(deployment.commit, name)
    if at_commit.image == WORKTREE:
        raise PipelineError(
            f"{name} runs an image that no release names: make build-push ENV={name}, commit live/{name}/release.json "
            f"and deploy {name}"
        )
    tags = repository.git("tag", "--points-at", deployment.modules, "--list", "v*").splitlines()
    return Release(image=deployment.image, modules=tags[-1] if tags else deployment.modules, build=at_commit.build)
