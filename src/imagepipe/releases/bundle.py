"""Saved plans of an environment in one sealed file, with a manifest of all that they were made of.

What is in a bundle may be applied as it is: no plan with mock outputs, and none whose inputs the other plans of the
bundle will change. Such units are planned for the reader and left for a bundle of their own, once the others are
applied; that is how a new environment comes up, wave by wave.
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
from imagepipe.releases import affected, canary, policies, repository, seal
from imagepipe.releases.canary import Canary
from imagepipe.releases.summary import Planned
from imagepipe.terragrunt import drift
from imagepipe.terragrunt import units as terragrunt
from imagepipe.terragrunt.target import Target

#: Every mock in live/_units holds it.
MOCK = "mock-output"

_MANIFEST = "manifest.json"


class State(BaseModel):
    """Which state a plan was made against: https://developer.hashicorp.com/terraform/internals/architecture#state"""

    lineage: str
    serial: int


class PlannedUnit(BaseModel):
    name: str
    #: What the plan would do: address and action of every resource that it touches.
    changes: list[tuple[str, str]]
    #: Something is to be applied, be it an output only.
    needed: bool
    sha256: str
    #: None where the unit was never applied.
    state: State | None


class Manifest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    format: Literal[1] = 1
    environment: str
    account_id: str
    commit: str
    trees: dict[str, str]
    versions: dict[str, str]
    #: Digest that `worktree` stood for; a release names its own.
    image: str | None
    #: In the order in which they are applied.
    units: list[PlannedUnit]
    later: dict[str, str]
    planned: datetime
    #: Applied, the units leave new versions with a share of the calls.
    canary: Canary | None = None


class Bundle(BaseModel):
    manifest: Manifest
    plans: dict[str, bytes]
    sha256: str


def plan(
    target: Target, units: list[str], labels: frozenset[str], listener: terragrunt.Listener
) -> tuple[Planned, Bundle]:
    """Plans units of an environment, and puts those into a bundle that can be applied as planned.

    Raises:
        PipelineError: changes that no commit holds, or Terragrunt failed.
    """
    if changes := repository.uncommitted():
        raise PipelineError(f"{changes[0]} is not committed: a bundle is a plan of a commit, so commit first")
    environment = target.environment
    states = terragrunt.states(target)
    with tempfile.TemporaryDirectory(prefix="bundle-") as folder:
        planned = look(target, units, labels, listener, Path(folder))
        raw = {unit: (Path(folder) / f"{unit}.tfplan").read_bytes() for unit in planned.plans}
    release = environment.release
    manifest = Manifest(
        environment=environment.name,
        account_id=environment.account_id,
        commit=planned.commit,
        trees=repository.trees(),
        versions=terragrunt.versions(),
        image=source_tree.recorded() if release and release.image == WORKTREE else None,
        units=[
            _unit(unit, found, raw[unit], states.get(unit))
            for unit, found in planned.plans.items()
            if unit not in planned.later
        ],
        later=planned.later,
        planned=datetime.now(UTC),
        canary=planned.canary if canary.UNIT not in planned.later else None,
    )
    return planned, _sealed(manifest, raw)


def look(
    target: Target, units: list[str], labels: frozenset[str], listener: terragrunt.Listener, folder: Path
) -> Planned:
    """Plans units into a folder, as the files lie there, and says all that can be said of it.

    Raises:
        PipelineError: Terragrunt failed, or mock outputs are in a plan that has no reason to hold any.
    """
    name = target.environment.name
    ordered = [unit for unit in affected.in_order(affected.units()) if unit.environment == name and unit.short in units]
    deployed = {unit for unit, state in terragrunt.states(target).items() if state["outputs"]}
    plans = terragrunt.save_plans(canary.first_step(target), [unit.short for unit in ordered], folder, listener)
    waived = policies.waivers()
    violations = [
        violation
        for unit, plan in plans.items()
        for violation in policies.judge(f"{name}/{unit}", plan, labels, waived)
    ]
    later = _later({unit.short: sorted(unit.needs) for unit in ordered}, plans, deployed)
    first = canary.planned(target.environment, plans.get(canary.UNIT, {}))
    orphans = tuple(terragrunt.orphans(target))
    left = tuple(canary.unpublished(target, plans[canary.UNIT])) if canary.UNIT in plans else ()
    return Planned(name, repository.commit("HEAD"), plans, violations, later, orphans, first, left)


def refuse(planned: Planned) -> None:
    """Raises PipelineError for a plan that must not be applied, with the first reason and how many there are."""
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
    seal.write(file, _packed(bundle.manifest, bundle.plans), secret)


def read(file: Path, secret: str) -> Bundle:
    """Opens a bundle.

    Raises:
        PipelineError: what was said in seal.read, or a bundle that another version of this program made.
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
            raise PipelineError(f"{file} does not hold the plan of {unit.name} that it speaks of: plan again")
    return Bundle(manifest=manifest, plans=plans, sha256=hashlib.sha256(content).hexdigest())


def changes(plan: dict[str, Any]) -> list[tuple[str, str]]:
    """Address and action of every resource that a plan touches."""
    return [(each.address, each.action) for each in drift.differences("", plan)]


def needed(plan: dict[str, Any]) -> bool:
    """Whether applying a plan would do anything at all."""
    return bool(changes(plan)) or _changes_outputs(plan)


def _changes_outputs(plan: dict[str, Any]) -> bool:
    return any(each["actions"] != ["no-op"] for each in plan.get("output_changes", {}).values())


def _later(needs: dict[str, list[str]], plans: dict[str, dict[str, Any]], deployed: set[str]) -> dict[str, str]:
    """Units whose inputs are not final, and why.

    Raises:
        PipelineError: mock outputs in a plan that has no reason to hold any.
    """
    later: dict[str, str] = {}
    for unit, dependencies in needs.items():
        for dependency in dependencies:
            if dependency not in deployed:
                later[unit] = f"{dependency} is not there yet"
            elif dependency in plans and _changes_outputs(plans[dependency]):
                later[unit] = f"{dependency} changes what it puts out"
        if unit not in later and MOCK in json.dumps(plans[unit]):
            raise PipelineError(
                f"the plan of {unit} holds mock outputs, though all it depends on is there: an output is missing in "
                f"{', '.join(dependencies)}; apply that first"
            )
    return later


def _unit(name: str, plan: dict[str, Any], raw: bytes, state: dict[str, Any] | None) -> PlannedUnit:
    return PlannedUnit(
        name=name,
        changes=changes(plan),
        needed=needed(plan),
        sha256=hashlib.sha256(raw).hexdigest(),
        state=None if state is None else State(lineage=state["lineage"], serial=state["serial"]),
    )


def _sealed(manifest: Manifest, raw: dict[str, bytes]) -> Bundle:
    plans = {unit.name: raw[unit.name] for unit in manifest.units}
    return Bundle(manifest=manifest, plans=plans, sha256=hashlib.sha256(_packed(manifest, plans)).hexdigest())


def _packed(manifest: Manifest, plans: dict[str, bytes]) -> bytes:
    """A tar archive; the same content gives the same bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        members = {_MANIFEST: manifest.model_dump_json(indent=2).encode()}
        members |= {f"{name}.tfplan": raw for name, raw in sorted(plans.items())}
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()
