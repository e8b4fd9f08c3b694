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

    def mend(self, findings: Iterable[Finding], done: Callable[[int], None]) -> int:
        """Returns how many it mended, or told the processor to; orphans that turn out not to be any are left."""
        count = 0
        for batch in batches(findings, BATCH):
            told = [each.message for each in batch if each.message]
            self._sender.send(told)
            folders = [each.name for each in batch if not each.message]
            count += len(told) + sum(orphans.take_away(self._deployment, name, self._settled) > 0 for name in folders)
            done(len(batch))
        return count
