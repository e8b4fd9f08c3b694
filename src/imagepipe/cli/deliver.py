"""Commands that plan, apply and release."""

import json
import tempfile
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import typer

from imagepipe.cli.options import (
    BaseOption,
    CloudOption,
    EnvironmentOption,
    JsonOption,
    YesOption,
    confirm,
    load_target,
    load_targets,
)
from imagepipe.console import console, say
from imagepipe.errors import PipelineError
from imagepipe.images.pipeline import Pipeline
from imagepipe.live import environments
from imagepipe.live.environments import LIVE, ROOT, Release
from imagepipe.operations import doctor, first_hour
from imagepipe.operations.doctor import Answer, Verdict
from imagepipe.releases import affected as changes
from imagepipe.releases import (
    bundle,
    canary,
    promotion,
    proposal,
    record,
    releases,
    repository,
    rollout,
    snapshot,
    summary,
)
from imagepipe.releases import smoke as smoke_test
from imagepipe.terragrunt import drift as comparison
from imagepipe.terragrunt import state
from imagepipe.terragrunt import units as terragrunt
from imagepipe.terragrunt.target import Cloud, Target

DEPLOYMENTS, RELEASES = "Deployments", "Releases"

#: Exit code of `apply`: there is more to apply, once somebody has looked at its plan.
MORE = 3

#: Exit code of `smoke` and `doctor`: something must be fixed.
ATTENTION = 3

#: As a value of UNITS.
_AFFECTED = "affected"

app = typer.Typer()


@app.command(rich_help_panel=DEPLOYMENTS)
def bootstrap(env: EnvironmentOption = "dev", cloud: CloudOption = Cloud.LOCAL) -> None:
    """Create the state bucket and the lock table in an environment's account and region."""
    for target in load_targets(env, cloud):
        terragrunt.bootstrap(target, print)
        say(f"state bucket and lock table of {target.description} are there")


@app.command(rich_help_panel=DEPLOYMENTS)
def affected(base: BaseOption = "", as_json: JsonOption = False) -> None:
    """List the units that a change affects, each with the first reason."""
    reached = changes.since(base or repository.main_branch())
    removed = changes.removed(base or repository.main_branch())
    if as_json:
        print(json.dumps({"units": {unit.unit: unit.because for unit in reached}, "removed": removed}, indent=2))
        return
    for unit in reached:
        print(f"{unit.unit:<20} {unit.because}")
    for name in removed:
        print(f"{name:<20} removed; what it deployed stays until somebody destroys it")
    say(f"{len(reached)} units are affected")


@app.command(rich_help_panel=DEPLOYMENTS)
def plan(
    env: EnvironmentOption = "dev",
    cloud: CloudOption = Cloud.LOCAL,
    units: Annotated[
        str, typer.Option(help="Units to plan, separated by commas, or affected: those that differ from BASE.")
    ] = "",
    base: BaseOption = "",
    file: Annotated[
        Path | None, typer.Option("--bundle", help="File to write the changes to, for a review and for apply.")
    ] = None,
    reviewed: Annotated[
        Path | None, typer.Option(help="Bundle that was reviewed: plan its units, and fail if they would change more.")
    ] = None,
) -> None:
    """Show what an apply would change, counted per unit. With --bundle, write the changes down for apply."""
    for target in load_targets(env, cloud):
        say(f"planning {target.description}")
        _warn(target)
        if file is None and reviewed is None and not units:
            console.print(summary.table(target.environment.name, terragrunt.plan(target, print), {}))
        else:
            before = bundle.read(reviewed) if reviewed else None
            _plan(target, _chosen(target, units, base), file, before)


def _warn(target: Target) -> None:
    for warning in doctor.warnings(target):
        say(warning)


