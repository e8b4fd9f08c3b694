"""Messages that put an image to work again: events that S3 would have sent, and requests to reprocess."""

import json
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image_processor import events
from imagepipe.operations import messages
from imagepipe.operations.inventory import (
    StoredObject,
)

from .conftest import BUCKET, ID, OLD, record, stored_object

#: As S3 writes them: 16 to 18 hex digits, the first of them a time.
s3_sequencers = st.integers(0x0055AED6DCD90281, 0x00FFFFFFFFFFFFFF).map(lambda number: f"{number:018X}")


def test_lost_event_is_rebuilt_from_its_record() -> None:
    (event,) = events.parse(messages.original_event(record()))
    assert (event.image_id, event.key, event.version_id, event.size) == (ID, "a+b/ü.jpg", "v1", 7)
    assert event.sequencer == record()["sequencer"]
    assert event.time == OLD


@given(s3_sequencers, s3_sequencers)
def test_made_up_event_comes_after_the_recorded_one_and_before_any_later(one: str, other: str) -> None:
    earlier, later = sorted(_sequencer(number) for number in (one, other))
    made_up = _sequencer(messages.next_sequencer(earlier))
    assert earlier < made_up
    assert earlier == later or made_up < later or int(later, 16) - int(earlier, 16) == 1


@given(s3_sequencers, st.text(min_size=1))
def test_first_event_of_an_unrecorded_object_comes_before_any_of_s3(of_s3: str, version: str) -> None:
    assert _sequencer(messages.first_sequencer(version)) < _sequencer(of_s3)


def test_two_versions_of_an_unrecorded_object_have_two_revisions() -> None:
    assert messages.first_sequencer("v1") != messages.first_sequencer("v2")


def _sequencer(text: str) -> str:
    """As the processor reads it out of an event."""
    body = messages.creation_event(stored_object(), BUCKET, text)
    return events.parse(body)[0].sequencer


def test_reprocess_names_the_event_that_the_record_must_still_be_about() -> None:
    wanted = json.loads(messages.reprocess_request(record()))["reprocess"]
    assert wanted == {
        "bucket": BUCKET,
        "key": "a+b/ü.jpg",
        "version_id": "v1",
        "sequencer": record()["sequencer"],
        "event_time": OLD.isoformat(timespec="milliseconds"),
    }


@pytest.mark.parametrize("key", ["a b+c&d=e%20f.jpg", "日本語.png", "a/../b", 'quote"s'])
def test_key_survives_the_way_through_a_made_up_event(key: str) -> None:
    body = messages.creation_event(StoredObject(ID, key, None, "e", 1, OLD), BUCKET, "1")
    assert quote_plus(key, safe="/") in body
    assert events.parse(body)[0].key == key
