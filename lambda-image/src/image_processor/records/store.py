"""Keeps source objects, variants and records in S3 and DynamoDB.

A write of a record has the condition that the record holds no newer event. So duplicates, late events and parallel
writers need no lock: the last event of the object wins, whatever order the writers come in. A write touches only the
fields it knows, so that fields of a newer or older release survive.
"""

import hashlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import ClientError

from image_processor.events import ObjectEvent
from image_processor.records.items import Record, from_item, to_item
from image_processor.records.table import KEY, LISTING, content_key
from image_processor.rendition import Variant
from image_processor.verdict import Reason, Rejected

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

#: Lifetime of the record of a removed image. S3's events come within minutes, at worst days.
TOMBSTONE = timedelta(days=30)

#: Lifetime of the item that remembers which image has a content. Later, the same content is processed again.
CONTENT_MEMORY = timedelta(days=90)

#: For variants: the object under a key never changes.
CACHE_CONTROL = "public, max-age=31536000, immutable"

#: Fields that an outcome sets or removes. Every other field of a record stays as it is.
_DECIDED = (
    "attempts", "blurriness", "colour", "decoded", "exif", "expires_at", "linked_to", "listed_at", "listing",
    "near_black", "near_white", "notes", "palette", "phash", "pipeline", "placeholder", "reason", "revision",
    "sequencer", "source", "status", "status_since", "timings", "trying", "updated_at", "variants",
)  # fmt: skip

#: Parallel requests for the variants of one image: fewer than the connections that a botocore client keeps.
_PARALLEL_REQUESTS = 4

_Thing = TypeVar("_Thing")
_Answer = TypeVar("_Answer")


