"""Parses messages: S3's notifications, and orders to make an image again."""

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote_plus

#: Longer than any sequencer that S3 has sent so far (16 to 18 hex digits).
SEQUENCER_DIGITS = 32


class NotAnEvent(ValueError):
    """A message of no known kind. It is retried like any failure, and people find it in the dead-letter queue."""


@dataclass(frozen=True)
class ObjectEvent:
    """A creation or removal of an object of the upload bucket, or an order to make its image again."""

    bucket: str
    key: str
    created: bool  # otherwise it was removed
    sequencer: str  # 32 lower-case hex digits; their order is the order of the events of one key
    time: datetime
    version_id: str | None = None
    #: Only this version was removed, which may be an old one; the object may still be there.
    of_one_version: bool = False
    etag: str | None = None
    size: int | None = None  # bytes, of a creation
    #: An order: make the same object version again, with the current recipe.
    reprocess: bool = False

    @property
    def image_id(self) -> str:
        """Id of the image, the same for every revision."""
        return image_id(self.bucket, self.key)

    @property
    def revision(self) -> str:
        """Name of everything made because of this event; part of every variant's key."""
        return self.sequencer.rstrip("0") or "0"


def image_id(bucket: str, key: str) -> str:
    """Return the id of an object's image: 32 hex digits of the sha256 over bucket and key."""
    return hashlib.sha256(f"{bucket}/{key}".encode()).hexdigest()[:32]


def parse(body: str) -> list[ObjectEvent]:
    """Parse the body of one SQS message. S3's test event, sent when a notification is set up, holds no events.

    Besides S3's notifications it takes orders of `imagepipe reprocess`:
    {"reprocess": {"bucket", "key", "sequencer", "event_time", and "version_id" where the record has one}}.

    Raises:
        NotAnEvent: any other body.
    """
    try:
        content = json.loads(body)
        if content.get("Event") == "s3:TestEvent":
            return []
        if "reprocess" in content:
            return [_order(content["reprocess"])]
        return [_event(record) for record in content["Records"]]
    except (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError) as error:
        raise NotAnEvent(f"not an S3 event notification: {type(error).__name__}: {error}") from None


def padded(sequencer: str) -> str:
    """Pad a sequencer with zeros on the right. S3's differ in length and compare as text once they are padded.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
    """
    digits = sequencer.lower().ljust(SEQUENCER_DIGITS, "0")
    if not re.fullmatch(rf"[0-9a-f]{{{SEQUENCER_DIGITS}}}", digits):
        raise ValueError(f"unexpected sequencer {sequencer!r}")
    return digits


def _order(order: dict[str, Any]) -> ObjectEvent:
    return ObjectEvent(
        bucket=_text(order["bucket"]),
        key=_text(order["key"]),
        created=True,
        sequencer=padded(order["sequencer"]),
        time=_time(order["event_time"]),
        version_id=order.get("version_id"),
        reprocess=True,
    )


def _event(record: dict[str, Any]) -> ObjectEvent:
    name, s3 = record["eventName"].removeprefix("s3:"), record["s3"]
    kind, _, detail = name.partition(":")
    if kind not in {"ObjectCreated", "ObjectRemoved", "LifecycleExpiration"}:
        raise ValueError(f"unexpected eventName {name!r}")
    return ObjectEvent(
        bucket=_text(s3["bucket"]["name"]),
        key=_text(unquote_plus(s3["object"]["key"], errors="strict")),
        created=kind == "ObjectCreated",
        sequencer=padded(s3["object"]["sequencer"]),
        time=_time(record["eventTime"]),
        version_id=s3["object"].get("versionId"),
        of_one_version=detail == "Delete" and "versionId" in s3["object"],
        etag=s3["object"].get("eTag"),
        size=s3["object"].get("size"),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"expected a text, not {value!r}")
    value.encode()  # names of S3 are UTF-8, and JSON may hold half a character
    return value


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
