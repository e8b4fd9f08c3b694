"""The table of image records, read in pages: nothing here holds more than one page, however many images there are."""

import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any, TypeVar

from image_processor.records.items import Record, from_item, to_item
from image_processor.records.store import LISTING
from imagepipe.errors import PipelineError

__all__ = ["Record", "Records", "batches", "reason_code", "since"]

Item = TypeVar("Item")

#: Most keys that one BatchGetItem takes.
BATCH = 100

#: Seconds that items which DynamoDB holds back are asked for again before that is an error.
PATIENCE = 60


class Records:
    """What the table holds. Everything but `get` and `get_many` is eventually consistent, as indexes are."""

    def __init__(self, dynamodb: Any, table: str) -> None:
        self._dynamodb, self.table = dynamodb, table

    def get(self, image_id: str) -> Record | None:
        return self.get_many([image_id]).get(image_id)

    def get_many(self, image_ids: Iterable[str]) -> dict[str, Record]:
        """Records by id, read consistently; an id without a record is left out."""
        found: dict[str, Record] = {}
        for batch in batches(dict.fromkeys(image_ids), BATCH):
            keys = [{"image_id": {"S": image_id}} for image_id in batch]
            wanted = {self.table: {"Keys": keys, "ConsistentRead": True}}
            deadline = time.monotonic() + PATIENCE
            while wanted:
                answer = self._dynamodb.batch_get_item(RequestItems=wanted)
                found |= {record["image_id"]: record for record in map(from_item, answer["Responses"][self.table])}
                wanted = answer.get("UnprocessedKeys", {})
                if wanted and time.monotonic() > deadline:
                    raise PipelineError(f"DynamoDB has held reads of {self.table} back for {PATIENCE} s: try later")
        return found

    def with_status(self, status: str) -> Iterator[Record]:
        """By the index `by-status`, so that a few failures among millions of images are a few reads."""
        query = {
            "IndexName": "by-status",
            "KeyConditionExpression": "#status = :status",
            "ExpressionAttributeNames": {"#status": "status"},
            "ExpressionAttributeValues": to_item({":status": status}),
        }
        return self._items("query", query)

    def oldest_first(self, since: datetime | None, until: datetime | None, after: str = "") -> Iterator[Record]:
        """Live images by the time of their last event, from after the one that was `listed_at` that.

        What is uploaded meanwhile comes last, so that a place in this order stays good for days.
        """
        # `listed_at` is "<time>#<image id>"; "$" is the character after "#", and "!" comes before any in an id.
        start = max(_text(since) if since else "0", f"{after}!")
        end = f"{_text(until)}$" if until else "9999"
        query = {
            "IndexName": "newest",
            "KeyConditionExpression": "listing = :listing AND listed_at BETWEEN :start AND :end",
            "ExpressionAttributeValues": to_item({":listing": LISTING, ":start": start, ":end": end}),
        }
        return self._items("query", query) if start <= end else iter(())

    def all(self, *attributes: str) -> Iterator[Record]:
        """Every record, tombstones too, in no order, with these top-level attributes only.

        What the table holds beside records, such as who has which content, has no source.
        """
        names = {f"#{place}": attribute for place, attribute in enumerate(attributes)}
        scan = {
            "ProjectionExpression": ", ".join(names),
            "FilterExpression": "attribute_exists(#source)",
            "ExpressionAttributeNames": {"#source": "source", **names},
        }
        return self._items("scan", scan)

    def _items(self, operation: str, request: dict[str, Any]) -> Iterator[Record]:
        for page in self._dynamodb.get_paginator(operation).paginate(TableName=self.table, **request):
            yield from map(from_item, page["Items"])


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of up to `size` items (itertools.batched comes with Python 3.12)."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def since(record: Record) -> datetime:
    """When the image came into the status that it has; older releases did not write that down."""
    return datetime.fromisoformat(record.get("status_since") or record["updated_at"])


def reason_code(record: Record) -> str:
    return str((record.get("reason") or {}).get("code") or "NO_REASON")


def _text(moment: datetime) -> str:
    """As `listed_at` begins."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")
