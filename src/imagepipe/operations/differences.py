"""Differences between an object, its record and its variants, and the message that repairs them. Makes no calls."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from imagepipe.operations import messages
from imagepipe.operations.inventory import RecordedObject, StoredObject
from imagepipe.operations.records import Record, since


class Trouble(StrEnum):
    """Kinds of difference."""

    MISSING_RECORD = "MISSING_RECORD"
    OUTDATED_RECORD = "OUTDATED_RECORD"
    OBJECT_GONE = "OBJECT_GONE"
    STUCK = "STUCK"
    MISSING_VARIANTS = "MISSING_VARIANTS"
    ORPHANED_VARIANTS = "ORPHANED_VARIANTS"


#: What each kind means, and what its repair does.
MEANINGS = {
    Trouble.MISSING_RECORD: ("the object has no record: its event was lost", "send the event of the object"),
    Trouble.OUTDATED_RECORD: ("the record is of an older version of the object", "send the event of the new version"),
    Trouble.OBJECT_GONE: ("the object was removed, its record was not", "send the event of the removal"),
    Trouble.STUCK: ("processing began, and neither finished nor failed", "send the event again"),
    Trouble.MISSING_VARIANTS: ("the image is READY, but variants are missing", "process the image again"),
    Trouble.ORPHANED_VARIANTS: ("no record shows these variants", "delete the variants"),
}


@dataclass(frozen=True)
class Finding:
    """One difference that a second look confirmed."""

    trouble: Trouble
    image_id: str
    name: str  # the object's key; for orphaned variants their folder
    since: datetime
    message: str | None = None  # the event that repairs it; None for orphaned variants, which are deleted

    def as_json(self) -> dict[str, Any]:
        """Return what `imagepipe reconcile --json` prints."""
        return {
            "trouble": self.trouble, "image_id": self.image_id, "name": self.name, "since": self.since.isoformat(),
        }  # fmt: skip


def judge(recorded: RecordedObject | None, stored: StoredObject | None, settled: datetime) -> Trouble | None:
    """Return what is wrong with an image, or None if nothing is, or if anything of it changed after `settled`."""
    if (recorded and recorded.since > settled) or (stored and stored.modified > settled):
        return None
    removed = recorded is None or recorded.status == "DELETED"
    if stored is None:
        return None if removed else Trouble.OBJECT_GONE
    if recorded is None:
        return Trouble.MISSING_RECORD
    if removed or is_another_version(recorded, stored):
        return Trouble.OUTDATED_RECORD
    return Trouble.STUCK if recorded.status == "PROCESSING" else None


def make_finding(trouble: Trouble, bucket: str, record: Record | None, stored: StoredObject | None) -> Finding:
    """Return a difference between a record and the object in the bucket, with the event that repairs it."""
    if trouble is Trouble.MISSING_RECORD or not record:
        assert stored, "an image with neither record nor object has no trouble"
        sequencer = messages.first_sequencer(stored.version_id or stored.etag)
        message = messages.creation_event(stored, bucket, sequencer)
        return Finding(trouble, stored.image_id, stored.key, stored.modified, message)
    # The processor ignores the event of the record, which it has handled. Only a newer event makes variants again.
    make = new_event if trouble is Trouble.MISSING_VARIANTS else replacement_event
    name = stored.key if stored else record["source"]["key"]
    return Finding(trouble, record["image_id"], name, since(record), make(bucket, record, stored))


def replacement_event(bucket: str, record: Record, stored: StoredObject | None) -> str:
    """Return the event to send when an image's last event was lost.

    That is the same event again or, if the object was replaced or removed since, the event of that.
    """
    if stored is None or record["status"] == "DELETED" or is_another_version(RecordedObject.of(record), stored):
        return new_event(bucket, record, stored)
    return messages.original_event(record)


def new_event(bucket: str, record: Record, stored: StoredObject | None) -> str:
    """Return an event newer than the record: the object as it is stored now, or its removal."""
    sequencer = messages.next_sequencer(record["sequencer"])
    if stored is None:
        return messages.removal_event(bucket, record["source"]["key"], sequencer, datetime.now(UTC))
    return messages.creation_event(stored, bucket, sequencer)


def is_another_version(recorded: RecordedObject, stored: StoredObject) -> bool:
    """Return whether the stored object is another version than the recorded one: by version id, else by ETag."""
    if recorded.version_id and stored.version_id:
        return recorded.version_id != stored.version_id
    return recorded.etag is not None and recorded.etag != stored.etag
