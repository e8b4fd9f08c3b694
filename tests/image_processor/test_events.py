"""What S3 says through SQS."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image_processor.events import NotAnEvent, image_id, parse

from .conftest import Environment


def body(name: str = "ObjectCreated:Put", **details: Any) -> str:
    fields = {"key": "a.jpg", "sequencer": "0055AED6DCD90281E5", "size": 7, "eTag": "abc", "versionId": "v1", **details}
    record = {"eventName": name, "eventTime": "2026-05-01T12:00:00.000Z"}
    return json.dumps({"Records": [{**record, "s3": {"bucket": {"name": "uploads"}, "object": fields}}]})


def test_creation() -> None:
    [event] = parse(body())
    assert (event.bucket, event.key, event.created, event.size) == ("uploads", "a.jpg", True, 7)
    assert (event.version_id, event.etag) == ("v1", "abc")
    assert event.time.isoformat() == "2026-05-01T12:00:00+00:00"


@pytest.mark.parametrize(
    ("name", "of_one_version"),
    [
        ("ObjectRemoved:DeleteMarkerCreated", False),
        ("LifecycleExpiration:DeleteMarkerCreated", False),
        ("ObjectRemoved:Delete", True),
        ("s3:ObjectRemoved:Delete", True),
    ],
)
def test_removal_is_of_the_object_or_of_one_version(name: str, of_one_version: bool) -> None:
    [event] = parse(body(name))
    assert not event.created
    assert event.of_one_version == of_one_version


@pytest.mark.parametrize(
    ("encoded", "key"),
    [
        ("a+b.jpg", "a b.jpg"),
        ("a%2Bb.jpg", "a+b.jpg"),
        ("%C3%A9t%C3%A9.jpg", "été.jpg"),
        ("quote%22s+and+%27more%27.jpg", "quote\"s and 'more'.jpg"),
        ("a//b%2Fc.jpg", "a//b/c.jpg"),
    ],
)
def test_keys_are_decoded(encoded: str, key: str) -> None:
    assert parse(body(key=encoded))[0].key == key


@given(st.text(min_size=1, max_size=50))
def test_any_key_survives_the_way_through_an_event(key: str) -> None:
    from urllib.parse import quote_plus

    try:
        encoded = quote_plus(key)
    except UnicodeEncodeError:
        return  # lone surrogates are no UTF-8, and S3 takes none
    assert parse(body(key=encoded))[0].key == key


def test_test_event_holds_nothing() -> None:
    assert parse(json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "uploads"})) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "text",
        "[]",
        "null",
        "{}",
        '{"Records": [{}]}',
        '{"Records": 7}',
        body("ObjectRestore:Completed"),
        body(key="%FF"),
        body(sequencer="0" * 33),
        '{"reprocess": {"bucket": "uploads"}}',
        '{"reprocess": null}',
        body(sequencer="xyz"),
        body(sequencer=None),
        "[" * 100_000,
        '{"Records": ' + "[" * 50_000 + "]" * 50_000 + "}",
        body().replace("2026-05-01T12:00:00.000Z", "0001-01-01T00:00:00+23:59"),
        body(key="\ud800"),
    ],
)
def test_anything_else_is_not_an_event(text: str) -> None:
    with pytest.raises(NotAnEvent, match="not an S3 event notification"):
        parse(text)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=10), below, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(["eventName", "eventTime", "name", "key", "sequencer"]), json_values)
def test_message_with_an_odd_member_is_an_event_or_none(member: str, value: object) -> None:
    """An event that parses has an id and a revision; anything else is refused in the one way that callers expect."""
    (record,) = json.loads(body())["Records"]
    place = {"eventName": record, "eventTime": record, "name": record["s3"]["bucket"]}.get(
        member, record["s3"]["object"]
    )
    place[member] = value
    try:
        (event,) = parse(json.dumps({"Records": [record]}))
    except NotAnEvent:
        return
    assert len(event.image_id) == 32
    assert event.revision


def test_sequencers_of_unequal_length_are_padded_on_the_right() -> None:
    older, newer = (parse(body(sequencer=text))[0] for text in ("0055AED6DCD9", "0055AED6DCD90281E5"))
    assert older.sequencer < newer.sequencer
    assert (older.revision, newer.revision) == ("0055aed6dcd9", "0055aed6dcd90281e5")
    later = parse(body(sequencer="01"))[0]
    assert later.sequencer > newer.sequencer


def test_order_to_make_an_image_again() -> None:
    order = {"bucket": "uploads", "key": "a b+c.jpg", "sequencer": "0055AE".ljust(32, "0"), "version_id": "v1"}
    [event] = parse(json.dumps({"reprocess": {**order, "event_time": "2026-05-01T12:00:00+00:00"}, "run": "7"}))
    assert (event.key, event.version_id, event.reprocess, event.created) == ("a b+c.jpg", "v1", True, True)
    assert event.sequencer == parse(body(sequencer="0055AE"))[0].sequencer


def test_image_keeps_its_id_over_revisions_and_shares_it_with_no_other() -> None:
    assert (
        image_id("uploads", "a.jpg")
        == parse(body(sequencer="01"))[0].image_id
        == parse(body(sequencer="02"))[0].image_id
    )
    assert image_id("uploads", "a.jpg") != image_id("uploads", "b.jpg")
    assert len(image_id("uploads", "a.jpg")) == 32


def test_fixture_speaks_as_s3_does(environment: Environment, photo: bytes) -> None:
    event = environment.event(environment.put("a b+c.jpg", photo))
    assert (event.key, event.size) == ("a b+c.jpg", len(photo))
