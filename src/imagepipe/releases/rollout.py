"""Applies a bundle exactly as it was planned, unit after unit in order, and records its progress."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from imagepipe.container import source_tree
from imagepipe.errors import PipelineError
from imagepipe.live.environments import ACCESS_UNIT, WORKTREE
from imagepipe.releases import aliases, bundle, canary, record, repository, snapshot
from imagepipe.releases.bundle import Bundle, Manifest, PlannedUnit, StateVersion
from imagepipe.releases.canary import Refuted
from imagepipe.releases.record import DeploymentRecord, Steps
from imagepipe.releases.snapshot import Snapshot
from imagepipe.terragrunt import runner
from imagepipe.terragrunt import units as terragrunt
from imagepipe.terragrunt.runner import Listener
from imagepipe.terragrunt.target import Target

Say = Callable[[str], None]


@dataclass(frozen=True)
class RolloutResult:
    """Units that a bundle's rollout has dealt with."""

    applied: list[str]
    #: Units that have something to apply now that the others are applied: they need a plan of their own.
    waiting: list[str]


def apply(target: Target, planned: Bundle, listener: Listener, say: Say) -> RolloutResult:
    """Apply a bundle's plans one after another, then plan again to show that no change is left.

    Between the two, new versions that got a share of the calls are watched, and get the rest.

    The same bundle again, after an apply that died, goes on where that stopped. A unit that was left half-way is
    planned again, and applied if that plan holds no change that the bundle does not hold.

    Raises:
        PipelineError: before anything is changed, if the checkout, the tools or the state are not those of the plan;
            after it, if Terragrunt failed, something spoke against the new versions or a change is left.
    """
    manifest = planned.manifest
    check_sources(target, manifest)
    before = snapshot.take(target)
    again = before.record if before.record and before.record.plan == planned.sha256 else None
    half = check_states(before, manifest, again)
    _check_rights(target, manifest)
    if again and _is_over(again, say):
        return RolloutResult([], [])
    steps = Steps(target, again or record.begin(target, before.record, planned.sha256))
    steps.begin()
    applied = []
    with _failure_recorded(steps):
        for unit in manifest.units:
            if unit.name in steps.record.applied or not unit.needed:
                continue
            say(f"applying {target.environment.name}/{unit.name}")
            _apply(before, unit, planned, listener, half=unit.name in half)
            steps.done(unit.name, before.refresh().serial(unit.name))
            applied.append(unit.name)
        if manifest.canary:
            _finish_canary(before.refresh(), steps, listener)
        waiting = _waiting(target, manifest, listener)
    steps.end("applying" if waiting else "succeeded")
    return RolloutResult(applied, waiting)


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


def check_sources(target: Target, manifest: Manifest) -> None:
    """Check that the checkout and the tools are those that a bundle was planned with.

    Raises:
        PipelineError: with the first difference.
    """
    environment, planned_at = target.environment, manifest.commit[:12]
    if manifest.environment != environment.name:
        raise PipelineError(
            f"the bundle is a plan of {manifest.environment}, not of {environment.name}: "
            f"apply it with ENV={manifest.environment}"
        )
    if manifest.account_id != environment.account_id:
        raise PipelineError(
            f"the bundle is a plan for account {manifest.account_id}, not {environment.account_id}: plan again"
        )
    if changes := repository.uncommitted():
        raise PipelineError(f"{changes[0]} is not committed, so it is in no plan: commit it and plan again, or drop it")
    for path, tree in repository.trees().items():
        if manifest.trees.get(path) != tree:
            raise PipelineError(
                f"the bundle was planned at commit {planned_at}, and {path} is another one here: plan again"
            )
    for tool, version in runner.versions().items():
        if manifest.versions.get(tool) != version:
            raise PipelineError(
                f"the bundle was planned with {tool} {manifest.versions.get(tool)}, and here is {version}: plan again"
            )
    release = environment.release
    if release and release.image == WORKTREE and manifest.image != source_tree.recorded_digest():
        raise PipelineError(
            f"the bundle was planned with image {manifest.image}, "
            f"and here is {source_tree.recorded_digest()}: plan again"
        )


