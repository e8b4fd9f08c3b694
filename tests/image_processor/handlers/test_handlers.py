"""Lambda's entry points: batches of the queue, requests of the HTTP API."""

import base64
import json
import math
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from image_processor.decoder.process import OutOfTime, Process
from image_processor.decoder.sandbox import Sandbox
from image_processor.handlers import http, queue
from image_processor.recipe import Limits
from image_processor.records.catalogue import Catalogue
from image_processor.records.items import to_item
from image_processor.records.store import Store
from image_processor.telemetry import Metrics

from ..conftest import TABLE, Context, Environment, messages


def process(event: dict[str, Any]) -> list[str]:
    """Ids of the messages that are to be tried again."""
    return [failure["itemIdentifier"] for failure in queue.process(event, Context())["batchItemFailures"]]


def event_of(path: str, method: str = "GET", *, signed: bool = True, **parameters: str) -> dict[str, Any]:
    """A request as API Gateway passes it on; it is not signed, if its route does not look at signatures."""
    caller = {"accessKey": "ASIAEXAMPLE", "accountId": "1" * 12, "userArn": "arn:aws:sts::1:assumed-role/reader/me"}
    return {
        "version": "2.0",
        "rawPath": path,
        "queryStringParameters": parameters or None,
        "headers": {},
        "requestContext": {
            "stage": "$default",
            "requestId": "r",
            "http": {"method": method, "path": path},
            **({"authorizer": {"iam": caller}} if signed else {}),
        },
    }


def request(path: str, method: str = "GET", *, signed: bool = True, **parameters: str) -> dict[str, Any]:
    """What the API function answers; `body` already read."""
    answer = http.api(event_of(path, method, signed=signed, **parameters), Context())
    headers = {name.lower(): value for name, value in answer["headers"].items()}
    return {**answer, "headers": headers, "body": json.loads(answer["body"] or "null")}


def throttled(*_: Any) -> Any:
    raise ClientError({"Error": {"Code": "SlowDown"}, "ResponseMetadata": {"HTTPStatusCode": 503}}, "GetObject")  # type: ignore[typeddict-item]


