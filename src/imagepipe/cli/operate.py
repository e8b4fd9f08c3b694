"""The operators' commands at a terminal: what was found or done in a few lines, then the command to type next.

Each returns its exit code.
"""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rich.progress import Progress, TaskID

from imagepipe.console import console, literal, progress, say
from imagepipe.errors import PipelineError
from imagepipe.live.environments import ROOT
from imagepipe.operations import failures, redrive, reprocess
from imagepipe.operations.deployment import Deployment
from imagepipe.operations.differences import Trouble
from imagepipe.operations.estimate import estimate
from imagepipe.operations.journal import Journal
from imagepipe.operations.moments import duration
from imagepipe.operations.reconcile import KINDS, Comparison
from imagepipe.operations.repair import Repair
from imagepipe.operations.report import Report
from imagepipe.operations.selection import STATUSES, Selection

#: Exit codes beside 0 (all is well, or done), 1 (an error) and 2 (a wrong option).
FOUND, INTERRUPTED = 3, 130

#: Different messages that are shown before they are deleted.
SHOWN = 10

#: Journals and lists of differences.
FOLDER = ROOT / "build/operations"

Confirm = Callable[[str], None]


def show_failures(deployment: Deployment, statuses: tuple[str, ...], examples: int, *, as_json: bool) -> int:
    with progress() as bar:
        task = bar.add_task("failures", total=None)
        groups = failures.group(failures.find(deployment, statuses), examples, lambda: bar.advance(task))
    if as_json:
        print(json.dumps([group.as_json() for group in groups], indent=2, ensure_ascii=False))
    elif groups:
        console.print(failures.table(groups, f"not served in {deployment.target.environment.name}"))
        _next(failures.next_commands(deployment, groups))
    else:
        say(f"no image is {' or '.join(statuses)}, and the dead-letter queue is empty")
    return FOUND if groups else 0


def put_back(deployment: Deployment, choice: redrive.Choice, rate: float, *, dry: bool) -> int:
    with progress() as bar:
        task = bar.add_task("redrive", total=None)
        run = redrive.Redrive(deployment, choice, rate, _pausing(bar, task, "redrive"), dry=dry)
        try:
            outcome = run.run(lambda count: bar.advance(task, count))
        except KeyboardInterrupt:
            bar.stop()
            say(f"stopped: {run.outcome.moved + run.outcome.made} images are put back, and the rest is where it was")
            return INTERRUPTED
    done = outcome.moved + outcome.made
    following = []
    if done:
        verb = "would be put back" if dry else "put back"
        say(f"{done} images {verb}: {outcome.moved} from the dead-letter queue, {outcome.made} whose message was lost")
    else:
        say(f"no failed image can be put back{' for ' + ' '.join(choice.settings) if choice.settings else ''}")
        following.append((deployment.command("failures"), "what there is"))
    if outcome.kept:
        say(f"{outcome.kept} messages were not chosen and stay where they are")
    if outcome.coming:
        say(f"{outcome.coming} images failed only just: their messages become dead letters in a few minutes")
        following.append((deployment.command("redrive", *choice.settings), "then"))
    if done and dry:
        following.append((deployment.command("redrive", *choice.settings), "put them back"))
    elif done:
        following.append((deployment.command("failures"), "in a few minutes: what still fails"))
    if outcome.not_events:
        say(f"{outcome.not_events} messages are no events and stay: another try would not help them")
        following.append((deployment.command("redrive", "DISCARD=1"), "delete those"))
    _next(following)
    return 0


def discard(deployment: Deployment, confirm: Confirm) -> int:
    useless = redrive.not_events(deployment)
    bodies = Counter(letter.body[:200] for letter in useless)
    for body, count in bodies.most_common(SHOWN):
        console.print(f"{count} × {literal(body)}", highlight=False, soft_wrap=True)
    if len(bodies) > SHOWN:
        console.print(f"and {len(bodies) - SHOWN} more")
    if useless:
        confirm(f"Delete {len(useless)} messages from the dead-letter queue?")
    say(f"{redrive.discard(deployment, useless)} messages deleted")
    return 0


