"""Applies an environment, unit after unit in order, and records its progress.

With a bundle it plans afresh, and applies that plan only if it is the one that was reviewed, change by change.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from imagepipe.container import source_tree
from imagepipe.errors import PipelineError
from imagepipe.live.environments import ACCESS_UNIT, STORES_UNIT, WORKTREE
from imagepipe.releases import aliases, bundle, canary, evidence, record, repository, snapshot
from imagepipe.releases.bundle import Bundle
from imagepipe.releases.canary import Refuted
from imagepipe.releases.record import DeploymentRecord, Steps
from imagepipe.releases.snapshot import Snapshot
from imagepipe.terragrunt import runner
from imagepipe.terragrunt import units as terragrunt
from imagepipe.terragrunt.runner import Listener
from imagepipe.terragrunt.target import Target

#: The unit whose API the CI roles may call and change by its id.
API_UNIT = "api"

Say = Callable[[str], None]


@dataclass(frozen=True)
class RolloutResult:
    """Units that a bundle's rollout has dealt with."""

    applied: list[str]
    #: Units that have something to apply now that the others are applied: they need a plan of their own.
    waiting: list[str]


def apply(target: Target, reviewed: Bundle, listener: Listener, say: Say) -> RolloutResult:
    """Plan an environment, and apply that if it is what was reviewed; then plan again to show that no change is left.

    Between the two, new versions that got a share of the calls are watched, and get the rest.

    The same bundle again, after an apply that died, goes on where that stopped: what is left may be less than was
    reviewed, never more.

    Raises:
        PipelineError: before anything is changed, if the checkout or the tools are not those of the bundle, if the plan
            is not the one that was reviewed or breaks a rule; after it, if Terragrunt failed, something spoke against
            the new versions or a change is left.
    """
    check_sources(target, reviewed)
    before = snapshot.take(target)
    again = before.record if before.record and before.record.plan == reviewed.sha256 else None
    _check_rights(target, reviewed)
    if again and _is_over(again, say):
        return RolloutResult([], [])
    applied = []
    with tempfile.TemporaryDirectory(prefix="apply-") as folder:
        plans = _plan_as_reviewed(before, reviewed, again, listener, Path(folder))
        steps = Steps(target, again or record.begin(target, before.record, reviewed.sha256))
        steps.begin()
        with _failure_recorded(steps):
            for unit in (unit.name for unit in reviewed.units):
                if unit in plans and evidence.touched(plans[unit]):
                    say(f"applying {target.environment.name}/{unit}")
                    terragrunt.apply_plan(target, unit, Path(folder) / f"{unit}.tfplan", listener)
                    steps.done(unit, before.refresh().serial(unit))
                    applied.append(unit)
            _finish_canary(before.refresh(), steps, listener)
            waiting = _waiting(target, reviewed, {*applied, *steps.record.applied}, listener)
    steps.end("applying" if waiting else "succeeded")
    return RolloutResult(applied, waiting)


def _plan_as_reviewed(
    before: Snapshot, reviewed: Bundle, again: DeploymentRecord | None, listener: Listener, folder: Path
) -> dict[str, evidence.Plan]:
    """Plan the units of a bundle into a folder as <unit>.tfplan, and return the plans by unit.

    Args:
        again: the record of an apply of the bundle that died; units that it has applied are left out.

    Raises:
        PipelineError: a plan is not the one that was reviewed, or breaks a rule.
    """
    done = again.applied if again else {}
    units = [unit.name for unit in reviewed.units if unit.name not in done]
    # Which versions are held was decided when the apply began: its own record says by now that the release is present.
    target = canary.holding(before.target, reviewed.canary) if again else canary.first_step(before)
    planned = bundle.look(before, target, units, listener, folder)
    if again and aliases.publish(target, before.aliases, planned.plans.get(aliases.UNIT, {})):
        planned = bundle.look(before, target, units, listener, folder)
    bundle.check(reviewed, planned, rest=again is not None)
    bundle.refuse(planned)
    return planned.plans


def _is_over(again: DeploymentRecord, say: Say) -> bool:
    """Tell whether an earlier apply of the same bundle succeeded.

    Raises:
        PipelineError: it was taken back.
    """
    if again.status == "succeeded":
        say(f"this bundle was applied on {again.finished:%Y-%m-%d %H:%M} UTC by {again.who}")
        return True
    if again.refuted:
        raise PipelineError(
            f"this bundle was applied on {again.finished:%Y-%m-%d %H:%M} UTC and taken back, because "
            f"{again.refuted}: mend that, and plan again"
        )
    return False


