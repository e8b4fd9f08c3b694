"""What can be wrong between an object, its record and its variants, and what mends it. Pure: no AWS."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from imagepipe.operations import messages
from imagepipe.operations.inventory import Known, Object
from imagepipe.operations.records import Record, since

#: Statuses that an image has while it is worked on.
UNFINISHED = frozenset({"PENDING", "PROCESSING"})


class Trouble(StrEnum):
    MISSING_RECORD = "MISSING_RECORD"
    OUTDATED_RECORD = "OUTDATED_RECORD"
    OBJECT_GONE = "OBJECT_GONE"
    STUCK = "STUCK"
    MISSING_VARIANTS = "MISSING_VARIANTS"
    ORPHANED_VARIANTS = "ORPHANED_VARIANTS"


#: What each means, and what its repair does.
MEANINGS = {
    Trouble.MISSING_RECORD: ("an object without a record: its event was lost", "tell the processor of the object"),
    Trouble.OUTDATED_RECORD: ("the record is of an older version of the object", "tell the processor of the new one"),
    Trouble.OBJECT_GONE: ("the object was removed, its record was not", "tell the processor of the removal"),
    Trouble.STUCK: ("begun, and neither finished nor failed", "tell the processor again"),
    Trouble.MISSING_VARIANTS: ("READY, but variants are gone", "make them again"),
    Trouble.ORPHANED_VARIANTS: ("variants that no record publishes", "delete them"),
}


@dataclass(frozen=True)
class Finding:
    """One difference, certain."""

    trouble: Trouble
    image_id: str
    name: str  # the object's key; of orphaned variants their folder
    since: datetime
    message: str | None = None  # what mends it; orphaned variants are deleted instead

    def as_json(self) -> dict[str, Any]:
        return {
            "trouble": self.trouble, "image_id": self.image_id, "name": self.name, "since": self.since.isoformat(),
        }  # fmt: skip


def judge(known: Known | None, found: Object | None, settled: datetime) -> Trouble | None:
    """What is wrong with an image; nothing is as long as anything of it is younger than `settled`."""
    if (known and known.since > settled) or (found and found.modified > settled):
        return None
    removed = known is None or known.status == "DELETED"
    if found is None:
        return None if removed else Trouble.OBJECT_GONE
    if known is None:
        return Trouble.MISSING_RECORD
    if removed or is_another_version(known, found):
        return Trouble.OUTDATED_RECORD
    return Trouble.STUCK if known.status in UNFINISHED else None


def finding(trouble: Trouble, bucket: str, record: Record | None, found: Object | None) -> Finding:
    """A difference between a record and the object that there is now, with the message that mends it."""
    if trouble is Trouble.MISSING_RECORD or not record:
        assert found, "an image with neither record nor object has no trouble"
        message = messages.created(found, bucket, messages.first_sequencer(found.version_id or found.etag))
        return Finding(trouble, found.image_id, found.key, found.modified, message)
    # To make variants anew the processor must take it for something new: what its record tells of, it knows as done.
    message = news(bucket, record, found) if trouble is Trouble.MISSING_VARIANTS else retold(bucket, record, found)
    return Finding(trouble, record["image_id"], record["source"]["key"], since(record), message)


def retold(bucket: str, record: Record, found: Object | None) -> str:
    """What the processor must be told when the last event of an image is lost: that event, or what happened since."""
    if found is None or record["status"] == "DELETED" or is_another_version(Known.of(record), found):
        return news(bucket, record, found)
    return messages.once_more(record)


def news(bucket: str, record: Record, found: Object | None) -> str:
    """That something happened to an image since its record was written: it was removed, or is what is found."""
    sequencer = messages.successor(record["sequencer"])
    if found is None:
        return messages.removed(bucket, record["source"]["key"], sequencer, datetime.now(UTC))
    return messages.created(found, bucket, sequencer)


def is_another_version(known: Known, found: Object) -> bool:
    if known.version_id and found.version_id:
        return known.version_id != found.version_id
    return known.etag is not None and known.etag != found.etag
