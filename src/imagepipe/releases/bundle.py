"""The plans of an environment as they were reviewed: evidence with which the plans of an apply are compared.

A bundle holds what every plan would change and what it was made of, and nothing that could be executed: an apply plans
again. A plan with mock outputs, or with inputs that another plan of the bundle will change, is shown to the reader and
left out: it gets a bundle of its own once the others are applied. A new environment comes up in such waves.
"""

import hashlib
import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from imagepipe.container import source_tree
from imagepipe.errors import PipelineError
from imagepipe.files import write_atomically
from imagepipe.live.environments import WORKTREE
from imagepipe.releases import affected, aliases, canary, evidence, policies, repository
from imagepipe.releases.aliases import Canary
from imagepipe.releases.evidence import Change
from imagepipe.releases.snapshot import Snapshot
from imagepipe.releases.summary import Planned
from imagepipe.terragrunt import drift, runner, state
from imagepipe.terragrunt import units as terragrunt
from imagepipe.terragrunt.runner import Listener
from imagepipe.terragrunt.target import Target

#: Every mock output in live/_units holds this word.
MOCK = "mock-output"


class PlannedUnit(BaseModel):
    """A unit of a bundle, with what its plan would do."""

    model_config = ConfigDict(extra="forbid")

    name: str
    changes: list[Change]


class Bundle(BaseModel):
    """The sources and tools that plans were made of, and what they would change."""

    model_config = ConfigDict(extra="forbid")

    format: Literal[2] = 2
    environment: str
    account_id: str
    commit: str
    trees: dict[str, str]
    versions: dict[str, str]
    #: Digest that `worktree` stood for; None where the release names an image.
    image: str | None
    #: Of the digests of values.
    salt: str
    #: In the order of applying.
    units: list[PlannedUnit]
    #: Units that are planned again once the others are applied, with the reason.
    later: dict[str, str]
    planned: datetime
    #: The share of the calls that new versions have once the units are applied; None: all calls.
    canary: Canary | None = None

    @property
    def sha256(self) -> str:
        """Identity of the bundle."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


def plan(snapshot: Snapshot, units: list[str], listener: Listener) -> tuple[Planned, Bundle]:
    """Plan units of an environment, and put those that can be applied as planned into a bundle.

    Raises:
        PipelineError: there are uncommitted changes, or Terragrunt failed.
    """
    if changes := repository.uncommitted():
        raise PipelineError(f"{changes[0]} is not committed: a bundle is a plan of a commit, so commit first")
    environment = snapshot.environment
    with tempfile.TemporaryDirectory(prefix="bundle-") as folder:
        planned = look(snapshot, canary.first_step(snapshot), units, listener, Path(folder))
    release, salt = environment.release, evidence.new_salt()
    return planned, Bundle(
        environment=environment.name,
        account_id=environment.account_id,
        commit=planned.commit,
        trees=repository.trees(),
        versions=runner.versions(),
        image=source_tree.recorded_digest() if release and release.image == WORKTREE else None,
        salt=salt,
        units=[
            PlannedUnit(name=unit, changes=evidence.changes(plan, salt))
            for unit, plan in planned.plans.items()
            if unit not in planned.later
        ],
        later=planned.later,
        planned=datetime.now(UTC),
        canary=planned.canary if aliases.UNIT not in planned.later else None,
    )


def look(snapshot: Snapshot, target: Target, units: list[str], listener: Listener, folder: Path) -> Planned:
    """Plan units of the checkout, uncommitted changes included, into a folder as <unit>.tfplan.

    Args:
        target: the snapshot's, with the versions that the plans hold.

    Raises:
        PipelineError: Terragrunt failed, or mock outputs are in a plan that has no reason to hold any.
    """
    environment, name = snapshot.environment, snapshot.environment.name
    ordered = [unit for unit in affected.in_order(affected.units()) if unit.environment == name and unit.short in units]
    plans = terragrunt.plan(target, listener, [unit.short for unit in ordered], folder)
    waived = policies.waivers()
    violations = [
        violation
        for unit, plan in plans.items()
        for violation in policies.judge(f"{name}/{unit}", plan, waived, environment)
    ]
    later = _later({unit.short: sorted(unit.needs) for unit in ordered}, plans, snapshot.deployed_units)
    compute = plans.get(aliases.UNIT)
    first = canary.canary_of(environment, compute or {})
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


def write(file: Path, bundle: Bundle) -> None:
    """Write a bundle, which appears whole."""
    write_atomically(file, bundle.model_dump_json(indent=2) + "\n")


def read(file: Path) -> Bundle:
    """Read a bundle.

    Raises:
        PipelineError: there is no such file, or another version of this command made it.
    """
    try:
        return Bundle.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        raise PipelineError(f"there is no bundle {file}: make plan ENV=… BUNDLE={file} makes one") from None
    except OSError as error:
        raise PipelineError(f"the bundle {file} cannot be read: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        why = f"{where}: {first['msg']}" if where else first["msg"]
        raise PipelineError(f"{file} is no bundle that this version can read ({why}): plan again") from None


def check(reviewed: Bundle, planned: Planned, *, rest: bool = False) -> None:
    """Compare the plans of an environment with those that were reviewed.

    Args:
        planned: its units that are planned again later are left out.
        rest: the plans are of what an apply of the bundle that died has left.

    Raises:
        PipelineError: they differ; the message names the first change that does.
    """
    expected = {unit.name: unit.changes for unit in reviewed.units}
    differences = [
        (unit, sentence)
        for unit, plan in planned.plans.items()
        if unit not in planned.later
        for sentence in evidence.compare(expected.get(unit, []), plan, reviewed.salt, rest=rest)
    ]
    if differences:
        unit, sentence = differences[0]
        more = f" ({len(differences) - 1} more)" if len(differences) > 1 else ""
        raise PipelineError(
            f"the plan of {reviewed.environment} is not the one that was reviewed at {reviewed.commit[:12]}: "
            f"{unit}: {sentence}{more}; plan again, and let that plan be reviewed"
        )


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
