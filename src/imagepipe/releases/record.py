"""What was deployed to an environment last: kept beside its state, where the next step of a release reads it.

The state bucket keeps every version of it, which makes it the environment's history too.
"""

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from imagepipe.container import source_tree
from imagepipe.errors import PipelineError
from imagepipe.live.environments import WORKTREE
from imagepipe.releases import repository
from imagepipe.terragrunt import units as terragrunt
from imagepipe.terragrunt.target import Target

NAME = "deployment.json"

#: How many releases an environment may go back to as to one that it knows.
KNOWN = 20


class Deployment(BaseModel):
    """One deployment, from its first apply on."""

    model_config = ConfigDict(extra="ignore")  # a later release may say more

    commit: str
    #: Changes that no commit held were deployed with it.
    dirty: bool
    #: By digest.
    image: str
    #: The ref of the modules; the commit itself where the environment runs the working tree.
    modules: str
    #: sha256 of the bundle that was applied; None where somebody applied without one.
    plan: str | None
    status: Literal["applying", "succeeded", "failed"]
    who: str
    started: datetime
    finished: datetime | None = None
    #: When an image last went through all of it.
    smoked: datetime | None = None
    #: Why the calls went back to the version before; None where nothing spoke against the new one.
    refuted: str | None = None
    #: Releases that came to a good end here, newest last.
    ran: list[str] = []
    #: Serial of each unit's state once this deployment was done with it.
    applied: dict[str, int] = {}

    @property
    def release(self) -> str:
        """What makes two deployments the same release."""
        return f"{self.image} {self.modules}"

    @property
    def age(self) -> timedelta:
        return datetime.now(UTC) - (self.finished or self.started)


def begin(target: Target, plan: str | None) -> Deployment:
    """A record of what is about to be applied, from what lies in the checkout."""
    before = read(target)
    image, modules = _about_to_run(target)
    return Deployment(
        commit=repository.commit("HEAD"),
        dirty=bool(repository.uncommitted()),
        image=image,
        modules=modules,
        plan=plan,
        status="applying",
        who=_caller(target),
        started=datetime.now(UTC),
        ran=before.ran if before else [],
    )


def goes_back(target: Target) -> bool:
    """Whether the checkout would take an environment back to a release that came to a good end there.

    The release that was deployed last is none of them, whatever else changes with it. Nor is one that was refuted.
    """
    before, now = read(target), " ".join(_about_to_run(target))
    return before is not None and now != before.release and now in before.ran


def _about_to_run(target: Target) -> tuple[str, str]:
    """Image and ref of the modules, as a record names them."""
    release = target.environment.release
    image = release.image if release else ""
    return (
        source_tree.recorded() if image == WORKTREE else image,
        repository.commit("HEAD") if release is None or release.modules == WORKTREE else release.modules,
    )


def write(target: Target, deployment: Deployment) -> None:
    terragrunt.write_beside_state(target, NAME, deployment.model_dump_json(indent=2).encode())


def read(target: Target) -> Deployment | None:
    """The last deployment; None if there was none, or nobody kept a record of it.

    Raises:
        PipelineError: what lies there is no such record.
    """
    content = terragrunt.read_beside_state(target, NAME)
    try:
        return None if content is None else Deployment.model_validate_json(content)
    except ValidationError as error:
        raise PipelineError(f"the deployment record of {target.environment.name} is malformed: {error}") from None


@dataclass(frozen=True)
class Steps:
    """Keeps the record as an apply goes on, so that one that dies leaves word of how far it came."""

    target: Target
    deployment: Deployment

    def done(self, unit: str, serial: int) -> None:
        self.deployment.applied[unit] = serial
        write(self.target, self.deployment)

    def undone(self, unit: str) -> None:
        """There is more to apply of it. Should that die, the unit was left half-way."""
        self.deployment.applied.pop(unit, None)
        write(self.target, self.deployment)

    def end(self, status: Literal["applying", "succeeded", "failed"], refuted: str | None = None) -> None:
        deployment = self.deployment
        deployment.status, deployment.refuted = status, refuted
        deployment.finished = datetime.now(UTC)
        if status == "succeeded":
            earlier = [each for each in deployment.ran if each != deployment.release]
            deployment.ran = [*earlier, deployment.release][-KNOWN:]
        write(self.target, deployment)


def _caller(target: Target) -> str:
    """Who deploys: the run of a workflow, or else whose credentials are used."""
    run = [os.environ.get(name, "") for name in ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID")]
    if all(run):
        return f"{os.environ.get('GITHUB_ACTOR', 'somebody')} by {run[0]}/{run[1]}/actions/runs/{run[2]}"
    return target.caller
