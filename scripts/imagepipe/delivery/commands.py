"""What the commands of a delivery do and say."""

from datetime import UTC, datetime
from pathlib import Path

from imagepipe.cloud import Target
from imagepipe.console import console, say
from imagepipe.delivery import affected, bundle, record, repository, rollout, seal, summary
from imagepipe.delivery import smoke as smoke_test
from imagepipe.errors import PipelineError
from imagepipe.images import Pipeline

#: There is more to apply, once somebody has looked at its plan.
MORE = 3

#: As a value of UNITS.
_AFFECTED = "affected"


def plan(target: Target, units: str, base: str, file: Path | None, labels: str) -> None:
    """Plans some units, shows and writes the summary, and seals the bundle if nothing speaks against it.

    Raises:
        PipelineError: units that do not exist, or a plan that breaks a rule; the summary is written all the same.
    """
    chosen = _chosen(target, units, base)
    secret = seal.key(target.cloud) if file else ""
    found, made = bundle.plan(target, chosen, frozenset(filter(None, labels.split(","))), lambda _: None)
    console.print(summary.table(found))
    for danger in summary.dangers(found):
        say(danger.replace("**", "").replace("`", ""))
    if file is None:
        bundle.refuse(found)
        return
    for suffix, content in ((".md", summary.markdown(found)), (".json", summary.as_json(found))):
        beside = file.with_name(file.name + suffix)
        beside.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(content)
    file.unlink(missing_ok=True)  # of what is refused, no older bundle may be taken for the new one
    bundle.refuse(found)
    bundle.write(file, made, secret)
    counted = summary.counts(found.differences)
    told = ", ".join(f"{count} to {verb}" for verb, count in counted.items() if count) or "nothing to do"
    say(f"{told}; {len(made.manifest.units)} units in {file}, the summary in {file}.md")


def _chosen(target: Target, units: str, base: str) -> list[str]:
    known, name = target.environment.units, target.environment.name
    if not units:
        return known
    if units == _AFFECTED:
        reached = {each.unit for each in affected.since(base or repository.main_branch())}
        return [unit for unit in known if f"{name}/{unit}" in reached]
    wanted = [unit.strip() for unit in units.split(",") if unit.strip()]
    if unknown := sorted({*wanted} - {*known}):
        raise PipelineError(f"{name} has no unit {unknown[0]}: UNITS is {_AFFECTED}, or some of {', '.join(known)}")
    return wanted


def apply(target: Target, file: Path) -> int:
    """Applies a bundle. The exit code: 0, or MORE."""
    made = bundle.read(file, seal.key(target.cloud))
    outcome = rollout.apply(target, made, lambda _: None, say)
    name = target.environment.name
    say(f"{name}: {', '.join(outcome.applied) or 'nothing'} applied as planned at {made.manifest.commit[:12]}")
    if outcome.waiting:
        say(f"{', '.join(outcome.waiting)} can be planned now: make plan ENV={name} BUNDLE=…, and apply that")
        return MORE
    say(f"a new plan of {name} is empty")
    return 0


def smoke(target: Target) -> None:
    """Tries an environment out, and notes it in the record of what is deployed."""
    seconds = smoke_test.test(Pipeline(target))
    say(f"{target.environment.name}: an image went in, came out by the API and was removed, in {seconds:.1f} s")
    deployment = record.read(target)
    if deployment and deployment.status == "succeeded":
        deployment.smoked = datetime.now(UTC)
        record.write(target, deployment)
