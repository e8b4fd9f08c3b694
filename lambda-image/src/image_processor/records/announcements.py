"""Makes one event per outcome of an image, for a bus. docs/events.md describes the events.

Events are made from the table's stream only, so that record and event cannot disagree: there is one write, the
record's. If the processor or the announcer dies in between, the change stays in the stream, and Lambda delivers it
again until the announcer succeeds. A write that is announced twice has the same id both times. docs/decisions says what
speaks against an outbox, EventBridge Pipes, and events sent by the processor.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Any

from image_processor.records.items import Record, from_item

SOURCE = "image-pipeline"
#: Version of the detail. It changes when a field changes its meaning or is removed; fields may be added at any time.
SCHEMA = 1

#: Detail types by status.
OUTCOMES = {status: f"image.{status.lower()}" for status in ("READY", "REJECTED", "FAILED", "DELETED")}

#: Most entries that one call of PutEvents takes, and their bytes together as `_size` counts them.
#: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevent-size.html
MOST_ENTRIES, MOST_BYTES = 10, 256 * 1024 - 1

Detail = dict[str, Any]


class NotAnnounced(Exception):
    """The bus did not take every event; the whole batch must be announced again."""


def detail(before: Record | None, after: Record) -> Detail | None:
    """Return the event of one write of a record, or None if the write changed no outcome."""
    if after.get("status") not in OUTCOMES:
        return None
    if before and _outcome(before) == _outcome(after):
        return None
    source = {**_key(before), **after["source"]}
    fields = {
        "schema": SCHEMA,
        "id": _id(after),
        "status": after["status"],
        "time": after["status_since"],
        "image_id": after["image_id"],
        "revision": after["revision"],
        "sequencer": after["sequencer"],
        "bucket": source["bucket"],
        "key": source.get("key"),
        "version_id": source.get("version_id"),
        "sha256": source.get("sha256"),
        "reason": after.get("reason"),
        "variants": after.get("variants"),
    }
    return {name: value for name, value in fields.items() if value is not None}


def announce(bridge: Any, bus: str, records: Iterable[dict[str, Any]]) -> int:
    """Announce a batch of the table's stream in its order; return the number of events.

    Raises:
        NotAnnounced: the bus refused some. The others will be announced again, under the same id.
    """
    pairs = ((_image(record, "OldImage"), _image(record, "NewImage") or {}) for record in records)
    details = [event for before, after in pairs if (event := detail(before, after))]
    for entries in _calls(_entry(bus, event) for event in details):
        answer = bridge.put_events(Entries=entries)
        if answer["FailedEntryCount"]:
            refused = next(entry for entry in answer["Entries"] if "ErrorCode" in entry)
            raise NotAnnounced(f"{refused['ErrorCode']}: {refused.get('ErrorMessage')}")
    return len(details)


def _entry(bus: str, event: Detail) -> dict[str, str]:
    return {
        "EventBusName": bus,
        "Source": SOURCE,
        "DetailType": OUTCOMES[event["status"]],
        "Detail": json.dumps(event, ensure_ascii=False),
    }


def _calls(entries: Iterable[dict[str, str]]) -> Iterator[list[dict[str, str]]]:
    """Cut entries, in their order, into calls that the bus takes."""
    call: list[dict[str, str]] = []
    for entry in entries:
        if call and (len(call) == MOST_ENTRIES or sum(map(_size, [*call, entry])) > MOST_BYTES):
            yield call
            call = []
        call.append(entry)
    if call:
        yield call


def _size(entry: dict[str, str]) -> int:
    """Return the bytes of an entry as EventBridge counts them: source, detail type and detail in UTF-8."""
    return sum(len(entry[name].encode()) for name in ("Source", "DetailType", "Detail"))


def _key(before: Record | None) -> Record:
    """Return the key that a record had before: the record of a removed image keeps none."""
    source = before["source"] if before and "source" in before else {}
    return {"key": source["key"]} if "key" in source else {}


def _outcome(record: Record) -> tuple[Any, ...]:
    """Return what distinguishes outcomes. Removing a removed image is no new outcome."""
    return (record["status"],) if record["status"] == "DELETED" else (record["status"], record["revision"])


def _id(record: Record) -> str:
    """Return an id that is the same however often a transition is announced, so that receivers can drop duplicates.

    The time of the transition is part of it: an outcome can come back when a recipe is rolled back.
    """
    parts = [record[name] for name in ("image_id", "sequencer", "revision", "status", "status_since")]
    return hashlib.sha256("/".join(parts).encode()).hexdigest()[:32]


def _image(record: dict[str, Any], name: str) -> Record | None:
    image = record["dynamodb"].get(name)
    return from_item(image) if image else None