class Store:
    """The buckets and the table of one environment."""

    def __init__(self, s3: "S3Client", dynamodb: "DynamoDBClient", table: str, processed_bucket: str) -> None:
        self._s3, self._dynamodb, self._table, self._processed_bucket = s3, dynamodb, table, processed_bucket

    # --- objects ------------------------------------------------------------------------------------------------------

    def source(self, event: ObjectEvent) -> dict[str, Any]:
        """Get the object of an event, its body unread: exactly the version that the event is about.

        Raises:
            Rejected: OBJECT_GONE, also if the bucket keeps no versions and the key has another object now;
                UNREADABLE_OBJECT if S3 will not give it out, however often it is asked.
        """
        which: dict[str, Any] = {"VersionId": event.version_id} if event.version_id else {}
        if event.etag and not event.version_id:
            which["IfMatch"] = event.etag
        try:
            return dict(self._s3.get_object(Bucket=event.bucket, Key=event.key, **which))
        except ClientError as error:
            if error.response["Error"]["Code"] in {"NoSuchKey", "NoSuchVersion", "PreconditionFailed"}:
                raise Rejected(Reason.OBJECT_GONE, "the object was removed before it could be read") from None
            if why := _unreadable(error):
                raise Rejected(Reason.UNREADABLE_OBJECT, why) from None
            raise

    def current(self, event: ObjectEvent) -> dict[str, Any] | None:
        """Return the metadata of the object that has the event's key now, or None if there is none.

        It is empty if S3 shows none without the customer's own key (SSE-C): the answer is 400 and has no body.
        """
        try:
            return dict(self._s3.head_object(Bucket=event.bucket, Key=event.key))
        except ClientError as error:
            match error.response["ResponseMetadata"]["HTTPStatusCode"]:
                case 404:
                    return None
                case 400:
                    return {}
            raise

    def put_variants(self, image_id: str, revision: str, variants: Iterable[Variant]) -> dict[str, Record]:
        """Write variants under a revision; return their entries for the record, by name."""

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

        return dict(_in_parallel(write, variants))

    def copy_variants(self, image_id: str, revision: str, variants: dict[str, Record]) -> dict[str, Record] | None:
        """Copy another image's variants inside S3 to a revision of this one; return None if they are gone.

        Why copies and not references: docs/decisions.
        """

        def copy(variant: Record) -> Record:
            key = f"{_prefix(image_id, revision)}{variant['key'].rpartition('/')[2]}"
            source: Any = {"Bucket": self._processed_bucket, "Key": variant["key"]}
            self._s3.copy_object(Bucket=self._processed_bucket, Key=key, CopySource=source)
            return {**variant, "key": key}

        try:
            return dict(zip(variants, _in_parallel(copy, variants.values()), strict=True))
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchKey":
                return None
            raise

    def delete_variants(self, image_id: str, revision: str) -> None:
        """Delete every variant of a revision. May be called again.

        Raises:
            RuntimeError: S3 refused to delete some.
        """
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
        """Read the record of an image, consistently."""
        answer = self._dynamodb.get_item(TableName=self._table, Key=to_item({KEY: image_id}), ConsistentRead=True)
        return from_item(answer["Item"]) if "Item" in answer else None

    def holder(self, content: str, verdict: str) -> str | None:
        """Return the id of the image that is remembered for a content, made under this verdict version.

        Read without consistency, for half the units: a content remembered just now is made once more at worst.
        """
        answer = self._dynamodb.get_item(TableName=self._table, Key=to_item({KEY: content_key(content, verdict)}))
        return str(from_item(answer["Item"])["holder"]) if "Item" in answer else None

    def begin(self, event: ObjectEvent) -> bool:
        """Write PROCESSING for a first upload; return False if there is a record already.

        A record of this very write counts as written: its answer got lost, and the SDK has sent it again.
        """
        begun = _begun(event)
        condition = f"{_NOT_THERE} OR (trying.sequencer = :sequencer AND trying.since = :since)"
        values = {":sequencer": event.sequencer, ":since": begun["trying"]["since"]}
        return self._write(event.image_id, begun, condition=condition, values=values) is not None

    def try_again(self, event: ObjectEvent, known: Record) -> bool:
        """Note that work on a known image begins; what it shows stays.

        Return False if a newer event was faster, or the record has expired.
        """
        trying = _trying(event, tries(known, event)[0] + 1)
        condition, names, values = _only(known) if event.reprocess else _unless_newer(event)
        condition = f"attribute_exists({KEY}) AND ({condition})"  # never a record of this field alone
        return (
            self._write(event.image_id, {"trying": trying}, condition=condition, names=names, values=values) is not None
        )

    def survived(self, event: ObjectEvent) -> None:
        """Take back the note of begun work: it failed, but the process survived."""
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
        """Make an outcome visible in one write; return the record before it, or None if a newer event was faster.

        With `instead_of`, write only if the record is still that one: an image made again must not undo anything.
        """
        item = {
            **_base(event),
            "revision": revision,
            "status": status,
            **fields,
            "source": {**_source(event), **fields.get("source", {})},
        }
        return self._settle(event, item, instead_of)

    def bury(self, event: ObjectEvent) -> Record | None:
        """Write DELETED, so that late events have no effect; return like `publish`.

        The record keeps no key, which may name a person: its id finds it for whoever knows the key.
        """
        source = {name: value for name, value in _source(event).items() if name != "key"}
        item = {**_base(event), "revision": event.revision, "status": "DELETED", "source": source}
        item["expires_at"] = _in(TOMBSTONE)
        del item["listing"]
        return self._settle(event, item, None)

    def advance(self, event: ObjectEvent, known: Record) -> bool:
        """Let a record stand for a newer event too; return False if it is another record by now."""
        condition, names, values = _only(known)
        fields = {"sequencer": event.sequencer, "updated_at": _base(event)["updated_at"]}
        return self._write(event.image_id, fields, condition=condition, names=names, values=values) is not None

    def remember(self, event: ObjectEvent, content: str, verdict: str) -> None:
        """Remember this image as the one that has a content. Whoever is last is remembered: any of them will do."""
        self._write(content_key(content, verdict), {"holder": event.image_id, "expires_at": _in(CONTENT_MEMORY)})

    def _settle(self, event: ObjectEvent, item: Record, instead_of: Record | None) -> Record | None:
        condition, names, values = _only(instead_of) if instead_of else _unless_newer(event)
        gone = [name for name in _DECIDED if name not in item]
        return self._write(event.image_id, item, remove=gone, condition=condition, names=names, values=values)

    def _write(
        self,
        key: str,
        fields: Record,
        *,
        remove: Iterable[str] = (),
        also: str = "",
        condition: str = "",
        names: dict[str, str] | None = None,
        values: Record | None = None,
    ) -> Record | None:
        """Set some fields of an item and remove others, `also` with a further assignment.

        Return the item before (empty if there was none), or None if the condition does not hold.
        """
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
        update: Any = {
            "TableName": self._table,
            "Key": to_item({KEY: key}),
            "UpdateExpression": " ".join(f"{verb} {part}" for verb, part in parts.items() if part),
            **({"ConditionExpression": condition} if condition else {}),
            **({"ExpressionAttributeNames": names} if names else {}),
            **({"ExpressionAttributeValues": to_item(values)} if values else {}),
        }
        try:
            answer = self._dynamodb.update_item(**update, ReturnValues="ALL_OLD")
        except self._dynamodb.exceptions.ConditionalCheckFailedException:
            return None
        return from_item(answer.get("Attributes", {}))


