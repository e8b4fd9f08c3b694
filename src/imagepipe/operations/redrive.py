"""Puts failed images back to work: what waits in the dead-letter queue, and failed records whose message is lost.

SQS can move messages by itself (StartMessageMoveTask), but it moves all or nothing: what is no event would only come
back, and neither a reason nor an image can be chosen. So each message is sent to its queue first and deleted then.
Killed between the two it is there twice, which the processor knows how to take; it is never nowhere.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from imagepipe.operations.dead_letters import Drawer, Letter
from imagepipe.operations.deployment import Deployment
from imagepipe.operations.differences import retold
from imagepipe.operations.failures import NO_VERDICT
from imagepipe.operations.pace import Sender
from imagepipe.operations.records import Record, batches, reason_code, since

FAILED = "FAILED"


@dataclass(frozen=True)
class Choice:
    """Which failed images; without reasons and ids, all."""

    reasons: frozenset[str] = frozenset()
    image_ids: frozenset[str] = frozenset()

    @property
    def settings(self) -> list[str]:
        """The same for make, as far as it takes one of each."""
        return [*(f"REASON={reason}" for reason in self.reasons), *(f"IMAGE={image_id}" for image_id in self.image_ids)]

    def takes(self, image_id: str, record: Record | None) -> bool:
        code = reason_code(record) if record and record["status"] == FAILED else NO_VERDICT
        return (not self.reasons or code in self.reasons) and (not self.image_ids or image_id in self.image_ids)


@dataclass
class Outcome:
    """What was put back, or would be."""

    moved: int = 0  # messages, out of the dead-letter queue
    made: int = 0  # messages made anew for failed records that had none
    kept: int = 0  # messages that were not chosen
    coming: int = 0  # images that failed so lately that their message may not be in the dead-letter queue yet
    not_events: int = 0  # messages that another try would not help, events of other buckets among them


class Redrive:
    """One run. With `dry` nothing is sent and nothing deleted."""

    def __init__(
        self, deployment: Deployment, choice: Choice, rate: float, waiting: Callable[[int | None], None], *, dry: bool
    ) -> None:
        self._deployment, self._choice, self._dry = deployment, choice, dry
        self._uploads = Sender(deployment.uploads, rate, waiting)
        self._backfill = Sender(deployment.backfill, rate, waiting)
        self.outcome = Outcome()

    def run(self, done: Callable[[int], None]) -> Outcome:
        """Calls `done` with the number of images put back, time and again; `outcome` says how far it came."""
        outcome, dead = self.outcome, set[str]()
        with Drawer(self._deployment) as drawer:
            for letters in drawer:
                dead |= {image_id for letter in letters for image_id in letter.image_ids}
                chosen = list(self._chosen(letters, outcome))
                self._move(drawer, chosen)
                outcome.moved += len(chosen)
                done(len(chosen))
        for batch in batches(self._without_message(dead, outcome), 10):
            if not self._dry:
                self._backfill.send(map(self._retold, batch))
            outcome.made += len(batch)
            done(len(batch))
        return outcome

    def _retold(self, record: Record) -> str:
        deployment = self._deployment
        return retold(deployment.upload_bucket, record, deployment.object(record["source"]["key"]))

    def _chosen(self, letters: list[Letter], outcome: Outcome) -> Iterator[Letter]:
        records = self._deployment.records.get_many(each for letter in letters for each in letter.image_ids)
        for letter in letters:
            if letter.problem is not None:
                outcome.not_events += 1
            elif any(self._choice.takes(image_id, records.get(image_id)) for image_id in letter.image_ids):
                yield letter
            else:
                outcome.kept += 1

    def _move(self, drawer: Drawer, letters: list[Letter]) -> None:
        if self._dry:
            return
        for sender, of_backfill in ((self._uploads, False), (self._backfill, True)):
            if chosen := [letter for letter in letters if letter.of_backfill is of_backfill]:
                sender.send(letter.body for letter in chosen)
                drawer.remove(chosen)

    def _without_message(self, dead: set[str], outcome: Outcome) -> Iterator[Record]:
        # The last try says FAILED, and its message is hidden for a while before it becomes a dead letter.
        settled = datetime.now(UTC) - self._deployment.uploads.visibility_timeout()
        for record in self._deployment.records.with_status(FAILED):
            if record["image_id"] in dead or not self._choice.takes(record["image_id"], record):
                continue
            if since(record) > settled:
                outcome.coming += 1
            else:
                yield record


def not_events(deployment: Deployment) -> list[Letter]:
    """The messages that are no events."""
    with Drawer(deployment) as drawer:
        return [letter for letters in drawer for letter in letters if letter.problem is not None]


def discard(deployment: Deployment, useless: list[Letter]) -> int:
    """Deletes these messages, and none that came after them; returns how many it found."""
    ids, count = {letter.message_id for letter in useless}, 0
    with Drawer(deployment) as drawer:
        for letters in drawer:
            chosen = [letter for letter in letters if letter.message_id in ids]
            drawer.remove(chosen)
            count += len(chosen)
    return count
