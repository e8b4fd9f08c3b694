"""Each function may do what it does and nothing else: every right of its policy is needed, and others are refused."""

import io
import itertools
import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from PIL import Image

from chaos.cloud import ACCOUNT, PREFIX, REGION, Deployment
from image_processor.decoder.sandbox import Sandbox
from image_processor.events import ObjectEvent, image_id, padded
from image_processor.intake.processor import Effect, Processor
from image_processor.recipe import Encoding, Limits, Recipe, VariantSpec
from image_processor.records.catalogue import Catalogue
from image_processor.records.store import Store

Client = Callable[[str], Any]

RECIPE = Recipe(variants=(VariantSpec(16, (Encoding("webp"),)),))

_numbers = itertools.count()


def under_role(deployment: Deployment, function: str) -> Client:
    """Makes clients with the credentials of a function's role."""
    role = f"arn:aws:iam::{ACCOUNT}:role/{PREFIX}-{function}"
    name = f"{PREFIX}-{function}"
    keys = deployment.cloud.client("sts").assume_role(RoleArn=role, RoleSessionName=name)["Credentials"]
    session = boto3.Session(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"], region_name=REGION)

    def client(service: str) -> Any:
        config = Config(retries={"total_max_attempts": 1}, signature_version="s3v4" if service == "s3" else "v4")
        cloud = deployment.cloud
        return session.client(  # type: ignore[call-overload]
            service, endpoint_url=cloud.endpoint, verify=str(cloud.folder.certificate), config=config
        )

    return client


@cache
def _sandbox() -> Sandbox:
    return Sandbox(Limits())


def picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (20, 20), (next(_numbers) % 256, 40, time.monotonic_ns() % 256)).save(buffer, "PNG")
    return buffer.getvalue()


# --- what the functions do --------------------------------------------------------------------------------------------


class Uploads:
    """Puts objects as their owner, and says what S3 would say of it."""

    def __init__(self, deployment: Deployment) -> None:
        self._s3, self.bucket = deployment.cloud.client("s3"), deployment.uploads
        self.key = f"privileges/{next(_numbers)}-{time.monotonic_ns()}"

    def put(self, name: str, data: bytes) -> ObjectEvent:
        made = self._s3.put_object(Bucket=self.bucket, Key=f"{self.key}/{name}", Body=data)
        return self._event(name, created=True, version_id=made["VersionId"], size=len(data))

    def remove_version(self, event: ObjectEvent, name: str) -> ObjectEvent:
        self._s3.delete_object(Bucket=self.bucket, Key=event.key, VersionId=event.version_id)
        return self._event(name, created=False, version_id=event.version_id, of_one_version=True)

    def _event(self, name: str, **details: Any) -> ObjectEvent:
        sequencer = padded(f"{time.time_ns():018x}")
        return ObjectEvent(self.bucket, f"{self.key}/{name}", sequencer=sequencer, time=datetime.now(UTC), **details)


def processor_works(deployment: Deployment, client: Client) -> None:
    """Everything that the processor, and Lambda in its name, ever asks of others."""
    store = Store(client("s3"), client("dynamodb"), deployment.table, deployment.processed)
    processor = Processor(store, RECIPE, _sandbox(), "sha256:0", deployment.uploads)
    uploads, data = Uploads(deployment), picture()
    first = uploads.put("a.png", data)
    assert processor.handle(first).effect == Effect.PROCESSED
    assert processor.handle(first, delivery=2).effect == Effect.SKIPPED
    assert processor.handle(uploads.put("b.png", data)).effect == Effect.LINKED
    second = uploads.put("a.png", picture())
    assert processor.handle(second).effect == Effect.PROCESSED
    for event in (second, first):
        processor.handle(uploads.remove_version(event, "a.png"))
    record = store.record(first.image_id)
    assert record
    assert record["status"] == "DELETED"
    _poll(deployment, client)
    _log(client, "processor")


def _poll(deployment: Deployment, client: Client) -> None:
    """What Lambda does with the function's role. The local cloud polls in its own name and would not miss it."""
    sqs = client("sqs")
    for url in (deployment.queue, deployment.backfill):
        sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=1, VisibilityTimeout=0)
        for call in (
            partial(sqs.delete_message, QueueUrl=url, ReceiptHandle="none"),
            partial(sqs.change_message_visibility, QueueUrl=url, ReceiptHandle="none", VisibilityTimeout=0),
        ):
            try:
                call()
            except ClientError as error:  # there is no such message, and that is another matter
                if is_denied(error):
                    raise


def _log(client: Client, function: str) -> None:
    logs, group, stream = client("logs"), f"/aws/lambda/{PREFIX}-{function}", f"{time.monotonic_ns()}"
    logs.create_log_stream(logGroupName=group, logStreamName=stream)
    logs.put_log_events(
        logGroupName=group, logStreamName=stream, logEvents=[{"timestamp": int(time.time() * 1000), "message": "a"}]
    )


