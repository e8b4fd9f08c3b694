"""Reprocesses images that exist already, behind whatever is uploaded meanwhile.

A backfill has its own queue, which few functions work on and which holds few messages. So a stop takes effect within
seconds, and fresh uploads never wait behind a backfill. Images are sent in the order of their last event. The journal
holds the last one that SQS accepted: after a stop, the same command continues there and repeats at most ten images.
"""

import json
from collections.abc import Callable, Iterator
from itertools import filterfalse
from pathlib import Path
from typing import NamedTuple

from imagepipe.errors import PipelineError
from imagepipe.files import write_atomically
from imagepipe.operations import messages
from imagepipe.operations.estimate import Sums
from imagepipe.operations.pace import BATCH, Sender
from imagepipe.operations.records import Record, batches
from imagepipe.operations.resources import Resources
from imagepipe.operations.selection import Selection


class Progress(NamedTuple):
    """How far a backfill has come."""

    listed_at: str = ""  # of the last image that was sent
    sent: int = 0


class Journal:
    """The progress of one backfill, in a file: one per environment, cloud and selection."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def read(self) -> Progress:
        """Return the progress of the last run, or none if it ended."""
        try:
            return Progress(**json.loads(self._file.read_text()))
        except FileNotFoundError:
            return Progress()

    def write(self, progress: Progress) -> None:
        """Keep the progress for the next run."""
        write_atomically(self._file, json.dumps(progress._asdict()))

    def forget(self) -> None:
        """Remove the file: the next run begins with the first image."""
        self._file.unlink(missing_ok=True)


class Backfill:
    """One selection of images to reprocess, from where the journal ends.

    Args:
        verdict: version of recipe, limits and container image that the deployed processor works with. Images that it
            has made already are left out.
    """

    def __init__(self, resources: Resources, selection: Selection, journal: Journal, verdict: str) -> None:
        self._resources, self._selection, self._journal, self._verdict = resources, selection, journal, verdict
        self._after, self.sent = journal.read()

    def restart(self) -> None:
        """Forget the progress of earlier runs."""
        self._after, self.sent = "", 0
        self._journal.forget()

    def measure(self, seen: Callable[[], None]) -> Sums:
        """Add up what the remaining images took when they were made; send nothing.

        Args:
            seen: called once per image.
        """
        sums = Sums()
        for record in self._left():
            if self._is_done(record):
                sums.done += 1
            else:
                sums.add(record)
            seen()
        return sums

    def send(self, rate: float, done: Callable[[int], None], waiting: Callable[[int | None], None]) -> None:
        """Send a message for each remaining image. `sent` counts earlier runs too.

        Args:
            rate: messages a second.
            done: called with the number of images of each batch that SQS accepted.
            waiting: see `Sender`.
        """
        sender = Sender(self._resources.backfill, rate, waiting)
        for batch in batches(filterfalse(self._is_done, self._left()), BATCH):
            sender.send(map(messages.reprocess_request, batch))
            self._after, self.sent = batch[-1]["listed_at"], self.sent + len(batch)
            self._journal.write(Progress(self._after, self.sent))
            done(len(batch))
        self._journal.forget()

    def _is_done(self, record: Record) -> bool:
        """Return whether the deployed processor has made this image already, so that a message would change nothing."""
        return str(record["revision"]).endswith(f"-{self._verdict}")

    def _left(self) -> Iterator[Record]:
        selection, table = self._selection, self._resources.records
        if not selection.image_ids:
            return filter(selection.takes, table.oldest_first(*selection.window(), self._after))
        records = table.get_many(selection.image_ids)
        if unknown := sorted(set(selection.image_ids) - set(records)):
            raise PipelineError(f"no image has the id {', '.join(unknown)}: imagepipe list shows the ids")
        return filter(selection.takes, records.values())
