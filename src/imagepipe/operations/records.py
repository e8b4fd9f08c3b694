"""Reads the table of image records page by page, so that memory does not grow with the number of images."""

import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any, TypeVar

from image_processor.records.items import Record, from_item, to_item
from image_processor.records.table import BY_STATUS, KEY, LISTING, LISTING_KEY, NEWEST, RANGE_KEY, STATUS_KEY
from imagepipe.errors import PipelineError

__all__ = ["Record", "Records", "batches", "reason_code", "since"]

Item = TypeVar("Item")

#: Most keys that one BatchGetItem takes.
BATCH = 100

#: Seconds for which unprocessed keys of BatchGetItem are requested again before that is an error.
PATIENCE = 60


class Records:
    """The table of records. Only `get` and `get_many` read consistently; the others use indexes or a scan."""

    def __init__(self, dynamodb: Any, table: str) -> None:
        self._dynamodb, self.table = dynamodb, table

    def get(self, image_id: str) -> Record | None:
        """Read the record of one image."""
        return self.get_many([image_id]).get(image_id)

    def get_many(self, image_ids: Iterable[str]) -> dict[str, Record]:
        """Read records by id. An id without a record is left out.

        Raises:
            PipelineError: DynamoDB returned unprocessed keys for PATIENCE seconds.
        """
        records: dict[str, Record] = {}
        for batch in batches(dict.fromkeys(image_ids), BATCH):
            keys = [{KEY: {"S": image_id}} for image_id in batch]
            wanted = {self.table: {"Keys": keys, "ConsistentRead": True}}
            deadline = time.monotonic() + PATIENCE
            while wanted:
                answer = self._dynamodb.batch_get_item(RequestItems=wanted)
                records |= {record[KEY]: record for record in map(from_item, answer["Responses"][self.table])}
                wanted = answer.get("UnprocessedKeys", {})
                if wanted and time.monotonic() > deadline:
                    raise PipelineError(f"DynamoDB has throttled reads of {self.table} for {PATIENCE} s: try later")
        return records

    def with_status(self, status: str) -> Iterator[Record]:
        """Read the records with a status by the index `by-status`: a few failures among millions are a few reads."""
        query = {
            "IndexName": BY_STATUS,
            "KeyConditionExpression": "#status = :status",
            "ExpressionAttributeNames": {"#status": STATUS_KEY},
            "ExpressionAttributeValues": to_item({":status": status}),
        }
        return self._items("query", query)

    def oldest_first(self, since: datetime | None, until: datetime | None, after: str = "") -> Iterator[Record]:
        """Read the records of images that are not deleted, by the time of their last event.

        Images that are uploaded meanwhile come last, so a place in this order stays valid for days.

        Args:
            after: `listed_at` of the record to continue after.
        """
        # `listed_at` is "<time>#<image id>"; "$" is the character after "#", and "!" comes before any in an id.
        start = max(_text(since) if since else "0", f"{after}!")
        end = f"{_text(until)}$" if until else "9999"
        query = {
            "IndexName": NEWEST,
            "KeyConditionExpression": f"{LISTING_KEY} = :listing AND {RANGE_KEY} BETWEEN :start AND :end",
            "ExpressionAttributeValues": to_item({":listing": LISTING, ":start": start, ":end": end}),
        }
        return self._items("query", query) if start <= end else iter(())

    def all(self, *attributes: str) -> Iterator[Record]:
        """Read these top-level attributes of every record, also of deleted images, in no order.

        Items of the table that are no records have no `source` and are left out.
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
    """Split items into lists of up to `size` (itertools.batched comes with Python 3.12)."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def since(record: Record) -> datetime:
    """Return when the image got its status."""
    return datetime.fromisoformat(record["status_since"])


def reason_code(record: Record) -> str:
    """Return the code of the reason why an image failed or was rejected, or NO_REASON."""
    return str((record.get("reason") or {}).get("code") or "NO_REASON")


def _text(moment: datetime) -> str:
    """Format a moment as at the beginning of `listed_at`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")
