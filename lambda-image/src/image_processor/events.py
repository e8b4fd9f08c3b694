"""What arrived: S3's notifications out of SQS messages, in terms that the rest of the package uses."""

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote_plus


class NotAnEvent(ValueError):
    """A message that S3 did not write. It is retried like any failure, and kept in the dead-letter queue for people."""


@dataclass(frozen=True)
class ObjectEvent:
    """Something that happened to one object of the upload bucket."""

    bucket: str
    key: str
    created: bool  # otherwise it was removed
    sequencer: str  # 32 lower-case hex digits; their order is the order of the events of one key
    time: datetime
    version_id: str | None = None
    #: A removal of that very version, which may be an old one, and not of the object.
    of_one_version: bool = False
    etag: str | None = None
    size: int | None = None  # bytes, of a creation

    @property
    def image_id(self) -> str:
        return image_id(self.bucket, self.key)

    @property
    def revision(self) -> str:
        """Names what was made because of this event; part of every variant's key."""
        return self.sequencer.lstrip("0") or "0"


def image_id(bucket: str, key: str) -> str:
    """The same for every revision of an object: 32 hex digits of the sha256 over bucket and key."""
    return hashlib.sha256(f"{bucket}/{key}".encode()).hexdigest()[:32]


def parse(body: str) -> list[ObjectEvent]:
    """Reads the body of one SQS message. S3's test event, sent when a notification is set up, holds no events.

    Raises:
        NotAnEvent: anything that is not a notification of S3 about objects created or removed.
    """
    try:
        content = json.loads(body)
        if content.get("Event") == "s3:TestEvent":
            return []
        return [_event(record) for record in content["Records"]]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise NotAnEvent(f"not an S3 event notification: {type(error).__name__}: {error}") from None


def _event(record: dict[str, Any]) -> ObjectEvent:
    name, s3 = record["eventName"].removeprefix("s3:"), record["s3"]
    kind, _, detail = name.partition(":")
    if kind not in {"ObjectCreated", "ObjectRemoved", "LifecycleExpiration"}:
        raise ValueError(f"unexpected eventName {name!r}")
    # Lengths differ between sequencers; S3 says to pad the shorter one with zeros and to compare the strings.
    sequencer = s3["object"]["sequencer"].lower().rjust(32, "0")
    if not re.fullmatch(r"[0-9a-f]{32}", sequencer):
        raise ValueError(f"unexpected sequencer {sequencer!r}")
    return ObjectEvent(
        bucket=s3["bucket"]["name"],
        key=unquote_plus(s3["object"]["key"]),
        created=kind == "ObjectCreated",
        sequencer=sequencer,
        time=datetime.fromisoformat(record["eventTime"]).astimezone(UTC),
        version_id=s3["object"].get("versionId"),
        of_one_version=detail == "Delete" and "versionId" in s3["object"],
        etag=s3["object"].get("eTag"),
        size=s3["object"].get("size"),
    )
