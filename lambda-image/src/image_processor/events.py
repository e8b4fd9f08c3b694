"""What arrived: S3's notifications and orders to make an image again, in terms that the rest of the package uses."""

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote_plus

#: Longer than any that S3 has sent so far (16 to 18 hex digits).
SEQUENCER_DIGITS = 32


class NotAnEvent(ValueError):
    """A message of no known kind. It is retried like any failure, and kept in the dead-letter queue for people."""


@dataclass(frozen=True)
class ObjectEvent:
    """Something that happened to one object of the upload bucket, or is to be done once more."""

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
    #: Nothing happened: the same object version is to be made again, by whatever recipe holds now.
    reprocess: bool = False
    #: The sequencer before it was padded.
    sent: str = ""

    @property
    def image_id(self) -> str:
        return image_id(self.bucket, self.key)

    @property
    def revision(self) -> str:
        """Names what was made because of this event; part of every variant's key."""
        return self.sequencer.rstrip("0") or "0"


def image_id(bucket: str, key: str) -> str:
    """The same for every revision of an object: 32 hex digits of the sha256 over bucket and key."""
    return hashlib.sha256(f"{bucket}/{key}".encode()).hexdigest()[:32]


def parse(body: str) -> list[ObjectEvent]:
    """Reads the body of one SQS message. S3's test event, sent when a notification is set up, holds no events.

    Beside S3's notifications it takes orders of `imagepipe reprocess`:
    {"reprocess": {"bucket", "key", "sequencer", "event_time", and "version_id" where the record has one}}.

    Raises:
        NotAnEvent: anything else.
    """
    try:
        content = json.loads(body)
        if content.get("Event") == "s3:TestEvent":
            return []
        if "reprocess" in content:
            return [_order(content["reprocess"])]
        return [_event(record) for record in content["Records"]]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise NotAnEvent(f"not an S3 event notification: {type(error).__name__}: {error}") from None


def padded(sequencer: str) -> str:
    """S3's sequencers differ in length: the shorter is to be padded with zeros on the right, then text is compared.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
    """
    found = sequencer.lower().ljust(SEQUENCER_DIGITS, "0")
    if not re.fullmatch(rf"[0-9a-f]{{{SEQUENCER_DIGITS}}}", found):
        raise ValueError(f"unexpected sequencer {sequencer!r}")
    return found


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
        key=unquote_plus(s3["object"]["key"], errors="strict"),
        created=kind == "ObjectCreated",
        sequencer=padded(s3["object"]["sequencer"]),
        sent=s3["object"]["sequencer"].lower(),
        time=_time(record["eventTime"]),
        version_id=s3["object"].get("versionId"),
        of_one_version=detail == "Delete" and "versionId" in s3["object"],
        etag=s3["object"].get("eTag"),
        size=s3["object"].get("size"),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"expected a text, found {value!r}")
    return value


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
