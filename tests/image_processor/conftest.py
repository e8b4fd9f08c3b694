"""One environment's buckets and table under moto, and messages as S3 and SQS write them."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote_plus

import pytest
from moto import mock_aws

from image_processor import aws
from image_processor.decoder.sandbox import Sandbox
from image_processor.events import ObjectEvent, parse
from image_processor.intake.processor import Processor
from image_processor.recipe import Encoding, Limits, Recipe, ladder
from image_processor.records.store import Store
from image_processor.records.table import BY_STATUS, KEY, LISTING_KEY, NEWEST, RANGE_KEY, STATUS_KEY
from imagepipe.images import samples

REGION: Final = "eu-west-1"
UPLOADS, PROCESSED, TABLE = "uploads", "processed", "images"

QUEUE_ARN = "arn:aws:sqs:eu-west-1:111111111111:uploads"

#: Small, so that tests take milliseconds; what holds for two widths holds for four.
#: Qualities so far apart that the modern format is the smaller one even at these sizes.
FORMATS = (Encoding("avif", 40), Encoding("jpeg", 85))
RECIPE = Recipe(variants=ladder(64, 160, thumbnail=48, formats=FORMATS))


@dataclass
class Environment:
    """What Terraform would have made, and what S3 would say of it."""

    s3: Any
    store: Store
    clock: int = 0

    def put(
        self,
        key: str,
        content: bytes,
        content_type: str = "image/jpeg",
        metadata: dict[str, str] | None = None,
        **options: str,
    ) -> dict[str, Any]:
        """Uploads an object and returns the record of its event."""
        answer = self.s3.put_object(
            Bucket=UPLOADS, Key=key, Body=content, ContentType=content_type, Metadata=metadata or {}, **options
        )
        details = {"versionId": answer["VersionId"], "eTag": answer["ETag"].strip('"'), "size": len(content)}
        return self._event("ObjectCreated:Put", key, details)

    def remove(self, key: str) -> dict[str, Any]:
        answer = self.s3.delete_object(Bucket=UPLOADS, Key=key)
        return self._event("ObjectRemoved:DeleteMarkerCreated", key, {"versionId": answer["VersionId"]})

    def remove_version(self, key: str, created: dict[str, Any]) -> dict[str, Any]:
        """Removes for good the version that an earlier event announced."""
        version = created["s3"]["object"]["versionId"]
        self.s3.delete_object(Bucket=UPLOADS, Key=key, VersionId=version)
        return self._event("ObjectRemoved:Delete", key, {"versionId": version})

    def _event(self, name: str, key: str, details: dict[str, Any]) -> dict[str, Any]:
        self.clock += 1
        time = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        fields = {"key": quote_plus(key), "sequencer": f"0055AED6DCD9{self.clock:04X}", **details}
        return {"eventName": name, "eventTime": time, "s3": {"bucket": {"name": UPLOADS}, "object": fields}}

    def event(self, record: dict[str, Any]) -> ObjectEvent:
        return parse(json.dumps({"Records": [record]}))[0]

    def record(self, key: str) -> dict[str, Any]:
        record = self.store.record(ObjectEvent(UPLOADS, key, True, "0", datetime.now(UTC)).image_id)
        assert record is not None
        return record

    def variants(self) -> set[str]:
        return {entry["Key"] for entry in self.s3.list_objects_v2(Bucket=PROCESSED).get("Contents", [])}


@dataclass(frozen=True)
class Context:
    function_name: str = "processor"
    memory_limit_in_mb: int = 1769
    invoked_function_arn: str = "arn:aws:lambda:eu-west-1:111111111111:function:processor:live"
    aws_request_id: str = "request-1"

    def get_remaining_time_in_millis(self) -> int:
        return 60_000


def messages(*records: dict[str, Any] | str, receive_count: int = 1) -> dict[str, Any]:
    """A batch of SQS with one message per S3 record, or per raw body."""
    bodies = [record if isinstance(record, str) else json.dumps({"Records": [record]}) for record in records]
    return {
        "Records": [
            {
                "messageId": f"m{number}",
                "receiptHandle": "handle",
                "body": body,
                "attributes": {"ApproximateReceiveCount": str(receive_count)},
                "eventSource": "aws:sqs",
                "eventSourceARN": QUEUE_ARN,
                "awsRegion": REGION,
            }
            for number, body in enumerate(bodies)
        ]
    }


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[Environment]:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION,
        "TABLE_NAME": TABLE,
        "UPLOAD_BUCKET": UPLOADS,
        "PROCESSED_BUCKET": PROCESSED,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769",
        "MAX_RECEIVE_COUNT": "5",
        "QUEUE_URLS": json.dumps({QUEUE_ARN: "https://sqs.eu-west-1.amazonaws.com/111111111111/uploads"}),
        "VISIBILITY_TIMEOUT_SECONDS": "360",
        "RECIPE": json.dumps(asdict(RECIPE)),
    }.items():
        monkeypatch.setenv(name, value)
    with mock_aws():
        s3, dynamodb = aws.s3(), aws.dynamodb()  # made once for all tests: making clients is what takes time here
        for bucket in (UPLOADS, PROCESSED):
            s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        s3.put_bucket_versioning(Bucket=UPLOADS, VersioningConfiguration={"Status": "Enabled"})
        dynamodb.create_table(
            TableName=TABLE,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": KEY, "KeyType": "HASH"}],
            AttributeDefinitions=[
                {"AttributeName": name, "AttributeType": "S"} for name in (KEY, LISTING_KEY, RANGE_KEY, STATUS_KEY)
            ],
            GlobalSecondaryIndexes=[
                {
                    "IndexName": index,
                    "KeySchema": [
                        {"AttributeName": key, "KeyType": "HASH"},
                        {"AttributeName": RANGE_KEY, "KeyType": "RANGE"},
                    ],
                    "Projection": {"ProjectionType": "ALL"},
                }
                for index, key in ((NEWEST, LISTING_KEY), (BY_STATUS, STATUS_KEY))
            ],
        )
        yield Environment(s3, Store(s3, dynamodb, TABLE, PROCESSED))


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(Limits()) as sandbox:
        yield sandbox


@pytest.fixture
def processor(environment: Environment, sandbox: Sandbox) -> Processor:
    return Processor(environment.store, RECIPE, sandbox, "sha256:" + "a" * 64, UPLOADS)


@pytest.fixture(scope="session")
def photo() -> bytes:
    """A photo-like JPEG of 200 × 150 pixels."""
    return bytes(samples.landscape(200, 150, 1).jpegsave_buffer(Q=90))


@pytest.fixture(scope="session")
def other_photo() -> bytes:
    return bytes(samples.landscape(240, 100, 2).jpegsave_buffer(Q=90))