def api_works(deployment: Deployment, client: Client) -> None:
    """Every answer that the API gives."""
    cloud = deployment.cloud
    own = Store(cloud.client("s3"), cloud.client("dynamodb"), deployment.table, deployment.processed)
    processor = Processor(own, RECIPE, _sandbox(), "sha256:0", deployment.uploads)
    event = Uploads(deployment).put("a.png", picture())
    processor.handle(event)
    catalogue = Catalogue(
        client("s3"),
        client("dynamodb"),
        table=deployment.table,
        upload_bucket=deployment.uploads,
        processed_bucket=deployment.processed,
        url_ttl=60,
    )
    assert catalogue.page({})["images"]
    assert catalogue.page({"status": "READY"})["images"]
    name = next(iter(catalogue.image(event.image_id)["variants"]))
    trusted = ssl.create_default_context(cafile=str(deployment.cloud.folder.certificate))
    with urllib.request.urlopen(catalogue.variant_url(event.image_id, name), context=trusted) as answer:
        assert answer.read()
    catalogue.remove(event.image_id)
    _log(client, "api")


WORK = {"api": api_works, "processor": processor_works}


def is_denied(error: Exception) -> bool:
    if isinstance(error, urllib.error.HTTPError):
        return error.code == 403
    code = error.response["Error"]["Code"] if isinstance(error, ClientError) else ""
    return code == "403" or "denied" in code.lower()


# --- what is needed ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def quiet(deployment: Deployment) -> Iterator[Deployment]:
    """With the log groups that Terraform makes. S3 tells nobody here, so no function does the work meanwhile."""
    logs = deployment.cloud.client("logs")
    for function in WORK:
        with suppress(logs.exceptions.ResourceAlreadyExistsException):
            logs.create_log_group(logGroupName=f"/aws/lambda/{PREFIX}-{function}")
    with suppress(deployment.cloud.client("s3").exceptions.BucketAlreadyOwnedByYou):
        deployment.cloud.client("s3").create_bucket(
            Bucket="another-bucket", CreateBucketConfiguration={"LocationConstraint": REGION}
        )
    yield deployment
    for function in WORK:
        deployment.set_policy(function, deployment.policies[function])


def rights(policy: str) -> list[tuple[str, str, str]]:
    """Statement, action and resource, each by itself."""

    def listed(value: Any) -> list[str]:
        return value if isinstance(value, list) else [value]

    return [
        (statement["Sid"], action, resource)
        for statement in json.loads(policy)["Statement"]
        for action in listed(statement["Action"])
        for resource in listed(statement["Resource"])
    ]


def policy_of(granted: list[tuple[str, str, str]]) -> str:
    statements = [{"Effect": "Allow", "Action": action, "Resource": resource} for _, action, resource in granted]
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


@pytest.mark.parametrize("function", WORK)
def test_function_works_under_its_role(quiet: Deployment, function: str) -> None:
    WORK[function](quiet, under_role(quiet, function))


@pytest.mark.parametrize("function", WORK)
def test_every_right_is_needed(quiet: Deployment, function: str) -> None:
    """Each action on each resource is taken away in turn: a statement is idle if any part of it is."""
    policy = quiet.policies[function]
    granted, idle = rights(policy), []
    assert len({statement for statement, _, _ in granted}) >= 5
    client = under_role(quiet, function)
    for right in granted:
        quiet.set_policy(function, policy_of([right_left for right_left in granted if right_left != right]))
        try:
            WORK[function](quiet, client)
        except (ClientError, urllib.error.HTTPError) as error:
            if not is_denied(error):
                raise
        else:
            idle.append(right)
    quiet.set_policy(function, policy)
    assert [right for right in idle if right[1:] not in unseen(quiet)] == []


def unseen(deployment: Deployment) -> set[tuple[str, str]]:
    """AWS says 403 of an object that is gone to who may not list the bucket; the local cloud says 404 to everybody.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html#API_GetObject_RequestBody
    """
    return {("s3:ListBucket", f"arn:aws:s3:::{deployment.uploads}")}


# --- what is refused --------------------------------------------------------------------------------------------------

