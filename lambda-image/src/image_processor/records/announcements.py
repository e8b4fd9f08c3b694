"""What others are told of an image: one event per outcome, described in docs/events.md.

Record and event stay in step because there is one write and not two: the record's. The table's stream tells of it, and
from what the stream tells, and from nothing else, the event is made. Whoever dies in between, the processor after its
write or the announcer before or after its call, leaves the change in the stream, which Lambda hands out again until
the announcer succeeds; whoever announces the same write twice says the same under the same id.

The other ways are worse. An event sent by the processor itself is lost when it dies after its write, or tells of what
never was when it dies, or loses a race, before it. An outbox (the event written beside the record in one transaction)
costs twice the write units and needs somebody to empty it; DynamoDB's stream is that outbox, kept for 24 hours for
nothing. EventBridge Pipes could read it without a function, but cannot compare a write with the record before it,
and so would tell of every note that the processor takes.
"""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from image_processor.records.items import Record, from_item

SOURCE = "image-pipeline"
#: Of the detail. It changes when a field changes its meaning or goes; new fields may come at any time.
SCHEMA = 1

#: Detail types by status.
OUTCOMES = {status: f"image.{status.lower()}" for status in ("READY", "REJECTED", "FAILED", "DELETED")}

#: What one call of PutEvents takes.
_MOST_ENTRIES = 10

Detail = dict[str, Any]


class NotAnnounced(Exception):
    """The bus did not take every event; the whole batch is to be announced again."""


def detail(before: Record | None, after: Record) -> Detail | None:
    """What is to be told of one write of a record, or nothing where it changed no outcome."""
    if after.get("status") not in OUTCOMES:
        return None
    if before and _outcome(before) == _outcome(after):
        return None
    source = after["source"]
    told = {
        "schema": SCHEMA,
        "id": _id(after),
        "status": after["status"],
        "time": after["status_since"],
        "image_id": after["image_id"],
        "revision": after["revision"],
        "sequencer": after["sequencer"],
        "bucket": source["bucket"],
        "key": source["key"],
        "version_id": source.get("version_id"),
        "sha256": source.get("sha256"),
        "reason": after.get("reason"),
        "variants": after.get("variants"),
    }
    return {name: value for name, value in told.items() if value is not None}


def announce(bridge: Any, bus: str, records: Iterable[dict[str, Any]]) -> int:
    """Tells of a batch of the table's stream, in its order; returns how many events that were.

    Raises:
        NotAnnounced: the bus refused some. Those that it took will come once more, under the same id.
    """
    details = [
        found for record in records if (found := detail(_image(record, "OldImage"), _image(record, "NewImage") or {}))
    ]
    for start in range(0, len(details), _MOST_ENTRIES):
        entries = [
            {
                "EventBusName": bus,
                "Source": SOURCE,
                "DetailType": OUTCOMES[each["status"]],
                "Detail": json.dumps(each, ensure_ascii=False),
            }
            for each in details[start : start + _MOST_ENTRIES]
        ]
        answer = bridge.put_events(Entries=entries)
        if answer["FailedEntryCount"]:
            refused = next(entry for entry in answer["Entries"] if "ErrorCode" in entry)
            raise NotAnnounced(f"{refused['ErrorCode']}: {refused.get('ErrorMessage')}")
    return len(details)


def _outcome(record: Record) -> tuple[Any, ...]:
    """What makes an outcome another one. A removed image that is removed again stays what it is."""
    return (record["status"],) if record["status"] == "DELETED" else (record["status"], record["revision"])


def _id(record: Record) -> str:
    """The same however often a transition is told, by which receivers know what they have had.

    The time of the transition is part of it: an outcome can come back, when a recipe is rolled back and images are made
    again by it.
    """
    parts = [record[name] for name in ("image_id", "sequencer", "revision", "status", "status_since")]
    return hashlib.sha256("/".join(parts).encode()).hexdigest()[:32]


def _image(record: dict[str, Any], name: str) -> Record | None:
    image = record["dynamodb"].get(name)
    return from_item(image) if image else None
