"""Commands for operators: which images are not served, and how to put them back to work.

Each command ends with the commands to type next.
"""

import json
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Annotated, Any

import typer
from rich.progress import Progress, TaskID

from imagepipe.cli.options import (
    CloudOption,
    DryRunOption,
    EnvironmentOption,
    JsonOption,
    RateOption,
    YesOption,
    confirm,
    load_target,
)
from imagepipe.console import console, literal, progress, say, time_in_words
from imagepipe.errors import PipelineError
from imagepipe.live.environments import ROOT
from imagepipe.operations import failures as failing
from imagepipe.operations import redrive as redriving
from imagepipe.operations.differences import Trouble
from imagepipe.operations.estimate import estimate
from imagepipe.operations.orphans import Repair
from imagepipe.operations.reconcile import KINDS, Comparison
from imagepipe.operations.redrive import Choice, Redrive, RedriveCounts
from imagepipe.operations.report import Report
from imagepipe.operations.reprocess import Backfill, Journal
from imagepipe.operations.resources import Resources
from imagepipe.operations.selection import STATUSES, Selection, duration
from imagepipe.operations.sweep import GRACE
from imagepipe.terragrunt.target import Cloud

PANEL = "Operations"

#: Exit codes besides 0 (no problems, or done), 1 (an error) and 2 (a wrong option).
ATTENTION, INTERRUPTED = 3, 130

#: Different messages to show before they are deleted.
SHOWN = 10

#: Journals and lists of differences.
FOLDER = ROOT / "build/operations"

#: A command to type next, and its effect.
Step = tuple[str, str]

app = typer.Typer()


@app.command(rich_help_panel=PANEL)
def failures(
    env: EnvironmentOption = "dev",
    cloud: CloudOption = Cloud.LOCAL,
    status: Annotated[str | None, typer.Option(help="Only FAILED or only REJECTED images.")] = None,
    examples: Annotated[int, typer.Option(min=1, help="Images to name per reason.")] = 3,
    as_json: JsonOption = False,
) -> None:
    """List images that are not served, grouped by reason.

    Exit code: 0 no such images, 1 an error, 3 such images.
    """
    resources = Resources.of(load_target(env, cloud))
    statuses = _statuses(status)
    with progress() as bar:
        task = bar.add_task("failures", total=None)
        groups = failing.group(failing.find(resources, statuses), examples, lambda: bar.advance(task))
    if as_json:
        print(json.dumps([group.as_json() for group in groups], indent=2, ensure_ascii=False))
    elif groups:
        console.print(failing.table(groups, f"not served in {env}"))
        _print_next(failing.next_commands(resources, groups))
    else:
        say(f"no image is {' or '.join(statuses)}, and the dead-letter queue is empty")
    raise typer.Exit(ATTENTION if groups else 0)


@app.command(rich_help_panel=PANEL)
def redrive(
    env: EnvironmentOption = "dev",
    cloud: CloudOption = Cloud.LOCAL,
    reason: Annotated[list[str] | None, typer.Option(help="Only images that failed for this reason.")] = None,
    image: Annotated[list[str] | None, typer.Option(help="Only the image with this id.")] = None,
    rate: RateOption = 50,
    dry_run: DryRunOption = False,
    discard: Annotated[
        bool, typer.Option("--discard", help="Delete messages that are no events, and retry none.")
    ] = False,
    yes: YesOption = False,
) -> None:
    """Retry failed images: all, by reason or by id. Repeating it does no harm.

    Exit code: 0 done, 1 an error, 130 stopped. Images not retried by then are unchanged.
    """
    resources = Resources.of(load_target(env, cloud))
    if discard:
        _discard(resources, yes)
        return
    choice = Choice(frozenset(reason or ()), frozenset(image or ()))
    with progress() as bar:
        task = bar.add_task("redrive", total=None)
        run = Redrive(resources, choice, rate, _show_waiting(bar, task, "redrive"), dry=dry_run)
        try:
            counts = run.run(lambda count: bar.advance(task, count))
        except KeyboardInterrupt:
            bar.stop()
            say(f"stopped: {run.counts.moved + run.counts.made} images are retried, and the others are unchanged")
            raise typer.Exit(INTERRUPTED) from None
    _print_next(_print_counts(resources, choice, counts, dry=dry_run))


def _discard(resources: Resources, yes: bool) -> None:
    useless = redriving.not_events(resources)
    bodies = Counter(letter.body[:200] for letter in useless)
    for body, count in bodies.most_common(SHOWN):
        console.print(f"{count} × {literal(body)}", highlight=False, soft_wrap=True)
    if len(bodies) > SHOWN:
        console.print(f"and {len(bodies) - SHOWN} more")
    if useless:
        confirm(f"Delete {len(useless)} messages from the dead-letter queue?", yes)
    say(f"{redriving.discard(resources, useless)} messages deleted")


