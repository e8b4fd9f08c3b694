"""What is wrong with an image, and the event that repairs it."""

from datetime import datetime
from typing import Any

import pytest

from image_processor import events
from imagepipe.operations.differences import Trouble, judge, make_finding, replacement_event
from imagepipe.operations.inventory import (
    RecordedObject,
    StoredObject,
)

from .conftest import BUCKET, ID, OLD, SETTLED, YOUNG, record, stored_object


def recorded_object(
    status: str = "READY", since: datetime = OLD, version: str | None = "v1", etag: str = "e1"
) -> RecordedObject:
    return RecordedObject(ID, "a+b/ü.jpg", version, etag, status, since)


@pytest.mark.parametrize(
    ("recorded", "stored", "trouble"),
    [
        (recorded_object(), stored_object(), None),
        (None, stored_object(), Trouble.MISSING_RECORD),
        (recorded_object("DELETED"), None, None),
        (recorded_object("DELETED"), stored_object(), Trouble.OUTDATED_RECORD),
        (recorded_object(version="v0"), stored_object(), Trouble.OUTDATED_RECORD),
        (recorded_object(version=None, etag="e0"), stored_object(version=None), Trouble.OUTDATED_RECORD),
        (recorded_object(version=None), stored_object(version=None), None),
        (recorded_object(), None, Trouble.OBJECT_GONE),
        (recorded_object("REJECTED"), None, Trouble.OBJECT_GONE),
        (recorded_object("PROCESSING"), stored_object(), Trouble.STUCK),
        (recorded_object("FAILED"), stored_object(), None),
    ],
)
def test_difference_between_record_and_object(
    recorded: RecordedObject | None, stored: StoredObject | None, trouble: Trouble | None
) -> None:
    assert judge(recorded, stored, SETTLED) is trouble


@pytest.mark.parametrize(
    ("recorded", "stored"),
    [
        (None, stored_object(YOUNG)),
        (recorded_object("PROCESSING", YOUNG), stored_object()),
        (recorded_object(version="v0"), stored_object(YOUNG)),
    ],
)
def test_recent_changes_are_not_judged(recorded: RecordedObject | None, stored: StoredObject | None) -> None:
    assert judge(recorded, stored, SETTLED) is None


def test_repair_of_an_outdated_record_sends_the_event_of_the_stored_object() -> None:
    (event,) = events.parse(_repair(Trouble.OUTDATED_RECORD, record(), stored_object(version="v2", etag="e2")))
    assert (event.created, event.version_id, event.etag) == (True, "v2", "e2")
    assert event.sequencer > record()["sequencer"]


def test_object_of_a_removed_image_is_named_by_the_bucket_as_the_record_keeps_no_key() -> None:
    buried = {**record(status="DELETED"), "source": {"bucket": BUCKET}}
    assert judge(RecordedObject.of(buried), stored_object(), SETTLED) is Trouble.OUTDATED_RECORD
    finding = make_finding(Trouble.OUTDATED_RECORD, BUCKET, buried, stored_object())
    assert finding.name == "a+b/ü.jpg"
    assert finding.message
    assert [event.key for event in events.parse(finding.message)] == ["a+b/ü.jpg"]


def test_repair_of_a_record_without_object_sends_a_removal() -> None:
    (event,) = events.parse(_repair(Trouble.OBJECT_GONE, record(), None))
    assert not event.created
    assert not event.of_one_version
    assert event.sequencer > record()["sequencer"]


def test_repair_of_missing_variants_sends_a_newer_event_of_the_same_version() -> None:
    (event,) = events.parse(_repair(Trouble.MISSING_VARIANTS, record(), stored_object()))
    assert (event.created, event.version_id) == (True, "v1")
    assert event.sequencer > record()["sequencer"]


def test_lost_event_of_an_overwritten_object_becomes_that_of_the_new_version() -> None:
    (event,) = events.parse(replacement_event(BUCKET, record(status="FAILED"), stored_object(version="v2")))
    assert event.version_id == "v2"


def test_lost_event_of_a_removed_object_becomes_the_removal() -> None:
    (event,) = events.parse(replacement_event(BUCKET, record(status="FAILED"), None))
    assert not event.created


def test_repair_of_a_stuck_image_repeats_its_event() -> None:
    (event,) = events.parse(_repair(Trouble.STUCK, record(status="PROCESSING"), stored_object()))
    assert event.sequencer == record()["sequencer"]


def _repair(trouble: Trouble, recorded: dict[str, Any] | None, stored: StoredObject | None) -> str:
    message = make_finding(trouble, BUCKET, recorded, stored).message
    assert message
    return message
