"""Events in, records and variants out: what each kind of event does, and what it leaves alone."""

import contextlib
import hashlib
import itertools
import json
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import pyvips
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError

from image_processor.decoder.sandbox import Sandbox
from image_processor.events import NotAnEvent, ObjectEvent, parse
from image_processor.intake.processor import Effect, GivenUp, Processor, Suspect
from image_processor.recipe import Encoding, Limits, Recipe, VariantSpec, ladder, verdict_version
from image_processor.records.store import Store

from ..conftest import FORMATS, PROCESSED, RECIPE, Environment

NEWER = Recipe(variants=ladder(32, thumbnail=16, formats=FORMATS))


def handle(processor: Processor, environment: Environment, record: dict[str, Any]) -> Effect:
    return processor.handle(environment.event(record)).effect


def test_upload_becomes_a_record_with_variants(processor: Processor, environment: Environment, photo: bytes) -> None:
    assert handle(processor, environment, environment.put("a photo.jpg", photo)) == Effect.PROCESSED
    record = environment.record("a photo.jpg")
    assert record["status"] == "READY"
    assert record["source"] | {"version_id": "", "etag": "", "sha256": ""} == {
        "bucket": "uploads",
        "key": "a photo.jpg",
        "bytes": len(photo),
        "content_type": "image/jpeg",
        "format": "jpeg",
        "width": 200,
        "height": 150,
        "orientation": 1,
        "colour_space": "srgb",
        "frames": 1,
        "version_id": "",
        "etag": "",
        "sha256": "",
    }
    assert record["pipeline"] == {
        "recipe": RECIPE.version,
        "image": "sha256:" + "a" * 64,
        "verdict": processor.verdict_version,
    }
    assert {variant["key"] for variant in record["variants"].values()} == environment.variants()
    assert all(record[name] for name in ("placeholder", "colour", "listed_at", "created_at", "updated_at", "timings"))


def test_variants_may_be_cached_for_ever(processor: Processor, environment: Environment, photo: bytes) -> None:
    handle(processor, environment, environment.put("a.jpg", photo))
    for variant in environment.record("a.jpg")["variants"].values():
        head = environment.s3.head_object(Bucket=PROCESSED, Key=variant["key"])
        assert head["CacheControl"] == "public, max-age=31536000, immutable"
        assert head["ContentType"] == variant["content_type"]
        assert head["ContentLength"] == variant["bytes"]


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "EMPTY"), (b"no image", "NOT_AN_IMAGE"), (b"%PDF-1.4", "UNSUPPORTED_FORMAT")]
)
def test_what_can_never_be_processed_is_rejected_with_a_reason(
    processor: Processor, environment: Environment, content: bytes, reason: str
) -> None:
    assert handle(processor, environment, environment.put("a.jpg", content)) == Effect.REJECTED
    record = environment.record("a.jpg")
    assert (record["status"], record["reason"]["code"]) == ("REJECTED", reason)
    assert record["reason"]["message"]
    assert environment.variants() == set()


def test_bytes_decide_and_not_the_content_type(processor: Processor, environment: Environment, photo: bytes) -> None:
    assert handle(processor, environment, environment.put("a.txt", photo, "text/plain")) == Effect.PROCESSED
    source = environment.record("a.txt")["source"]
    assert (source["content_type"], source["format"]) == ("text/plain", "jpeg")


def test_object_that_is_gone_is_rejected(processor: Processor, environment: Environment, photo: bytes) -> None:
    created = environment.put("a.jpg", photo)
    version = created["s3"]["object"]["versionId"]
    environment.s3.delete_object(Bucket="uploads", Key="a.jpg", VersionId=version)
    assert handle(processor, environment, created) == Effect.REJECTED
    assert environment.record("a.jpg")["reason"]["code"] == "OBJECT_GONE"


#: Answers of S3 to GetObject for objects that it does not give out: status, code, message.
SSE_C = (
    400,
    "InvalidRequest",
    (
        "The object was stored using a form of Server Side Encryption. "
        "The correct parameters must be provided to retrieve the object."
    ),
)
FOREIGN_KEY = (
    403,
    "AccessDenied",
    (
        "User: arn:aws:sts::111111111111:assumed-role/processor/processor is not authorized to perform: kms:Decrypt on "
        "the resource associated with this ciphertext because no resource-based policy allows the kms:Decrypt action"
    ),
)
ARCHIVED = 403, "InvalidObjectState", "The operation is not valid for the object's storage class"


@pytest.fixture
def unreadable(environment: Environment) -> Iterator[Callable[[tuple[int, str, str]], None]]:
    """Lets S3 answer so to every GetObject, and without a body to every HeadObject."""
    client, hooks = environment.s3, []

    def answer(refusal: tuple[int, str, str]) -> None:
        status, code, message = refusal
        body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
        for name, content in (("GetObject", body), ("HeadObject", "")):
            hooks.append((f"before-send.s3.{name}", _answering(status, content)))
            client.meta.events.register_first(*hooks[-1])

    yield answer
    for hook in hooks:
        client.meta.events.unregister(*hook)


def _answering(status: int, content: str) -> Callable[..., AWSResponse]:
    body = SimpleNamespace(stream=lambda **_: iter([content.encode()]), read=lambda *_, **__: content.encode())
    return lambda request, **_: AWSResponse(request.url, status, {"Content-Type": "application/xml"}, body)


