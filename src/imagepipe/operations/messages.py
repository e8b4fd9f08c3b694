"""Bodies of messages that make the processor handle an image again. It takes them like events of S3.

No message here can overtake a real event. A reprocess request names the event that the record must still be about. A
made-up event has the sequencer right after that of the record, and every later event of S3 has a greater one.
"""

import hashlib
import json
from datetime import datetime
from typing import Any
from urllib.parse import quote_plus

from image_processor.events import SEQUENCER_DIGITS
from imagepipe.operations.inventory import StoredObject
from imagepipe.operations.records import Record


def reprocess_request(record: Record) -> str:
    """Return the request to make the same object version again, under a new revision."""
    source = record["source"]
    wanted = {
        "bucket": source["bucket"],
        "key": source["key"],
        "version_id": source.get("version_id"),
        "sequencer": record["sequencer"],
        "event_time": record["listed_at"].partition("#")[0],
    }
    return json.dumps({"reprocess": {name: value for name, value in wanted.items() if value is not None}})


def original_event(record: Record) -> str:
    """Rebuild the S3 event of a record whose message was lost.

    If the original arrives too, the processor drops it as a duplicate.
    """
    source = record["source"]
    details = {"versionId": source.get("version_id"), "eTag": source.get("etag"), "size": source.get("bytes")}
    when = record["listed_at"].partition("#")[0]
    return _event("ObjectCreated:Put", source["bucket"], source["key"], record["sequencer"], when, details)


def creation_event(stored: StoredObject, bucket: str, sequencer: str) -> str:
    """Return the event that S3 would have sent for an object in the bucket."""
    details = {"versionId": stored.version_id, "eTag": stored.etag, "size": stored.size}
    return _event("ObjectCreated:Put", bucket, stored.key, sequencer, stored.modified.isoformat(), details)


def removal_event(bucket: str, key: str, sequencer: str, when: datetime) -> str:
    """Return the event that S3 would have sent for an object that was removed."""
    return _event("ObjectRemoved:DeleteMarkerCreated", bucket, key, sequencer, when.isoformat(), {})


def next_sequencer(sequencer: str) -> str:
    """Return the sequencer right after this one.

    S3's own have about 18 digits and are padded on the right, so none of them is as close.
    """
    return f"{int(sequencer, 16) + 1:0{SEQUENCER_DIGITS}x}"


def first_sequencer(version: str) -> str:
    """Return a sequencer for an object without a record: less than any of S3's own, and different for every version.

    Every later event of the object wins over it. So does an old event of an overwritten version, if S3 sends one a
    second time; then the next comparison reports the record as outdated.
    """
    digits = hashlib.sha256(version.encode()).hexdigest()[:8]
    return digits.rjust(SEQUENCER_DIGITS, "0")


def _event(name: str, bucket: str, key: str, sequencer: str, when: str, details: dict[str, Any]) -> str:
    known = {field: value for field, value in details.items() if value is not None}
    record = {
        "eventVersion": "2.1",
        "eventSource": "imagepipe",
        "eventTime": when,
        "eventName": name,
        "s3": {
            "bucket": {"name": bucket},
            "object": {"key": quote_plus(key, safe="/"), **known, "sequencer": sequencer},
        },
    }
    return json.dumps({"Records": [record]})
