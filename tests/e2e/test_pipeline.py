"""Real files through a deployed environment: dev, on the local cloud, under the functions' own roles."""

import hashlib
import io
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from PIL import Image

from clones import REGION, Clone
from imagepipe.images import samples
from imagepipe.images.api_client import ApiClient

Record = dict[str, Any]

#: What a file of the samples must end as; every other one is READY.
REJECTED = {"broken/letter.jpg": "NOT_AN_IMAGE", "broken/half.jpg": "TRUNCATED", "broken/empty.png": "EMPTY"}


@dataclass(frozen=True)
class Pipeline:
    """dev as its users see it."""

    clone: Clone
    api_url: str
    bucket: str

    @cached_property
    def exports(self) -> dict[str, str]:
        """Variables of the shell; asking for them is a command."""
        return self.clone.exports("dev")

    @cached_property
    def credentials(self) -> Credentials:
        return Credentials(self.exports["AWS_ACCESS_KEY_ID"], self.exports["AWS_SECRET_ACCESS_KEY"])

    def api(self) -> ApiClient:
        return ApiClient(self.api_url, REGION, lambda: self.credentials, self.exports["AWS_CA_BUNDLE"])

    def get(self, path: str, method: str = "GET", *, signed: bool = True) -> urllib3.BaseHTTPResponse:
        """A request as curl would send it; redirects are not followed."""
        host, port = self.api_url.removeprefix("https://").split(":")
        request = AWSRequest(method, self.api_url + path, headers={"Host": f"{host}:{port}"})
        if signed:
            SigV4Auth(self.credentials, "execute-api", REGION).add_auth(request)
        pool = urllib3.HTTPSConnectionPool(
            "127.0.0.1", int(port), ca_certs=self.exports["AWS_CA_BUNDLE"], server_hostname=host,
            assert_hostname=host,
        )  # fmt: skip
        return pool.request(method, path, headers=dict(request.headers.items()), redirect=False)

    def record(self, key: str) -> Record:
        seen = self.api().image(hashlib.sha256(f"{self.bucket}/{key}".encode()).hexdigest()[:32])
        assert seen is not None, key
        return seen


