"""Mends what a comparison found.

Records are never written here: the processor is told again what S3 must have told it, and puts that in order among
everything else that happens to the image. Only variants that no record shows are deleted.
"""

from collections.abc import Callable, Iterable
from datetime import datetime

from imagepipe.operations import orphans
from imagepipe.operations.deployment import Deployment
from imagepipe.operations.differences import Finding
from imagepipe.operations.pace import BATCH, Sender
from imagepipe.operations.records import batches


class Repair:
    """Mends findings one after another, at a rate of so many messages a second."""

    def __init__(
        self, deployment: Deployment, settled: datetime, rate: float, waiting: Callable[[int | None], None]
    ) -> None:
        self._deployment, self._settled = deployment, settled
        self._sender = Sender(deployment.backfill, rate, waiting)
        #: How many are mended so far, or the processor is told to.
        self.mended = 0

    def mend(self, findings: Iterable[Finding], done: Callable[[int], None]) -> None:
        """Mends them all; orphans that turn out not to be any are left, and not counted."""
        for batch in batches(findings, BATCH):
            told = [each.message for each in batch if each.message]
            self._sender.send(told)
            folders = [each.name for each in batch if not each.message]
            self.mended += len(told)
            for name in folders:
                self.mended += orphans.take_away(self._deployment, name, self._settled) > 0
            done(len(batch))
