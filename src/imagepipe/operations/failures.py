"""Lists images that are not served, grouped by reason, from the records and the dead-letter queue."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from rich.table import Table

from imagepipe.console import literal, time_ago
from imagepipe.operations.dead_letters import Drawer, Letter
from imagepipe.operations.records import Record, reason_code, since
from imagepipe.operations.resources import Resources

#: Statuses of images that were processed and are not served.
NOT_SERVED = ("FAILED", "REJECTED")

#: Reason of a message that is no event of this environment's bucket. It has no record.
NOT_AN_EVENT = "NOT_AN_EVENT"

#: Reason of a dead letter whose image has no record, or a record without a failure.
NO_VERDICT = "NO_VERDICT"


@dataclass(frozen=True)
class Failure:
    """One image that is not served, or one message that is no event."""

    status: str  # of the record; DEAD_LETTER if no record says FAILED or REJECTED
    code: str
    message: str
    since: datetime
    image_id: str | None
    name: str  # the object's key, or the beginning of the message
    attempts: int | None
    dead_letter: bool  # its message waits in the dead-letter queue

    def as_json(self) -> dict[str, Any]:
        """Return what `imagepipe failures --json` prints."""
        return {
            "image_id": self.image_id, "name": self.name, "since": self.since.isoformat(), "message": self.message,
            "attempts": self.attempts, "dead_letter": self.dead_letter,
        }  # fmt: skip


@dataclass
class Group:
    """Failures with the same status and reason, with a few examples."""

    status: str
    code: str
    count: int = 0
    dead_letters: int = 0
    first: datetime | None = None
    last: datetime | None = None
    examples: list[Failure] = field(default_factory=list)

    def add(self, failure: Failure, most_examples: int) -> None:
        """Count a failure, and keep it as an example if there are fewer than `most_examples`."""
        self.count += 1
        self.dead_letters += failure.dead_letter
        self.first = min(filter(None, [self.first, failure.since]))
        self.last = max(filter(None, [self.last, failure.since]))
        if len(self.examples) < most_examples:
            self.examples.append(failure)

    def as_json(self) -> dict[str, Any]:
        """Return what `imagepipe failures --json` prints."""
        return {
            "status": self.status, "reason": self.code, "count": self.count, "dead_letters": self.dead_letters,
            "since": self.first and self.first.isoformat(), "latest": self.last and self.last.isoformat(),
            "images": [failure.as_json() for failure in self.examples],
        }  # fmt: skip


def find(resources: Resources, statuses: tuple[str, ...] = NOT_SERVED) -> Iterator[Failure]:
    """Return the dead letters without a failed record, then the records with one of these statuses."""
    dead: set[str] = set()
    with Drawer(resources) as drawer:
        for letters in drawer:
            ids = [image_id for letter in letters for image_id in letter.image_ids]
            dead.update(ids)
            records = resources.records.get_many(ids)
            for letter in letters:
                yield from _without_verdict(letter, records)
    for status in statuses:
        for record in resources.records.with_status(status):
            yield _failure_of(record, record["image_id"] in dead)


def _without_verdict(letter: Letter, records: dict[str, Record]) -> Iterator[Failure]:
    if letter.problem is not None:
        name = " ".join(letter.body.split())[:60] or "(empty message)"
        yield Failure("DEAD_LETTER", NOT_AN_EVENT, letter.problem, letter.sent, None, name, None, True)
    for image_id, key in zip(letter.image_ids, letter.keys, strict=True):
        record = records.get(image_id)
        if record is None or record["status"] not in NOT_SERVED:
            state = f"its record says {record['status']}" if record else "it has no record"
            message = f"every try to process an event of this image failed; {state}"
            yield Failure("DEAD_LETTER", NO_VERDICT, message, letter.sent, image_id, key, None, True)


def _failure_of(record: Record, dead_letter: bool) -> Failure:
    message = str((record.get("reason") or {}).get("message", ""))
    return Failure(
        record["status"], reason_code(record), message, since(record), record["image_id"], record["source"]["key"],
        record.get("attempts"), dead_letter,
    )  # fmt: skip


def group(failures: Iterator[Failure], most_examples: int, seen: Callable[[], None] = lambda: None) -> list[Group]:
    """Group failures: first FAILED and dead letters, then REJECTED, each by size.

    Args:
        seen: called once per failure.
    """
    groups: dict[tuple[str, str], Group] = {}
    for failure in failures:
        key = failure.status, failure.code
        groups.setdefault(key, Group(*key)).add(failure, most_examples)
        seen()
    return sorted(groups.values(), key=lambda group: (group.status == "REJECTED", -group.count))


def table(groups: list[Group], title: str) -> Table:
    """Return a row per group: reason, counts, first and last time, and examples."""
    result = Table(title=title, title_justify="left")
    for heading, right in (("status", False), ("reason", False), ("images", True), ("dead letters", True)):
        result.add_column(heading, justify="right" if right else "left", overflow="fold")
    for heading in ("first", "last", "examples"):
        result.add_column(heading, overflow="fold")
    for one in groups:
        examples = "\n".join(
            " ".join(filter(None, [literal(failure.name), f"[dim]{failure.image_id}[/]" if failure.image_id else ""]))
            for failure in one.examples
        )
        more = one.count - len(one.examples)
        result.add_row(
            one.status, f"{one.code}\n[dim]{literal(one.examples[0].message)}[/]", str(one.count),
            str(one.dead_letters or "·"), _age(one.first), _age(one.last),
            examples + (f"\n[dim]and {more} more[/]" if more else ""),
        )  # fmt: skip
    return result


def _age(moment: datetime | None) -> str:
    return time_ago(moment) if moment else ""


def next_commands(resources: Resources, groups: list[Group]) -> list[tuple[str, str]]:
    """Return the commands to type next, with what they do."""
    codes = {one.code for one in groups if one.status != "REJECTED"}
    rejected = [one for one in groups if one.status == "REJECTED"]
    commands = []
    if codes - {NOT_AN_EVENT}:
        commands.append((resources.command("redrive", "DRY_RUN=1"), "show what would be retried"))
        commands.append((resources.command("redrive"), "once the cause is removed: retry all of them"))
    if NOT_AN_EVENT in codes:
        commands.append((resources.command("redrive", "DISCARD=1"), "delete the messages that are no events"))
    if rejected:
        setting = f"STATUS=REJECTED REASON={rejected[0].code}"
        commands.append(
            (resources.command("reprocess", setting), "judge rejected images again, after a change of limits")
        )
    return commands
