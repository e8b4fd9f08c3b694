"""Saved plans of an environment in one sealed file, with a manifest of what they were made of.

A bundle holds plans that can be applied as they are. A plan with mock outputs, or with inputs that another plan of the
bundle will change, is shown to the reader and left out: it gets a bundle of its own once the others are applied. A new
environment comes up in such waves.
"""

import hashlib
import io
import json
import tarfile
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from imagepipe.container import source_tree
from imagepipe.errors import PipelineError
from imagepipe.live.environments import WORKTREE
from imagepipe.releases import affected, aliases, canary, policies, repository, seal
from imagepipe.releases.aliases import Canary
from imagepipe.releases.snapshot import Snapshot
from imagepipe.releases.summary import Planned
from imagepipe.terragrunt import drift, runner, state
from imagepipe.terragrunt import units as terragrunt
from imagepipe.terragrunt.runner import Listener
from imagepipe.terragrunt.state import State

#: Every mock output in live/_units holds this word.
MOCK = "mock-output"

_MANIFEST = "manifest.json"


class StateVersion(BaseModel):
    """The version of the state that a plan was made against.

    Fields: https://developer.hashicorp.com/terraform/internals/architecture#state
    """

    lineage: str
    serial: int


class PlannedUnit(BaseModel):
    """A unit of a bundle, with what its plan would do."""

    name: str
    #: Address and action of every resource that the plan touches.
    changes: list[tuple[str, str]]
    #: True if the plan changes a resource or an output.
    needed: bool
    sha256: str
    #: None where the unit was never applied.
    state: StateVersion | None


class Manifest(BaseModel):
    """The sources, tools and states that a bundle's plans were made of. It is applied only if all are the same."""

    model_config = ConfigDict(extra="forbid")

    format: Literal[1] = 1
    environment: str
    account_id: str
    commit: str
    trees: dict[str, str]
    versions: dict[str, str]
    #: Digest that `worktree` stood for; None where the release names an image.
    image: str | None
    #: In the order of applying.
    units: list[PlannedUnit]
    #: Units that are planned again once the others are applied, with the reason.
    later: dict[str, str]
    planned: datetime
    #: The share of the calls that new versions have once the units are applied; None: all calls.
    canary: Canary | None = None


class Bundle(BaseModel):
    """Saved plans with their manifest."""

    manifest: Manifest
    #: Content of <unit>.tfplan, by unit.
    plans: dict[str, bytes]
    #: Of the content before it is sealed.
    sha256: str


def plan(snapshot: Snapshot, units: list[str], labels: frozenset[str], listener: Listener) -> tuple[Planned, Bundle]:
    """Plan units of an environment, and put those that can be applied as planned into a bundle.

    Args:
        labels: of the pull request.

    Raises:
        PipelineError: there are uncommitted changes, or Terragrunt failed.
    """
    if changes := repository.uncommitted():
        raise PipelineError(f"{changes[0]} is not committed: a bundle is a plan of a commit, so commit first")
    environment = snapshot.environment
    with tempfile.TemporaryDirectory(prefix="bundle-") as folder:
        planned = look(snapshot, units, labels, listener, Path(folder))
        raw = {unit: (Path(folder) / f"{unit}.tfplan").read_bytes() for unit in planned.plans}
    release = environment.release
    manifest = Manifest(
        environment=environment.name,
        account_id=environment.account_id,
        commit=planned.commit,
        trees=repository.trees(),
        versions=runner.versions(),
        image=source_tree.recorded_digest() if release and release.image == WORKTREE else None,
        units=[
            _unit(unit, plan, raw[unit], snapshot.states.get(unit))
            for unit, plan in planned.plans.items()
            if unit not in planned.later
        ],
        later=planned.later,
        planned=datetime.now(UTC),
        canary=planned.canary if aliases.UNIT not in planned.later else None,
    )
    return planned, _sealed(manifest, raw)


def look(snapshot: Snapshot, units: list[str], labels: frozenset[str], listener: Listener, folder: Path) -> Planned:
    """Plan units of the checkout, uncommitted changes included, into a folder as <unit>.tfplan.

    Raises:
        PipelineError: Terragrunt failed, or mock outputs are in a plan that has no reason to hold any.
    """
    name, target = snapshot.environment.name, snapshot.target
    ordered = [unit for unit in affected.in_order(affected.units()) if unit.environment == name and unit.short in units]
    plans = terragrunt.plan(canary.first_step(snapshot), listener, [unit.short for unit in ordered], folder)
    waived = policies.waivers()
    violations = [
        violation
        for unit, plan in plans.items()
        for violation in policies.judge(f"{name}/{unit}", plan, labels, waived)
    ]
    later = _later({unit.short: sorted(unit.needs) for unit in ordered}, plans, snapshot.deployed_units)
    compute = plans.get(aliases.UNIT)
    first = canary.canary_of(target.environment, compute or {})
    orphans = tuple(state.orphans(target))
    left = tuple(aliases.unpublished(target, snapshot.aliases, compute)) if compute else ()
    return Planned(name, repository.commit("HEAD"), plans, violations, later, orphans, first, left)


