"""Bodies of the messages that put an image to work again; the processor takes them like what S3 writes itself.

Nothing here can overtake what really happens. A reprocess says which event its record must still be about. A made-up
event has the sequencer right after the one that its record holds, and every later event of S3 has a greater one.
"""

import hashlib
import json
from datetime import datetime
from typing import Any
from urllib.parse import quote_plus

from image_processor.events import SEQUENCER_DIGITS
from imagepipe.operations.inventory import Object
from imagepipe.operations.records import Record


def reprocess(record: Record) -> str:
    """The same object version is made again, under a new revision."""
    source = record["source"]
    wanted = {
        "bucket": source["bucket"],
        "key": source["key"],
        "version_id": source.get("version_id"),
        "sequencer": record["sequencer"],
        "event_time": record["listed_at"].partition("#")[0],
    }
    return json.dumps({"reprocess": {name: value for name, value in wanted.items() if value is not None}})


def once_more(record: Record) -> str:
    """The event that a record is about, for when its message is lost. Coming twice it is the duplicate that it is."""
    source = record["source"]
    details = {"versionId": source.get("version_id"), "eTag": source.get("etag"), "size": source.get("bytes")}
    when = record["listed_at"].partition("#")[0]
    return _event("ObjectCreated:Put", source["bucket"], source["key"], record["sequencer"], when, details)


def created(found: Object, bucket: str, sequencer: str) -> str:
    """What S3 would have said of an object that is there."""
    details = {"versionId": found.version_id, "eTag": found.etag, "size": found.size}
    return _event("ObjectCreated:Put", bucket, found.key, sequencer, found.modified.isoformat(), details)


def removed(bucket: str, key: str, sequencer: str, when: datetime) -> str:
    """What S3 would have said of an object that is gone while its record is not."""
    return _event("ObjectRemoved:DeleteMarkerCreated", bucket, key, sequencer, when.isoformat(), {})


def successor(sequencer: str) -> str:
    """The very next one. S3's own have some 18 digits and are padded on the right, so it has none as near."""
    return f"{int(sequencer, 16) + 1:0{SEQUENCER_DIGITS}x}"


def first_sequencer(version: str) -> str:
    """For an object that no record tells of: less than any of S3's own, and another for every version.

    Whatever happens to the object from now on wins. So would an old event that S3 sends a second time, of a version
    that was overwritten; then the next comparison finds the record outdated.
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