@pytest.mark.parametrize("refusal", [SSE_C, FOREIGN_KEY, ARCHIVED], ids=lambda refusal: refusal[1])
def test_object_that_s3_does_not_give_out_is_rejected_at_once(
    processor: Processor, environment: Environment, photo: bytes, unreadable: Any, refusal: tuple[int, str, str]
) -> None:
    """Any uploader can send one: it must not use up tries, or raise the alarm of dead letters."""
    created = environment.put("a.jpg", photo)
    unreadable(refusal)
    assert handle(processor, environment, created) == Effect.REJECTED
    reason = environment.record("a.jpg")["reason"]
    assert reason["code"] == "UNREADABLE_OBJECT"
    assert ":" in reason["message"], "it says what to do"


def test_archived_object_is_rejected_and_made_once_it_is_restored(
    processor: Processor, environment: Environment, photo: bytes
) -> None:
    created = environment.put("a.jpg", photo, StorageClass="GLACIER")
    assert handle(processor, environment, created) == Effect.REJECTED
    assert environment.record("a.jpg")["reason"]["code"] == "UNREADABLE_OBJECT"
    assert processor.handle(order(environment, "a.jpg")).effect == Effect.REJECTED  # too early
    environment.s3.restore_object(Bucket="uploads", Key="a.jpg", RestoreRequest={"Days": 1})
    assert processor.handle(order(environment, "a.jpg")).effect == Effect.PROCESSED


@pytest.mark.parametrize("refusal", [(403, "AccessDenied", "Access Denied"), (400, "InvalidRequest", "Bad")])
def test_refusal_that_may_be_a_mistake_of_ours_is_no_verdict(
    processor: Processor, environment: Environment, photo: bytes, unreadable: Any, refusal: tuple[int, str, str]
) -> None:
    created = environment.put("a.jpg", photo)
    unreadable(refusal)
    with pytest.raises(ClientError):
        handle(processor, environment, created)


def test_image_whose_object_was_archived_since_goes_on_showing_what_it_shows(
    processor: Processor, environment: Environment, sandbox: Sandbox, photo: bytes, unreadable: Any
) -> None:
    handle(processor, environment, environment.put("a.jpg", photo))
    shown, other = environment.record("a.jpg"), Processor(environment.store, NEWER, sandbox, "", "uploads")
    unreadable(ARCHIVED)
    with pytest.raises(GivenUp, match="archived"):
        other.handle(order(environment, "a.jpg"))
    record = environment.record("a.jpg")
    assert (record["status"], record["variants"]) == ("READY", shown["variants"])


def test_removal_that_brings_back_an_object_under_its_uploaders_key_rejects_that(
    processor: Processor, environment: Environment, photo: bytes, other_photo: bytes, unreadable: Any
) -> None:
    """S3 does not even show its metadata then."""
    environment.put("a.jpg", photo)
    second = environment.put("a.jpg", other_photo)
    handle(processor, environment, second)
    removed = environment.remove_version("a.jpg", second)
    unreadable(SSE_C)
    assert handle(processor, environment, removed) == Effect.REJECTED
    assert environment.record("a.jpg")["reason"]["code"] == "UNREADABLE_OBJECT"
    assert handle(processor, environment, removed) == Effect.SKIPPED


