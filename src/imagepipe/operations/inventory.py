"""Lists the objects, records and variants of an environment side by side, sorted by image, for millions of images.

S3 lists uploads by key and variants by image, and the table returns records in no order. SQLite sorts them in a file,
with a few megabytes of memory. Filling an inventory takes minutes, so what differs in it must be checked again.
"""

import sqlite3
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any, Self, TypeVar

from image_processor.events import image_id
from imagepipe.operations.records import Record, batches, since

Left = TypeVar("Left")
Right = TypeVar("Right")

#: Rows inserted at a time.
ROWS = 1000

#: Tables without keys: sorting all rows once, when they are read, is many times faster than an index.
_TABLES = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA cache_size = -16384;
CREATE TABLE objects (image_id TEXT, key TEXT, version_id TEXT, etag TEXT, size INT, modified TEXT);
CREATE TABLE records (image_id TEXT, key TEXT, version_id TEXT, etag TEXT, status TEXT, since TEXT);
CREATE TABLE published (folder TEXT, image_id TEXT, digest INT);
"""


@dataclass(frozen=True)
class StoredObject:
    """The current version of an object in the upload bucket."""

    image_id: str
    key: str
    version_id: str | None
    etag: str
    size: int  # bytes
    modified: datetime


@dataclass(frozen=True)
class RecordedObject:
    """The object in the upload bucket as a record describes it."""

    image_id: str
    key: str  # empty for a removed image, whose record keeps none
    version_id: str | None
    etag: str | None
    status: str
    since: datetime

    @classmethod
    def of(cls, record: Record) -> Self:
        """Take the object out of a record."""
        source = record["source"]
        return cls(
            record["image_id"], source.get("key", ""), source.get("version_id"), source.get("etag"), record["status"],
            since(record),
        )  # fmt: skip


@dataclass(frozen=True)
class VariantFolder:
    """The variants of one revision, in the processed bucket under <image id>/<revision>/."""

    name: str  # ends with a slash
    variants: int
    digest: int  # of the variants' keys
    modified: datetime  # of the newest variant

    @property
    def image_id(self) -> str:
        """Return the image that the variants are of."""
        return self.name.partition("/")[0]


@dataclass(frozen=True)
class RecordedFolder:
    """A folder of variants as a record describes it."""

    name: str
    image_id: str
    digest: int


class Inventory:
    """Objects and records of an environment in a scratch file: first add them, then read them side by side."""

    def __init__(self, file: Path) -> None:
        self._database = sqlite3.connect(file)
        self._database.executescript(_TABLES)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def add_objects(self, objects: Iterable[StoredObject], seen: Callable[[int], None]) -> None:
        """Add objects of the upload bucket.

        Args:
            seen: called with the number of objects of each batch.
        """
        rows = (
            (stored.image_id, stored.key, stored.version_id, stored.etag, stored.size, stored.modified.isoformat())
            for stored in objects
        )
        self._insert("objects", 6, rows, seen)

    def add_records(self, records: Iterable[Record], bucket: str, seen: Callable[[int], None]) -> None:
        """Add the records of objects in this bucket, and the folders of variants that they show.

        Args:
            seen: called with the number of records of each batch.
        """
        for batch in batches((record for record in records if record["source"]["bucket"] == bucket), ROWS):
            self._insert("records", 6, map(_record_row, map(RecordedObject.of, batch)), lambda _: None)
            self._insert("published", 3, (row for record in batch for row in _published_rows(record)), lambda _: None)
            seen(len(batch))

    def side_by_side(self) -> Iterator[tuple[RecordedObject | None, StoredObject | None]]:
        """Return record and object of every image that has either, by image id."""
        records = map(_to_recorded_object, self._rows("records", "image_id"))
        objects = map(_to_stored_object, self._rows("objects", "image_id"))
        return outer_join(records, objects, lambda recorded: recorded.image_id, lambda stored: stored.image_id)

    def folders(self, listed: Iterable[VariantFolder]) -> Iterator[tuple[VariantFolder | None, RecordedFolder | None]]:
        """Return every folder in the bucket or in a record.

        Args:
            listed: folders of the bucket, in the order of their names.
        """
        shown = (RecordedFolder(*row) for row in self._rows("published", "folder"))
        return outer_join(listed, shown, lambda folder: folder.name, lambda folder: folder.name)

    def _rows(self, table: str, order: str) -> Iterator[Any]:
        return iter(self._database.execute(f"SELECT * FROM {table} ORDER BY {order}"))  # noqa: S608 - names from here

    def _insert(self, table: str, width: int, rows: Iterable[tuple[Any, ...]], seen: Callable[[int], None]) -> None:
        statement = f"INSERT INTO {table} VALUES ({', '.join('?' * width)})"  # noqa: S608 - names from here
        for batch in batches(rows, ROWS):
            self._database.executemany(statement, batch)
            seen(len(batch))


def outer_join(
    left: Iterable[Left], right: Iterable[Right], left_key: Callable[[Left], str], right_key: Callable[[Right], str]
) -> Iterator[tuple[Left | None, Right | None]]:
    """Pair the items of two streams by a key, which ascends and is unique in each. The counterpart may be None."""
    lefts, rights = iter(left), iter(right)
    one, other = next(lefts, None), next(rights, None)
    while one is not None or other is not None:
        if other is None or (one is not None and left_key(one) < right_key(other)):
            yield one, None
            one = next(lefts, None)
        elif one is None or right_key(other) < left_key(one):
            yield None, other
            other = next(rights, None)
        else:
            yield one, other
            one, other = next(lefts, None), next(rights, None)


def list_objects(s3: Any, bucket: str) -> Iterator[StoredObject]:
    """Return the current version of every object, without removed and overwritten ones."""
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        for entry in page.get("Versions", []):
            if entry["IsLatest"]:
                yield StoredObject(
                    image_id(bucket, entry["Key"]), entry["Key"], entry["VersionId"], entry["ETag"].strip('"'),
                    entry["Size"], entry["LastModified"],
                )  # fmt: skip


def list_folders(s3: Any, bucket: str) -> Iterator[VariantFolder]:
    """Return the folders of variants by name. Objects outside such a folder are left out."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    entries = (entry for page in pages for entry in page.get("Contents", []))
    for name, group in groupby(entries, key=lambda entry: _folder(entry["Key"])):
        if name:
            variants = list(group)
            yield VariantFolder(
                name, len(variants), _digest(entry["Key"] for entry in variants),
                max(entry["LastModified"] for entry in variants),
            )  # fmt: skip


