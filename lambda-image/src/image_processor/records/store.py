"""Where everything is kept: source objects, variants, records. Knows nothing of pixels.

A record is only ever written under the condition that it holds no newer event, so duplicates, latecomers and parallel
writers need no lock: the last thing that happened to the object wins, whatever order the writers come in. Writes touch
the fields they know and no other, so what a newer or older release keeps in a record survives.
"""

import hashlib
import random
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import ClientError

from image_processor.events import SEQUENCER_DIGITS, ObjectEvent
from image_processor.records.items import Record, from_item, to_item
from image_processor.rendition import Variant
from image_processor.verdict import Reason, Rejected

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

#: Of the records written here. Those of schema 1, which do not say so, padded their sequencers on the left.
SCHEMA = 2

#: Statuses after which an event has had its effect. FAILED is not among them: a redriven message is worth a try.
SETTLED = frozenset({"READY", "REJECTED", "DELETED"})

#: The hash key of the index of all images, newest first. Removed images do not have the attribute.
LISTING = "images"

#: How long a removal is remembered. S3's events come within minutes, at worst days.
TOMBSTONE = timedelta(days=30)

#: How long it is remembered which image has a content; later, the same content is simply made again.
CONTENT_MEMORY = timedelta(days=90)

#: A variant never changes under its key.
CACHE_CONTROL = "public, max-age=31536000, immutable"

#: What an outcome decides, present or absent; every other field of a record is left as it is.
_DECIDED = (
    "attempts", "blurriness", "colour", "decoded", "exif", "expires_at", "linked_to", "listed_at", "listing",
    "near_black", "near_white", "notes", "palette", "phash", "pipeline", "placeholder", "reason", "revision", "schema",
    "sequencer", "source", "status", "status_since", "timings", "trying", "updated_at", "variants",
)  # fmt: skip

#: How often a write is tried again at once that met another writer's transaction on the same item.
_CONFLICT_TRIES = 4

#: Of one image's variants, each with a connection of its own: fewer than a client of botocore keeps.
_REQUESTS_AT_ONCE = 4

_Thing = TypeVar("_Thing")
_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class Claim:
    """What stood in the way of a first upload's claim; nothing is a claim that was made."""

    record: Record | None = None
    #: The image that has the same content, made by the same recipe, if any is remembered.
    twin: str | None = None


