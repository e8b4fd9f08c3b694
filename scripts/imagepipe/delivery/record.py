"""What was deployed to an environment last: kept beside its state, where the next step of a release reads it.

The state bucket keeps every version of it, which makes it the environment's history too.
"""

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from imagepipe import source_tree, terragrunt
from imagepipe.cloud import Target
from imagepipe.delivery import repository
from imagepipe.environments import WORKTREE
from imagepipe.errors import PipelineError

NAME = "deployment.json"


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
    #: Serial of each unit's state once this deployment was done with it.
    applied: dict[str, int] = {}

    @property
    def age(self) -> timedelta:
        return datetime.now(UTC) - (self.finished or self.started)


def begin(target: Target, plan: str | None) -> Deployment:
    """A record of what is about to be applied, from what lies in the checkout."""
    release = target.environment.release
    commit = repository.commit("HEAD")
    image = release.image if release else ""
    return Deployment(
        commit=commit,
        dirty=bool(repository.uncommitted()),
        image=source_tree.recorded() if image == WORKTREE else image,
        modules=commit if release is None or release.modules == WORKTREE else release.modules,
        plan=plan,
        status="applying",
        who=_caller(target),
        started=datetime.now(UTC),
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

    def end(self, status: Literal["applying", "succeeded", "failed"]) -> None:
        self.deployment.status = status
        self.deployment.finished = datetime.now(UTC)
        write(self.target, self.deployment)


def _caller(target: Target) -> str:
    """Who deploys: the run of a workflow, or else whose credentials are used."""
    run = [os.environ.get(name, "") for name in ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID")]
    if all(run):
        return f"{os.environ.get('GITHUB_ACTOR', 'somebody')} by {run[0]}/{run[1]}/actions/runs/{run[2]}"
    return target.caller