def _unreadable(error: ClientError) -> str | None:
    """Return a sentence if no other try could read the object, from S3's answer to GetObject.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html and, for foreign keys, the message of KMS.
    """
    code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
    if code == "InvalidObjectState":
        return "the object is archived: restore it, then make the image again"
    if code == "InvalidRequest" and "encryption" in message.lower():
        return "the object is encrypted with a key of its uploader (SSE-C): upload it without one"
    if code == "AccessDenied" and "kms:Decrypt" in message:
        return (
            "the object is encrypted under a KMS key that the processor may not use: upload it under the bucket's own"
        )
    return None


def tries(known: Record, event: ObjectEvent) -> tuple[int, float]:
    """Return how often work on an event was begun without an end, and the seconds since the last begin.

    The process was killed, or it is still working.
    """
    trying = known.get("trying") or {}
    if trying.get("sequencer") != event.sequencer:
        return 0, 0.0
    age = datetime.now(UTC) - datetime.fromisoformat(trying["since"])
    return int(trying["count"]), age.total_seconds()


def is_newer(known: Record, event: ObjectEvent) -> bool:
    """Return whether a record is about something that happened after an event."""
    return bool(known["sequencer"] > event.sequencer)


def is_about(known: Record, event: ObjectEvent) -> bool:
    """Return whether a record is about this very event."""
    return bool(known["sequencer"] == event.sequencer)


_NOT_THERE = f"attribute_not_exists({KEY})"

_Condition = tuple[str, dict[str, str], Record]


def _unless_newer(event: ObjectEvent) -> _Condition:
    # The same event may write again as long as it is not settled: a retry after a crash, a redrive after FAILED.
    unsettled = "AND NOT #status IN (:ready, :rejected, :deleted)"
    condition = f"{_NOT_THERE} OR (sequencer < :sequencer OR (sequencer = :sequencer {unsettled}))"
    values = {":sequencer": event.sequencer, ":ready": "READY", ":rejected": "REJECTED", ":deleted": "DELETED"}
    return condition, {"#status": "status"}, values


def _only(known: Record) -> _Condition:
    condition = "sequencer = :sequencer AND revision = :revision AND #status = :status"
    values = {":sequencer": known["sequencer"], ":revision": known["revision"], ":status": known["status"]}
    return condition, {"#status": "status"}, values


def _in_parallel(request: Callable[[_Thing], _Answer], things: Iterable[_Thing]) -> list[_Answer]:
    """Send requests in parallel; return the answers in the order of the things.

    Returns or raises only when no request is under way any more: none writes later.
    """
    with ThreadPoolExecutor(_PARALLEL_REQUESTS) as pool:
        return list(pool.map(request, things))


def _prefix(image_id: str, revision: str) -> str:
    return f"{image_id}/{revision}/"


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