class Store:
    """The buckets and the table of one environment."""

    def __init__(self, s3: "S3Client", dynamodb: "DynamoDBClient", table: str, processed_bucket: str) -> None:
        self._s3, self._dynamodb, self._table, self._processed_bucket = s3, dynamodb, table, processed_bucket

    # --- objects ------------------------------------------------------------------------------------------------------

    def source(self, event: ObjectEvent) -> dict[str, Any]:
        """The object of an event, its body unread: exactly the version that the event is about.

        Raises:
            Rejected: OBJECT_GONE, also when another object lies under the key and the bucket keeps no versions.
        """
        which: dict[str, Any] = {"VersionId": event.version_id} if event.version_id else {}
        if event.etag and not event.version_id:
            which["IfMatch"] = event.etag
        try:
            return dict(self._s3.get_object(Bucket=event.bucket, Key=event.key, **which))
        except ClientError as error:
            if error.response["Error"]["Code"] in {"NoSuchKey", "NoSuchVersion", "PreconditionFailed"}:
                raise Rejected(Reason.OBJECT_GONE, "the object was removed before it could be read") from None
            raise

    def current(self, event: ObjectEvent) -> dict[str, Any] | None:
        """What is known of the object that lies under an event's key now, or nothing where there is none."""
        try:
            return dict(self._s3.head_object(Bucket=event.bucket, Key=event.key))
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                return None
            raise

    def put_variants(self, image_id: str, revision: str, variants: Iterable[Variant]) -> dict[str, Record]:
        """Writes variants under a revision, and returns what the record says of them, by name."""

        def write(variant: Variant) -> tuple[str, Record]:
            key = f"{_prefix(image_id, revision)}{variant.file_name}"
            self._s3.put_object(
                Bucket=self._processed_bucket,
                Key=key,
                Body=variant.data,
                ContentType=variant.content_type,
                CacheControl=CACHE_CONTROL,
            )
            return variant.name, {
                "key": key,
                "format": variant.format,
                "content_type": variant.content_type,
                "width": variant.width,
                "height": variant.height,
                "bytes": len(variant.data),
                "sha256": hashlib.sha256(variant.data).hexdigest(),
                **({"frames": variant.frames} if variant.frames > 1 else {}),
            }

        return dict(_at_once(write, variants))

    def copy_variants(self, image_id: str, revision: str, variants: dict[str, Record]) -> dict[str, Record] | None:
        """Copies another image's variants, inside S3, to a revision of this one; None if they are gone meanwhile.

        Copies and not references: an image that owns all it shows can be removed, made again or swept by itself, while
        a count of references is wrong for ever after the first process that dies between two writes.
        """

        def copy(variant: Record) -> Record:
            key = f"{_prefix(image_id, revision)}{variant['key'].rpartition('/')[2]}"
            source: Any = {"Bucket": self._processed_bucket, "Key": variant["key"]}
            self._s3.copy_object(Bucket=self._processed_bucket, Key=key, CopySource=source)
            return {**variant, "key": key}

        try:
            return dict(zip(variants, _at_once(copy, variants.values()), strict=True))
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchKey":
                return None
            raise

    def delete_variants(self, image_id: str, revision: str) -> None:
        """Deletes everything under one revision. Nothing there is nothing to do."""
        pages = self._s3.get_paginator("list_objects_v2").paginate(
            Bucket=self._processed_bucket, Prefix=_prefix(image_id, revision)
        )
        for page in pages:
            objects = [{"Key": entry["Key"]} for entry in page.get("Contents", [])]
            if not objects:
                continue
            answer = self._s3.delete_objects(
                Bucket=self._processed_bucket,
                Delete={"Objects": objects, "Quiet": True},  # type: ignore[typeddict-item]
            )
            if errors := answer.get("Errors"):
                raise RuntimeError(f"variants could not be deleted: {errors[0]}")

    # --- records ------------------------------------------------------------------------------------------------------

    def record(self, image_id: str) -> Record | None:
        found = self._dynamodb.get_item(TableName=self._table, Key=to_item({"image_id": image_id}), ConsistentRead=True)
        return from_item(found["Item"]) if "Item" in found else None

    def claim(self, event: ObjectEvent, content: str, recipe: str) -> Claim:
        """Shows a first upload as PROCESSING and remembers whose content it is, in one request that also reads.

        One transaction instead of a read for the record, a read for the content and a write: where the claim fails,
        DynamoDB hands over what is there.
        """
        memory = _content_key(content, recipe)
        try:
            _patiently(
                lambda: self._dynamodb.transact_write_items(
                    TransactItems=[
                        {"Update": self._update(event.image_id, _begun(event), condition=_NOT_THERE, old=True)},
                        {"Update": self._update(memory, _remembered(event), condition=_NOT_THERE, old=True)},
                    ]
                )
            )
        except self._dynamodb.exceptions.TransactionCanceledException as error:
            reasons = error.response["CancellationReasons"]
            if {reason["Code"] for reason in reasons} - {"None", "ConditionalCheckFailed"}:
                raise
            record, twin = (
                from_item(reason["Item"]) if reason["Code"] == "ConditionalCheckFailed" else None for reason in reasons
            )
            if twin and twin["holder"] == event.image_id:
                twin = None
            if record is None and twin is None and not self.begin(event):  # the content was remembered as this image's
                record = self.record(event.image_id)
            return Claim(record, twin["holder"] if twin else None)
        return Claim()

    def begin(self, event: ObjectEvent) -> bool:
        """Shows a first upload as PROCESSING; False if there is a record already.

        Unless that record is of this very write, whose answer got lost, so that the SDK has sent it again.
        """
        begun = _begun(event)
        condition = f"{_NOT_THERE} OR (trying.sequencer = :sequencer AND trying.since = :since)"
        values = {":sequencer": event.sequencer, ":since": begun["trying"]["since"]}
        return self._write(event.image_id, begun, condition=condition, values=values) is not None

    def try_again(self, event: ObjectEvent, known: Record) -> bool:
        """Notes that work on a known image begins; what it shows stays. Returns False if a newer event was faster,
        or the record has expired.
        """
        trying = _trying(event, tries(known, event)[0] + 1)
        condition, names, values = _only(known) if event.reprocess else _unless_newer(event)
        condition = f"attribute_exists(image_id) AND ({condition})"  # never a record of this field alone
        return (
            self._write(event.image_id, {"trying": trying}, condition=condition, names=names, values=values) is not None
        )

    def survived(self, event: ObjectEvent) -> None:
        """Takes a note of begun work back: it failed, but the process lives."""
        self._write(
            event.image_id,
            {},
            also="trying.#count = trying.#count - :one",
            condition="trying.sequencer = :tried AND trying.#count > :none",
            names={"#count": "count"},
            values={":tried": event.sequencer, ":one": 1, ":none": 0},
        )

    def publish(
        self, event: ObjectEvent, revision: str, status: str, fields: Record, *, instead_of: Record | None = None
    ) -> Record | None:
        """Makes an outcome visible in one write; returns the record before it, or None if a newer event was faster.

        With `instead_of`, only as long as the record is still that one: what is made again must not undo anything.
        """
        item = {
            **_base(event),
            "revision": revision,
            "status": status,
            **fields,
            "source": {**_source(event), **fields.get("source", {})},
        }
        if instead_of and "schema" not in instead_of:
            del item["schema"]  # its sequencer stays padded as that release padded it
        return self._settle(event, item, instead_of)

    def bury(self, event: ObjectEvent) -> Record | None:
        """Leaves a tombstone, which keeps late events without effect; returns like `publish`."""
        item = {**_base(event), "revision": event.revision, "status": "DELETED", "source": _source(event)}
        item["expires_at"] = _in(TOMBSTONE)
        del item["listing"]
        return self._settle(event, item, None)

    def advance(self, event: ObjectEvent, known: Record) -> bool:
        """Says of a record that it holds after a newer event too; False if it is another record by now."""
        condition, names, values = _only(known)
        fields = {"schema": SCHEMA, "sequencer": event.sequencer, "updated_at": _base(event)["updated_at"]}
        return self._write(event.image_id, fields, condition=condition, names=names, values=values) is not None

    def remember(self, event: ObjectEvent, content: str, recipe: str) -> None:
        """Remembers this image as the one that has a content."""
        self._write(_content_key(content, recipe), _remembered(event))

    def _settle(self, event: ObjectEvent, item: Record, instead_of: Record | None) -> Record | None:
        condition, names, values = _only(instead_of) if instead_of else _unless_newer(event)
        gone = [name for name in _DECIDED if name not in item]
        return self._write(event.image_id, item, remove=gone, condition=condition, names=names, values=values)

    def _write(self, key: str, fields: Record, **how: Any) -> Record | None:
        """One update; the item before it (empty where there was none), or None if the condition does not hold."""
        update = self._update(key, fields, **how)
        try:
            answer = _patiently(lambda: self._dynamodb.update_item(**update, ReturnValues="ALL_OLD"))
        except self._dynamodb.exceptions.ConditionalCheckFailedException:
            return None
        return from_item(answer.get("Attributes", {}))

    def _update(
        self,
        key: str,
        fields: Record,
        *,
        remove: Iterable[str] = (),
        also: str = "",
        condition: str = "",
        names: dict[str, str] | None = None,
        values: Record | None = None,
        old: bool = False,
    ) -> Any:
        """The members of an UpdateItem that sets some fields and removes others."""
        names, values = dict(names or {}), dict(values or {})
        sets, removals = [], []
        for number, (field, value) in enumerate(fields.items()):
            names[f"#f{number}"], values[f":f{number}"] = field, value
            keep = field == "created_at"
            sets.append(f"#f{number} = " + (f"if_not_exists(#f{number}, :f{number})" if keep else f":f{number}"))
        for number, field in enumerate(remove):
            names[f"#r{number}"] = field
            removals.append(f"#r{number}")
        if also:
            sets.append(also)
        parts = {"SET": ", ".join(sets), "REMOVE": ", ".join(removals)}
        return {
            "TableName": self._table,
            "Key": to_item({"image_id": key}),
            "UpdateExpression": " ".join(f"{verb} {part}" for verb, part in parts.items() if part),
            **({"ConditionExpression": condition} if condition else {}),
            **({"ExpressionAttributeNames": names} if names else {}),
            **({"ExpressionAttributeValues": to_item(values)} if values else {}),
            **({"ReturnValuesOnConditionCheckFailure": "ALL_OLD"} if old else {}),
        }


