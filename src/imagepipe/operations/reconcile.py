"""Compares the objects of the upload bucket, the records and the variants.

An inventory is minutes old when it is complete, so every difference is checked again, one by one and with consistent
reads, before it counts.
"""

import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path

from imagepipe.operations import orphans
from imagepipe.operations.differences import Finding, Trouble, judge, make_finding
from imagepipe.operations.inventory import (
    Inventory,
    RecordedFolder,
    RecordedObject,
    StoredObject,
    VariantFolder,
    list_folders,
    list_objects,
    shown_keys,
)
from imagepipe.operations.records import BATCH, Record, batches, since
from imagepipe.operations.resources import Resources

#: What a comparison reads, in this order.
KINDS = ("objects", "records", "variants")

#: Requests to S3 at a time: boto3 keeps ten connections.
CONCURRENCY = 10

#: Attributes of a record that a comparison needs. All of them would cost the same, but take more memory and time.
_ATTRIBUTES = ("image_id", "source", "status", "status_since", "variants")

#: A folder of variants in the bucket, and the same folder in a record.
FolderPair = tuple[VariantFolder | None, RecordedFolder | None]


class Comparison:
    """One comparison of an environment.

    Args:
        min_age: what changed within this time is left alone; variants always for `sweep.GRACE`.
        scratch: folder for the inventory, on a disk: a few hundred bytes per image.
        seen: called with one of KINDS and the number of items just read.
    """

    def __init__(
        self, resources: Resources, min_age: timedelta, scratch: Path, seen: Callable[[str, int], None]
    ) -> None:
        self._resources, self._scratch, self._seen = resources, scratch, seen
        self.settled = resources.now() - min_age

    def findings(self) -> Iterator[Finding]:
        """Return differences as they appear: images first, then variants."""
        with (
            tempfile.TemporaryDirectory(dir=self._scratch) as folder,
            closing(Inventory(Path(folder) / "inventory.sqlite")) as inventory,
            ThreadPoolExecutor(CONCURRENCY) as pool,
        ):
            self._fill(inventory)
            pairs = inventory.side_by_side()
            doubtful = ((recorded, stored) for recorded, stored in pairs if judge(recorded, stored, self.settled))
            for images in batches(doubtful, BATCH):
                yield from self._images(images, pool)
            folders = inventory.folders(self._folders())
            for different in batches((pair for pair in folders if _differ(*pair)), BATCH):
                yield from self._variants(different, pool)

    def _fill(self, inventory: Inventory) -> None:
        resources = self._resources
        bucket = resources.upload_bucket
        inventory.add_objects(list_objects(resources.s3, bucket), lambda count: self._seen("objects", count))
        records = resources.records.all(*_ATTRIBUTES)
        inventory.add_records(records, bucket, lambda count: self._seen("records", count))

    def _folders(self) -> Iterator[VariantFolder]:
        for folder in list_folders(self._resources.s3, self._resources.processed_bucket):
            self._seen("variants", folder.variants)
            yield folder

    def _images(
        self, pairs: list[tuple[RecordedObject | None, StoredObject | None]], pool: ThreadPoolExecutor
    ) -> Iterator[Finding]:
        names = [(either.image_id, either.key) for recorded, stored in pairs if (either := stored or recorded)]
        records = self._resources.records.get_many(image_id for image_id, _ in names)
        objects = pool.map(lambda name: self._resources.object(name[1]), names)
        for (image_id, _), stored in zip(names, objects, strict=True):
            record = records.get(image_id)
            if trouble := judge(RecordedObject.of(record) if record else None, stored, self.settled):
                yield make_finding(trouble, self._resources.upload_bucket, record, stored)

    def _variants(self, pairs: list[FolderPair], pool: ThreadPoolExecutor) -> Iterator[Finding]:
        resources = self._resources
        folders = [folder for folder, _ in pairs if folder]
        orphaned = pool.map(lambda folder: orphans.find(resources, folder.name, self.settled), folders)
        for folder, keys in zip(folders, orphaned, strict=True):
            if keys:
                yield Finding(Trouble.ORPHANED_VARIANTS, folder.image_id, folder.name, folder.modified)
        current = resources.records.get_many(shown.image_id for _, shown in pairs if shown).values()
        records = [record for record in current if since(record) <= self.settled]
        for record, complete in zip(records, pool.map(self._is_complete, records), strict=True):
            stored = None if complete else resources.object(record["source"]["key"])
            if stored:  # an image without an object cannot be processed again, and was listed as OBJECT_GONE
                yield make_finding(Trouble.MISSING_VARIANTS, resources.upload_bucket, record, stored)

    def _is_complete(self, record: Record) -> bool:
        """Return whether the bucket holds every variant that a record shows."""
        s3, bucket = self._resources.s3, self._resources.processed_bucket
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{record['image_id']}/")
        return shown_keys(record) <= {entry["Key"] for page in pages for entry in page.get("Contents", [])}


def _differ(folder: VariantFolder | None, shown: RecordedFolder | None) -> bool:
    return not folder or not shown or folder.digest != shown.digest
