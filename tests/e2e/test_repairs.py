"""The operators' commands on a wrecked environment: dev, on the local cloud, with the real processor at work."""

import json
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from clones import Clone
from image_processor.events import image_id
from image_processor.records.items import from_item
from imagepipe.images import samples
from imagepipe.operations import messages

from .test_pipeline import eventually

PREFIX = "image-pipeline-dev"
FOUND = 3


@dataclass(frozen=True)
class Environment:
    """dev, with everything that an operator or a vandal may reach."""

    clone: Clone
    bucket: str

    @property
    def processed_bucket(self) -> str:
        return self.bucket.replace("-uploads-", "-processed-")

    def client(self, service: str) -> Any:
        return self.clone.client("dev", service)

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """A command's exit code and what it printed."""
        finished = self.clone.imagepipe(*arguments, "--env", "dev", check=False)
        return finished.returncode, finished.stdout, finished.stderr

    def record(self, key: str) -> dict[str, Any]:
        item = self.client("dynamodb").get_item(
            TableName=f"{PREFIX}-images", Key={"image_id": {"S": image_id(self.bucket, key)}}, ConsistentRead=True
        )
        return from_item(item.get("Item", {}))

    def set_status(self, key: str, status: str) -> None:
        self.client("dynamodb").update_item(
            TableName=f"{PREFIX}-images",
            Key={"image_id": {"S": image_id(self.bucket, key)}},
            UpdateExpression="SET #status = :status",
            ExpressionAttributeNames={"#status": "status"},
            ExpressionAttributeValues={":status": {"S": status}},
        )

    def send(self, queue: str, body: str) -> None:
        sqs = self.client("sqs")
        sqs.send_message(QueueUrl=sqs.get_queue_url(QueueName=f"{PREFIX}-{queue}")["QueueUrl"], MessageBody=body)

    def waiting(self, queue: str) -> int:
        sqs = self.client("sqs")
        url = sqs.get_queue_url(QueueName=f"{PREFIX}-{queue}")["QueueUrl"]
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        return sum(map(int, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"].values()))


@pytest.fixture(scope="module")
def environment(deployed: Clone) -> Environment:
    return Environment(deployed, deployed.outputs("dev")["upload_bucket_name"])


@pytest.fixture
def upload(environment: Environment, tmp_path: Path) -> Callable[..., list[str]]:
    """Uploads images that nobody has uploaded before, waits for them, and returns their keys."""

    def upload(name: str, count: int, width: int = 300) -> list[str]:
        for number in range(count):
            file = tmp_path / f"operations/{name}-{number}.jpg"
            file.parent.mkdir(exist_ok=True)
            seed = zlib.crc32(f"{name}{number}".encode()) % 100_000
            samples.landscape(width, width * 2 // 3, seed).jpegsave(str(file))
        environment.clone.imagepipe("upload", str(tmp_path), "--test-data", "--wait", "--env", "dev")
        return [f"operations/{name}-{number}.jpg" for number in range(count)]

    return upload


def test_failed_images_are_shown_and_put_back(environment: Environment, upload: Callable[..., list[str]]) -> None:
    (key,) = upload("failed", 1)
    environment.set_status(key, "FAILED")
    environment.send("uploads-dlq", messages.original_event(environment.record(key)))
    environment.send("uploads-dlq", "what is this?")

    code, shown, _ = environment.run("failures", "--status", "FAILED", "--json")
    groups = {(group["status"], group["reason"]): group for group in json.loads(shown)}
    assert code == FOUND
    assert (
        groups["FAILED", "NO_REASON"]["images"][0] | {"name": key, "dead_letter": True}
        in (groups["FAILED", "NO_REASON"]["images"])
    )
    assert groups["DEAD_LETTER", "NOT_AN_EVENT"]["count"] == 1

    code, _, said = environment.run("redrive")
    assert code == 0
    assert "1 images are retried" in said
    assert eventually(lambda: environment.record(key)["status"] == "READY")

    code, shown, _ = environment.run("redrive", "--discard", "--yes")
    assert (code, "what is this?" in shown) == (0, True)
    assert environment.run("failures", "--status", "FAILED")[0] == 0


def test_reprocess_makes_an_image_again_under_a_new_revision(
    environment: Environment, upload: Callable[..., list[str]]
) -> None:
    (key,) = upload("again", 1)
    before = environment.record(key)
    code, _, said = environment.run("reprocess", before["image_id"], "--yes")
    assert code == 0
    assert re.search(r"1 images to reprocess: about 0:00:\d\d .* less than a cent", said)
    assert eventually(lambda: environment.record(key)["revision"] != before["revision"])

    after = environment.record(key)
    assert after["sequencer"] == before["sequencer"]
    assert after["variants"].keys() == before["variants"].keys()
    listed = environment.client("s3").list_objects_v2(
        Bucket=environment.processed_bucket, Prefix=f"{after['image_id']}/"
    )
    assert {entry["Key"] for entry in listed["Contents"]} == {group["key"] for group in after["variants"].values()}

    _, _, said = environment.run("reprocess", before["image_id"], "--yes")
    assert "no image is left to reprocess" in said


def test_fresh_upload_does_not_wait_for_a_backfill(environment: Environment) -> None:
    """Forty large images that are copies of one: made by linking in no time, made again by decoding each."""
    s3, keys = environment.client("s3"), [f"operations/many-{number}.jpg" for number in range(40)]
    large, small = (bytes(samples.landscape(width, width * 3 // 4, 7).jpegsave_buffer()) for width in (4000, 300))
    for key in keys:
        s3.put_object(Bucket=environment.bucket, Key=key, Body=large, Tagging="purpose=test-data")
    assert eventually(lambda: all(environment.record(key).get("status") == "READY" for key in keys), 60)
    before = {key: environment.record(key)["revision"] for key in keys}
    assert environment.run("reprocess", "--prefix", "operations/many", "--rate", "1000", "--yes")[0] == 0
    s3.put_object(Bucket=environment.bucket, Key="operations/fresh.jpg", Body=small, Tagging="purpose=test-data")
    assert eventually(lambda: environment.waiting("backfill") == 0, 120)
    made = {key: environment.record(key) for key in (*keys, "operations/fresh.jpg")}
    fresh_since = made.pop("operations/fresh.jpg")["status_since"]
    assert not [key for key in keys if made[key]["revision"] == before[key]]
    behind = [key for key in keys if made[key]["status_since"] > fresh_since]
    assert behind, "the fresh upload was ready after the whole backfill"


def test_reconcile_mends_what_no_event_will_mend(environment: Environment, upload: Callable[..., list[str]]) -> None:
    unknown, outdated, gone, stuck, thin, fine = keys = upload("wrecked", 6)
    s3, bucket = environment.client("s3"), environment.bucket
    records = {key: environment.record(key) for key in keys}
    notification = s3.get_bucket_notification_configuration(Bucket=bucket)
    notification.pop("ResponseMetadata")
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={})
    s3.copy_object(Bucket=bucket, Key=outdated, CopySource={"Bucket": bucket, "Key": fine})
    s3.delete_object(Bucket=bucket, Key=gone)
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=notification)
    environment.client("dynamodb").delete_item(
        TableName=f"{PREFIX}-images", Key={"image_id": {"S": records[unknown]["image_id"]}}
    )
    environment.set_status(stuck, "PROCESSING")
    variant = next(iter(records[thin]["variants"].values()))["key"]
    s3.delete_object(Bucket=environment.processed_bucket, Key=variant)
    young = {"Bucket": environment.processed_bucket, "Key": f"{records[fine]['image_id']}/killed/a.jpg"}
    s3.put_object(**young, Body=b"x")

    def differences() -> tuple[int, set[tuple[str, str]]]:
        code, shown, _ = environment.run("reconcile", "--min-age", "1s", "--json")
        return code, {(group["trouble"], group["name"]) for group in map(json.loads, shown.splitlines())}

    wrecked = {
        ("MISSING_RECORD", unknown),
        ("OUTDATED_RECORD", outdated),
        ("OBJECT_GONE", gone),
        ("STUCK", stuck),
        ("MISSING_VARIANTS", thin),
    }
    assert eventually(lambda: differences() == (FOUND, wrecked)), differences()
    assert environment.run("reconcile", "--min-age", "1s", "--repair", "--yes")[0] == 0
    assert eventually(lambda: differences() == (0, set()), 60)

    assert environment.record(outdated)["source"]["sha256"] == records[fine]["source"]["sha256"]
    assert environment.record(gone)["status"] == "DELETED"
    assert all(environment.record(key)["status"] == "READY" for key in (unknown, outdated, stuck, thin, fine))
    # No record shows it, but whoever wrote it may be about to publish: a second is not enough for that.
    assert s3.head_object(**young)["ContentLength"] == 1


def test_erased_image_leaves_no_version_and_no_key(environment: Environment, upload: Callable[..., list[str]]) -> None:
    (key,) = upload("erased", 1)
    image = environment.record(key)["image_id"]
    assert environment.run("reprocess", image, "--yes")[0] == 0
    assert environment.run("remove", image, "--erase", "--yes")[0] == 0
    s3 = environment.client("s3")
    for bucket, prefix in ((environment.bucket, key), (environment.processed_bucket, f"{image}/")):
        answer = s3.list_object_versions(Bucket=bucket, Prefix=prefix)
        assert not answer.get("Versions")
        assert not answer.get("DeleteMarkers")
    assert environment.record(key)["status"] == "DELETED"
    assert key not in json.dumps(environment.record(key), default=str)
    assert environment.run("remove", "--erase", "--key", key, "--yes")[0] == 0