@pytest.fixture(scope="module")
def pipeline(deployed: Clone) -> Pipeline:
    outputs = deployed.outputs("dev")
    return Pipeline(deployed, outputs["api_url"], outputs["upload_bucket_name"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's samples, and names that have broken pipelines before."""
    folder = tmp_path_factory.mktemp("images")
    samples.make(folder)
    small = samples.landscape(400, 300, 12)
    for name in (
        "names/a b+c&d=e%20f.jpg",
        "names/日本語 été.png",
        "names/quote\"s [bold]and 'more'.webp",
        "names/no-suffix",
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        saver = small.pngsave_buffer if name.endswith("png") else small.jpegsave_buffer
        (folder / name).write_bytes(saver())
    (folder / "broken/empty.png").write_bytes(b"")
    return folder


@pytest.fixture(scope="module")
def records(pipeline: Pipeline, folder: Path) -> dict[str, Record]:
    """Every record by key, after all of them are final."""
    pipeline.clone.imagepipe("upload", str(folder), "--test-data", "--wait", "--env", "dev")
    listed = json.loads(pipeline.clone.imagepipe("list", "--json", "--limit", "500", "--env", "dev").stdout)
    return {record["source"]["key"]: record for record in listed}


def eventually(check: Callable[[], Any], seconds: float = 30) -> Any:
    """Waits for something true; the local cloud answers in well under a second."""
    end = time.monotonic() + seconds
    while not (seen := check()) and time.monotonic() < end:
        time.sleep(0.1)
    return seen


def test_no_file_is_lost(records: dict[str, Record], folder: Path) -> None:
    assert set(records) == {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}


def test_images_are_ready_and_the_rest_is_rejected_with_its_reason(records: dict[str, Record]) -> None:
    outcome = {
        key: record["status"] if record["status"] != "REJECTED" else record["reason"]["code"]
        for key, record in records.items()
    }
    assert outcome == {key: REJECTED.get(key, "READY") for key in records}


def test_records_describe_the_source(records: dict[str, Record], folder: Path) -> None:
    for key, record in records.items():
        content = (folder / key).read_bytes()
        assert record["source"]["bytes"] == len(content)
        if record["status"] == "READY":
            assert record["source"]["sha256"] == hashlib.sha256(content).hexdigest()
            with Image.open(io.BytesIO(content)) as image:
                turned = image.getexif().get(0x0112, 1) >= 5
                size = image.size[::-1] if turned else image.size
            assert (record["source"]["width"], record["source"]["height"]) == size, key
            assert record["placeholder"]
            assert record["colour"]


def test_variants_are_what_their_records_say(pipeline: Pipeline, records: dict[str, Record]) -> None:
    """Every variant of every image, read by another library than the one that wrote it."""
    api = pipeline.api()
    count = 0
    for key, record in records.items():
        for name, variant in (record.get("variants") or {}).items():
            content = api.variant(record["image_id"], name)
            assert len(content) == variant["bytes"]
            with Image.open(io.BytesIO(content)) as image:
                assert image.format is not None
                assert (image.format.lower(), image.size) == (
                    variant["format"],
                    (variant["width"], variant["height"]),
                ), (key, name)
                assert not image.getexif(), "metadata is not for the public"
            count += 1
    assert count > 60


def test_no_variant_is_larger_than_its_source(records: dict[str, Record]) -> None:
    for record in records.values():
        for variant in (record.get("variants") or {}).values():
            assert variant["width"] <= record["source"]["width"]
            assert variant["height"] <= record["source"]["height"]


def test_portrait_is_upright(records: dict[str, Record]) -> None:
    record = records["photos/portrait of a hill.jpg"]
    assert (record["source"]["width"], record["source"]["height"], record["source"]["orientation"]) == (2000, 3000, 6)
    assert all(v["height"] > v["width"] for name, v in record["variants"].items() if not name.startswith("thumbnail"))


def test_alpha_is_kept(pipeline: Pipeline, records: dict[str, Record]) -> None:
    record = records["logos/logo.png"]
    name = next(name for name, variant in record["variants"].items() if variant["format"] == "png")
    with Image.open(io.BytesIO(pipeline.api().variant(record["image_id"], name))) as image:
        assert image.mode in {"RGBA", "LA"}
        assert image.getpixel((0, 0))[-1] == 0  # type: ignore[index]


def test_queue_and_dead_letter_queue_end_up_empty(pipeline: Pipeline, records: dict[str, Record]) -> None:
    sqs = pipeline.clone.client("dev", "sqs")
    urls = sqs.list_queues()["QueueUrls"]
    assert len(urls) == 3  # of uploads, of backfills, of dead letters
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    for url in urls:
        counts = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        assert set(counts.values()) == {"0"}, url


def test_logs_carry_image_and_request_ids(pipeline: Pipeline, records: dict[str, Record]) -> None:
    logs = pipeline.clone.client("dev", "logs")
    image_id = records["photos/morning.jpg"]["image_id"]

    def lines() -> list[dict[str, Any]]:
        events = logs.filter_log_events(logGroupName="/aws/lambda/image-pipeline-dev-processor")["events"]
        parsed = [json.loads(event["message"]) for event in events if event["message"].startswith("{")]
        return [line for line in parsed if line.get("image_id") == image_id]

    seen = eventually(lines)
    assert seen
    assert all(line["function_request_id"] for line in seen)


def test_decoder_is_confined_where_prctl_is_refused(pipeline: Pipeline, records: dict[str, Record]) -> None:
    """The local cloud's functions run under a filter like Lambda's; the log says what holds all the same."""
    logs = pipeline.clone.client("dev", "logs")

    def lines() -> list[dict[str, Any]]:
        events = logs.filter_log_events(logGroupName="/aws/lambda/image-pipeline-dev-processor")["events"]
        parsed = [json.loads(event["message"]) for event in events if event["message"].startswith("{")]
        return [line for line in parsed if line.get("message") == "confinement of the decoder"]

    assert {line["level_of_confinement"] for line in eventually(lines)} == {"descriptors"}


def test_metrics_reach_the_namespace_that_the_dashboard_shows(pipeline: Pipeline, records: dict[str, Record]) -> None:
    cloudwatch = pipeline.clone.client("dev", "cloudwatch")
    dashboard = cloudwatch.get_dashboard(DashboardName="image-pipeline-dev")["DashboardBody"]

    def names() -> set[str]:
        return {metric["MetricName"] for metric in cloudwatch.list_metrics(Namespace="image-pipeline-dev")["Metrics"]}

    assert eventually(
        lambda: names() >= {"ImagesReceived", "ImagesProcessed", "ImagesRejected", "QueueTime", "ProcessingTime"}
    )
    assert {name for name in names() if f'"{name}"' in dashboard} >= {
        "ImagesReceived",
        "ImagesProcessed",
        "ImagesRejected",
    }


def test_dashboard_shows_what_came_in(pipeline: Pipeline, records: dict[str, Record]) -> None:
    def counted() -> dict[str, int]:
        shown = pipeline.clone.imagepipe("dashboard", "--env", "dev").stdout
        row = next(line for line in shown.splitlines() if "Images" in line)
        return {word: int(count) for word, count in re.findall(r"(\w+) (\d+)", row)}

    expected = {"uploaded": len(records), "processed": len(records) - len(REJECTED), "rejected": len(REJECTED)}
    assert eventually(lambda: counted() == expected), counted()


def test_newest_come_first_and_pages_join_up(pipeline: Pipeline, records: dict[str, Record]) -> None:
    first = json.loads(pipeline.get("/images?limit=5").data)
    second = json.loads(pipeline.get(f"/images?limit=5&cursor={first['cursor']}").data)
    moments = [record["listed_at"] for record in first["images"] + second["images"]]
    assert len(set(moments)) == 10
    assert moments == sorted(moments, reverse=True)


def test_variant_is_a_redirect_to_a_presigned_address(pipeline: Pipeline, records: dict[str, Record]) -> None:
    record = records["photos/morning.jpg"]
    name = next(iter(record["variants"]))
    answer = pipeline.get(f"/images/{record['image_id']}/variants/{name}")
    assert answer.status == 302
    assert "X-Amz-Signature=" in answer.headers["Location"]
    assert record["variants"][name]["key"] in answer.headers["Location"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/images?cursor=nonsense", 400),
        ("/images?limit=0", 400),
        ("/images?limit=many", 400),
        ("/images?status=LOST", 400),
        ("/images?colour=red", 400),
        ("/images/ffffffffffffffffffffffffffffffff", 404),
        ("/images/ffffffffffffffffffffffffffffffff/variants/w640-avif", 404),
    ],
)
def test_every_refusal_is_a_problem_document(pipeline: Pipeline, path: str, status: int) -> None:
    answer = pipeline.get(path)
    assert answer.status == status
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    problem = json.loads(answer.data)
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]


def test_health(pipeline: Pipeline) -> None:
    assert pipeline.get("/health").status == 200


def test_same_key_with_other_content_is_a_new_revision_of_the_same_image(
    pipeline: Pipeline, records: dict[str, Record], tmp_path: Path
) -> None:
    key = "names/no-suffix"
    before = records[key]
    (tmp_path / "names").mkdir()
    (tmp_path / key).write_bytes(samples.landscape(500, 400, 13).jpegsave_buffer())
    pipeline.clone.imagepipe("upload", str(tmp_path), "--test-data", "--wait", "--env", "dev")
    after = pipeline.record(key)
    assert after["image_id"] == before["image_id"]
    assert after["revision"] != before["revision"]
    assert (after["source"]["width"], after["source"]["height"]) == (500, 400)
    processed = objects(pipeline, "processed", f"{before['image_id']}/")
    assert eventually(lambda: {key.split("/")[1] for key in processed()} == {after["revision"]})


def objects(pipeline: Pipeline, bucket: str, prefix: str) -> Callable[[], list[str]]:
    s3 = pipeline.clone.client("dev", "s3")
    name = pipeline.bucket.replace("-uploads-", f"-{bucket}-")

    def listed() -> list[str]:
        return [entry["Key"] for entry in s3.list_objects_v2(Bucket=name, Prefix=prefix).get("Contents", [])]

    return listed


def test_strangers_get_nothing_at_all(pipeline: Pipeline, records: dict[str, Record]) -> None:
    """Every route of a deployed environment, without a signature: API Gateway's own words, and no function runs."""
    image = f"/images/{records['photos/scan.tiff']['image_id']}"
    routes = (("DELETE", image), *(("GET", f"{image}{end}") for end in ("", "/variants/w256-avif")))
    for method, path in (*routes, ("GET", "/images"), ("GET", "/health")):
        answer = pipeline.get(path, method, signed=False)
        assert (answer.status, json.loads(answer.data)) == (403, {"message": "Forbidden"}), path
    for path in ("/public/images", f"/public{image}"):  # not there, as no environment has public_reading
        assert pipeline.get(path, signed=False).status == 404
    assert pipeline.record("photos/scan.tiff")["status"] == "READY"


def test_signed_removal_takes_the_source_and_every_variant(pipeline: Pipeline, records: dict[str, Record]) -> None:
    key = "photos/grey.jpg"
    image_id = records[key]["image_id"]
    pipeline.clone.imagepipe("remove", image_id, "--yes", "--env", "dev")
    processed, uploaded = objects(pipeline, "processed", f"{image_id}/"), objects(pipeline, "uploads", key)
    assert eventually(lambda: not processed())
    assert uploaded() == []
    assert eventually(lambda: pipeline.get(f"/images/{image_id}/variants/w256-avif").status in {404, 410})
    listed = {record["image_id"] for record in pipeline.api().images()}
    assert image_id not in listed


def test_download_writes_every_variant(pipeline: Pipeline, records: dict[str, Record], tmp_path: Path) -> None:
    record = records["logos/logo.png"]
    pipeline.clone.imagepipe("download", record["image_id"], "--to", str(tmp_path), "--env", "dev")
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert sorted(file.stat().st_size for file in files) == sorted(v["bytes"] for v in record["variants"].values())


def test_clean_removes_test_data_and_nothing_else(
    pipeline: Pipeline, records: dict[str, Record], tmp_path: Path
) -> None:
    (tmp_path / "keep me.png").write_bytes(samples.landscape(64, 64, 14).pngsave_buffer())
    pipeline.clone.imagepipe("upload", str(tmp_path), "--wait", "--env", "dev")
    (tmp_path / "strange").mkdir()
    (tmp_path / "strange/\x01\n+ é.png").write_bytes(b"no image")
    pipeline.clone.imagepipe("upload", str(tmp_path / "strange"), "--test-data", "--wait", "--env", "dev")
    pipeline.clone.imagepipe("clean", "--yes", "--env", "dev")
    assert objects(pipeline, "uploads", "")() == ["keep me.png"]
    assert eventually(lambda: [record["source"]["key"] for record in pipeline.api().images()] == ["keep me.png"])


def test_demo_shows_what_became_of_every_file_and_runs_twice(pipeline: Pipeline, tmp_path: Path) -> None:
    (tmp_path / "a photo.jpg").write_bytes(samples.landscape(300, 200, 15).jpegsave_buffer())
    (tmp_path / "letter.jpg").write_text("Dear all,")
    for _ in range(2):
        shown = pipeline.clone.imagepipe("demo", str(tmp_path)).stdout
        assert "READY" in shown
        assert "REJECTED NOT_AN_IMAGE" in shown
        assert f"api_url = {pipeline.api_url}" in shown
    with Image.open(pipeline.clone.top / "build/demo/contact-sheet.jpg") as sheet:
        assert sheet.width > 400


def test_demo_of_an_empty_folder_is_an_error_that_names_it(pipeline: Pipeline, tmp_path: Path) -> None:
    finished = pipeline.clone.imagepipe("demo", str(tmp_path), check=False)
    assert finished.returncode == 1
    assert finished.stderr.strip() == f"imagepipe: no files in {tmp_path}: name files, or folders that hold some"


@pytest.fixture(scope="module")
def as_role(deployed: Clone) -> Callable[[str, str], Any]:
    """A client with the credentials of a function's role in dev."""

    def client(function: str, service: str) -> Any:
        sts = deployed.client("dev", "sts")
        name = deployed.client("dev", "lambda").get_function_configuration(
            FunctionName=f"image-pipeline-dev-{function}"
        )
        role = sts.assume_role(RoleArn=name["Role"], RoleSessionName="test")["Credentials"]
        return deployed.client(
            "dev", service, aws_access_key_id=role["AccessKeyId"], aws_secret_access_key=role["SecretAccessKey"],
            aws_session_token=role["SessionToken"],
        )  # fmt: skip

    return client


TABLE = "image-pipeline-dev-images"


@pytest.mark.parametrize(
    ("function", "service", "operation", "arguments"),
    [
        ("api", "s3", "put_object", {"Bucket": "uploads", "Key": "x", "Body": b""}),
        ("api", "s3", "get_object", {"Bucket": "uploads", "Key": "keep me.png"}),
        ("api", "s3", "put_object", {"Bucket": "processed", "Key": "x", "Body": b""}),
        ("api", "s3", "list_buckets", {}),
        ("api", "dynamodb", "put_item", {"TableName": TABLE, "Item": {"image_id": {"S": "x"}}}),
        ("api", "dynamodb", "delete_item", {"TableName": TABLE, "Key": {"image_id": {"S": "x"}}}),
        ("api", "dynamodb", "scan", {"TableName": TABLE}),
        ("api", "sqs", "receive_message", {"QueueUrl": "queue"}),
        ("processor", "s3", "put_object", {"Bucket": "uploads", "Key": "x", "Body": b""}),
        ("processor", "s3", "delete_object", {"Bucket": "uploads", "Key": "keep me.png"}),
        ("processor", "s3", "get_object", {"Bucket": "state", "Key": "live/dev/storage/terraform.tfstate"}),
        ("processor", "dynamodb", "scan", {"TableName": TABLE}),
        ("processor", "dynamodb", "delete_table", {"TableName": TABLE}),
        ("processor", "sqs", "send_message", {"QueueUrl": "queue", "MessageBody": "x"}),
        ("processor", "lambda", "invoke", {"FunctionName": "image-pipeline-dev-api"}),
    ],
)
def test_role_may_not_do_what_its_function_need_not(
    pipeline: Pipeline, as_role: Callable[[str, str], Any], function: str, service: str, operation: str,
    arguments: dict[str, Any],
) -> None:  # fmt: skip
    buckets = {
        "uploads": pipeline.bucket,
        "processed": pipeline.bucket.replace("-uploads-", "-processed-"),
        "state": f"image-pipeline-tfstate-111111111111-{REGION}",
    }
    if "Bucket" in arguments:
        arguments = {**arguments, "Bucket": buckets[arguments["Bucket"]]}
    if "QueueUrl" in arguments:
        queues = pipeline.clone.client("dev", "sqs").list_queues()["QueueUrls"]
        arguments = {**arguments, "QueueUrl": min(queues, key=len)}
    with pytest.raises(ClientError) as raised:
        getattr(as_role(function, service), operation)(**arguments)
    assert (
        "AccessDenied" in raised.value.response["Error"]["Code"]
        or raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    )


def test_smoke_test_of_a_first_hour_passes_and_leaves_no_dead_letter(pipeline: Pipeline) -> None:
    """A signed address is answered, a forged one and an unsigned removal are refused, a message dies and is deleted."""
    finished = pipeline.clone.imagepipe("smoke", "--env", "dev", "--all")
    checks = (
        "signed address",
        "forged address",
        "unsigned GET",
        "unsigned DELETE",
        "confinement",
        "alarm",
        "dead letter",
    )
    for check in checks:
        assert re.search(rf"{check}\s*│ ok ", finished.stdout), finished.stdout
    sqs = pipeline.clone.client("dev", "sqs")
    (url,) = (url for url in sqs.list_queues()["QueueUrls"] if "dead" in url or "dlq" in url)
    counts = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert counts["ApproximateNumberOfMessages"] == counts["ApproximateNumberOfMessagesNotVisible"] == "0"
