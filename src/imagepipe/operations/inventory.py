"""Everything that an environment holds, sorted by image: objects, records and variants, however many millions.

S3 lists uploads by key and variants by image, the table gives records in no order at all. SQLite sorts them in a file,
in a few megabytes of memory; then all are read side by side. It is a picture of some minutes: what looks wrong in it is
looked at again before anybody says so.
"""

import sqlite3
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

from image_processor.events import image_id
from imagepipe.operations.records import Record, batches, since

Left = TypeVar("Left")
Right = TypeVar("Right")

#: Rows inserted at a time.
ROWS = 1000

#: No keys: rows are only added, and sorted in one go when they are read, which is many times faster than one by one.
_TABLES = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA cache_size = -16384;
CREATE TABLE objects (image_id TEXT, key TEXT, version_id TEXT, etag TEXT, size INT, modified TEXT);
CREATE TABLE records (image_id TEXT, key TEXT, version_id TEXT, etag TEXT, status TEXT, since TEXT);
CREATE TABLE published (folder TEXT, image_id TEXT, digest INT);
"""


@dataclass(frozen=True)
class Object:
    """The current version of an object in the upload bucket."""

    image_id: str
    key: str
    version_id: str | None
    etag: str
    size: int  # bytes
    modified: datetime


@dataclass(frozen=True)
class Known:
    """What a record says of its object."""

    image_id: str
    key: str
    version_id: str | None
    etag: str | None
    status: str
    since: datetime

    @classmethod
    def of(cls, record: Record) -> "Known":
        source = record["source"]
        return cls(
            record["image_id"], source["key"], source.get("version_id"), source.get("etag"), record["status"],
            since(record),
        )  # fmt: skip


@dataclass(frozen=True)
class Folder:
    """The variants of one revision, in the processed bucket under <image id>/<revision>/."""

    name: str  # with the slash at its end
    variants: int
    digest: int  # of their keys
    modified: datetime  # the youngest

    @property
    def image_id(self) -> str:
        return self.name.partition("/")[0]


@dataclass(frozen=True)
class Shown:
    """A folder of variants as a record shows it."""

    name: str
    image_id: str
    digest: int


class Inventory:
    """Fill it, then compare. The file is scratch: it may go at any time afterwards."""

    def __init__(self, file: Path) -> None:
        self._database = sqlite3.connect(file)
        self._database.executescript(_TABLES)

    def close(self) -> None:
        self._database.close()

    def add_objects(self, objects: Iterable[Object], seen: Callable[[int], None]) -> None:
        rows = (
            (each.image_id, each.key, each.version_id, each.etag, each.size, each.modified.isoformat())
            for each in objects
        )
        self._insert("objects", 6, rows, seen)

    def add_records(self, records: Iterable[Record], bucket: str, seen: Callable[[int], None]) -> None:
        """Records of objects in this bucket, and which folders they publish."""
        for batch in batches((record for record in records if record["source"]["bucket"] == bucket), ROWS):
            self._insert("records", 6, map(_record_row, map(Known.of, batch)), lambda _: None)
            self._insert("published", 3, (row for record in batch for row in _published_rows(record)), lambda _: None)
            seen(len(batch))

    def side_by_side(self) -> Iterator[tuple[Known | None, Object | None]]:
        """Record and object of every image that has either, by image id."""
        records = map(_known, self._rows("records", "image_id"))
        objects = map(_object, self._rows("objects", "image_id"))
        return outer_join(records, objects, lambda record: record.image_id, lambda found: found.image_id)

    def folders(self, listed: Iterable[Folder]) -> Iterator[tuple[Folder | None, Shown | None]]:
        """Every folder that is there, which must come by name, beside what a record shows of it."""
        shown = (Shown(*row) for row in self._rows("published", "folder"))
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
    """Pairs of two streams that both ascend by a key, unique in each; what has no counterpart is paired with None."""
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


def list_objects(s3: Any, bucket: str) -> Iterator[Object]:
    """The current version of every object; what is removed or overwritten is left out."""
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        for entry in page.get("Versions", []):
            if entry["IsLatest"]:
                yield Object(
                    image_id(bucket, entry["Key"]), entry["Key"], entry["VersionId"], entry["ETag"].strip('"'),
                    entry["Size"], entry["LastModified"],
                )  # fmt: skip


def list_folders(s3: Any, bucket: str) -> Iterator[Folder]:
    """Folders of variants by name; objects that are none of ours, being in no folder of an image, are left out."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    entries = (entry for page in pages for entry in page.get("Contents", []))
    for name, group in groupby(entries, key=lambda entry: _folder(entry["Key"])):
        if name:
            variants = list(group)
            yield Folder(
                name, len(variants), _digest(entry["Key"] for entry in variants),
                max(entry["LastModified"] for entry in variants),
            )  # fmt: skip


def shown_keys(record: Record | None) -> set[str]:
    """Keys of the variants that a record shows."""
    return {variant["key"] for variant in ((record or {}).get("variants") or {}).values()}


def _digest(keys: Iterable[str]) -> int:
    """The same for the same keys in any order, and hardly ever for others."""
    return sum(zlib.crc32(key.encode()) for key in keys)


def _folder(key: str) -> str:
    """<image id>/<revision>/ of a variant's key; empty for any other key."""
    parts = key.split("/")
    is_variant = len(parts) == 3 and len(parts[0]) == 32 and not set(parts[0]) - set("0123456789abcdef")
    return f"{parts[0]}/{parts[1]}/" if is_variant else ""


def _record_row(known: Known) -> tuple[Any, ...]:
    return (known.image_id, known.key, known.version_id, known.etag, known.status, known.since.isoformat())


def _known(row: tuple[Any, ...]) -> Known:
    image_id, key, version_id, etag, status, moment = row
    return Known(image_id, key, version_id, etag, status, datetime.fromisoformat(moment))


def _object(row: tuple[Any, ...]) -> Object:
    image_id, key, version_id, etag, size, moment = row
    return Object(image_id, key, version_id, etag, size, datetime.fromisoformat(moment))


def _published_rows(record: Record) -> Iterator[tuple[str, str, int]]:
    keys = sorted(shown_keys(record))
    return ((folder, record["image_id"], _digest(group)) for folder, group in groupby(keys, key=_folder))