def _plan(target: Target, units: list[str], file: Path | None, reviewed: bundle.Bundle | None) -> None:
    """Plan units, show and write the summary, and write the bundle unless the plan is refused.

    Args:
        reviewed: takes the place of `units`.

    Raises:
        PipelineError: the plan is refused; the summary is written all the same.
    """
    if reviewed:
        rollout.check_sources(target, reviewed)
        units = [*(unit.name for unit in reviewed.units), *reviewed.later]
    plan, written = bundle.plan(snapshot.take(target), units, lambda _: None)
    console.print(summary.table(plan.environment, plan.plans, plan.later))
    for danger in summary.dangers(plan):
        say(danger.replace("**", "").replace("`", ""))
    if plan.canary:
        say(canary.words(target.environment, plan.canary))
    if file is None:
        _refuse(plan, reviewed)
        return
    for suffix, content in ((".md", summary.markdown(plan)), (".json", summary.as_json(plan))):
        beside = file.with_name(file.name + suffix)
        beside.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(content)
    file.unlink(missing_ok=True)  # an older bundle must not be taken for the one that is refused
    _refuse(plan, reviewed)
    bundle.write(file, written)
    counts = summary.counts(plan.differences)
    words = ", ".join(f"{count} to {verb}" for verb, count in counts.items() if count) or "nothing to do"
    say(f"{words}; {len(written.units)} units in {file}, the summary in {file}.md")


def _refuse(plan: summary.Planned, reviewed: bundle.Bundle | None) -> None:
    if reviewed:
        bundle.check(reviewed, plan)
    bundle.refuse(plan)


def _chosen(target: Target, units: str, base: str) -> list[str]:
    """Return the units that UNITS names.

    Raises:
        PipelineError: one of them does not exist.
    """
    known, name = target.environment.units, target.environment.name
    if not units:
        return known
    if units == _AFFECTED:
        reached = {unit.unit for unit in changes.since(base or repository.main_branch())}
        return [unit for unit in known if f"{name}/{unit}" in reached]
    wanted = [unit.strip() for unit in units.split(",") if unit.strip()]
    if unknown := sorted({*wanted} - {*known}):
        raise PipelineError(f"{name} has no unit {unknown[0]}: UNITS is {_AFFECTED}, or some of {', '.join(known)}")
    return wanted


@app.command(rich_help_panel=DEPLOYMENTS)
def drift(
    env: EnvironmentOption = "dev",
    cloud: CloudOption = Cloud.LOCAL,
    as_json: JsonOption = False,
    report: Annotated[
        Path | None,
        typer.Option(help="Write the differences to this file as Markdown. Without differences the file is empty."),
    ] = None,
) -> None:
    """Compare what is deployed with the configuration, by resource and attribute. Changes nothing.

    Exit code: 0 no differences, 1 an error, 2 differences.
    """
    differences: dict[str, list[comparison.Difference]] = {}
    for target in load_targets(env, cloud):
        say(f"comparing {target.description}")
        differences[target.environment.name] = comparison.find(target, lambda _: None)
    if as_json:
        print(json.dumps({name: [one.as_json() for one in those] for name, those in differences.items()}, indent=2))
    if report is not None:
        report.parent.mkdir(parents=True, exist_ok=True)
        report.write_text("".join(comparison.markdown(those, name) for name, those in differences.items() if those))
    for name, those in differences.items():
        if those and not as_json:
            console.print(comparison.table(those, f"{name} differs from its files"))
        say(f"make apply ENV={name} mends it" if those else f"{name} matches its files")
    raise typer.Exit(2 if any(differences.values()) else 0)


