"""Puts failed images back to work: the messages of the dead-letter queue, and failed records whose message was lost.

SQS can move messages by itself (StartMessageMoveTask), but only all of them: messages that are no events would come
back, and neither a reason nor an image could be chosen. So each message is first sent to its queue, then deleted. If
the process is killed between the two, the message exists twice, which the processor handles; it is never lost.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from imagepipe.operations.dead_letters import Drawer, Letter
from imagepipe.operations.differences import replacement_event
from imagepipe.operations.failures import NO_VERDICT
from imagepipe.operations.pace import Sender
from imagepipe.operations.records import Record, batches, reason_code, since
from imagepipe.operations.resources import Resources

FAILED = "FAILED"


@dataclass(frozen=True)
class Choice:
    """Which failed images to put back: without reasons and ids, all of them."""

    reasons: frozenset[str] = frozenset()
    image_ids: frozenset[str] = frozenset()

    @property
    def settings(self) -> list[str]:
        """Return the same choice as variables of make."""
        return [*(f"REASON={reason}" for reason in self.reasons), *(f"IMAGE={image_id}" for image_id in self.image_ids)]

    def takes(self, image_id: str, record: Record | None) -> bool:
        """Return whether an image is chosen. Without a failed record its reason is NO_VERDICT."""
        code = reason_code(record) if record and record["status"] == FAILED else NO_VERDICT
        return (not self.reasons or code in self.reasons) and (not self.image_ids or image_id in self.image_ids)


@dataclass
class RedriveCounts:
    """How many images or messages a redrive handled, or would handle."""

    moved: int = 0  # messages, out of the dead-letter queue
    made: int = 0  # messages made for failed records that had none
    kept: int = 0  # messages that were not chosen
    coming: int = 0  # images that failed so recently that their message may not be in the dead-letter queue yet
    not_events: int = 0  # messages that would fail again, because they are no events of this environment's bucket


class Redrive:
    """One run. With `dry` it sends and deletes no message.

    Args:
        rate: messages a second.
        waiting: see `Sender`.
    """

    def __init__(
        self, resources: Resources, choice: Choice, rate: float, waiting: Callable[[int | None], None], *, dry: bool
    ) -> None:
        self._resources, self._choice, self._dry = resources, choice, dry
        self._uploads = Sender(resources.uploads, rate, waiting)
        self._backfill = Sender(resources.backfill, rate, waiting)
        self.counts = RedriveCounts()

    def run(self, done: Callable[[int], None]) -> RedriveCounts:
        """Put the chosen images back. `counts` is up to date at any moment, so a stop can report it.

        Args:
            done: called with the number of images of each batch that is put back.
        """
        counts, dead = self.counts, set[str]()
        with Drawer(self._resources) as drawer:
            for letters in drawer:
                dead |= {image_id for letter in letters for image_id in letter.image_ids}
                chosen = list(self._choose(letters, counts))
                self._move(drawer, chosen)
                counts.moved += len(chosen)
                done(len(chosen))
        for batch in batches(self._without_message(dead, counts), 10):
            if not self._dry:
                self._backfill.send(map(self._lost_event, batch))
            counts.made += len(batch)
            done(len(batch))
        return counts

    def _lost_event(self, record: Record) -> str:
        resources = self._resources
        return replacement_event(resources.upload_bucket, record, resources.object(record["source"]["key"]))

    def _choose(self, letters: list[Letter], counts: RedriveCounts) -> Iterator[Letter]:
        records = self._resources.records.get_many(image_id for letter in letters for image_id in letter.image_ids)
        for letter in letters:
            if letter.problem is not None:
                counts.not_events += 1
            elif any(self._choice.takes(image_id, records.get(image_id)) for image_id in letter.image_ids):
                yield letter
            else:
                counts.kept += 1

    def _move(self, drawer: Drawer, letters: list[Letter]) -> None:
        if self._dry:
            return
        for sender, of_backfill in ((self._uploads, False), (self._backfill, True)):
            if chosen := [letter for letter in letters if letter.of_backfill is of_backfill]:
                sender.send(letter.body for letter in chosen)
                drawer.remove(chosen)

    def _without_message(self, dead: set[str], counts: RedriveCounts) -> Iterator[Record]:
        # The last try writes FAILED, and its message stays hidden for a while before it becomes a dead letter.
        settled = datetime.now(UTC) - self._resources.uploads.visibility_timeout()
        for record in self._resources.records.with_status(FAILED):
            if record["image_id"] in dead or not self._choice.takes(record["image_id"], record):
                continue
            if since(record) > settled:
                counts.coming += 1
            else:
                yield record


def not_events(resources: Resources) -> list[Letter]:
    """Return the messages of the dead-letter queue that are no events."""
    with Drawer(resources) as drawer:
        return [letter for letters in drawer for letter in letters if letter.problem is not None]


def discard(resources: Resources, useless: list[Letter]) -> int:
    """Delete these messages, and none that arrived after them; return the number of deleted ones."""
    ids, count = {letter.message_id for letter in useless}, 0
    with Drawer(resources) as drawer:
        for letters in drawer:
            chosen = [letter for letter in letters if letter.message_id in ids]
            drawer.remove(chosen)
            count += len(chosen)
    return count
