"""Where everything is kept: source objects, variants, records. Knows nothing of pixels.

A record is only ever written under the condition that it holds no newer event, so duplicates, latecomers and parallel
writers need no lock: the last thing that happened to the object wins, whatever order the writers come in.
"""

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from image_processor.engine import Variant
from image_processor.events import ObjectEvent
from image_processor.gate import Reason, Rejected

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_s3 import S3Client

Record = dict[str, Any]

#: Statuses after which an event has had its effect. FAILED is not among them: a redriven message is worth a try.
SETTLED = frozenset({"READY", "REJECTED", "DELETED"})

#: The hash key of the index of all images, newest first. Removed images do not have the attribute.
LISTING = "images"

#: How long a removal is remembered. S3's events come within minutes, at worst days.
TOMBSTONE = timedelta(days=30)

#: A variant never changes under its key.
CACHE_CONTROL = "public, max-age=31536000, immutable"


class Store:
    """The buckets and the table of one environment."""

    def __init__(self, s3: "S3Client", table: "Table", processed_bucket: str) -> None:
        self._s3, self._table, self._processed_bucket = s3, table, processed_bucket

    # --- objects ------------------------------------------------------------------------------------------------------

    def source(self, event: ObjectEvent) -> dict[str, Any]:
        """The object of an event, its body unread: exactly the version that the event is about.

        Raises:
            Rejected: OBJECT_GONE.
        """
        version = {"VersionId": event.version_id} if event.version_id else {}
        try:
            return dict(self._s3.get_object(Bucket=event.bucket, Key=event.key, **version))  # type: ignore[arg-type]
        except ClientError as error:
            if error.response["Error"]["Code"] in {"NoSuchKey", "NoSuchVersion"}:
                raise Rejected(Reason.OBJECT_GONE, "the object was removed before it could be read") from None
            raise

    def put_variants(self, event: ObjectEvent, variants: Iterable[Variant]) -> dict[str, Record]:
        """Writes variants under the event's revision, and returns what the record says of them, by name."""
        written = {}
        for variant in variants:
            key = f"{_prefix(event.image_id, event.revision)}{variant.file_name}"
            self._s3.put_object(
                Bucket=self._processed_bucket,
                Key=key,
                Body=variant.data,
                ContentType=variant.content_type,
                CacheControl=CACHE_CONTROL,
            )
            written[variant.name] = {
                "key": key,
                "format": variant.format,
                "content_type": variant.content_type,
                "width": variant.width,
                "height": variant.height,
                "bytes": len(variant.data),
            }
        return written

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
        return self._table.get_item(Key={"image_id": image_id}, ConsistentRead=True).get("Item")

    def begin(self, event: ObjectEvent) -> None:
        """Shows a first upload as PROCESSING. An image that has a record keeps showing that until the next is ready."""
        item = {**_base(event), "status": "PROCESSING", "source": _source(event)}
        self._put(item, "attribute_not_exists(image_id)")

    def publish(self, event: ObjectEvent, known: Record | None, status: str, fields: Record) -> bool:
        """Makes an outcome visible in one write, unless a newer event has had its effect; then returns False."""
        item = {**_base(event), "status": status, **fields, "source": {**_source(event), **fields.get("source", {})}}
        item["created_at"] = known["created_at"] if known else item["created_at"]
        return self._put_unless_newer(item)

    def bury(self, event: ObjectEvent, known: Record | None) -> bool:
        """Leaves a tombstone, which keeps late events without effect; returns False if a newer one has had its own."""
        item = {**_base(event), "status": "DELETED", "source": _source(event)}
        item["created_at"] = known["created_at"] if known else item["created_at"]
        item["expires_at"] = int((datetime.now(UTC) + TOMBSTONE).timestamp())
        del item["listing"]
        return self._put_unless_newer(item)

    def _put_unless_newer(self, item: Record) -> bool:
        # The same event may write again as long as it is not settled: a retry after a crash, a redrive after FAILED.
        condition = (
            "attribute_not_exists(image_id) OR sequencer < :sequencer"
            " OR (sequencer = :sequencer AND NOT #status IN (:ready, :rejected, :deleted))"
        )
        values = {":sequencer": item["sequencer"], ":ready": "READY", ":rejected": "REJECTED", ":deleted": "DELETED"}
        return self._put(item, condition, {"#status": "status"}, values)

    def _put(
        self, item: Record, condition: str, names: dict[str, str] | None = None, values: Record | None = None
    ) -> bool:
        substitutions: Record = {}
        if names:
            substitutions["ExpressionAttributeNames"] = names
        if values:
            substitutions["ExpressionAttributeValues"] = values
        try:
            self._table.put_item(Item=_storable(item), ConditionExpression=condition, **substitutions)
        except self._table.meta.client.exceptions.ConditionalCheckFailedException:
            return False
        return True


def _prefix(image_id: str, revision: str) -> str:
    return f"{image_id}/{revision}/"


def _base(event: ObjectEvent) -> Record:
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return {
        "image_id": event.image_id,
        "revision": event.revision,
        "sequencer": event.sequencer,
        "listing": LISTING,
        "listed_at": f"{event.time.isoformat(timespec='milliseconds')}#{event.image_id}",
        "created_at": now,
        "updated_at": now,
    }


def _source(event: ObjectEvent) -> Record:
    known = {"version_id": event.version_id, "etag": event.etag, "bytes": event.size}
    return {
        "bucket": event.bucket,
        "key": event.key,
        **{name: value for name, value in known.items() if value is not None},
    }


def _storable(item: Record) -> Record:
    """DynamoDB takes decimals where JSON has floats."""
    return dict(json.loads(json.dumps(item), parse_float=Decimal))
