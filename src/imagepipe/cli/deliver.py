"""What the commands of a delivery do and say."""

import tempfile
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from pathlib import Path

from imagepipe.console import console, say
from imagepipe.errors import PipelineError
from imagepipe.images.pipeline import Pipeline
from imagepipe.live import environments
from imagepipe.live.environments import LIVE, ROOT, Release
from imagepipe.releases import affected, bundle, canary, promotion, record, repository, rollout, seal, summary
from imagepipe.releases import smoke as smoke_test
from imagepipe.terragrunt.target import Cloud, Target, target

#: There is more to apply, once somebody has looked at its plan.
MORE = 3

#: As a value of UNITS.
_AFFECTED = "affected"


def plan(there: Target, units: str, base: str, file: Path | None, labels: str) -> None:
    """Plans some units, shows and writes the summary, and seals the bundle if nothing speaks against it.

    Raises:
        PipelineError: units that do not exist, or a plan that breaks a rule; the summary is written all the same.
    """
    chosen = _chosen(there, units, base)
    secret = seal.key(there.cloud) if file else ""
    found, made = bundle.plan(there, chosen, frozenset(filter(None, labels.split(","))), lambda _: None)
    console.print(summary.table(found))
    for danger in summary.dangers(found):
        say(danger.replace("**", "").replace("`", ""))
    if found.canary:
        say(canary.words(there.environment, found.canary))
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


def _chosen(there: Target, units: str, base: str) -> list[str]:
    known, name = there.environment.units, there.environment.name
    if not units:
        return known
    if units == _AFFECTED:
        reached = {each.unit for each in affected.since(base or repository.main_branch())}
        return [unit for unit in known if f"{name}/{unit}" in reached]
    wanted = [unit.strip() for unit in units.split(",") if unit.strip()]
    if unknown := sorted({*wanted} - {*known}):
        raise PipelineError(f"{name} has no unit {unknown[0]}: UNITS is {_AFFECTED}, or some of {', '.join(known)}")
    return wanted


def apply(there: Target, file: Path) -> int:
    """Applies a bundle. The exit code: 0, or MORE."""
    made = bundle.read(file, seal.key(there.cloud))
    outcome = rollout.apply(there, made, lambda _: None, say)
    name = there.environment.name
    say(f"{name}: {', '.join(outcome.applied) or 'nothing'} applied as planned at {made.manifest.commit[:12]}")
    if outcome.waiting:
        say(f"{', '.join(outcome.waiting)} can be planned now: make plan ENV={name} BUNDLE=…, and apply that")
        return MORE
    say(f"a new plan of {name} is empty")
    return 0


def promote(source: str, to: str, cloud: Cloud) -> None:
    """Makes the branch that releases to one environment what runs in the one before it.

    Raises:
        PipelineError: they do not follow each other, or what runs may not go on.
    """
    road = environments.road()
    for name in (source, to):
        if name not in road:
            raise PipelineError(f"no release goes through {name!r}: FROM and TO are two of {', '.join(road)}")
    if road.index(to) != road.index(source) + 1:
        pairs = ", ".join(f"FROM={a} TO={b}" for a, b in pairwise(road))
        raise PipelineError(f"a release does not go from {source} to {to}: {pairs}")
    made = promotion.promote(target(environments.load(source), cloud), to, partial(_plan_of, to, cloud))
    if made is None:
        say(f"{to} has what {source} runs")
    else:
        _show(made)


def rollback(name: str, to: str, cloud: Cloud) -> None:
    """Makes the branch that takes an environment back to what it ran before."""
    if name not in environments.road():
        raise PipelineError(f"no release goes through {name!r}: ENV is one of {', '.join(environments.road())}")
    _show(promotion.rollback(name, to, partial(_plan_of, name, cloud)))


def _show(made: promotion.Proposal) -> None:
    console.print(made.title, markup=False, highlight=False, soft_wrap=True)
    console.print(made.body, markup=False, highlight=False, soft_wrap=True)
    say(
        f"branch {made.branch} holds it; title and body of the pull request are in {promotion.RESULT.relative_to(ROOT)}"
    )


def _plan_of(name: str, cloud: Cloud, release: Release) -> str:
    """What a release would change in an environment, for its pull request.

    The release file says so while it is planned, and says again what it said before.
    """
    if cloud is Cloud.AWS:  # whoever has read one account has no credentials of the next
        return promotion.PLANNED_LATER
    file = LIVE / name / "release.json"
    before = file.read_bytes()
    try:
        file.write_text(release.model_dump_json())
        there = target(environments.load(name), cloud)
        with tempfile.TemporaryDirectory(prefix="plan-") as folder:
            found = bundle.look(there, there.environment.units, frozenset(), lambda _: None, Path(folder))
    finally:
        file.write_bytes(before)
    return summary.overview(found)


def check(base: str, cloud: Cloud) -> None:
    """Says what holds of a change of a release file."""
    words = promotion.check(base or repository.main_branch(), cloud)
    for each in words:
        say(each.replace("`", ""))
    say("the release may be merged" if words else "no release file is changed: nothing to check")


def smoke(there: Target) -> None:
    """Tries an environment out, and notes it in the record of what is deployed."""
    seconds = smoke_test.test(Pipeline(there))
    say(f"{there.environment.name}: an image went in, came out by the API and was removed, in {seconds:.1f} s")
    deployment = record.read(there)
    if deployment and deployment.status == "succeeded":
        deployment.smoked = datetime.now(UTC)
        record.write(there, deployment)