#: Function, what it tries, and how: none of it may work.
REFUSED: list[tuple[str, str, str, str, dict[str, Any]]] = [
    ("api", "read an upload", "s3", "get_object", {"Bucket": "uploads", "Key": "a"}),
    ("api", "upload", "s3", "put_object", {"Bucket": "uploads", "Key": "a", "Body": b""}),
    ("api", "write a variant", "s3", "put_object", {"Bucket": "processed", "Key": "a", "Body": b""}),
    ("api", "delete a variant", "s3", "delete_object", {"Bucket": "processed", "Key": "a"}),
    ("api", "read another bucket", "s3", "get_object", {"Bucket": "other", "Key": "a"}),
    ("api", "remove from another bucket", "s3", "delete_object", {"Bucket": "other", "Key": "a"}),
    ("api", "list uploads", "s3", "list_objects_v2", {"Bucket": "uploads"}),
    ("api", "write a record", "dynamodb", "update_item", {"Key": {"image_id": {"S": "a"}}}),
    ("api", "put a record", "dynamodb", "put_item", {"Item": {"image_id": {"S": "a"}}}),
    ("api", "delete a record", "dynamodb", "delete_item", {"Key": {"image_id": {"S": "a"}}}),
    ("api", "scan the table", "dynamodb", "scan", {}),
    ("api", "delete the table", "dynamodb", "delete_table", {}),
    ("api", "announce", "events", "put_events", {}),
    ("api", "make its own rights", "iam", "put_role_policy", {}),
    ("api", "read the queue", "sqs", "receive_message", {"QueueUrl": "queue"}),
    ("processor", "write an upload", "s3", "put_object", {"Bucket": "uploads", "Key": "a", "Body": b""}),
    ("processor", "delete an upload", "s3", "delete_object", {"Bucket": "uploads", "Key": "a"}),
    ("processor", "read another bucket", "s3", "get_object", {"Bucket": "other", "Key": "a"}),
    ("processor", "write another bucket", "s3", "put_object", {"Bucket": "other", "Key": "a", "Body": b""}),
    ("processor", "delete a bucket", "s3", "delete_bucket", {"Bucket": "processed"}),
    ("processor", "open a bucket", "s3", "put_bucket_policy", {"Bucket": "processed", "Policy": "{}"}),
    ("processor", "delete a record", "dynamodb", "delete_item", {"Key": {"image_id": {"S": "a"}}}),
    ("processor", "scan the table", "dynamodb", "scan", {}),
    ("processor", "delete the table", "dynamodb", "delete_table", {}),
    ("processor", "send a message", "sqs", "send_message", {"QueueUrl": "queue", "MessageBody": "a"}),
    ("processor", "empty the queue", "sqs", "purge_queue", {"QueueUrl": "queue"}),
    ("processor", "read the dead letters", "sqs", "receive_message", {"QueueUrl": "dead_letters"}),
    ("processor", "make its own rights", "iam", "put_role_policy", {}),
    ("processor", "announce", "events", "put_events", {}),
    ("processor", "write another function's log", "logs", "create_log_stream", {"logGroupName": "api"}),
    ("announcer", "read a variant", "s3", "get_object", {"Bucket": "processed", "Key": "a"}),
    ("announcer", "read a record", "dynamodb", "get_item", {"Key": {"image_id": {"S": "a"}}}),
    ("announcer", "write a record", "dynamodb", "update_item", {"Key": {"image_id": {"S": "a"}}}),
    ("announcer", "read the queue", "sqs", "receive_message", {"QueueUrl": "queue"}),
]  # fmt: skip


@pytest.mark.parametrize(("function", "what", "service", "operation", "details"), REFUSED)
def test_is_refused(
    quiet: Deployment, function: str, what: str, service: str, operation: str, details: dict[str, Any]
) -> None:
    names = {"uploads": quiet.uploads, "processed": quiet.processed, "other": "another-bucket"}
    arguments = dict(details)
    if "Bucket" in arguments:
        arguments["Bucket"] = names[arguments["Bucket"]]
    if "QueueUrl" in arguments:
        arguments["QueueUrl"] = getattr(quiet, arguments["QueueUrl"])
    if service == "dynamodb":
        arguments["TableName"] = quiet.table
    if service == "events":
        entry = {"EventBusName": f"{PREFIX}-images", "Source": "a", "DetailType": "b", "Detail": "{}"}
        arguments["Entries"] = [entry]
    if service == "iam":
        everything = policy_of([("All", "*", "*")])
        arguments = {"RoleName": f"{PREFIX}-{function}", "PolicyName": "access", "PolicyDocument": everything}
    if service == "logs":
        arguments = {"logGroupName": f"/aws/lambda/{PREFIX}-api", "logStreamName": "a"}
    with pytest.raises(ClientError) as caught:
        getattr(under_role(quiet, function)(service), operation)(**arguments)
    assert is_denied(caught.value), f"{what}: {caught.value}"


def test_no_image_has_the_id_of_what_is_remembered_of_contents(quiet: Deployment) -> None:
    """Both are kept in one table: ids are hex digits only, and no upload can meet the other."""
    assert set(image_id(quiet.uploads, "content#" + "a" * 64)) <= set("0123456789abcdef")
