"""Finds and deletes variants that no record shows, and repairs what a comparison has listed.

A repair never writes a record. It sends the processor the event that S3 must have sent, and the processor puts that in
order among everything else that happens to the image. Only variants that no record shows are deleted; `sweep` says why
that is safe while the processor runs.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from functools import cache

from imagepipe.errors import PipelineError
from imagepipe.operations import sweep
from imagepipe.operations.differences import Finding
from imagepipe.operations.inventory import shown_keys
from imagepipe.operations.pace import BATCH, Sender
from imagepipe.operations.records import batches
from imagepipe.operations.resources import Resources, server_time
from imagepipe.operations.sweep import Orphan, Version

#: Most versions that one DeleteObjects takes.
DELETED_AT_A_TIME = 1000


def find(resources: Resources, folder: str, settled: datetime) -> list[Orphan]:
    """Return the orphans in a folder that were written before `settled`, and at least `sweep.GRACE` ago."""
    paginator = resources.s3.get_paginator("list_object_versions")
    pages = list(paginator.paginate(Bucket=resources.processed_bucket, Prefix=folder))
    now = server_time(pages[0])
    versions = [version for page in pages for version in sweep.versions(page)]

    @cache  # one folder is one image; its record is read after the folder was listed
    def read_keys(image_id: str) -> set[str]:
        return shown_keys(resources.records.get(image_id))

    return list(sweep.orphans(versions, read_keys, now, now - settled))


def delete(resources: Resources, folder: str, settled: datetime) -> int:
    """Delete every version of the orphans in a folder, and return the number of orphans.

    Raises:
        PipelineError: S3 refused to delete some of them.
    """
    orphans = find(resources, folder, settled)
    versions = (version for orphan in orphans for version in orphan.versions)
    delete_versions(resources, resources.processed_bucket, versions)
    return len(orphans)


def delete_versions(resources: Resources, bucket: str, versions: Iterable[Version]) -> None:
    """Delete versions of objects, by their ids.

    Raises:
        PipelineError: S3 refused to delete some of them.
    """
    for batch in batches(versions, DELETED_AT_A_TIME):
        answer = resources.s3.delete_objects(
            Bucket=bucket,
            Delete={"Objects": [{"Key": version.key, "VersionId": version.id} for version in batch], "Quiet": True},
        )
        if errors := answer.get("Errors"):
            raise PipelineError(
                f"S3 refused to delete {errors[0]['Key']} ({errors[0].get('Message')}): "
                "remove the cause and run the same command again"
            )


class Repair:
    """Repairs findings one after another.

    Args:
        settled: variants written after this, or less than `sweep.GRACE` ago, are left alone.
        rate: messages a second.
        waiting: see `Sender`.
    """

    def __init__(
        self, resources: Resources, settled: datetime, rate: float, waiting: Callable[[int | None], None]
    ) -> None:
        self._resources, self._settled = resources, settled
        self._sender = Sender(resources.backfill, rate, waiting)
        #: Findings whose message is sent, or whose variants are deleted.
        self.mended = 0

    def mend(self, findings: Iterable[Finding], done: Callable[[int], None]) -> None:
        """Repair all findings. Variants that a record shows by now are left alone and not counted.

        Args:
            done: called with the number of findings of each batch.
        """
        for batch in batches(findings, BATCH):
            bodies = [finding.message for finding in batch if finding.message]
            self._sender.send(bodies)
            self.mended += len(bodies)
            for finding in batch:
                if not finding.message:
                    self.mended += delete(self._resources, finding.name, self._settled) > 0
            done(len(batch))