def check_states(before: Snapshot, manifest: Manifest, again: DeploymentRecord | None) -> set[str]:
    """Return units that an earlier apply of the same bundle left half-way.

    Args:
        again: the record of that earlier apply; None if there was none.

    Raises:
        PipelineError: a state has changed since it was planned, and not by that apply.
    """
    half = set()
    for unit in manifest.units:
        state = before.states.get(unit.name)
        version = None if state is None else StateVersion(lineage=state["lineage"], serial=state["serial"])
        if version == unit.state:
            continue
        if again and version and again.applied.get(unit.name) == version.serial:
            continue
        if again and unit.needed and unit.name not in again.applied:
            half.add(unit.name)
            continue
        planned = f"serial {unit.state.serial}" if unit.state else "no state"
        now = f"serial {version.serial}" if version else "none"
        raise PipelineError(
            f"{manifest.environment}/{unit.name} has changed since it was planned "
            f"(its state had {planned}, now {now}): plan again"
        )
    return half


def _check_rights(target: Target, manifest: Manifest) -> None:
    """Refuse a workflow that would have to change its own permissions, before anything is changed."""
    if any(unit.name == ACCESS_UNIT and unit.needed for unit in manifest.units) and not target.administers:
        name = target.environment.name
        raise PipelineError(
            f"{name}/{ACCESS_UNIT} says what workflows may do, so none may change it: an administrator applies "
            f"live/{name}/{ACCESS_UNIT} first, then plan again"
        )


def _apply(before: Snapshot, unit: PlannedUnit, planned: Bundle, listener: Listener, *, half: bool) -> None:
    target = canary.holding(before.target, planned.manifest.canary)
    with tempfile.TemporaryDirectory(prefix="bundle-") as folder:
        file = Path(folder) / f"{unit.name}.tfplan"
        if half:
            _plan_rest(before, target, unit, listener, Path(folder))
        else:
            file.write_bytes(planned.plans[unit.name])
        terragrunt.apply_plan(target, unit.name, file, listener)


def _plan_rest(before: Snapshot, target: Target, unit: PlannedUnit, listener: Listener, folder: Path) -> None:
    """Plan the rest of a unit that was left half-way into a folder.

    Raises:
        PipelineError: the plan holds a change that the bundle does not hold.
    """
    plan = terragrunt.plan(target, listener, [unit.name], folder)[unit.name]
    if unit.name == aliases.UNIT and aliases.publish(target, before.aliases, plan):
        plan = terragrunt.plan(target, listener, [unit.name], folder)[unit.name]
    if new := sorted(set(bundle.changes(plan)) - _parts(unit.changes)):
        raise PipelineError(
            f"{target.environment.name}/{unit.name} was left half-way, and what is left is more than "
            f"was planned: {new[0][1]} {new[0][0]}; plan again"
        )


def _parts(changes: list[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return planned changes and their parts: a replacement that is half done is a creation."""
    return {(address, action) for address, action in changes} | {
        (address, part) for address, action in changes if action == "replace" for part in ("create", "destroy")
    }


def _waiting(target: Target, manifest: Manifest, listener: Listener) -> list[str]:
    """Plan again, and return the units of `later` that have something to apply.

    Raises:
        PipelineError: a unit whose plan was applied has a change left.
    """
    done = [unit.name for unit in manifest.units if unit.needed or (manifest.canary and unit.name == aliases.UNIT)]
    plans = terragrunt.plan(target, listener, sorted({*done, *manifest.later}))
    left = {unit: plan for unit, plan in plans.items() if bundle.needed(plan)}
    for unit in done:
        if unit in left:
            first = bundle.changes(left[unit]) or [("its outputs", "change")]
            name = target.environment.name
            raise PipelineError(
                f"{name}/{unit} is applied as planned, and a new plan would still {first[0][1]} {first[0][0]}: "
                f"something changes it behind Terraform's back (make drift ENV={name})"
            )
    return sorted(left)