def tries(known: Record, event: ObjectEvent) -> tuple[int, float]:
    """How often work on this very event was begun and not ended, and how many seconds ago it was begun last.

    The process was killed, or it is still at it.
    """
    trying = known.get("trying") or {}
    if trying.get("sequencer") != event.sequencer:
        return 0, 0.0
    since = datetime.fromisoformat(trying["since"]) if "since" in trying else event.time  # older releases wrote none
    return int(trying["count"]), (datetime.now(UTC) - since).total_seconds()


def is_newer(known: Record, event: ObjectEvent) -> bool:
    """Whether a record is about something that happened after an event."""
    return bool(known["sequencer"] > _sequencer_as_in(known, event))


def is_about(known: Record, event: ObjectEvent) -> bool:
    return bool(known["sequencer"] == _sequencer_as_in(known, event))


def _sequencer_as_in(known: Record, event: ObjectEvent) -> str:
    return event.sequencer if "schema" in known or event.reprocess else _padded_on_the_left(event)


def _padded_on_the_left(event: ObjectEvent) -> str:
    return (event.sent or event.revision).rjust(SEQUENCER_DIGITS, "0")


_NOT_THERE = "attribute_not_exists(image_id)"

_Condition = tuple[str, dict[str, str], Record]


def _unless_newer(event: ObjectEvent) -> _Condition:
    # The same event may write again as long as it is not settled: a retry after a crash, a redrive after FAILED.
    unsettled = "AND NOT #status IN (:ready, :rejected, :deleted)"
    condition = (
        f"{_NOT_THERE}"
        f" OR (attribute_exists(#schema) AND (sequencer < :sequencer OR (sequencer = :sequencer {unsettled})))"
        f" OR (attribute_not_exists(#schema) AND (sequencer < :left OR (sequencer = :left {unsettled})))"
    )
    values = {
        ":sequencer": event.sequencer,
        ":left": _padded_on_the_left(event),
        ":ready": "READY",
        ":rejected": "REJECTED",
        ":deleted": "DELETED",
    }
    return condition, {"#schema": "schema", "#status": "status"}, values