def test_object_without_a_content_type_is_an_image_like_any(
    processor: Processor, environment: Environment, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Store.source

    def untyped(self: Store, event: ObjectEvent) -> dict[str, Any]:
        return {name: value for name, value in source(self, event).items() if name != "ContentType"}

    monkeypatch.setattr(Store, "source", untyped)
    assert handle(processor, environment, environment.put("a.jpg", photo)) == Effect.PROCESSED
    assert "content_type" not in environment.record("a.jpg")["source"]


def test_event_is_about_its_own_version(
    processor: Processor, environment: Environment, photo: bytes, other_photo: bytes
) -> None:
    first = environment.put("a.jpg", photo)
    environment.put("a.jpg", other_photo)
    handle(processor, environment, first)
    assert environment.record("a.jpg")["source"]["width"] == 200


def test_duplicate_is_not_decoded_again(
    processor: Processor, environment: Environment, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    created = environment.put("a.jpg", photo)
    handle(processor, environment, created)
    before = environment.record("a.jpg")
    monkeypatch.setattr(Sandbox, "render", lambda *_: pytest.fail("decoded twice"))
    assert handle(processor, environment, created) == Effect.SKIPPED
    assert environment.record("a.jpg") == before


def test_overwriting_is_a_new_revision_and_takes_the_old_variants_away(
    processor: Processor, environment: Environment, photo: bytes, other_photo: bytes
) -> None:
    handle(processor, environment, environment.put("a.jpg", photo))
    first = environment.record("a.jpg")
    handle(processor, environment, environment.put("a.jpg", other_photo))
    second = environment.record("a.jpg")
    assert second["image_id"] == first["image_id"]
    assert second["revision"] != first["revision"]
    assert second["created_at"] == first["created_at"]
    assert environment.variants() == {variant["key"] for variant in second["variants"].values()}


def test_older_event_changes_nothing_whenever_it_comes(
    processor: Processor, environment: Environment, photo: bytes, other_photo: bytes
) -> None:
    older, newer = environment.put("a.jpg", photo), environment.put("a.jpg", other_photo)
    handle(processor, environment, newer)
    before = environment.record("a.jpg"), environment.variants()
    assert handle(processor, environment, older) == Effect.SKIPPED
    assert (environment.record("a.jpg"), environment.variants()) == before


def test_loser_of_a_race_takes_its_variants_away(
    processor: Processor, environment: Environment, photo: bytes, other_photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newer event is handled while the older one is between its variants and its publication."""
    older, newer = environment.put("a.jpg", photo), environment.put("a.jpg", other_photo)
    publish = Store.publish

    def overtaken(self: Store, event: Any, *arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(Store, "publish", publish)
        handle(processor, environment, newer)
        return publish(self, event, *arguments, **options)

    monkeypatch.setattr(Store, "publish", overtaken)
    assert handle(processor, environment, older) == Effect.SKIPPED
    record = environment.record("a.jpg")
    assert record["source"]["width"] == 240
    assert environment.variants() == {variant["key"] for variant in record["variants"].values()}


def test_same_event_handled_twice_at_once_keeps_its_variants(
    processor: Processor, environment: Environment, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    created = environment.put("a.jpg", photo)
    publish = Store.publish

    def overtaken(self: Store, event: Any, *arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(Store, "publish", publish)
        handle(processor, environment, created)
        return publish(self, event, *arguments, **options)

    monkeypatch.setattr(Store, "publish", overtaken)
    assert handle(processor, environment, created) == Effect.SKIPPED
    assert environment.variants() == {variant["key"] for variant in environment.record("a.jpg")["variants"].values()}


def test_two_releases_at_work_on_one_event_leave_what_is_shown_alone(
    processor: Processor,
    environment: Environment,
    sandbox: Sandbox,
    photo: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The new release publishes while the old one, whose variants have the same names, is about to write its own."""
    created = environment.put("a.jpg", photo)
    finer = Recipe(variants=ladder(64, 160, thumbnail=48, formats=(Encoding("avif", 50), Encoding("jpeg", 95))))
    new = Processor(environment.store, finer, sandbox, "sha256:" + "b" * 64, "uploads")
    put_variants = Store.put_variants

    def overtaken(self: Store, *arguments: Any) -> Any:
        monkeypatch.setattr(Store, "put_variants", put_variants)
        handle(new, environment, created)
        return put_variants(self, *arguments)

    monkeypatch.setattr(Store, "put_variants", overtaken)
    assert handle(processor, environment, created) == Effect.SKIPPED
    record = environment.record("a.jpg")
    assert record["pipeline"]["recipe"] == finer.version
    for variant in record["variants"].values():
        content = environment.s3.get_object(Bucket=PROCESSED, Key=variant["key"])["Body"].read()
        assert hashlib.sha256(content).hexdigest() == variant["sha256"]
    assert environment.variants() == {variant["key"] for variant in record["variants"].values()}


def test_removal_takes_the_variants_and_leaves_a_tombstone_that_expires(
    processor: Processor, environment: Environment, photo: bytes
) -> None:
    handle(processor, environment, environment.put("a.jpg", photo))
    assert handle(processor, environment, environment.remove("a.jpg")) == Effect.DELETED
    record = environment.record("a.jpg")
    assert record["status"] == "DELETED"
    assert record["expires_at"] > 0
    assert "listing" not in record
    assert "a.jpg" not in str(record), "a key may name a person"
    assert environment.variants() == set()


def test_removal_that_comes_before_its_creation_wins(
    processor: Processor, environment: Environment, photo: bytes
) -> None:
    created, removed = environment.put("a.jpg", photo), environment.remove("a.jpg")
    assert handle(processor, environment, removed) == Effect.DELETED
    assert handle(processor, environment, created) == Effect.SKIPPED
    assert environment.record("a.jpg")["status"] == "DELETED"
    assert environment.variants() == set()


def test_removal_of_an_old_version_leaves_the_image_alone(
    processor: Processor, environment: Environment, photo: bytes, other_photo: bytes
) -> None:
    first, second = environment.put("a.jpg", photo), environment.put("a.jpg", other_photo)
    handle(processor, environment, first)
    handle(processor, environment, second)
    assert handle(processor, environment, environment.remove_version("a.jpg", first)) == Effect.SKIPPED
    assert environment.record("a.jpg")["status"] == "READY"
    assert handle(processor, environment, environment.remove_version("a.jpg", second)) == Effect.DELETED


def test_removed_key_can_be_uploaded_again(processor: Processor, environment: Environment, photo: bytes) -> None:
    for record in (environment.put("a.jpg", photo), environment.remove("a.jpg"), environment.put("a.jpg", photo)):
        handle(processor, environment, record)
    outcome = environment.record("a.jpg")
    assert outcome["status"] == "READY"
    assert "expires_at" not in outcome


def test_tombstone_that_expires_at_this_very_moment_does_no_harm(
    processor: Processor, environment: Environment, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    for record in (environment.put("a.jpg", photo), environment.remove("a.jpg")):
        handle(processor, environment, record)
    image, try_again, seen = environment.record("a.jpg")["image_id"], Store.try_again, []

    def expired(self: Store, *arguments: Any) -> bool:
        self._dynamodb.delete_item(TableName=self._table, Key={"image_id": {"S": image}})
        begun = try_again(self, *arguments)
        seen.append(self.record(image))
        return begun

    monkeypatch.setattr(Store, "try_again", expired)
    assert handle(processor, environment, environment.put("a.jpg", photo)) == Effect.PROCESSED
    assert seen == [None]
    assert environment.record("a.jpg")["status"] == "READY"


def test_image_given_up_can_still_become_ready(processor: Processor, environment: Environment, photo: bytes) -> None:
    """What a redrive from the dead-letter queue needs: the same event once more."""
    created = environment.put("a.jpg", photo)
    processor.give_up(environment.event(created), 5, "TimeoutError: slow")
    assert environment.record("a.jpg")["reason"] == {"code": "PROCESSING_FAILED", "message": "TimeoutError: slow"}
    assert handle(processor, environment, created) == Effect.PROCESSED
    assert environment.record("a.jpg")["status"] == "READY"


def test_write_that_fails_leaves_none_under_way(
    processor: Processor, environment: Environment, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Variants are written side by side; one that arrives after the failure was dealt with would be left over."""
    put_object, numbers = environment.s3.put_object, itertools.count()
    created = environment.put("a.jpg", photo)

    def first_fails(**arguments: Any) -> Any:
        if not next(numbers):
            raise TimeoutError("slow")
        time.sleep(0.2)
        return put_object(**arguments)

    with monkeypatch.context() as patched:
        patched.setattr(environment.s3, "put_object", first_fails)
        with pytest.raises(TimeoutError):
            handle(processor, environment, created)
        there = environment.variants()
    time.sleep(0.5)
    assert there == environment.variants()
    assert environment.record("a.jpg")["status"] == "PROCESSING"


def test_first_upload_shows_as_processing_and_a_later_one_keeps_showing_what_is_there(
    processor: Processor, environment: Environment, photo: bytes, other_photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    put_variants = Store.put_variants

    def watched(self: Store, *arguments: Any) -> Any:
        seen.append(environment.record("a.jpg")["status"])
        return put_variants(self, *arguments)

    monkeypatch.setattr(Store, "put_variants", watched)
    for content in (photo, other_photo):
        handle(processor, environment, environment.put("a.jpg", content))
    assert seen == ["PROCESSING", "READY"]


# --- order, and versions ----------------------------------------------------------------------------------------------


def test_removal_of_the_shown_version_brings_back_what_lies_under_it(
    processor: Processor, environment: Environment, photo: bytes, other_photo: bytes
) -> None:
    environment.put("a.jpg", photo)
    second = environment.put("a.jpg", other_photo)
    handle(processor, environment, second)
    assert handle(processor, environment, environment.remove_version("a.jpg", second)) == Effect.PROCESSED
    assert environment.record("a.jpg")["source"]["width"] == 200


def test_removal_of_an_old_version_that_comes_first_hides_nothing(
    processor: Processor, environment: Environment, photo: bytes, other_photo: bytes
) -> None:
    first, second = environment.put("a.jpg", photo), environment.put("a.jpg", other_photo)
    removed = environment.remove_version("a.jpg", first)
    for record in (removed, second, first):
        handle(processor, environment, record)
    outcome = environment.record("a.jpg")
    assert (outcome["status"], outcome["source"]["width"]) == ("READY", 240)


def test_removal_of_a_delete_marker_brings_the_image_back(
    processor: Processor, environment: Environment, photo: bytes
) -> None:
    handle(processor, environment, environment.put("a.jpg", photo))
    removed = environment.remove("a.jpg")
    handle(processor, environment, removed)
    assert handle(processor, environment, environment.remove_version("a.jpg", removed)) == Effect.PROCESSED
    assert environment.record("a.jpg")["status"] == "READY"


def test_removal_that_changes_nothing_still_outdates_what_happened_before_it(
    processor: Processor, environment: Environment, photo: bytes
) -> None:
    handle(processor, environment, environment.put("a.jpg", photo))
    shown = environment.record("a.jpg")
    removed = environment.remove("a.jpg")
    brought_back = environment.remove_version("a.jpg", removed)
    assert handle(processor, environment, brought_back) == Effect.SKIPPED
    assert handle(processor, environment, removed) == Effect.SKIPPED
    record = environment.record("a.jpg")
    assert (record["status"], record["revision"], record["variants"]) == ("READY", shown["revision"], shown["variants"])
    assert record["sequencer"] > shown["sequencer"]


def test_replaced_object_of_a_bucket_without_versions_is_left_to_its_own_event(
    processor: Processor, environment: Environment, photo: bytes, other_photo: bytes
) -> None:
    first = environment.put("a.jpg", photo)
    del first["s3"]["object"]["versionId"]
    environment.put("a.jpg", other_photo)
    assert handle(processor, environment, first) == Effect.REJECTED
    assert environment.record("a.jpg")["reason"]["code"] == "OBJECT_GONE"


def test_newest_upload_wins_though_an_older_one_begins_while_it_looks_for_its_content(
    processor: Processor, environment: Environment, photo: bytes, other_photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its content is remembered, of an image that is gone: the older event begins when that was read."""
    handle(processor, environment, environment.put("z.jpg", other_photo))
    handle(processor, environment, environment.remove("z.jpg"))
    older, newer = environment.put("b.jpg", photo), environment.put("b.jpg", other_photo)
    record = Store.record

    def overtaken(self: Store, image_id: str) -> dict[str, Any] | None:
        read = record(self, image_id)
        if read and read["status"] == "DELETED":
            monkeypatch.setattr(Store, "record", record)
            assert handle(processor, environment, older) == Effect.PROCESSED
        return read

    monkeypatch.setattr(Store, "record", overtaken)
    assert handle(processor, environment, newer) == Effect.PROCESSED
    shown = environment.record("b.jpg")
    assert shown["source"]["version_id"] == newer["s3"]["object"]["versionId"]
    assert environment.variants() == {variant["key"] for variant in shown["variants"].values()}


def test_event_that_meets_its_own_work_elsewhere_waits_for_that_end(
    processor: Processor, environment: Environment, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its message must not be done before that work is: whoever is at it may die."""
    created, begin = environment.put("a.jpg", photo), Store.begin

    def overtaken(self: Store, event: ObjectEvent) -> bool:
        monkeypatch.setattr(Store, "begin", begin)
        killed(processor, environment, created, 1)
        return begin(self, event)

    monkeypatch.setattr(Store, "begin", overtaken)
    with pytest.raises(Suspect):
        processor.handle(environment.event(created), risk=False)
    assert processor.handle(environment.event(created), 2).effect == Effect.PROCESSED


# --- answers that get lost: the SDK sends the request again, which has had its effect --------------------------------


@pytest.fixture
def every_answer_lost_once(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    client = environment.store._dynamodb
    for name in ("transact_write_items", "update_item"):
        send = getattr(client, name)

        def twice(send: Any = send, **request: Any) -> Any:
            with contextlib.suppress(ClientError):
                send(**request)
            return send(**request)

        monkeypatch.setattr(client, name, twice)


@pytest.mark.usefixtures("every_answer_lost_once")
def test_lost_answer_leaves_no_image_in_processing(
    processor: Processor, environment: Environment, photo: bytes
) -> None:
    for step in range(2):
        handle(processor, environment, environment.put("a.jpg", photo))
        assert environment.record("a.jpg")["status"] == "READY", step
    handle(processor, environment, environment.remove("a.jpg"))
    assert environment.record("a.jpg")["status"] == "DELETED"
    # The content is remembered, and the image that had it is gone: nothing to link to.
    handle(processor, environment, environment.put("b.jpg", photo))
    assert environment.record("b.jpg")["status"] == "READY"


# --- same content -----------------------------------------------------------------------------------------------------


@pytest.fixture
def twins(processor: Processor, environment: Environment, photo: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two keys with one content, of which one was decoded."""
    handle(processor, environment, environment.put("a.jpg", photo))
    with monkeypatch.context() as patched:
        patched.setattr(Sandbox, "render", lambda *_: pytest.fail("decoded twice"))
        assert handle(processor, environment, environment.put("b.jpg", photo)) == Effect.LINKED


def test_same_content_under_another_key_is_linked_and_not_made_again(twins: None, environment: Environment) -> None:
    first, second = environment.record("a.jpg"), environment.record("b.jpg")
    assert second["status"] == "READY"
    assert second["linked_to"] == {"image_id": first["image_id"], "revision": first["revision"]}
    assert second["source"] | {"key": "a.jpg", "version_id": ""} == first["source"] | {"version_id": ""}
    for name, variant in second["variants"].items():
        assert variant["sha256"] == first["variants"][name]["sha256"]
        head = environment.s3.head_object(Bucket=PROCESSED, Key=variant["key"])
        assert (head["ContentType"], head["ContentLength"]) == (variant["content_type"], variant["bytes"])
        assert head["CacheControl"] == "public, max-age=31536000, immutable"


@pytest.mark.parametrize(("gone", "left"), [("a.jpg", "b.jpg"), ("b.jpg", "a.jpg")])
def test_removing_one_leaves_the_other_whole(
    twins: None, processor: Processor, environment: Environment, gone: str, left: str
) -> None:
    handle(processor, environment, environment.remove(gone))
    assert environment.variants() == {variant["key"] for variant in environment.record(left)["variants"].values()}


def test_content_whose_image_is_gone_is_made_and_remembered_anew(
    processor: Processor, environment: Environment, photo: bytes
) -> None:
    handle(processor, environment, environment.put("a.jpg", photo))
    handle(processor, environment, environment.remove("a.jpg"))
    assert handle(processor, environment, environment.put("b.jpg", photo)) == Effect.PROCESSED
    assert handle(processor, environment, environment.put("c.jpg", photo)) == Effect.LINKED
    assert environment.record("c.jpg")["linked_to"]["image_id"] == environment.record("b.jpg")["image_id"]


def test_content_made_by_another_recipe_is_made_anew(
    processor: Processor, environment: Environment, sandbox: Sandbox, photo: bytes
) -> None:
    handle(processor, environment, environment.put("a.jpg", photo))
    other = Processor(environment.store, NEWER, sandbox, "sha256:" + "b" * 64, "uploads")
    assert handle(other, environment, environment.put("b.jpg", photo)) == Effect.PROCESSED


def test_content_that_the_limits_of_now_refuse_is_refused_though_its_twin_is_shown(
    processor: Processor, environment: Environment, photo: bytes
) -> None:
    handle(processor, environment, environment.put("a.jpg", photo))
    with Sandbox(Limits(formats=("png",))) as strict:
        other = Processor(environment.store, RECIPE, strict, "sha256:" + "a" * 64, "uploads")
        assert handle(other, environment, environment.put("b.jpg", photo)) == Effect.REJECTED
    assert environment.record("b.jpg")["reason"]["code"] == "FORMAT_OFF"


def test_record_names_the_release_that_made_what_it_shows(
    processor: Processor, environment: Environment, sandbox: Sandbox, photo: bytes
) -> None:
    """Another release may have other encoders: it makes known content anew, once."""
    handle(processor, environment, environment.put("a.jpg", photo))
    other = Processor(environment.store, RECIPE, sandbox, "sha256:" + "b" * 64, "uploads")
    outcomes = [handle(other, environment, environment.put(key, photo)) for key in ("b.jpg", "c.jpg")]
    assert outcomes == [Effect.PROCESSED, Effect.LINKED]
    for key, image in (("a.jpg", "a"), ("b.jpg", "b"), ("c.jpg", "b")):
        assert environment.record(key)["pipeline"]["image"] == "sha256:" + image * 64


@pytest.mark.parametrize("first", [True, False])
def test_memory_of_a_content_that_cannot_be_written_does_no_harm(
    processor: Processor, environment: Environment, photo: bytes, monkeypatch: pytest.MonkeyPatch, first: bool
) -> None:
    if not first:
        handle(processor, environment, environment.put("a.jpg", b"no image"))
    with monkeypatch.context() as patched:
        patched.setattr(Store, "remember", lambda *_: 1 / 0)
        assert handle(processor, environment, environment.put("a.jpg", photo)) == Effect.PROCESSED
    assert handle(processor, environment, environment.put("b.jpg", photo)) == Effect.PROCESSED


# --- failures ---------------------------------------------------------------------------------------------------------


def killed(processor: Processor, environment: Environment, record: dict[str, Any], delivery: int) -> None:
    """A delivery in whose midst the process is gone: nothing runs any more, no handler of exceptions either."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Sandbox, "render", _die)
        with pytest.raises(KeyboardInterrupt):
            processor.handle(environment.event(record), delivery)


def _die(*_: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("shown", [None, "READY"])
def test_image_that_kills_the_process_three_times_has_failed(
    processor: Processor, environment: Environment, photo: bytes, other_photo: bytes, shown: str | None
) -> None:
    if shown:
        handle(processor, environment, environment.put("a.jpg", other_photo))
    created = environment.put("a.jpg", photo)
    for delivery in (1, 2, 3):
        killed(processor, environment, created, delivery)
    for delivery in (4, 5):
        with pytest.raises(GivenUp):
            processor.handle(environment.event(created), delivery)
    record = environment.record("a.jpg")
    assert (record["status"], record["reason"]["code"], record["attempts"]) == ("FAILED", "PROCESS_KILLED", 4)
    assert processor.handle(environment.event(created), 1).effect == Effect.PROCESSED  # put back by a redrive


def test_image_that_may_have_killed_the_process_is_a_suspect(
    processor: Processor, environment: Environment, photo: bytes
) -> None:
    created = environment.put("a.jpg", photo)
    killed(processor, environment, created, 1)
    with pytest.raises(Suspect) as caught:
        processor.handle(environment.event(created), 2, risk=False)
    assert 0 <= caught.value.age < 60
    assert processor.handle(environment.event(created), 2, risk=True).effect == Effect.PROCESSED


def test_image_that_killed_the_process_has_failed_when_its_message_will_not_come_again(
    processor: Processor, environment: Environment, photo: bytes
) -> None:
    """Killed once more, nobody would be left to say so."""
    created = environment.put("a.jpg", photo)
    killed(processor, environment, created, 4)
    with pytest.raises(GivenUp):
        processor.handle(environment.event(created), 5, last=True)
    record = environment.record("a.jpg")
    assert (record["status"], record["reason"]["code"]) == ("FAILED", "PROCESS_KILLED")


def test_failures_that_the_process_survives_make_no_suspect(
    processor: Processor, environment: Environment, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    created = environment.put("a.jpg", photo)
    for delivery in (1, 2, 3, 4):
        with monkeypatch.context() as patched:
            patched.setattr(Store, "put_variants", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                processor.handle(environment.event(created), delivery, risk=False)
    assert processor.handle(environment.event(created), 5, risk=False).effect == Effect.PROCESSED


def test_failing_takes_away_what_was_shown(processor: Processor, environment: Environment, photo: bytes) -> None:
    handle(processor, environment, environment.put("a.jpg", photo))
    processor.give_up(environment.event(environment.put("a.jpg", photo)), 5, "TimeoutError")
    assert environment.record("a.jpg")["status"] == "FAILED"
    assert environment.variants() == set()


def test_event_of_a_foreign_bucket_is_refused(processor: Processor, environment: Environment, photo: bytes) -> None:
    record = environment.put("a.jpg", photo)
    record["s3"]["bucket"]["name"] = "another"
    with pytest.raises(NotAnEvent, match="another"):
        handle(processor, environment, record)


# --- making images again ----------------------------------------------------------------------------------------------


def order(environment: Environment, key: str) -> ObjectEvent:
    record = environment.record(key)
    what = {name: record["source"][name] for name in ("bucket", "key", "version_id")}
    time = record["listed_at"].partition("#")[0]
    [event] = parse(json.dumps({"reprocess": {**what, "sequencer": record["sequencer"], "event_time": time}}))
    return event


def test_image_is_made_again_as_a_revision_of_its_own_and_once(
    processor: Processor, environment: Environment, sandbox: Sandbox, photo: bytes
) -> None:
    handle(processor, environment, environment.put("a.jpg", photo))
    before = environment.record("a.jpg")
    other = Processor(environment.store, NEWER, sandbox, "sha256:" + "b" * 64, "uploads")
    again = order(environment, "a.jpg")
    assert [other.handle(again).effect for _ in range(2)] == [Effect.PROCESSED, Effect.SKIPPED]
    record = environment.record("a.jpg")
    sent, made_by = again.revision, verdict_version(NEWER, sandbox.limits, "sha256:" + "b" * 64)
    assert before["revision"] == f"{sent}.{processor.verdict_version}"
    assert record["revision"] == f"{sent}-{made_by}"
    assert record["pipeline"]["recipe"] == NEWER.version
    assert (record["listed_at"], record["sequencer"]) == (before["listed_at"], before["sequencer"])
    assert environment.variants() == {variant["key"] for variant in record["variants"].values()}


def test_image_rejected_under_other_limits_can_be_made_again(environment: Environment, photo: bytes) -> None:
    def outcome(limits: Limits) -> Effect:
        with Sandbox(limits) as sandbox:
            return (
                Processor(environment.store, RECIPE, sandbox, "", "uploads").handle(order(environment, "a.jpg")).effect
            )

    with Sandbox(Limits(max_side=10)) as strict:
        handle(
            Processor(environment.store, RECIPE, strict, "", "uploads"), environment, environment.put("a.jpg", photo)
        )
    assert outcome(Limits(max_side=11)) == Effect.REJECTED
    assert outcome(Limits(max_side=11)) == Effect.SKIPPED
    assert outcome(Limits()) == Effect.PROCESSED
    assert environment.record("a.jpg")["status"] == "READY"


def test_image_can_be_made_again_by_another_container_image(
    environment: Environment, sandbox: Sandbox, photo: bytes
) -> None:
    first, second = (Processor(environment.store, RECIPE, sandbox, f"sha256:{x * 64}", "uploads") for x in "ab")
    handle(first, environment, environment.put("a.jpg", photo))
    outcomes = [value.handle(order(environment, "a.jpg")).effect for value in (first, first, second, second)]
    assert outcomes == [Effect.PROCESSED, Effect.SKIPPED, Effect.PROCESSED, Effect.SKIPPED]


@pytest.mark.parametrize("then", ["overwritten", "removed"])
def test_order_for_what_is_no_longer_there_changes_nothing(
    processor: Processor, environment: Environment, photo: bytes, other_photo: bytes, then: str
) -> None:
    handle(processor, environment, environment.put("a.jpg", photo))
    again = order(environment, "a.jpg")
    change = environment.put("a.jpg", other_photo) if then == "overwritten" else environment.remove("a.jpg")
    handle(processor, environment, change)
    before = environment.record("a.jpg"), environment.variants()
    assert processor.handle(again).effect == Effect.SKIPPED
    assert (environment.record("a.jpg"), environment.variants()) == before


def test_order_that_cannot_be_met_leaves_the_image_as_it_is(
    processor: Processor, environment: Environment, photo: bytes
) -> None:
    handle(processor, environment, environment.put("a.jpg", photo))
    before = environment.record("a.jpg")
    again = order(environment, "a.jpg")
    processor.give_up(again, 5, "TimeoutError")
    assert environment.record("a.jpg") == before


def test_failed_image_can_be_made_again(processor: Processor, environment: Environment, photo: bytes) -> None:
    processor.give_up(environment.event(environment.put("a.jpg", photo)), 5, "TimeoutError")
    assert processor.handle(order(environment, "a.jpg")).effect == Effect.PROCESSED
    assert environment.record("a.jpg")["status"] == "READY"


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    [
        "k" * 1024, "e\u0301.jpg", "\u00e9.jpg", "content#" + "a" * 64, "0" * 32 + "/1/w64-avif.avif", "a//b/../c",
        "two\r\nlines", "\x1b[2J\x01", "\u202egpj.exe",
    ],
)  # fmt: skip
def test_strange_keys_are_keys_like_any(processor: Processor, environment: Environment, photo: bytes, key: str) -> None:
    assert handle(processor, environment, environment.put(key, photo)) == Effect.PROCESSED
    assert environment.record(key)["source"]["key"] == key


def test_keys_that_look_alike_are_two_images(processor: Processor, environment: Environment, photo: bytes) -> None:
    """Composed and decomposed é: S3 compares bytes."""
    for key in ("e\u0301.jpg", "\u00e9.jpg"):
        handle(processor, environment, environment.put(key, photo))
    assert environment.record("e\u0301.jpg")["image_id"] != environment.record("\u00e9.jpg")["image_id"]


def test_clocks_that_differ_do_no_harm(processor: Processor, environment: Environment, photo: bytes) -> None:
    record = environment.put("a.jpg", photo)
    record["eventTime"] = "2126-05-01T12:00:00.000Z"
    handle(processor, environment, record)
    older = environment.put("a.jpg", photo)
    older["eventTime"] = "1996-05-01T12:00:00.000Z"
    handle(processor, environment, older)
    outcome = environment.record("a.jpg")
    assert outcome["sequencer"] == environment.event(older).sequencer  # the later event, whatever its clock says
    assert outcome["timings"]["queue_ms"] > 0


def test_fields_of_another_release_survive(processor: Processor, environment: Environment, photo: bytes) -> None:
    for content in (photo, b"no image"):
        handle(processor, environment, environment.put("a.jpg", content))
        environment.store._write(environment.record("a.jpg")["image_id"], {"rating": 5})
    handle(processor, environment, environment.put("a.jpg", photo))
    assert environment.record("a.jpg")["rating"] == 5


# --- what it costs ----------------------------------------------------------------------------------------------------


def test_first_upload_costs_a_get_a_put_per_variant_two_reads_and_three_writes(
    processor: Processor, environment: Environment, photo: bytes, requests: list[str]
) -> None:
    """And no transaction: many uploads of one content at once would contend for the item that remembers it."""
    created = environment.put("a.jpg", photo)
    requests.clear()
    handle(processor, environment, created)
    puts = ["PutObject"] * len(requests[4:-2])
    assert requests == ["GetItem", "GetObject", "GetItem", "UpdateItem", *puts, "UpdateItem", "UpdateItem"]
    assert len(puts) == len(environment.record("a.jpg")["variants"])


def test_same_content_elsewhere_costs_three_reads_and_one_write(
    processor: Processor, environment: Environment, photo: bytes, requests: list[str]
) -> None:
    handle(processor, environment, environment.put("a.jpg", photo))
    created = environment.put("b.jpg", photo)
    requests.clear()
    handle(processor, environment, created)
    requests = requests.copy()
    copies = ["CopyObject"] * len(environment.record("b.jpg")["variants"])
    assert requests == ["GetItem", "GetObject", "GetItem", "GetItem", *copies, "UpdateItem"]


def test_duplicate_costs_one_read(
    processor: Processor, environment: Environment, photo: bytes, requests: list[str]
) -> None:
    created = environment.put("a.jpg", photo)
    handle(processor, environment, created)
    requests.clear()
    handle(processor, environment, created)
    assert requests == ["GetItem"]


@pytest.fixture
def requests(environment: Environment) -> Iterator[list[str]]:
    """Operations that S3 and DynamoDB were asked for."""
    results: list[str] = []

    def note(model: Any, **_: Any) -> None:
        results.append(model.name)

    clients = (environment.store._s3, environment.store._dynamodb)
    for client in clients:
        client.meta.events.register("before-call", note)
    yield results
    for client in clients:
        client.meta.events.unregister("before-call", note)


# --- the uploader's focal point ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "known"),
    [
        ("0.25,0.75", {"focal_point": [0.25, 0.75]}),
        (" 1 , 0 ", {"focal_point": [1.0, 0.0]}),
        ("1.5,0", {"focal_point_ignored": "1.5,0"}),
        ("-0.1,0", {"focal_point_ignored": "-0.1,0"}),
        (",", {"focal_point_ignored": ","}),
        ("nan,0", {"focal_point_ignored": "nan,0"}),
        ("left", {"focal_point_ignored": "left"}),
    ],
)
def test_focal_point_is_taken_from_the_objects_metadata_or_ignored_with_a_note(
    processor: Processor, environment: Environment, photo: bytes, said: str, known: dict[str, Any]
) -> None:
    created = environment.put("a.jpg", photo, metadata={"focal-point": said})
    assert handle(processor, environment, created) == Effect.PROCESSED
    source = environment.record("a.jpg")["source"]
    assert {name: value for name, value in source.items() if name.startswith("focal_point")} == known


def test_focal_crop_is_about_the_focal_point(environment: Environment, sandbox: Sandbox) -> None:
    halves = pyvips.Image.black(100, 100).join(pyvips.Image.black(100, 100) + 255, "horizontal").cast("uchar")
    data = bytes(halves.pngsave_buffer())
    square = VariantSpec(50, (Encoding("png"),), 50, "cover", "focal", "square")
    recipe = Recipe(variants=(square,), graphic=())
    processor = Processor(environment.store, recipe, sandbox, "sha256:" + "a" * 64, "uploads")
    for key, point, shade in (("left", "0,0.5", 0), ("right", "1,0.5", 255)):
        handle(processor, environment, environment.put(key, data, metadata={"focal-point": point}))
        variant = environment.record(key)["variants"]["square-png"]
        content = environment.s3.get_object(Bucket=PROCESSED, Key=variant["key"])["Body"].read()
        assert abs(pyvips.Image.new_from_buffer(content, "").avg() - shade) < 3  # the edge rings