@app.command(rich_help_panel=DEPLOYMENTS)
def apply(
    env: EnvironmentOption = "dev",
    cloud: CloudOption = Cloud.LOCAL,
    file: Annotated[Path | None, typer.Option("--bundle", help="Apply only what this file says was reviewed.")] = None,
    yes: YesOption = False,
) -> None:
    """Apply the configuration of an environment. Asks first where env.hcl says ask_first.

    With --bundle it plans again, and applies that plan only if it changes what the bundle says, value by value.

    Exit code: 0 done, 1 an error, 3 the bundle is applied and more units can be planned now.
    """
    for target in load_targets(env, cloud):
        _warn(target)
        if target.environment.ask_first:
            confirm(f"Apply to {target.description}?", yes)
        if file is not None:
            raise typer.Exit(_apply(target, file))
        rollout.apply_directly(target, print)
        say(f"{target.description} is applied")


def _apply(target: Target, file: Path) -> int:
    """Apply a bundle, and return the exit code: 0, or MORE."""
    reviewed = bundle.read(file)
    result = rollout.apply(target, reviewed, lambda _: None, say)
    name = target.environment.name
    say(f"{name}: {', '.join(result.applied) or 'nothing'} applied as planned at {reviewed.commit[:12]}")
    if result.waiting:
        say(f"{', '.join(result.waiting)} can be planned now: make plan ENV={name} BUNDLE=…, and apply that")
        return MORE
    say(f"a new plan of {name} is empty")
    return 0


@app.command(rich_help_panel=DEPLOYMENTS)
def smoke(
    env: EnvironmentOption = "dev",
    cloud: CloudOption = Cloud.LOCAL,
    everything: Annotated[
        bool, typer.Option("--all", help="Also test confinement, an alarm and a dead letter. This calls people.")
    ] = False,
) -> None:
    """Test a deployed environment: upload an image, read it by the API, try what strangers must not, remove it.

    Exit code: 0 all is as it must be, 1 the image did not come through, 3 something else must be fixed.
    """
    target = load_target(env, cloud)
    pipeline, answers = Pipeline(target), list[Answer]()
    seconds = smoke_test.test(pipeline, lambda record: answers.extend(first_hour.strangers(pipeline, record)))
    say(f"{target.environment.name}: an image went in, came out by the API and was removed, in {seconds:.1f} s")
    if everything:
        say("testing confinement, an alarm and a dead letter, which takes up to six minutes")
        answers += first_hour.inside(target)
    wrong = any(answer.verdict is Verdict.FIX for answer in answers)
    if everything or wrong:
        console.print(doctor.table(answers, target.environment.name))
    deployment = record.read(target)
    if not wrong and deployment and deployment.status == "succeeded":
        deployment.smoked = datetime.now(UTC)
        record.write(target, deployment)
    raise typer.Exit(ATTENTION if wrong else 0)


@app.command(rich_help_panel=DEPLOYMENTS)
def destroy(env: EnvironmentOption = "dev", cloud: CloudOption = Cloud.LOCAL, yes: YesOption = False) -> None:
    """Destroy everything in an environment except the state bucket. Asks first."""
    for target in reversed(load_targets(env, cloud)):
        confirm(f"Destroy {target.description} with every image in it?", yes)
        terragrunt.destroy(target, print)
        say(f"{target.description} is destroyed")


@app.command(rich_help_panel=DEPLOYMENTS)
def outputs(env: EnvironmentOption = "dev", cloud: CloudOption = Cloud.LOCAL, as_json: JsonOption = False) -> None:
    """Print the upload bucket and the addresses of the API and the dashboard."""
    values = {target.environment.name: _outputs(target) for target in load_targets(env, cloud)}
    if as_json:
        print(json.dumps(values if len(values) > 1 else next(iter(values.values())), indent=2))
        return
    for name, own in values.items():
        if len(values) > 1:
            print(f"# {name}")
        for key, value in own.items():
            print(f"{key} = {value}")


def _outputs(target: Target) -> dict[str, Any]:
    if target.environment.name == environments.SHARED:
        return {key: value for unit in state.outputs(target).values() for key, value in unit.items()}
    return Pipeline(target).outputs