def _print_counts(resources: Resources, choice: Choice, counts: RedriveCounts, *, dry: bool) -> list[Step]:
    """Print the result of a redrive, and return what to type next."""
    done = counts.moved + counts.made
    steps = []
    if done:
        verb = "would be retried" if dry else "are retried"
        say(f"{done} images {verb}: {counts.moved} from the dead-letter queue, {counts.made} whose message was lost")
    else:
        say(f"no failed image can be retried{' for ' + ' '.join(choice.settings) if choice.settings else ''}")
        steps.append((resources.command("failures"), "show what is not served"))
    if counts.kept:
        say(f"{counts.kept} messages were not chosen and stay in the dead-letter queue")
    if counts.coming:
        say(f"{counts.coming} images failed just now: their messages become dead letters in a few minutes")
        steps.append((resources.command("redrive", *choice.settings), "in a few minutes: retry those too"))
    if done and dry:
        steps.append((resources.command("redrive", *choice.settings), "retry them"))
    elif done:
        steps.append((resources.command("failures"), "in a few minutes: show what still fails"))
    if counts.not_events:
        say(f"{counts.not_events} messages are no events and stay: they would fail again")
        steps.append((resources.command("redrive", "DISCARD=1"), "delete those messages"))
    return steps


@app.command(rich_help_panel=PANEL)
def reprocess(
    image_ids: Annotated[list[str] | None, typer.Argument(help="Ids of the images.")] = None,
    env: EnvironmentOption = "dev",
    cloud: CloudOption = Cloud.LOCAL,
    every: Annotated[bool, typer.Option("--all", help="All images.")] = False,
    outdated: Annotated[
        bool, typer.Option("--outdated", help="Images made with another recipe than the deployed one.")
    ] = False,
    recipe: Annotated[str | None, typer.Option(help="Images made with this version of the recipe.")] = None,
    prefix: Annotated[str, typer.Option(help="Images whose key begins with this.")] = "",
    since: Annotated[str, typer.Option(help="Images uploaded since: 2026-01-31, 2026-01-31T04:30 or 2h (ago).")] = "",
    until: Annotated[str, typer.Option(help="Images uploaded until: written like --since.")] = "",
    status: Annotated[
        str, typer.Option(help="Images with this status. Default: READY. Use REJECTED after changing limits.")
    ] = "",
    reason: Annotated[str | None, typer.Option(help="Images rejected for this reason.")] = None,
    rate: RateOption = 50,
    restart: Annotated[bool, typer.Option("--restart", help="Begin anew, even if an earlier run was stopped.")] = False,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
) -> None:
    """Process images again, after fresh uploads. Shows an estimate, and asks first.

    Ctrl-C stops it; the same command continues where it stopped.

    Exit code: 0 all images are sent, 1 an error, 130 stopped.
    """
    if not (image_ids or every or outdated or recipe or prefix or since or until or status or reason):
        raise PipelineError(
            "name the images: ids, --outdated, --recipe, --prefix, --since, --until, --status, --reason or --all "
            "(for make: IDS, OUTDATED=1, RECIPE, KEYS, SINCE, UNTIL, STATUS, REASON or ALL=1)"
        )
    resources = Resources.of(load_target(env, cloud))
    selection = _selection(
        status,
        image_ids=tuple(image_ids or ()),
        prefix=prefix,
        since=since,
        until=until,
        recipe=recipe,
        not_recipe=resources.workers.recipe if outdated else None,
        reason=reason,
    )
    journal = Journal(FOLDER / f"reprocess-{env}-{cloud}-{selection.name}.json")
    run = Backfill(resources, selection, journal, resources.workers.verdict)
    if restart:
        run.restart()
    elif run.sent:
        say(f"continuing after {run.sent} images that an earlier run has sent; RESTART=1 begins anew")
    count = _measure(resources, run, rate)
    if count and not dry_run:
        confirm(f"Process {count} images of {resources.target.description} again?", yes)
        _send(resources, run, rate, count)


def _measure(resources: Resources, run: Backfill, rate: float) -> int:
    """Print the estimate of a backfill, and return the number of images to send."""
    with progress() as bar:
        task = bar.add_task("estimate", total=None)
        sums = run.measure(lambda: bar.advance(task))
    if sums.done:
        say(f"{sums.done} images are left out: the deployed recipe, limits and container image have made them already")
    say(str(estimate(sums, resources.workers, rate, resources.replaced_variants_kept_days())))
    return sums.count


def _send(resources: Resources, run: Backfill, rate: float, count: int) -> None:
    with progress() as bar:
        task = bar.add_task("reprocess", total=count)
        try:
            run.send(rate, lambda count: bar.advance(task, count), _show_waiting(bar, task, "reprocess"))
        except KeyboardInterrupt:
            bar.stop()
            say(f"stopped: {run.sent} images are sent, and the same command continues with the others")
            raise typer.Exit(INTERRUPTED) from None
    say(f"{run.sent} images are sent; the last ones are still being processed")
    _print_next([(resources.command("failures"), "in a few minutes: show which of them failed")])