def shown_keys(record: Record | None) -> set[str]:
    """Return the keys of the variants that a record shows."""
    return {variant["key"] for variant in ((record or {}).get("variants") or {}).values()}


def _digest(keys: Iterable[str]) -> int:
    """Compute a checksum that does not depend on the order of the keys."""
    return sum(zlib.crc32(key.encode()) for key in keys)


def _folder(key: str) -> str:
    """<image id>/<revision>/ of a variant's key; empty for any other key."""
    parts = key.split("/")
    is_variant = len(parts) == 3 and len(parts[0]) == 32 and not set(parts[0]) - set("0123456789abcdef")
    return f"{parts[0]}/{parts[1]}/" if is_variant else ""


def _record_row(recorded: RecordedObject) -> tuple[Any, ...]:
    since = recorded.since.isoformat()
    return (recorded.image_id, recorded.key, recorded.version_id, recorded.etag, recorded.status, since)


def _to_recorded_object(row: tuple[Any, ...]) -> RecordedObject:
    image_id, key, version_id, etag, status, moment = row
    return RecordedObject(image_id, key, version_id, etag, status, datetime.fromisoformat(moment))


def _to_stored_object(row: tuple[Any, ...]) -> StoredObject:
    image_id, key, version_id, etag, size, moment = row
    return StoredObject(image_id, key, version_id, etag, size, datetime.fromisoformat(moment))


def _published_rows(record: Record) -> Iterator[tuple[str, str, int]]:
    keys = sorted(shown_keys(record))
    return ((folder, record["image_id"], _digest(group)) for folder, group in groupby(keys, key=_folder))