def apply_directly(target: Target, listener: Listener) -> None:
    """Apply an environment as its files are, without a bundle; the record says so."""
    terragrunt.prepare_apply(target, listener)
    before = snapshot.take(target)
    first = canary.first_step(before)
    steps = Steps(target, record.begin(target, before.record, None))
    if before.record and before.record.status != "succeeded" and before.canary:
        steps.record.started = before.record.started  # it goes on with that one: alarms raised meanwhile count
    steps.begin()
    with _failure_recorded(steps):
        terragrunt.apply(first, listener)
        if API_UNIT in target.environment.units and API_UNIT not in before.states and target.administers:
            terragrunt.apply_access(target, listener)
        after = before.refresh()
        if aliases.publish(target, after.aliases, {}):
            terragrunt.apply(first, listener)
            after = after.refresh()
        _finish_canary(after, steps, listener)
    steps.end("succeeded")


@contextmanager
def _failure_recorded(steps: Steps) -> Iterator[None]:
    """Record a failure, Ctrl-C included, and raise it."""
    try:
        yield
    except BaseException as error:
        steps.end("failed", error.reason if isinstance(error, Refuted) else None)
        raise


def _finish_canary(applied: Snapshot, steps: Steps, listener: Listener) -> None:
    """Watch new versions that have a share of the calls, then give them all calls."""
    if first := applied.canary:
        canary.watch_first_step(applied, first, steps.record.started)
        steps.undone(aliases.UNIT)
        canary.take_second_step(applied.target, listener)
        steps.done(aliases.UNIT, applied.refresh().serial(aliases.UNIT))


def check_sources(target: Target, reviewed: Bundle) -> None:
    """Check that the checkout and the tools are those that a bundle was planned with.

    Raises:
        PipelineError: with the first difference.
    """
    environment, planned_at = target.environment, reviewed.commit[:12]
    if reviewed.environment != environment.name:
        raise PipelineError(
            f"the bundle is a plan of {reviewed.environment}, not of {environment.name}: "
            f"apply it with ENV={reviewed.environment}"
        )
    if reviewed.account_id != environment.account_id:
        raise PipelineError(
            f"the bundle is a plan for account {reviewed.account_id}, not {environment.account_id}: plan again"
        )
    if changes := repository.uncommitted():
        raise PipelineError(f"{changes[0]} is not committed, so it is in no plan: commit it and plan again, or drop it")
    for path, tree in repository.trees().items():
        if reviewed.trees.get(path) != tree:
            raise PipelineError(
                f"the bundle was planned at commit {planned_at}, and {path} is another one here: plan again"
            )
    for tool, version in runner.versions().items():
        if reviewed.versions.get(tool) != version:
            raise PipelineError(
                f"the bundle was planned with {tool} {reviewed.versions.get(tool)}, and here is {version}: plan again"
            )
    release = environment.release
    if release and release.image == WORKTREE and reviewed.image != source_tree.recorded_digest():
        raise PipelineError(
            f"the bundle was planned with image {reviewed.image}, "
            f"and here is {source_tree.recorded_digest()}: plan again"
        )


def _check_rights(target: Target, reviewed: Bundle) -> None:
    """Refuse a workflow that would have to change what only an administrator may, before anything is changed."""
    name = target.environment.name
    reserved = {ACCESS_UNIT: "says what workflows may do"}
    if not target.environment.erasable:
        reserved[STORES_UNIT] = "holds what may not be erased"
    for unit in reviewed.units:
        if unit.changes and unit.name in reserved and not target.administers:
            raise PipelineError(
                f"{name}/{unit.name} {reserved[unit.name]}, so none may change it: an administrator applies "
                f"live/{name}/{unit.name} first, then plan again"
            )


def _waiting(target: Target, reviewed: Bundle, done: set[str], listener: Listener) -> list[str]:
    """Plan again, and return the units of `later` that have something to apply.

    Args:
        done: units that were applied.

    Raises:
        PipelineError: a unit whose plan was applied has a change left.
    """
    plans = terragrunt.plan(target, listener, sorted({*done, *reviewed.later}))
    left = {unit: touched for unit, plan in plans.items() if (touched := evidence.touched(plan))}
    for unit in sorted(done):
        if unit in left:
            (address, action), name = left[unit][0], target.environment.name
            raise PipelineError(
                f"{name}/{unit} is applied as planned, and a new plan would still {action} {address}: "
                f"something changes it behind Terraform's back (make drift ENV={name})"
            )
    return sorted(left)
