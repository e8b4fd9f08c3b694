"""Answers the HTTP API: reads records, presigns addresses, and removes source objects."""

import base64
import binascii
import json
import re
from typing import TYPE_CHECKING, Any

from image_processor.records.items import Record, from_item, to_item
from image_processor.records.public_fields import PUBLIC_STATUSES, public
from image_processor.records.table import BY_STATUS, KEY, LISTING, LISTING_KEY, NEWEST, RANGE_KEY, STATUS_KEY, STATUSES

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

#: Records of a page. A record is about 3 KB, so the largest page takes 18 of the 3,000 read units a second that the one
#: partition of an index gives: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html
LIMIT, MAX_LIMIT = 20, 50

#: Fields that the pipeline needs and readers do not.
_INTERNAL = ("expires_at", "listing", "sequencer", "trying")

_IMAGE_ID = re.compile(r"[0-9a-f]{32}")
#: Characters; `_cursor` makes about 150.
_LONGEST_CURSOR = 200
_LISTED_AT = re.compile(r"[0-9T:.+-]{20,40}#[0-9a-f]{32}")


class Problem(Exception):
    """A refusal, in the terms of problem details (RFC 9457)."""

    def __init__(self, status: int, title: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.title, self.detail = status, title, detail


class Catalogue:
    """The images of one environment. Every method raises Problem for a request that it refuses.

    With `stranger`, an answer is fit for anybody: fields of the allow list, and nothing about removed images.
    """

    def __init__(
        self,
        s3: "S3Client",
        dynamodb: "DynamoDBClient",
        *,
        table: str,
        upload_bucket: str,
        processed_bucket: str,
        url_ttl: int,
    ) -> None:
        self._s3, self._dynamodb, self._table = s3, dynamodb, table
        self._upload_bucket, self._processed_bucket, self._url_ttl = upload_bucket, processed_bucket, url_ttl

    def page(self, parameters: dict[str, str], *, stranger: bool = False) -> Record:
        """Return a page of images, newest first: {"images": […], "cursor": …}; the last page has no cursor."""
        if unknown := sorted(set(parameters) - {"status", "limit", "cursor"}):
            raise Problem(400, "Unknown parameter", f"{', '.join(unknown)}: known are status, limit and cursor")
        status, statuses = parameters.get("status"), PUBLIC_STATUSES if stranger else STATUSES
        if status is not None and status not in statuses:
            raise Problem(400, "Bad status", f"status must be one of {', '.join(statuses)}")
        index, name, value = (BY_STATUS, STATUS_KEY, status) if status else (NEWEST, LISTING_KEY, LISTING)
        query: dict[str, Any] = {
            "TableName": self._table,
            "IndexName": index,
            "KeyConditionExpression": "#name = :value",
            "ExpressionAttributeNames": {"#name": name},
            "ExpressionAttributeValues": to_item({":value": value}),
            "Limit": _limit(parameters.get("limit", str(LIMIT))),
            "ScanIndexForward": False,
        }
        if "cursor" in parameters:
            query["ExclusiveStartKey"] = to_item({name: value, **_position(parameters["cursor"])})
        answer = self._dynamodb.query(**query)
        last = answer.get("LastEvaluatedKey")
        images = [_view(from_item(item), stranger) for item in answer["Items"]]
        return {"images": images, **({"cursor": _cursor(from_item(last))} if last else {})}

    def image(self, image_id: str, *, stranger: bool = False) -> Record:
        """Return the record of an image without internal fields."""
        return _view(self._record(image_id, stranger), stranger)

    def variant_url(self, image_id: str, name: str, *, stranger: bool = False) -> str:
        """Return a presigned address of a variant, valid for the time that the environment sets."""
        record = self._record(image_id, stranger)
        variants = record.get("variants") or {}
        if name not in variants:
            there = f"there are {', '.join(sorted(variants))}" if variants else f"the image is {record['status']}"
            raise Problem(404, "No such variant", f"{image_id} has no variant {name}: {there}")
        parameters = {"Bucket": self._processed_bucket, "Key": variants[name]["key"]}
        return str(self._s3.generate_presigned_url("get_object", Params=parameters, ExpiresIn=self._url_ttl))

    def remove(self, image_id: str) -> None:
        """Remove the source object. The event of that removal removes the variants and the record."""
        record = self._record(image_id)
        self._s3.delete_object(Bucket=self._upload_bucket, Key=record["source"]["key"])

    def _record(self, image_id: str, stranger: bool = False) -> Record:
        if not _IMAGE_ID.fullmatch(image_id):
            raise Problem(404, "No such image", "an image id is 32 hexadecimal digits")
        item = self._dynamodb.get_item(TableName=self._table, Key=to_item({KEY: image_id})).get("Item")
        record = from_item(item) if item else None
        if record is None or (stranger and record["status"] == "DELETED"):
            raise Problem(404, "No such image", f"there is no image {image_id}")
        if record["status"] == "DELETED":
            raise Problem(410, "Image removed", f"{image_id} was removed at {record['updated_at']}")
        return record


def _view(record: Record, stranger: bool) -> Record:
    return public(record) if stranger else {name: record[name] for name in record if name not in _INTERNAL}


def _limit(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,3}", text) or not 1 <= int(text) <= MAX_LIMIT:
        raise Problem(400, "Bad limit", f"limit must be a whole number from 1 to {MAX_LIMIT}")
    return int(text)


def _cursor(last: dict[str, Any]) -> str:
    """Encode where a page ended: the position in the index, opaque to callers."""
    return base64.urlsafe_b64encode(json.dumps([last[RANGE_KEY], last[KEY]]).encode()).decode().rstrip("=")


def _position(cursor: str) -> dict[str, str]:
    """Decode a cursor; refuse everything that `_cursor` cannot have made."""
    try:
        if len(cursor) > _LONGEST_CURSOR:  # JSON nested a thousand times is a RecursionError, no ValueError
            raise ValueError
        padded = cursor + "=" * (-len(cursor) % 4)
        listed_at, image_id = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        if _IMAGE_ID.fullmatch(image_id) and _LISTED_AT.fullmatch(listed_at) and listed_at.split("#")[1] == image_id:
            return {RANGE_KEY: listed_at, KEY: image_id}
    except (binascii.Error, TypeError, ValueError):
        pass
    raise Problem(400, "Bad cursor", "cursor must be one that an earlier page gave, unchanged")
