"""The record of an environment's last deployment, kept beside its state, where the next step of a release reads it.

The state bucket keeps every version of the record, which makes it the environment's history too.
"""

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from imagepipe.container import source_tree
from imagepipe.errors import PipelineError
from imagepipe.live.environments import WORKTREE, Environment
from imagepipe.releases import repository
from imagepipe.terragrunt import state
from imagepipe.terragrunt.target import Target

NAME = "deployment.json"

#: Number of releases that an environment may go back to without a canary.
KNOWN = 20

Status = Literal["applying", "succeeded", "failed"]


class DeploymentRecord(BaseModel):
    """One deployment, from its first apply on."""

    model_config = ConfigDict(extra="ignore")  # a later release may write more fields

    commit: str
    #: True if uncommitted changes were deployed.
    dirty: bool
    #: Digest of the image.
    image: str
    #: Ref of the modules; the commit itself where the environment runs the working tree.
    modules: str
    #: sha256 of the bundle that was applied; None where there was none.
    plan: str | None
    status: Status
    who: str
    started: datetime
    finished: datetime | None = None
    #: Time of the last smoke test that passed.
    smoked: datetime | None = None
    #: The sign against the new version, for which the calls went back to the version before.
    refuted: str | None = None
    #: Releases that came to a good end here and were not refuted since, newest last, by `name_of`.
    ran: list[str] = []
    #: Serial of each unit's state after this deployment applied it.
    applied: dict[str, int] = {}

    @property
    def release(self) -> str:
        """Identity of the release: equal for two deployments of the same release."""
        return name_of(self.image, self.modules)

    @property
    def age(self) -> timedelta:
        """Time since the deployment ended, or since it began if it has not."""
        return datetime.now(UTC) - (self.finished or self.started)


def name_of(image: str, modules: str) -> str:
    """Return the identity of a release: equal for two deployments of the same release."""
    return f"{image} {modules}"


def begin(target: Target, before: DeploymentRecord | None, plan: str | None) -> DeploymentRecord:
    """Return the record of a deployment of the checkout that is about to start.

    Args:
        before: the record of the last deployment.
        plan: sha256 of the bundle that is applied, or None.
    """
    image, modules = _checkout_release(target.environment)
    return DeploymentRecord(
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


def goes_back(environment: Environment, before: DeploymentRecord | None) -> bool:
    """Tell whether the checkout would take an environment back to a release that succeeded there.

    The release that was deployed last does not count, nor does one that was refuted.
    """
    release = name_of(*_checkout_release(environment))
    return before is not None and release != before.release and release in before.ran


def _checkout_release(environment: Environment) -> tuple[str, str]:
    """Return image and ref of the modules, as a record names them."""
    release = environment.release
    image = release.image if release else ""
    return (
        source_tree.recorded_digest() if image == WORKTREE else image,
        repository.commit("HEAD") if release is None or release.modules == WORKTREE else release.modules,
    )


def write(target: Target, record: DeploymentRecord) -> None:
    """Replace the record of an environment."""
    state.write_beside_state(target, NAME, record.model_dump_json(indent=2).encode())


def read(target: Target) -> DeploymentRecord | None:
    """Return the record of the last deployment, or None if there is none.

    Raises:
        PipelineError: the record cannot be read, or is malformed.
    """
    content = state.read_beside_state(target, NAME)
    try:
        return None if content is None else DeploymentRecord.model_validate_json(content)
    except ValidationError as error:
        name = target.environment.name
        raise PipelineError(
            f"the deployment record of {name} is malformed: {error}; restore an older version of {NAME} in its state "
            f"bucket, or delete it and make apply ENV={name}"
        ) from None


@dataclass(frozen=True)
class Steps:
    """Writes the record as an apply goes on, so that one that dies leaves its progress."""

    target: Target
    record: DeploymentRecord

    def begin(self) -> None:
        """Note that the apply goes on."""
        self.record.status = "applying"
        write(self.target, self.record)

    def done(self, unit: str, serial: int) -> None:
        """Note that a unit is applied, with the serial of its state."""
        self.record.applied[unit] = serial
        write(self.target, self.record)

    def undone(self, unit: str) -> None:
        """Note that a unit is applied further: an apply that dies now leaves it half-way."""
        self.record.applied.pop(unit, None)
        write(self.target, self.record)

    def end(self, status: Status, refuted: str | None = None) -> None:
        """Note how the apply ended."""
        record = self.record
        record.status, record.refuted = status, refuted
        record.finished = datetime.now(UTC)
        if status == "succeeded" or refuted:
            record.ran = [release for release in record.ran if release != record.release]
        if status == "succeeded":
            record.ran = [*record.ran, record.release][-KNOWN:]
        write(self.target, record)


def _caller(target: Target) -> str:
    """Return who deploys: the run of a workflow, or else the owner of the credentials."""
    run = [os.environ.get(name, "") for name in ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID")]
    if all(run):
        return f"{os.environ.get('GITHUB_ACTOR', 'unknown')} by {run[0]}/{run[1]}/actions/runs/{run[2]}"
    return target.caller