def make_again(
    deployment: Deployment, selection: Selection, rate: float, confirm: Confirm, *, restart: bool, dry: bool
) -> int:
    target = deployment.target
    file = FOLDER / f"reprocess-{target.environment.name}-{target.cloud}-{selection.name}.json"
    run = reprocess.Backfill(deployment, selection, Journal(file), deployment.workers.verdict)
    if restart:
        run.restart()
    elif run.sent:
        say(f"goes on after {run.sent} images that an earlier run has sent; RESTART=1 begins anew")
    with progress() as bar:
        task = bar.add_task("estimate", total=None)
        sums = run.measure(lambda: bar.advance(task))
    if sums.done:
        say(f"{sums.done} images were made again by today's recipe, limits and image already and are left out")
    say(str(estimate(sums, deployment.workers, rate, deployment.replaced_variants_kept_days())))
    if not sums.count or dry:
        return 0
    confirm(f"Make {sums.count} images of {target.description} again?")
    with progress() as bar:
        task = bar.add_task("reprocess", total=sums.count)
        try:
            run.send(rate, lambda count: bar.advance(task, count), _pausing(bar, task, "reprocess"))
        except KeyboardInterrupt:
            bar.stop()
            say(f"stopped: {run.sent} images are sent, and the same command goes on with the rest")
            return INTERRUPTED
    say(f"{run.sent} images are sent; the last of them are being made")
    _next([(deployment.command("failures"), "in a few minutes: whether any of them failed")])
    return 0


@dataclass(frozen=True)
class Scope:
    """What a comparison looks at, as it was asked for."""

    only: Trouble | None = None
    min_age: str = ""

    @property
    def settings(self) -> list[str]:
        """The same for make."""
        given = {"ONLY": self.only or "", "MIN_AGE": self.min_age}
        return [f"{name}={value}" for name, value in given.items() if value]


def reconcile(
    deployment: Deployment,
    scope: Scope,
    examples: int,
    rate: float,
    confirm: Confirm,
    *,
    mend: bool,
    as_json: bool,
) -> int:
    """Lists differences, and keeps the whole list in a file; then mends them, if that is wanted."""
    settling = duration(scope.min_age) if scope.min_age else deployment.longest_work()
    target = deployment.target
    report = Report(FOLDER / f"reconcile-{target.environment.name}-{target.cloud}.jsonl")
    FOLDER.mkdir(parents=True, exist_ok=True)
    with progress() as bar:
        tasks = {kind: bar.add_task(kind, total=None) for kind in KINDS}
        comparison = Comparison(deployment, settling, FOLDER, lambda kind, count: bar.advance(tasks[kind], count))
        report.write(each for each in comparison.findings() if not scope.only or each.trouble is scope.only)
    if as_json:
        for finding in report.read():
            print(json.dumps(finding.as_json(), ensure_ascii=False))
    elif report.count:
        console.print(report.table(f"differences in {target.environment.name}", examples))
        say(f"the whole list: {report.file.relative_to(ROOT)}")
        if waiting := deployment.uploads.waiting():
            say(f"{waiting} events wait in the upload queue; repaired now, what they tell of would be made twice")
    if not report.count:
        say(f"objects, records and variants match; what changed in the last {settling} was left alone")
        return 0
    if not mend:
        if not as_json:
            _next([(deployment.command("reconcile", *scope.settings, "REPAIR=1"), "mend them")])
        return FOUND
    confirm(f"Mend {report.count} differences in {target.description}?")
    with progress() as bar:
        task = bar.add_task("repair", total=report.count)
        repair = Repair(deployment, comparison.settled, rate, _pausing(bar, task, "repair"))
        try:
            repair.mend(report.read(), lambda count: bar.advance(task, count))
        except KeyboardInterrupt:
            bar.stop()
            say(f"stopped: {repair.mended} of {report.count} are mended, and the rest is as it was")
            return INTERRUPTED
    say(f"{repair.mended} of {report.count} mended, or the processor told to")
    if not as_json:
        _next([(deployment.command("reconcile", *scope.settings), "in a few minutes: whether all matches")])
    return 0


def statuses(name: str | None) -> tuple[str, ...]:
    """The statuses that --status asks for."""
    if name is None:
        return failures.NOT_SERVED
    if name not in failures.NOT_SERVED:
        raise PipelineError(f"a status that is not served is {' or '.join(failures.NOT_SERVED)}, not {name}")
    return (name,)


def selection(status: str, **conditions: Any) -> Selection:
    """What --status and the other options of `reprocess` select; without a status, what is most likely meant."""
    if status and status not in STATUSES:
        raise PipelineError(f"what can be made again is {', '.join(STATUSES)}, not {status}")
    if status:
        return Selection(statuses=(status,), **conditions)
    if conditions["image_ids"]:
        return Selection(statuses=STATUSES, **conditions)
    return Selection(statuses=("REJECTED",) if conditions["reason"] else ("READY",), **conditions)


def _pausing(bar: Progress, task: TaskID, name: str) -> Callable[[int | None], None]:
    """Shows why nothing moves: the messages that wait for the functions."""

    def show(waiting: int | None) -> None:
        bar.update(task, description=name if waiting is None else f"{name}: {waiting} wait for the processor")

    return show


def _next(commands: list[tuple[str, str]]) -> None:
    if not commands:
        return
    width = max(len(command) for command, _ in commands)
    for command, effect in commands:
        console.print(f"  {command:<{width}}  # {effect}", soft_wrap=True, highlight=False, markup=False)
