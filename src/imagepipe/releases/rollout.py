"""A bundle applied: exactly what was planned, nothing else, in order, with word left of how far it came."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from imagepipe.container import source_tree
from imagepipe.errors import PipelineError
from imagepipe.live.environments import ACCESS_UNIT, WORKTREE
from imagepipe.releases import bundle, canary, record, repository
from imagepipe.releases.bundle import Bundle, Manifest, PlannedUnit, State
from imagepipe.releases.canary import Refuted
from imagepipe.releases.record import Deployment, Steps
from imagepipe.terragrunt import units as terragrunt
from imagepipe.terragrunt.target import Target

Say = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    applied: list[str]
    #: Units that have something to apply now that the others are: they take a plan, and a look at it, of their own.
    waiting: list[str]


def apply(target: Target, planned: Bundle, listener: terragrunt.Listener, say: Say) -> Outcome:
    """Applies a bundle's plans one after another, then plans again: nothing may be left of what was planned.

    Between the two, new versions that got a share of the calls are watched, and get the rest.

    An apply that died goes on where it stopped. What it left half-way is planned again, and applied if that holds
    nothing that the bundle did not hold.

    Raises:
        PipelineError: before anything is changed, if the checkout, the tools or the state are not those of the plan;
            after it, if Terragrunt failed, something spoke against the new versions or something is left to do.
    """
    manifest = planned.manifest
    check_sources(target, manifest)
    before = record.read(target)
    again = before if before and before.plan == planned.sha256 else None
    half = check_states(target, manifest, again)
    _check_rights(target, manifest)
    if again and again.status == "succeeded":
        say(f"this bundle was applied on {again.finished:%Y-%m-%d %H:%M} UTC by {again.who}")
        return Outcome([], [])
    if again and again.refuted:
        raise PipelineError(
            f"this bundle was applied on {again.finished:%Y-%m-%d %H:%M} UTC and taken back, because "
            f"{again.refuted}: mend that, and plan again"
        )
    steps = Steps(target, again or record.begin(target, planned.sha256))
    steps.deployment.status = "applying"
    record.write(target, steps.deployment)
    applied = []
    try:
        for unit in manifest.units:
            if unit.name in steps.deployment.applied or not unit.needed:
                continue
            say(f"applying {target.environment.name}/{unit.name}")
            first = canary.holding(target, manifest.canary)
            _apply(first, unit, planned.plans[unit.name], listener, half=unit.name in half)
            steps.done(unit.name, int(terragrunt.states(target)[unit.name]["serial"]))
            applied.append(unit.name)
        if manifest.canary:
            _carry_on(target, steps, listener)
        waiting = _left(target, manifest, listener)
    except BaseException as error:
        steps.end("failed", error.reason if isinstance(error, Refuted) else None)
        raise
    steps.end("applying" if waiting else "succeeded")
    return Outcome(applied, waiting)


def apply_directly(target: Target, listener: terragrunt.Listener) -> None:
    """Applies an environment as its files are, without a bundle; the record says so."""
    terragrunt.prepare_apply(target, listener)
    first, before = canary.first_step(target), record.read(target)
    steps = Steps(target, record.begin(target, None))
    if before and before.status != "succeeded" and canary.under_way(target):
        steps.deployment.started = before.started  # it goes on with that one, alarms that nobody saw included
    record.write(target, steps.deployment)
    try:
        terragrunt.apply(first, listener)
        if canary.publish(target, {}):
            terragrunt.apply(first, listener)
        _carry_on(target, steps, listener)
    except BaseException as error:
        steps.end("failed", error.reason if isinstance(error, Refuted) else None)
        raise
    steps.end("succeeded")


def _carry_on(target: Target, steps: Steps, listener: terragrunt.Listener) -> None:
    """From new versions with a share of the calls to new versions with all of them."""
    if first := canary.under_way(target):
        canary.watch_first_step(target, first, steps.deployment.started)
        steps.undone(canary.UNIT)
        canary.take_second_step(target, listener)
        steps.done(canary.UNIT, int(terragrunt.states(target)[canary.UNIT]["serial"]))


def check_sources(target: Target, manifest: Manifest) -> None:
    """Raises PipelineError where the checkout or the tools are not those that the bundle was planned with."""
    environment, planned_at = target.environment, manifest.commit[:12]
    if manifest.environment != environment.name:
        raise PipelineError(f"the bundle is a plan of {manifest.environment}, not of {environment.name}")
    if manifest.account_id != environment.account_id:
        raise PipelineError(f"the bundle is a plan for account {manifest.account_id}, not {environment.account_id}")
    if changes := repository.uncommitted():
        raise PipelineError(f"{changes[0]} is not committed, so it is in no plan: commit it and plan again, or drop it")
    for path, tree in repository.trees().items():
        if manifest.trees.get(path) != tree:
            raise PipelineError(
                f"the bundle was planned at commit {planned_at}, and {path} is another one here: plan again"
            )
    for tool, version in terragrunt.versions().items():
        if manifest.versions.get(tool) != version:
            raise PipelineError(
                f"the bundle was planned with {tool} {manifest.versions.get(tool)}, and here is {version}: plan again"
            )
    release = environment.release
    if release and release.image == WORKTREE and manifest.image != source_tree.recorded():
        raise PipelineError(
            f"the bundle was planned with image {manifest.image}, and here is {source_tree.recorded()}: plan again"
        )


def check_states(target: Target, manifest: Manifest, again: Deployment | None) -> set[str]:
    """Units that an apply of this very bundle left half-way.

    Raises:
        PipelineError: a state that somebody else has changed since it was planned.
    """
    states, half = terragrunt.states(target), set()
    for unit in manifest.units:
        state = states.get(unit.name)
        found = None if state is None else State(lineage=state["lineage"], serial=state["serial"])
        if found == unit.state:
            continue
        if again and found and again.applied.get(unit.name) == found.serial:
            continue
        if again and unit.needed and unit.name not in again.applied:
            half.add(unit.name)
            continue
        planned = f"serial {unit.state.serial}" if unit.state else "no state"
        now = f"serial {found.serial}" if found else "none"
        raise PipelineError(
            f"{manifest.environment}/{unit.name} has changed since it was planned "
            f"(its state had {planned}, now {now}): plan again"
        )
    return half


def _check_rights(target: Target, manifest: Manifest) -> None:
    """Raises PipelineError for a workflow that would have to change what it may do; said before anything is changed."""
    if any(unit.name == ACCESS_UNIT and unit.needed for unit in manifest.units) and not target.administers:
        name = target.environment.name
        raise PipelineError(
            f"{name}/{ACCESS_UNIT} says what workflows may do, so none may change it: an administrator applies "
            f"live/{name}/{ACCESS_UNIT} first, then plan again"
        )


def _apply(target: Target, unit: PlannedUnit, plan: bytes, listener: terragrunt.Listener, *, half: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="bundle-") as folder:
        file = Path(folder) / f"{unit.name}.tfplan"
        if half:
            found = terragrunt.save_plans(target, [unit.name], Path(folder), listener)[unit.name]
            if unit.name == canary.UNIT and canary.publish(target, found):
                found = terragrunt.save_plans(target, [unit.name], Path(folder), listener)[unit.name]
            if new := sorted(set(bundle.changes(found)) - _parts(unit.changes)):
                raise PipelineError(
                    f"{target.environment.name}/{unit.name} was left half-way, and what is left is more than "
                    f"was planned: {new[0][1]} {new[0][0]}; plan again"
                )
        else:
            file.write_bytes(plan)
        terragrunt.apply_plan(target, unit.name, file, listener)


def _parts(changes: list[tuple[str, str]]) -> set[tuple[str, str]]:
    """Planned changes, and what may be left of them: a replacement that is half done is a creation."""
    found = {(address, action) for address, action in changes}
    return found | {
        (address, part) for address, action in found if action == "replace" for part in ("create", "destroy")
    }


def _left(target: Target, manifest: Manifest, listener: terragrunt.Listener) -> list[str]:
    """Of the units that were to be planned again, those with something to apply.

    Raises:
        PipelineError: something is left of a unit whose plan was applied.
    """
    done = [unit.name for unit in manifest.units if unit.needed or (manifest.canary and unit.name == canary.UNIT)]
    with tempfile.TemporaryDirectory(prefix="bundle-") as folder:
        found = terragrunt.save_plans(target, sorted({*done, *manifest.later}), Path(folder), listener)
    left = {unit: plan for unit, plan in found.items() if bundle.needed(plan)}
    for unit in done:
        if unit in left:
            first = bundle.changes(left[unit]) or [("its outputs", "change")]
            name = target.environment.name
            raise PipelineError(
                f"{name}/{unit} is applied as planned, and a new plan would still {first[0][1]} {first[0][0]}: "
                f"something changes it behind Terraform's back (make drift ENV={name})"
            )
    return sorted(left)
