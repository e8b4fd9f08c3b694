"""Compares bucket, records and variants.

What an inventory shows is minutes old, so every difference is looked at again, one by one and consistently, before it
counts.
"""

import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from imagepipe.operations import orphans
from imagepipe.operations.deployment import Deployment
from imagepipe.operations.differences import Finding, Trouble, finding, judge
from imagepipe.operations.inventory import (
    Folder,
    Inventory,
    Known,
    Object,
    Shown,
    list_folders,
    list_objects,
    shown_keys,
)
from imagepipe.operations.records import BATCH, Record, batches, since

#: What is read, in this order.
KINDS = ("objects", "records", "variants")

#: Requests to S3 at a time; boto3 keeps ten connections.
CONCURRENCY = 10

#: What a comparison needs of a record; with all of it a scan would still cost the same, but take more memory and time.
_ATTRIBUTES = ("image_id", "source", "status", "status_since", "updated_at", "variants")

#: A folder of variants, and what a record shows of it.
Shelf = tuple[Folder | None, Shown | None]


class Comparison:
    """One comparison of an environment.

    Args:
        min_age: nothing younger than this is judged.
        scratch: folder for the inventory, on a disk: a few hundred bytes per image.
        seen: told what is being read and how many of it came by, time and again.
    """

    def __init__(
        self, deployment: Deployment, min_age: timedelta, scratch: Path, seen: Callable[[str, int], None]
    ) -> None:
        self._deployment, self._scratch, self._seen = deployment, scratch, seen
        self.settled = datetime.now(UTC) - min_age

    def findings(self) -> Iterator[Finding]:
        """Differences, images first, then variants; they come as they are found."""
        with (
            tempfile.TemporaryDirectory(dir=self._scratch) as folder,
            closing(Inventory(Path(folder) / "inventory.sqlite")) as inventory,
            ThreadPoolExecutor(CONCURRENCY) as pool,
        ):
            self._fill(inventory)
            pairs = inventory.side_by_side()
            doubtful = ((known, found) for known, found in pairs if judge(known, found, self.settled))
            for batch in batches(doubtful, BATCH):
                yield from self._images(batch, pool)
            shelves = inventory.folders(self._folders())
            for some in batches((shelf for shelf in shelves if _differ(*shelf)), BATCH):
                yield from self._variants(some, pool)

    def _fill(self, inventory: Inventory) -> None:
        deployment = self._deployment
        bucket = deployment.upload_bucket
        inventory.add_objects(list_objects(deployment.s3, bucket), lambda count: self._seen("objects", count))
        records = deployment.records.all(*_ATTRIBUTES)
        inventory.add_records(records, bucket, lambda count: self._seen("records", count))

    def _folders(self) -> Iterator[Folder]:
        for folder in list_folders(self._deployment.s3, self._deployment.processed_bucket):
            self._seen("variants", folder.variants)
            yield folder

    def _images(self, pairs: list[tuple[Known | None, Object | None]], pool: ThreadPoolExecutor) -> Iterator[Finding]:
        names = [(either.image_id, either.key) for known, found in pairs if (either := known or found)]
        records = self._deployment.records.get_many(image_id for image_id, _ in names)
        objects = pool.map(lambda name: self._deployment.object(name[1]), names)
        for (image_id, _), found in zip(names, objects, strict=True):
            record = records.get(image_id)
            if trouble := judge(Known.of(record) if record else None, found, self.settled):
                yield finding(trouble, self._deployment.upload_bucket, record, found)

    def _variants(self, shelves: list[Shelf], pool: ThreadPoolExecutor) -> Iterator[Finding]:
        deployment = self._deployment
        there = [found for found, _ in shelves if found]
        left = pool.map(lambda folder: orphans.find(deployment, folder.name, self.settled), there)
        for folder, found in zip(there, left, strict=True):
            if found:
                yield Finding(Trouble.ORPHANED_VARIANTS, folder.image_id, folder.name, folder.modified)
        known = deployment.records.get_many(shown.image_id for _, shown in shelves if shown).values()
        records = [record for record in known if since(record) <= self.settled]
        for record, complete in zip(records, pool.map(self._is_complete, records), strict=True):
            source = None if complete else deployment.object(record["source"]["key"])
            if source:  # what has no object cannot be made again, and was found before
                yield finding(Trouble.MISSING_VARIANTS, deployment.upload_bucket, record, source)

    def _is_complete(self, record: Record) -> bool:
        """Whether every variant that a record shows is there."""
        s3, bucket = self._deployment.s3, self._deployment.processed_bucket
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{record['image_id']}/")
        return shown_keys(record) <= {entry["Key"] for page in pages for entry in page.get("Contents", [])}


def _differ(found: Folder | None, shown: Shown | None) -> bool:
    return not found or not shown or found.digest != shown.digest