def refuse(planned: Planned) -> None:
    """Refuse a plan that must not be applied.

    Raises:
        PipelineError: with the first reason, and the number of others.
    """
    name = planned.environment
    if planned.orphans:
        unit = planned.orphans[0]
        raise PipelineError(
            f"live/{name}/{unit} is gone, but what it deployed is not: bring its folder back and destroy it first "
            f"(cd live/{name}/{unit} && terragrunt destroy) or, if it was renamed, move its state "
            "(terragrunt state pull, then push)"
        )
    if planned.unpublished:
        raise PipelineError(
            f"an apply of {name} died after it had changed {', '.join(planned.unpublished)}, and callers get what was "
            f"there before: run it again, with the bundle that it had or without (make apply ENV={name}), then plan"
        )
    if planned.violations:
        first, more = planned.violations[0], len(planned.violations) - 1
        raise PipelineError(
            f"the plan of {name} breaks the rule {first.rule}: {first.unit} {first.address}: {first.why}"
            f"{f' ({more} more)' if more else ''}; {first.remedy}"
        )


def write(file: Path, bundle: Bundle, secret: str) -> None:
    """Seal a bundle into a file.

    Args:
        secret: the key, as `seal.key` returns it.
    """
    seal.write(file, _packed(bundle.manifest, bundle.plans), secret)


def read(file: Path, secret: str) -> Bundle:
    """Open a bundle.

    Raises:
        PipelineError: `seal.read` refuses the file, or another version of this command made the bundle.
    """
    content = seal.read(file, secret)
    try:
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            members = {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]
        manifest = Manifest.model_validate_json(members.pop(_MANIFEST))
    except (tarfile.TarError, KeyError, ValidationError) as error:
        raise PipelineError(f"{file} is a bundle that this version cannot read: plan again ({error})") from None
    plans = {name.removesuffix(".tfplan"): raw for name, raw in members.items()}
    for unit in manifest.units:
        if hashlib.sha256(plans.get(unit.name, b"")).hexdigest() != unit.sha256:
            raise PipelineError(f"{file} does not hold the plan of {unit.name} that its manifest names: plan again")
    return Bundle(manifest=manifest, plans=plans, sha256=hashlib.sha256(content).hexdigest())


def changes(plan: dict[str, Any]) -> list[tuple[str, str]]:
    """Return address and action of every resource that a plan touches."""
    return [(difference.address, difference.action) for difference in drift.differences("", plan)]


def needed(plan: dict[str, Any]) -> bool:
    """Tell whether applying a plan would change a resource or an output."""
    return bool(changes(plan)) or drift.changes_outputs(plan)


def _later(needs: dict[str, list[str]], plans: dict[str, dict[str, Any]], deployed: set[str]) -> dict[str, str]:
    """Return units whose inputs are not final, with the reason.

    Raises:
        PipelineError: mock outputs in a plan that has no reason to hold any.
    """
    later: dict[str, str] = {}
    for unit, dependencies in needs.items():
        for dependency in dependencies:
            if dependency not in deployed:
                later[unit] = f"{dependency} is not deployed yet"
            elif dependency in plans and drift.changes_outputs(plans[dependency]):
                later[unit] = f"{dependency} changes its outputs"
        if unit not in later and MOCK in json.dumps(plans[unit]):
            raise PipelineError(
                f"the plan of {unit} holds mock outputs, though its dependencies are deployed: an output is missing in "
                f"{', '.join(dependencies)}; apply that first"
            )
    return later


def _unit(name: str, plan: dict[str, Any], raw: bytes, state: State | None) -> PlannedUnit:
    return PlannedUnit(
        name=name,
        changes=changes(plan),
        needed=needed(plan),
        sha256=hashlib.sha256(raw).hexdigest(),
        state=None if state is None else StateVersion(lineage=state["lineage"], serial=state["serial"]),
    )


def _sealed(manifest: Manifest, raw: dict[str, bytes]) -> Bundle:
    plans = {unit.name: raw[unit.name] for unit in manifest.units}
    return Bundle(manifest=manifest, plans=plans, sha256=hashlib.sha256(_packed(manifest, plans)).hexdigest())


def _packed(manifest: Manifest, plans: dict[str, bytes]) -> bytes:
    """Return a tar archive; the same content gives the same bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        members = {_MANIFEST: manifest.model_dump_json(indent=2).encode()}
        members |= {f"{name}.tfplan": raw for name, raw in sorted(plans.items())}
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()
