"""A backfill: the variants of images that are there already are made again, behind whatever is uploaded meanwhile.

It has a queue of its own that few functions work off, and keeps little in it: a stop takes effect within seconds, and
fresh uploads never stand behind it. Images are sent in the order of their last event, and the journal holds the last
one that SQS has taken: broken off anywhere, the same command goes on there, and repeats ten images at most.
"""

from collections.abc import Callable, Iterator
from itertools import filterfalse

from imagepipe.errors import PipelineError
from imagepipe.operations import messages
from imagepipe.operations.deployment import Deployment
from imagepipe.operations.estimate import Sums
from imagepipe.operations.journal import Journal, Progress
from imagepipe.operations.pace import BATCH, Sender
from imagepipe.operations.records import Record, batches
from imagepipe.operations.selection import Selection


class Backfill:
    """One selection of images, from where the journal says, for the processor of this verdict version."""

    def __init__(self, deployment: Deployment, selection: Selection, journal: Journal, verdict: str) -> None:
        self._deployment, self._selection, self._journal, self._verdict = deployment, selection, journal, verdict
        self._after, self.sent = journal.read()

    def restart(self) -> None:
        """Forgets how far earlier runs came."""
        self._after, self.sent = "", 0
        self._journal.forget()

    def measure(self, seen: Callable[[], None]) -> Sums:
        """Looks at every image that is left, and sends nothing."""
        sums = Sums()
        for record in self._left():
            if self._is_done(record):
                sums.done += 1
            else:
                sums.add(record)
            seen()
        return sums

    def send(self, rate: float, done: Callable[[int], None], waiting: Callable[[int | None], None]) -> None:
        """Sends what is left. `sent` counts the images of this run and of those that it goes on from."""
        sender = Sender(self._deployment.backfill, rate, waiting)
        for batch in batches(filterfalse(self._is_done, self._left()), BATCH):
            sender.send(map(messages.reprocess, batch))
            self._after, self.sent = batch[-1]["listed_at"], self.sent + len(batch)
            self._journal.write(Progress(self._after, self.sent))
            done(len(batch))
        self._journal.forget()

    def _is_done(self, record: Record) -> bool:
        """Whether today's processor has made it again already; it would do nothing."""
        return str(record["revision"]).endswith(f"-{self._verdict}")

    def _left(self) -> Iterator[Record]:
        selection, records = self._selection, self._deployment.records
        if selection.image_ids:
            known = records.get_many(selection.image_ids)
            if unknown := sorted(set(selection.image_ids) - set(known)):
                raise PipelineError(f"there is no image {', '.join(unknown)}; imagepipe list shows what there is")
            found = iter(known.values())
        else:
            found = records.oldest_first(*selection.window(), self._after)
        return filter(selection.takes, found)