def _only(known: Record) -> _Condition:
    condition = "sequencer = :sequencer AND revision = :revision AND #status = :status"
    values = {":sequencer": known["sequencer"], ":revision": known["revision"], ":status": known["status"]}
    return condition, {"#status": "status"}, values


def _patiently(write: Callable[[], _Answer]) -> _Answer:
    """Another transaction on the same item lasts milliseconds: waiting here is shorter than a redelivery."""
    for attempt in range(_CONFLICT_TRIES):
        try:
            return write()
        except ClientError as error:
            codes = {reason.get("Code") for reason in error.response.get("CancellationReasons", [])}
            conflict = error.response["Error"]["Code"] == "TransactionConflictException"
            if attempt == _CONFLICT_TRIES - 1 or not (conflict or "TransactionConflict" in codes):
                raise
            time.sleep(random.uniform(0.5, 1) * 0.05 * 2**attempt)  # noqa: S311
    raise AssertionError("unreachable")


def _at_once(request: Callable[[_Thing], _Answer], things: Iterable[_Thing]) -> list[_Answer]:
    """Answers in the order of the things.

    It ends when no request is under way any more, also where one failed: nothing is written behind the caller's back.
    """
    with ThreadPoolExecutor(_REQUESTS_AT_ONCE) as pool:
        return list(pool.map(request, things))


def _prefix(image_id: str, revision: str) -> str:
    return f"{image_id}/{revision}/"


def _content_key(content: str, recipe: str) -> str:
    """The key of what is remembered of a content. No image has it: their ids are hex digits only."""
    return f"content#{content}#{recipe}"


def _remembered(event: ObjectEvent) -> Record:
    return {"holder": event.image_id, "expires_at": _in(CONTENT_MEMORY)}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _in(span: timedelta) -> int:
    return int((datetime.now(UTC) + span).timestamp())


def _begun(event: ObjectEvent) -> Record:
    return {
        **_base(event),
        "revision": event.revision,
        "status": "PROCESSING",
        "source": _source(event),
        "trying": _trying(event, 1),
    }


def _trying(event: ObjectEvent, count: int) -> Record:
    return {"sequencer": event.sequencer, "count": count, "since": _now()}


def _base(event: ObjectEvent) -> Record:
    now = _now()
    return {
        "schema": SCHEMA,
        "sequencer": event.sequencer,
        "listing": LISTING,
        "listed_at": f"{event.time.isoformat(timespec='milliseconds')}#{event.image_id}",
        "created_at": now,
        "updated_at": now,
        "status_since": now,
    }


def _source(event: ObjectEvent) -> Record:
    known = {"version_id": event.version_id, "etag": event.etag, "bytes": event.size}
    return {
        "bucket": event.bucket,
        "key": event.key,
        **{name: value for name, value in known.items() if value is not None},
    }