def emitted(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Metrics by name, out of the line in CloudWatch's embedded format."""
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    return {name: value for line in lines if "_aws" in line for name, value in line.items() if isinstance(value, list)}


# --- the queue --------------------------------------------------------------------------------------------------------


def test_batch_is_done_when_every_message_is(environment: Environment, photo: bytes) -> None:
    assert process(messages(environment.put("a.jpg", photo), environment.put("b.txt", b"no image"))) == []
    assert environment.record("a.jpg")["status"] == "READY"
    assert environment.record("b.txt")["status"] == "REJECTED"


def test_poisoned_message_does_not_take_its_neighbours_along(environment: Environment, photo: bytes) -> None:
    batch = messages(environment.put("a.jpg", photo), "this is no event", environment.put("b.jpg", photo))
    assert process(batch) == ["m1"]
    assert environment.record("a.jpg")["status"] == environment.record("b.jpg")["status"] == "READY"


def test_failing_event_does_not_take_its_neighbours_in_the_same_message_along(
    environment: Environment, photo: bytes
) -> None:
    """S3 puts one event into a message, and does not promise to."""
    foreign = environment.put("a.jpg", photo)
    foreign["s3"]["bucket"]["name"] = "another"
    message = json.dumps({"Records": [foreign, environment.put("b.jpg", photo)]})
    assert process(messages(message)) == ["m0"]
    assert environment.record("b.jpg")["status"] == "READY"


def test_duplicate_that_comes_at_the_same_time_is_not_decoded_again(
    environment: Environment, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes back when the other is done."""
    twice, put_variants = messages(environment.put("a.jpg", photo)), Store.put_variants

    def meanwhile(self: Store, *arguments: Any) -> Any:
        monkeypatch.setattr(Store, "put_variants", lambda *_: pytest.fail("made twice"))
        assert process(twice) == ["m0"]
        return put_variants(self, *arguments)

    monkeypatch.setattr(Store, "put_variants", meanwhile)
    assert process(twice) == []
    assert process({"Records": [{**twice["Records"][0], "attributes": {"ApproximateReceiveCount": "2"}}]}) == []
    assert environment.record("a.jpg")["status"] == "READY"


def test_test_event_of_s3_is_ignored(environment: Environment) -> None:
    assert process(messages(json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent"}))) == []


def test_transient_error_is_tried_again_and_no_verdict(
    environment: Environment, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    created = environment.put("a.jpg", photo)
    with monkeypatch.context() as patched:
        patched.setattr(Store, "put_variants", throttled)
        assert process(messages(created)) == ["m0"]
    assert environment.record("a.jpg")["status"] == "PROCESSING"
    assert process(messages(created, receive_count=2)) == []
    assert environment.record("a.jpg")["status"] == "READY"


def test_last_try_leaves_a_failed_record_and_the_message_for_the_dead_letter_queue(
    environment: Environment, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Store, "source", throttled)
    assert process(messages(environment.put("a.jpg", photo), receive_count=5)) == ["m0"]
    record = environment.record("a.jpg")
    assert (record["status"], record["reason"]["code"]) == ("FAILED", "PROCESSING_FAILED")


@dataclass
class Invocation:
    """An invocation of 60 s in which every image takes ten. A decoder that is given less is stopped."""

    left: float = 60.0
    stopped: int = 0
    function_name: str = Context.function_name
    memory_limit_in_mb: int = Context.memory_limit_in_mb
    invoked_function_arn: str = Context.invoked_function_arn
    aws_request_id: str = Context.aws_request_id

    def get_remaining_time_in_millis(self) -> int:
        return round(self.left * 1000)

    def decode(self, seconds: float) -> None:
        self.left -= min(10, seconds)
        assert self.left > 0, "the function was killed"
        if seconds < 10:
            self.stopped += 1
            raise OutOfTime("stopped")


def test_every_message_at_its_last_delivery_gets_a_verdict_though_time_runs_out(
    environment: Environment, photo: bytes, other_photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an outage all messages of a batch may be at their last delivery: none becomes a dead letter without one."""
    clock, render = Invocation(), Sandbox.render

    def slow(*arguments: Any) -> Any:
        clock.decode(arguments[4] if len(arguments) > 4 else math.inf)
        return render(*arguments[:4])

    monkeypatch.setattr(Sandbox, "render", slow)
    keys = [f"{number}.jpg" for number in range(9)]
    contents = [photo + bytes([number]) for number in range(9)]  # trailing bytes: nine contents
    batch = messages(*(environment.put(key, data) for key, data in zip(keys, contents, strict=True)), receive_count=5)
    failures = [failure["itemIdentifier"] for failure in queue.process(batch, clock)["batchItemFailures"]]
    records = [environment.record(key) for key in keys]
    assert [record["status"] for record in records] == ["READY"] * 5 + ["FAILED"] * 4
    assert failures == ["m5", "m6", "m7", "m8"]
    assert clock.stopped == 1
    assert clock.left > 0
    assert {record["reason"]["code"] for record in records[5:]} == {"PROCESSING_FAILED"}


def test_metrics_are_emitted_in_the_embedded_format(
    environment: Environment, photo: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    process(messages(environment.put("a.jpg", photo), environment.put("b.jpg", b""), environment.put("c.jpg", photo)))
    metrics = emitted(capsys)
    assert metrics["ImagesReceived"] == [1.0, 1.0, 1.0]
    assert metrics["ImagesProcessed"] == [1.0, 1.0]
    assert metrics["ImagesRejected"] == [1.0]
    assert sum(metrics["BytesIn"]) == 2 * len(photo)
    assert len(metrics["ProcessingTime"]) == len(metrics["QueueTime"]) == 3


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """What was logged; metrics are written to the same place and are no log lines."""
    written = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [line for line in written if "_aws" not in line]


def test_logs_name_image_and_request(
    environment: Environment, photo: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    process(messages(environment.put("a.jpg", photo)))
    (line,) = lines(capsys)
    assert (line["level"], line["message"]) == ("INFO", "PROCESSED")
    assert line["image_id"] == environment.record("a.jpg")["image_id"]
    assert line["function_request_id"] == "request-1"
    assert line["service"] == "processor"
    assert datetime.fromisoformat(line["timestamp"]).tzinfo is not None


def test_what_went_wrong_is_logged_with_its_trace_and_on_one_line(
    environment: Environment, photo: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Store, "source", throttled)
    process(messages(environment.put("a.jpg", photo)))
    line, _ = lines(capsys)
    assert (line["level"], line["exception_name"]) == ("ERROR", "ClientError")
    assert "Traceback" in line["exception"]
    assert "throttled" in line["exception"]


def test_fields_of_one_message_do_not_stick_to_the_next(
    environment: Environment, photo: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    process(messages(environment.put("a.jpg", photo), "this is no event"))
    _, second, _ = lines(capsys)
    assert "image_id" not in second


def test_more_than_a_hundred_values_of_a_metric_take_more_than_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    metrics = Metrics()
    for value in range(250):
        metrics.add("BytesIn", value, "Bytes")
    metrics.add("ImagesReceived", 1)
    metrics.flush()
    metrics.flush()
    outcome = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [len(line["BytesIn"]) for line in outcome] == [100, 100, 50]
    assert [value for line in outcome for value in line["BytesIn"]] == list(range(250))
    assert [("ImagesReceived" in line) for line in outcome] == [True, False, False]
    assert outcome[0]["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["service"]]


# --- the HTTP API -----------------------------------------------------------------------------------------------------


@pytest.fixture
def images(environment: Environment, photo: bytes) -> list[str]:
    """Ids of five images, oldest first; the last one is rejected."""
    for number in range(4):
        process(messages(environment.put(f"{number}.jpg", photo)))
    process(messages(environment.put("4.jpg", b"no image")))
    return [environment.record(f"{number}.jpg")["image_id"] for number in range(5)]


def test_images_are_listed_newest_first(images: list[str]) -> None:
    answer = request("/images")
    assert answer["statusCode"] == 200
    assert [image["image_id"] for image in answer["body"]["images"]] == images[::-1]
    assert "cursor" not in answer["body"]


def test_pages_join_up(images: list[str]) -> None:
    seen, parameters = [], {"limit": "2"}
    while True:
        page = request("/images", **parameters)["body"]
        assert len(page["images"]) <= 2
        seen += [image["image_id"] for image in page["images"]]
        if "cursor" not in page:
            break
        parameters["cursor"] = page["cursor"]
    assert seen == images[::-1]


def test_images_are_listed_by_status(images: list[str]) -> None:
    rejected = request("/images", status="REJECTED")["body"]["images"]
    assert [image["image_id"] for image in rejected] == images[4:]
    ready = request("/images", status="READY", limit="3")["body"]
    more = request("/images", status="READY", limit="3", cursor=ready["cursor"])["body"]
    assert [image["image_id"] for image in ready["images"] + more["images"]] == images[3::-1]


def test_image_shows_everything_but_what_only_indexes_need(images: list[str]) -> None:
    body = request(f"/images/{images[0]}")["body"]
    assert body["source"]["width"] == 200
    assert isinstance(body["variants"]["w64-avif"]["bytes"], int)
    assert not {"listing", "sequencer", "expires_at"} & set(body)


def test_rejected_image_shows_its_reason(images: list[str]) -> None:
    assert request(f"/images/{images[4]}")["body"]["reason"]["code"] == "NOT_AN_IMAGE"


def test_variant_is_a_redirect_that_is_not_cached(images: list[str]) -> None:
    answer = request(f"/images/{images[0]}/variants/w64-avif")
    assert answer["statusCode"] == 302
    assert "X-Amz-Signature=" in answer["headers"]["location"]
    assert "X-Amz-Expires=900" in answer["headers"]["location"]
    assert answer["headers"]["cache-control"] == "no-store"


def test_removal_removes_the_source_and_leaves_the_rest_to_its_event(
    environment: Environment, images: list[str]
) -> None:
    assert request(f"/images/{images[0]}", "DELETE")["statusCode"] == 202
    with pytest.raises(ClientError):
        environment.s3.head_object(Bucket="uploads", Key="0.jpg")
    assert environment.record("0.jpg")["status"] == "READY"


def test_removed_image_is_gone_and_in_no_list(environment: Environment, images: list[str]) -> None:
    process(messages(environment.remove("0.jpg")))
    assert request(f"/images/{images[0]}")["statusCode"] == 410
    assert images[0] not in [image["image_id"] for image in request("/images")["body"]["images"]]


def test_health() -> None:
    assert request("/health")["body"] == {"status": "ok"}


@pytest.mark.parametrize(
    ("path", "parameters", "status", "detail"),
    [
        ("/images", {"colour": "red"}, 400, "colour: known are status, limit and cursor"),
        ("/images", {"limit": "0"}, 400, "from 1 to 50"),
        ("/images", {"limit": "51"}, 400, "from 1 to 50"),
        ("/images", {"limit": "-1"}, 400, "from 1 to 50"),
        ("/images", {"limit": "ten"}, 400, "from 1 to 50"),
        ("/images", {"limit": "٢"}, 400, "from 1 to 50"),
        ("/images", {"status": "ready"}, 400, "must be one of PROCESSING"),
        ("/images", {"cursor": "nonsense"}, 400, "an earlier page gave"),
        ("/images", {"cursor": "§"}, 400, "an earlier page gave"),
        ("/images", {"cursor": ""}, 400, "an earlier page gave"),
        ("/images", {"cursor": "WyJhIiwiYiJd"}, 400, "an earlier page gave"),
        ("/images", {"cursor": "WzEsMl0"}, 400, "an earlier page gave"),
        ("/images", {"cursor": "bnVsbA"}, 400, "an earlier page gave"),
        ("/images", {"cursor": base64.b64encode(b"[" * 6000).decode()}, 400, "an earlier page gave"),
        ("/images/" + "f" * 32, {}, 404, "there is no image"),
        ("/images/" + "f" * 32, {"verbose": "1"}, 400, "takes no parameters"),
        ("/images/short", {}, 404, "32 hexadecimal digits"),
        ("/images/" + "f" * 32 + "/variants/w64-avif", {}, 404, "there is no image"),
        ("/health", {"x": "1"}, 400, "takes no parameters"),
        ("/nowhere", {}, 404, "/nowhere is no address of this API"),
        ("/images/", {}, 404, "/images/ is no address of this API"),
    ],
)
def test_refusals_are_problem_details(
    environment: Environment, path: str, parameters: dict[str, str], status: int, detail: str
) -> None:
    answer = request(path, **parameters)
    assert answer["statusCode"] == status
    assert answer["headers"]["content-type"] == "application/problem+json"
    assert answer["body"]["status"] == status
    assert detail in answer["body"]["detail"]
    assert set(answer["body"]) == {"type", "title", "status", "detail"}


def test_method_that_an_address_does_not_have_is_refused(environment: Environment) -> None:
    answer = request("/images", "DELETE")
    assert (answer["statusCode"], answer["body"]["detail"]) == (405, "/images answers to GET, not to DELETE")


def test_unknown_variant_names_those_that_there_are(images: list[str]) -> None:
    answer = request(f"/images/{images[0]}/variants/w9-avif")
    assert answer["statusCode"] == 404
    assert "there are thumbnail-avif, thumbnail-jpeg, w160-avif" in answer["body"]["detail"]


def test_variant_of_a_rejected_image_says_so(images: list[str]) -> None:
    answer = request(f"/images/{images[4]}/variants/w64-avif")
    assert answer["statusCode"] == 404
    assert "the image is REJECTED" in answer["body"]["detail"]


# --- what strangers may do -------------------------------------------------------------------------------------------


@pytest.fixture
def secrets(environment: Environment, images: list[str]) -> dict[str, str]:
    """Images with everything that strangers must not see: ids by name."""
    ids = dict(zip(("ready", "removed", "failed", "young", "rejected"), images, strict=True))
    process(messages(environment.remove("1.jpg")))
    error = (
        "ClientError: An error occurred (AccessDenied): User: arn:aws:sts::333333333333:assumed-role/x is not "
        "authorized to perform: s3:PutObject on resource: arn:aws:s3:::processed"
    )
    exif = {"model": "M1", "taken_at": "2026-11-01T10:00:00", "gps": {"latitude": 1.5}, "copyright": "© me"}
    for name, change in {
        "failed": {"status": "FAILED", "reason": {"code": "PROCESSING_FAILED", "message": error}},
        "ready": {"exif": exif, "later": "a field of a newer release"},
    }.items():
        record = environment.store.record(ids[name])
        assert record is not None
        environment.store._dynamodb.put_item(TableName=TABLE, Item=to_item({**record, **change}))
    return ids


#: Names of fields anywhere in an answer, and texts, that tell a stranger more than a picture does.
INSIDE = re.compile(
    r'uploads|processed|\d\.jpg|ClientError|arn:|"(key|bucket|etag|version_id|message|taken_at|gps|later|sha256|'
    r'pipeline|timings|attempts|revision|listed_at|phash|linked_to)"'
)


def test_strangers_read_an_allow_list_of_fields(secrets: dict[str, str]) -> None:
    shown = request(f"/public/images/{secrets['ready']}", signed=False)["body"]
    assert set(shown) == {
        *("image_id", "status", "created_at", "source", "variants", "exif", "placeholder", "colour", "palette"),
    }
    assert shown["source"] == {"format": "jpeg", "width": 200, "height": 150}
    assert set(shown["variants"]["w64-avif"]) == {"format", "content_type", "width", "height", "bytes"}
    assert shown["exif"] == {"model": "M1", "copyright": "© me"}


def test_strangers_see_nothing_of_the_inside_in_any_list(secrets: dict[str, str]) -> None:
    assert INSIDE.search(json.dumps(request("/images")["body"]))  # the signed view has all of it
    for status in (None, "READY", "REJECTED", "FAILED", "PROCESSING"):
        answer = request("/public/images", signed=False, **({"status": status} if status else {}))
        assert answer["statusCode"] == 200
        assert not INSIDE.search(json.dumps(answer["body"], ensure_ascii=False)), status
    (failed,) = request("/public/images", signed=False, status="FAILED")["body"]["images"]
    assert failed["reason"] == {"code": "PROCESSING_FAILED"}


def test_strangers_do_not_learn_that_an_image_was_removed(secrets: dict[str, str]) -> None:
    refused = request("/public/images", signed=False, status="DELETED")
    assert (refused["statusCode"], "DELETED" in refused["body"]["detail"]) == (400, False)
    never = "f" * 32
    for path in ("/public/images/{}", "/public/images/{}/variants/w64-avif"):
        removed, unknown = (request(path.format(one), signed=False) for one in (secrets["removed"], never))
        assert removed["statusCode"] == 404
        assert removed["body"]["detail"].replace(secrets["removed"], never) == unknown["body"]["detail"]
    assert request(f"/images/{secrets['removed']}")["statusCode"] == 410


def test_strangers_get_the_pictures_of_a_public_environment(secrets: dict[str, str]) -> None:
    answer = request(f"/public/images/{secrets['ready']}/variants/w64-avif", signed=False)
    assert (answer["statusCode"], "X-Amz-Signature=" in answer["headers"]["location"]) == (302, True)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/images/{}"),
        ("GET", "/images/{}"),
        ("GET", "/images"),
        ("GET", "/images/{}/variants/w64-avif"),
    ],
)
def test_handler_itself_refuses_what_nobody_signed(
    environment: Environment, images: list[str], method: str, path: str
) -> None:
    """A route that lost its authorization in HCL opens nothing."""
    for authorizer in (
        {},
        {"iam": None},
        {"iam": {"userArn": None}},
        {"jwt": {"claims": {"sub": "me"}}},
        {"lambda": {}},
    ):
        event = event_of(path.format(images[0]), method, signed=False)
        event["requestContext"]["authorizer"] = authorizer
        assert http.api(event, Context())["statusCode"] == 403
    answer = request(path.format(images[0]), method, signed=False)
    assert (answer["statusCode"], answer["body"]["title"]) == (403, "Not signed")
    environment.s3.head_object(Bucket="uploads", Key="0.jpg")  # still there


def test_log_names_path_and_caller_of_every_request(images: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    request('/images/"\\\n}', "DELETE")
    (line,) = lines(capsys)
    assert (line["path"], line["status"], line["caller"]) == (
        '/images/"\\\n}', 404, "arn:aws:sts::1:assumed-role/reader/me",
    )  # fmt: skip


def test_error_of_ours_tells_nothing_of_the_inside(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Catalogue, "page", throttled)
    answer = request("/images")
    assert answer["statusCode"] == 500
    assert answer["headers"]["content-type"] == "application/problem+json"
    assert "SlowDown" not in json.dumps(answer["body"])


def test_decoder_that_is_not_confined_is_counted_in_every_batch_and_logged_once(
    environment: Environment, photo: bytes, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What holds was never read: under Lambda's filter the decoder could read the credentials, and nobody was told."""
    monkeypatch.setattr(Process, "held", lambda *_: ["address space", "file size"])
    queue._log_confinement.cache_clear()
    process(messages(environment.put("a.jpg", photo)))
    process(messages(environment.put("b.jpg", photo + b"\0")))
    written = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["DecoderUnconfined"] for line in written if "DecoderUnconfined" in line] == [[1.0], [1.0]]
    (line,) = [line for line in written if line.get("message") == "confinement of the decoder"]
    assert (line["level"], line["level_of_confinement"], line["held"]) == (
        "WARNING",
        "limits",
        "address space, file size",
    )


def test_confined_decoder_is_logged_and_counts_as_nothing(
    environment: Environment, photo: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    queue._log_confinement.cache_clear()
    process(messages(environment.put("a.jpg", photo)))
    written = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert not [line for line in written if "DecoderUnconfined" in line]
    (line,) = [line for line in written if line.get("message") == "confinement of the decoder"]
    assert (line["level"], line["level_of_confinement"]) == ("INFO", "system calls")


def test_required_confinement_ends_an_image_as_failed_with_the_reason_and_in_the_dead_letter_queue(
    environment: Environment, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Process, "held", lambda *_: ["address space"])
    monkeypatch.setattr(queue._sandbox(), "limits", Limits(require_confinement=True))
    queue._sandbox().close()
    created = environment.put("a.jpg", photo)
    assert process(messages(created)) == ["m0"], "it comes again: another function may be confined"
    assert process(messages(created, receive_count=5)) == ["m0"]
    record = environment.record("a.jpg")
    assert (record["status"], record["reason"]["code"]) == ("FAILED", "PROCESSING_FAILED")
    assert "Unconfined: the decoder is not confined here" in record["reason"]["message"]
    queue._sandbox().close()