@app.command(rich_help_panel=RELEASES)
def promote(
    source: Annotated[str, typer.Option("--from", envvar="FROM", help="Environment that runs the release.")],
    to: Annotated[str, typer.Option("--to", envvar="TO", help="Environment to release to: the next one in order.")],
    cloud: CloudOption = Cloud.LOCAL,
) -> None:
    """Create a branch that releases what runs in one environment to the next one."""
    order = environments.release_order()
    for name in (source, to):
        if name not in order:
            raise PipelineError(f"no release goes through {name!r}: FROM and TO are two of {', '.join(order)}")
    if order.index(to) != order.index(source) + 1:
        pairs = ", ".join(f"FROM={a} TO={b}" for a, b in pairwise(order))
        raise PipelineError(f"a release does not go from {source} to {to}: {pairs}")
    result = promotion.promote(snapshot.take(load_target(source, cloud)), to, partial(_plan_of, to, cloud))
    if result is None:
        say(f"{to} has the release that {source} runs already")
    else:
        _show(result)


@app.command(rich_help_panel=RELEASES)
def promote_check(
    base: BaseOption = "",
    cloud: CloudOption = Cloud.LOCAL,
    ran: Annotated[
        Path | None,
        typer.Option(help="Output of `imagepipe ci ran`, where the credentials are of another environment."),
    ] = None,
) -> None:
    """Check a change of a release file: it changes nothing else, and the environment before runs that release."""
    known = json.loads(ran.read_text()) if ran and ran.exists() else None
    statements = promotion.check(base or repository.main_branch(), cloud, known)
    for statement in statements:
        say(statement.replace("`", ""))
    say("the release may be merged" if statements else "no release file is changed: nothing to check")


@app.command(rich_help_panel=RELEASES)
def rollback(
    to: Annotated[
        str, typer.Option("--to", envvar="TO", help="Commit or tag whose release file to go back to, or previous.")
    ],
    env: EnvironmentOption = "",
    cloud: CloudOption = Cloud.LOCAL,
) -> None:
    """Create a branch that takes an environment back to an earlier release. Default of --env: the last environment."""
    order = environments.release_order()
    name = env or order[-1]
    if name not in order:
        raise PipelineError(f"no release goes through {name!r}: ENV is one of {', '.join(order)}")
    ran = promotion.ran_to_a_good_end(name, cloud)
    if not ran:
        say(f"the deployment record of {name} on CLOUD={cloud} names no release: CLOUD=aws reads the one on AWS")
    _show(promotion.rollback(name, to, ran, partial(_plan_of, name, cloud)))


def _show(result: proposal.Proposal) -> None:
    console.print(result.title, markup=False, highlight=False, soft_wrap=True)
    console.print(result.body, markup=False, highlight=False, soft_wrap=True)
    file = proposal.RESULT.relative_to(ROOT)
    say(f"the release is on branch {result.branch}; title and body of its pull request are in {file}")


def _plan_of(name: str, cloud: Cloud, release: Release) -> str:
    """Return the plan of a release, for its pull request.

    The release file names the release while it is planned, and gets its old content back.
    """
    if cloud is Cloud.AWS:  # the credentials are of the account before
        return promotion.PLANNED_LATER
    file = LIVE / name / "release.json"
    before = file.read_bytes()
    try:
        file.write_text(release.model_dump_json())
        present = snapshot.take(load_target(name, cloud))
        with tempfile.TemporaryDirectory(prefix="plan-") as folder:
            first = canary.first_step(present)
            plan = bundle.look(present, first, present.environment.units, lambda _: None, Path(folder))
    finally:
        file.write_bytes(before)
    return summary.overview(plan)


@app.command(rich_help_panel=RELEASES)
def release(version: Annotated[str, typer.Argument(help="Version, like 1.4.0.")]) -> None:
    """Tag this commit with a version listed in CHANGELOG.md. Release files can then name the tag."""
    print(releases.tag(version))
    say(f"tagged v{version}; git push origin v{version} publishes it")
