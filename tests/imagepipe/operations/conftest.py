"""The record of an image and its object, for the tests of this folder."""

from datetime import UTC, datetime, timedelta
from typing import Any

from image_processor import events
from imagepipe.operations.inventory import StoredObject

NOW = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)
OLD, YOUNG = NOW - timedelta(hours=2), NOW - timedelta(minutes=1)
SETTLED = NOW - timedelta(minutes=30)

BUCKET = "uploads"

ID = events.image_id(BUCKET, "a+b/ü.jpg")


def record(**changes: Any) -> dict[str, Any]:
    """A record of a READY image, as the processor writes it."""
    return {
        "image_id": ID,
        "status": "READY",
        "status_since": OLD.isoformat(),
        "sequencer": "0" * 14 + "0069228f00aabbccdd",
        "listed_at": f"{OLD.isoformat(timespec='milliseconds')}#{ID}",
        "pipeline": {"recipe": "r1"},
        "source": {"bucket": BUCKET, "key": "a+b/ü.jpg", "version_id": "v1", "etag": "e1", "bytes": 7},
        **changes,
    }


def stored_object(modified: datetime = OLD, version: str | None = "v1", etag: str = "e1") -> StoredObject:
    """The object of that record."""
    return StoredObject(ID, "a+b/ü.jpg", version, etag, 7, modified)
