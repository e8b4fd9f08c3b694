"""Events in, records and variants out: what each kind of event does, and what it leaves alone."""

from typing import Any

import pytest
from image_processor.processor import Outcome, Processor
from image_processor.store import Store

from .conftest import PROCESSED, RECIPE, Environment


def handle(processor: Processor, environment: Environment, record: dict[str, Any]) -> Outcome:
    return processor.handle(environment.event(record)).outcome


def test_upload_becomes_a_record_with_variants(processor: Processor, environment: Environment, photo: bytes) -> None:
    assert handle(processor, environment, environment.put("a photo.jpg", photo)) == Outcome.PROCESSED
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
    assert record["pipeline"] == {"recipe": RECIPE.version, "image": "sha256:" + "a" * 64}
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
    assert handle(processor, environment, environment.put("a.jpg", content)) == Outcome.REJECTED
    record = environment.record("a.jpg")
    assert (record["status"], record["reason"]["code"]) == ("REJECTED", reason)
    assert record["reason"]["message"]
    assert environment.variants() == set()


def test_bytes_decide_and_not_the_content_type(processor: Processor, environment: Environment, photo: bytes) -> None:
    assert handle(processor, environment, environment.put("a.txt", photo, "text/plain")) == Outcome.PROCESSED
    source = environment.record("a.txt")["source"]
    assert (source["content_type"], source["format"]) == ("text/plain", "jpeg")


def test_object_that_is_gone_is_rejected(processor: Processor, environment: Environment, photo: bytes) -> None:
    created = environment.put("a.jpg", photo)
    version = created["s3"]["object"]["versionId"]
    environment.s3.delete_object(Bucket="uploads", Key="a.jpg", VersionId=version)
    assert handle(processor, environment, created) == Outcome.REJECTED
    assert environment.record("a.jpg")["reason"]["code"] == "OBJECT_GONE"


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
    monkeypatch.setattr("image_processor.engine.render", lambda *_: pytest.fail("decoded twice"))
    assert handle(processor, environment, created) == Outcome.SKIPPED
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
    assert handle(processor, environment, older) == Outcome.SKIPPED
    assert (environment.record("a.jpg"), environment.variants()) == before


def test_loser_of_a_race_takes_its_variants_away(
    processor: Processor, environment: Environment, photo: bytes, other_photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newer event is handled while the older one is between its variants and its publication."""
    older, newer = environment.put("a.jpg", photo), environment.put("a.jpg", other_photo)
    publish = Store.publish

    def overtaken(self: Store, event: Any, *arguments: Any) -> bool:
        monkeypatch.setattr(Store, "publish", publish)
        handle(processor, environment, newer)
        return publish(self, event, *arguments)

    monkeypatch.setattr(Store, "publish", overtaken)
    assert handle(processor, environment, older) == Outcome.SKIPPED
    record = environment.record("a.jpg")
    assert record["source"]["width"] == 240
    assert environment.variants() == {variant["key"] for variant in record["variants"].values()}


def test_same_event_handled_twice_at_once_keeps_its_variants(
    processor: Processor, environment: Environment, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    created = environment.put("a.jpg", photo)
    publish = Store.publish

    def overtaken(self: Store, event: Any, *arguments: Any) -> bool:
        monkeypatch.setattr(Store, "publish", publish)
        handle(processor, environment, created)
        return publish(self, event, *arguments)

    monkeypatch.setattr(Store, "publish", overtaken)
    assert handle(processor, environment, created) == Outcome.SKIPPED
    assert environment.variants() == {variant["key"] for variant in environment.record("a.jpg")["variants"].values()}


def test_removal_takes_the_variants_and_leaves_a_tombstone_that_expires(
    processor: Processor, environment: Environment, photo: bytes
) -> None:
    handle(processor, environment, environment.put("a.jpg", photo))
    assert handle(processor, environment, environment.remove("a.jpg")) == Outcome.DELETED
    record = environment.record("a.jpg")
    assert record["status"] == "DELETED"
    assert record["expires_at"] > 0
    assert "listing" not in record
    assert environment.variants() == set()


def test_removal_that_comes_before_its_creation_wins(
    processor: Processor, environment: Environment, photo: bytes
) -> None:
    created, removed = environment.put("a.jpg", photo), environment.remove("a.jpg")
    assert handle(processor, environment, removed) == Outcome.DELETED
    assert handle(processor, environment, created) == Outcome.SKIPPED
    assert environment.record("a.jpg")["status"] == "DELETED"
    assert environment.variants() == set()


def test_removal_of_an_old_version_leaves_the_image_alone(
    processor: Processor, environment: Environment, photo: bytes, other_photo: bytes
) -> None:
    first, second = environment.put("a.jpg", photo), environment.put("a.jpg", other_photo)
    handle(processor, environment, first)
    handle(processor, environment, second)
    assert handle(processor, environment, environment.remove_version("a.jpg", first)) == Outcome.SKIPPED
    assert environment.record("a.jpg")["status"] == "READY"
    assert handle(processor, environment, environment.remove_version("a.jpg", second)) == Outcome.DELETED


def test_removed_key_can_be_uploaded_again(processor: Processor, environment: Environment, photo: bytes) -> None:
    for record in (environment.put("a.jpg", photo), environment.remove("a.jpg"), environment.put("a.jpg", photo)):
        handle(processor, environment, record)
    found = environment.record("a.jpg")
    assert found["status"] == "READY"
    assert "expires_at" not in found


def test_image_given_up_can_still_become_ready(processor: Processor, environment: Environment, photo: bytes) -> None:
    """What a redrive from the dead-letter queue needs: the same event once more."""
    created = environment.put("a.jpg", photo)
    processor.give_up(environment.event(created), "TimeoutError: slow")
    assert environment.record("a.jpg")["reason"] == {"code": "PROCESSING_FAILED", "message": "TimeoutError: slow"}
    assert handle(processor, environment, created) == Outcome.PROCESSED
    assert environment.record("a.jpg")["status"] == "READY"


def test_first_upload_shows_as_processing_and_a_later_one_keeps_showing_what_is_there(
    processor: Processor, environment: Environment, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    source = Store.source

    def watched(self: Store, event: Any) -> Any:
        seen.append(environment.record("a.jpg")["status"])
        return source(self, event)

    monkeypatch.setattr(Store, "source", watched)
    for _ in range(2):
        handle(processor, environment, environment.put("a.jpg", photo))
    assert seen == ["PROCESSING", "READY"]