@app.command(rich_help_panel=PANEL)
def reconcile(
    env: EnvironmentOption = "dev",
    cloud: CloudOption = Cloud.LOCAL,
    mend: Annotated[bool, typer.Option("--repair", help="Repair the differences, after asking.")] = False,
    only: Annotated[Trouble | None, typer.Option(help="Only differences of this kind.")] = None,
    min_age: Annotated[
        str,
        typer.Option(
            help="Ignore anything changed within this time (e.g. 15m), and variants for 30 minutes at least. "
            "Default: the longest time processing can take."
        ),
    ] = "",
    examples: Annotated[int, typer.Option(min=1, help="Names to show per kind.")] = 3,
    rate: RateOption = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one difference per line.")] = False,
    yes: YesOption = False,
) -> None:
    """Compare uploaded objects, records and variants, and list the differences. --repair repairs them.

    Exit code: 0 no differences, or they are repaired; 1 an error, 3 differences, 130 stopped.
    """
    resources = Resources.of(load_target(env, cloud))
    again = partial(resources.command, "reconcile", *_settings(ONLY=only, MIN_AGE=min_age))
    settling = duration(min_age) if min_age else resources.longest_work()
    report = Report(FOLDER / f"reconcile-{env}-{cloud}.jsonl")
    settled = _compare(resources, settling, report, only)
    _show_differences(resources, report, examples, as_json=as_json)
    if settling < GRACE:
        say(f"variants of the last {time_in_words(GRACE)} are left alone whatever MIN_AGE says: work on them may run")
    if not report.count:
        say(f"objects, records and variants match; changes within the last {time_in_words(settling)} were ignored")
        return
    if not mend:
        _print_next([] if as_json else [(again("REPAIR=1"), "repair them")])
        raise typer.Exit(ATTENTION)
    confirm(f"Repair {report.count} differences in {resources.target.description}?", yes)
    _repair(resources, report, settled, rate)
    _print_next([] if as_json else [(again(), "in a few minutes: check that all match")])


def _settings(**values: str | None) -> list[str]:
    """Return options as variables of make, without the empty ones."""
    return [f"{name}={value}" for name, value in values.items() if value]


def _compare(resources: Resources, settling: timedelta, report: Report, only: Trouble | None) -> datetime:
    """Write the differences to the report, and return the time after which changes were ignored."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with progress() as bar:
        tasks = {kind: bar.add_task(kind, total=None) for kind in KINDS}
        comparison = Comparison(resources, settling, FOLDER, lambda kind, count: bar.advance(tasks[kind], count))
        report.write(finding for finding in comparison.findings() if not only or finding.trouble is only)
    return comparison.settled


def _show_differences(resources: Resources, report: Report, examples: int, *, as_json: bool) -> None:
    if as_json:
        for finding in report.read():
            print(json.dumps(finding.as_json(), ensure_ascii=False))
    elif report.count:
        console.print(report.table(f"differences in {resources.target.environment.name}", examples))
        say(f"complete list: {report.file.relative_to(ROOT)}")
        if waiting := resources.uploads.backlog():
            say(f"{waiting} events wait in the upload queue: a repair now would process their images twice")


def _repair(resources: Resources, report: Report, settled: datetime, rate: float) -> None:
    with progress() as bar:
        task = bar.add_task("repair", total=report.count)
        repair = Repair(resources, settled, rate, _show_waiting(bar, task, "repair"))
        try:
            repair.mend(report.read(), lambda count: bar.advance(task, count))
        except KeyboardInterrupt:
            bar.stop()
            say(f"stopped: {repair.mended} of {report.count} are repaired, and the others are unchanged")
            raise typer.Exit(INTERRUPTED) from None
    say(f"{repair.mended} of {report.count} repaired; the processor still works on their messages")


def _statuses(name: str | None) -> tuple[str, ...]:
    """Return the statuses that --status selects."""
    if name is None:
        return failing.NOT_SERVED
    if name not in failing.NOT_SERVED:
        raise PipelineError(f"--status (STATUS) must be {' or '.join(failing.NOT_SERVED)}, not {name}")
    return (name,)


def _selection(status: str, **conditions: Any) -> Selection:
    """Return what the options of `reprocess` select.

    Without --status that is any status for images named by id, REJECTED with --reason, else READY.
    """
    if status and status not in STATUSES:
        raise PipelineError(f"--status (STATUS) must be one of {', '.join(STATUSES)}, not {status}")
    if status:
        return Selection(statuses=(status,), **conditions)
    if conditions["image_ids"]:
        return Selection(statuses=STATUSES, **conditions)
    return Selection(statuses=("REJECTED",) if conditions["reason"] else ("READY",), **conditions)


def _show_waiting(bar: Progress, task: TaskID, name: str) -> Callable[[int | None], None]:
    """Return a callback that shows how many messages wait for the functions while sending pauses."""

    def show(waiting: int | None) -> None:
        bar.update(task, description=name if waiting is None else f"{name}: {waiting} wait for the processor")

    return show


def _print_next(steps: list[Step]) -> None:
    if not steps:
        return
    width = max(len(command) for command, _ in steps)
    for command, effect in steps:
        console.print(f"  {command:<{width}}  # {effect}", soft_wrap=True, highlight=False, markup=False)
