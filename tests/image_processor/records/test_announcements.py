"""One event per outcome, made of the table's stream, as modules/compute/image.v1.schema.json says."""

import json
from pathlib import Path
from typing import Any

import pytest
import pyvips
from jsonschema import Draft202012Validator, ValidationError

from image_processor.intake.processor import Processor
from image_processor.records.announcements import NotAnnounced, announce, detail
from image_processor.records.items import to_item
from imagepipe.images import samples

from ..conftest import Environment


class Bus:
    """Takes entries like EventBridge: at most ten a call, and less than 256 KB as its guide counts them.

    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevent-size.html
    """

    def __init__(self, refuses: int = -1) -> None:
        self.entries: list[dict[str, Any]] = []
        self._refuses = refuses

    def put_events(self, Entries: list[dict[str, Any]]) -> dict[str, Any]:
        assert len(Entries) <= 10
        counted = [entry[name] for entry in Entries for name in ("Source", "DetailType", "Detail")]
        assert sum(len(text.encode()) for text in counted) < 262_144
        results = [{"ErrorCode": "ThrottlingException"} if i == self._refuses else {} for i in range(len(Entries))]
        self.entries += Entries
        return {"FailedEntryCount": sum(map(len, results)), "Entries": results}


def record(status: str = "READY", revision: str = "1", **more: Any) -> dict[str, Any]:
    source = {"bucket": "uploads", "key": "a.jpg"}
    since = "2026-05-01T12:00:00.000+00:00"
    what = {"image_id": "a" * 32, "status": status, "revision": revision, "sequencer": revision.ljust(32, "0")}
    return {**what, "status_since": since, "source": source, **more}


def change(before: dict[str, Any] | None, after: dict[str, Any]) -> dict[str, Any]:
    images = {"NewImage": to_item(after), **({"OldImage": to_item(before)} if before else {})}
    return {"eventName": "MODIFY" if before else "INSERT", "dynamodb": images}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, record()),
        (record("PROCESSING"), record("READY")),
        (record("PROCESSING"), record("REJECTED")),
        (record("FAILED"), record("READY")),
        (record("READY"), record("READY", "2")),
        (record("READY"), record("DELETED", "2")),
        (record("DELETED"), record("READY", "2")),
    ],
)
def test_new_outcome_becomes_an_event(before: dict[str, Any] | None, after: dict[str, Any]) -> None:
    event = detail(before, after)
    assert event
    assert (event["status"], event["revision"]) == (after["status"], after["revision"])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (record(), record(sequencer="2" * 32)),  # a removal of an old version: what is shown stays
        (None, record("PROCESSING")),
        (record("READY"), record("READY", trying={"count": 1})),
        (record("FAILED"), record("FAILED", attempts=9)),
        (record("DELETED"), record("DELETED", "2")),
        (None, {"image_id": "content#a#b", "holder": "a" * 32}),
    ],
)
def test_write_without_a_new_outcome_is_no_event(before: dict[str, Any] | None, after: dict[str, Any]) -> None:
    assert detail(before, after) is None


def test_same_outcome_has_the_same_id_and_another_one_never() -> None:
    ids = [
        detail(None, after)["id"] for after in (record(), record(attempts=2), record("REJECTED"), record("READY", "2"))
    ]  # type: ignore[index]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3


def test_outcome_that_comes_back_has_a_new_id() -> None:
    """A recipe is rolled back, and an image made again by it gets the revision that it had two orders ago."""
    old, new = record("READY", "1-old"), record("READY", "1-new", status_since="2026-05-02T12:00:00.000+00:00")
    back = {**old, "status_since": "2026-05-03T12:00:00.000+00:00"}
    ids = [detail(*write)["id"] for write in ((None, old), (old, new), (new, back))]  # type: ignore[index]
    assert len(set(ids)) == 3


def test_batch_is_announced_in_order_ten_at_a_time() -> None:
    bus = Bus()
    changes = [change(None, record("READY", str(number))) for number in range(1, 24)]
    assert announce(bus, "images", [*changes, change(record(), record())]) == 23
    assert [json.loads(entry["Detail"])["revision"] for entry in bus.entries] == [str(n) for n in range(1, 24)]
    assert {(entry["Source"], entry["DetailType"], entry["EventBusName"]) for entry in bus.entries} == {
        ("image-pipeline", "image.ready", "images")
    }


def test_large_events_are_announced_in_more_calls() -> None:
    """An image of a hundred variants; letters of several bytes count as such."""
    bus, variants = Bus(), {f"w{width}-é": {"key": "é" * 150} for width in range(100)}
    changes = [change(None, record("READY", str(number), variants=variants)) for number in range(1, 21)]
    assert announce(bus, "images", changes) == 20
    assert [json.loads(entry["Detail"])["revision"] for entry in bus.entries] == [str(n) for n in range(1, 21)]


def test_event_that_the_bus_refuses_brings_the_batch_back() -> None:
    with pytest.raises(NotAnnounced, match="ThrottlingException"):
        announce(Bus(refuses=1), "images", [change(None, record("READY", "1")), change(None, record("READY", "2"))])


@pytest.mark.parametrize("kind", ["READY", "ANIMATION", "REJECTED", "FAILED", "DELETED"])
def test_event_is_as_its_schema_says(
    processor: Processor, environment: Environment, photo: bytes, root: Path, kind: str
) -> None:
    content = {"REJECTED": b"no image", "ANIMATION": animation(3)}.get(kind, photo)
    uploaded = environment.put("a.jpg", content)
    if kind == "FAILED":
        processor.give_up(environment.event(uploaded), 5, "TimeoutError")
    else:
        processor.handle(environment.event(uploaded))
    before = None
    if kind == "DELETED":
        before = environment.record("a.jpg")
        processor.handle(environment.event(environment.remove("a.jpg")))
    event = json.loads(json.dumps(detail(before, environment.record("a.jpg"))))
    assert event["key"] == "a.jpg"
    schema = json.loads((root / "modules/compute/image.v1.schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(strict(schema)).validate(event)
    frames = {variant.get("frames", 1) for variant in event.get("variants", {}).values()}
    assert frames == {"READY": {1}, "ANIMATION": {1, 3}}.get(kind, set())


def test_property_that_the_schema_does_not_describe_is_refused(root: Path) -> None:
    schema = strict(json.loads((root / "modules/compute/image.v1.schema.json").read_text()))
    event = detail(None, record("FAILED", reason={"code": "PROCESSING_FAILED", "message": "x"}))
    assert event
    Draft202012Validator(schema).validate(event)
    for surplus in ({**event, "surplus": 1}, {**event, "reason": {**event["reason"], "surplus": 1}}):
        with pytest.raises(ValidationError, match="surplus"):
            Draft202012Validator(schema).validate(surplus)


def animation(frames: int) -> bytes:
    strip = pyvips.Image.arrayjoin([samples.landscape(120, 80, seed) for seed in range(frames)], across=1).copy()
    strip.set_type(pyvips.GValue.gint_type, "page-height", 80)
    return bytes(strip.gifsave_buffer())


def strict(schema: Any) -> Any:
    """Return the schema closed: receivers must ignore fields that are added later, but here each must be described."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: strict(part) for name, part in schema.items()}
    if schema.get("type") == "object" and "properties" in schema:
        closed["unevaluatedProperties"] = False
    return closed
