"""One event per outcome, made of the table's stream, as modules/compute/image.v1.schema.json says."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from image_processor.intake.processor import Processor
from image_processor.records.announcements import NotAnnounced, announce, detail
from image_processor.records.items import to_item

from ..conftest import Environment


class Bus:
    """Takes entries like EventBridge: at most ten a call."""

    def __init__(self, refuses: int = -1) -> None:
        self.entries: list[dict[str, Any]] = []
        self._refuses = refuses

    def put_events(self, Entries: list[dict[str, Any]]) -> dict[str, Any]:
        assert len(Entries) <= 10
        results = [{"ErrorCode": "ThrottlingException"} if i == self._refuses else {} for i in range(len(Entries))]
        self.entries += Entries
        return {"FailedEntryCount": sum(map(len, results)), "Entries": results}


def record(status: str = "READY", revision: str = "1", **more: Any) -> dict[str, Any]:
    source = {"bucket": "uploads", "key": "a.jpg"}
    since = "2026-05-01T12:00:00.000+00:00"
    found = {"image_id": "a" * 32, "status": status, "revision": revision, "sequencer": revision.ljust(32, "0")}
    return {**found, "status_since": since, "source": source, **more}


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
def test_an_outcome_is_told(before: dict[str, Any] | None, after: dict[str, Any]) -> None:
    told = detail(before, after)
    assert told
    assert (told["status"], told["revision"]) == (after["status"], after["revision"])


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
def test_no_outcome_is_not_told(before: dict[str, Any] | None, after: dict[str, Any]) -> None:
    assert detail(before, after) is None


def test_same_outcome_has_the_same_id_and_another_one_never() -> None:
    ids = [
        detail(None, after)["id"] for after in (record(), record(attempts=2), record("REJECTED"), record("READY", "2"))
    ]  # type: ignore[index]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3


def test_outcome_that_comes_back_is_news() -> None:
    """A recipe is rolled back, and an image made again by it gets the revision that it had two orders ago."""
    old, new = record("READY", "1-old"), record("READY", "1-new", status_since="2026-05-02T12:00:00.000+00:00")
    back = {**old, "status_since": "2026-05-03T12:00:00.000+00:00"}
    ids = [detail(*write)["id"] for write in ((None, old), (old, new), (new, back))]  # type: ignore[index]
    assert len(set(ids)) == 3


def test_batch_is_told_in_its_order_ten_at_a_time() -> None:
    bus = Bus()
    changes = [change(None, record("READY", str(number))) for number in range(1, 24)]
    assert announce(bus, "images", [*changes, change(record(), record())]) == 23
    assert [json.loads(entry["Detail"])["revision"] for entry in bus.entries] == [str(n) for n in range(1, 24)]
    assert {(entry["Source"], entry["DetailType"], entry["EventBusName"]) for entry in bus.entries} == {
        ("image-pipeline", "image.ready", "images")
    }


def test_event_that_the_bus_refuses_brings_the_batch_back() -> None:
    with pytest.raises(NotAnnounced, match="ThrottlingException"):
        announce(Bus(refuses=1), "images", [change(None, record("READY", "1")), change(None, record("READY", "2"))])


@pytest.mark.parametrize("kind", ["READY", "REJECTED", "FAILED", "DELETED"])
def test_what_is_told_is_as_documented(
    processor: Processor, environment: Environment, photo: bytes, root: Path, kind: str
) -> None:
    uploaded = environment.put("a.jpg", b"no image" if kind == "REJECTED" else photo)
    if kind == "FAILED":
        processor.give_up(environment.event(uploaded), 5, "TimeoutError")
    else:
        processor.handle(environment.event(uploaded))
    if kind == "DELETED":
        processor.handle(environment.event(environment.remove("a.jpg")))
    told = detail(None, environment.record("a.jpg"))
    schema = json.loads((root / "modules/compute/image.v1.schema.json").read_text())
    _check(json.loads(json.dumps(told)), schema)
    for rule in schema["allOf"]:
        condition = rule["if"]["properties"]["status"]
        if kind in condition.get("enum", [condition.get("const")]):
            _check(json.loads(json.dumps(told)), rule["then"])


def _check(value: Any, schema: dict[str, Any]) -> None:
    """The part of JSON Schema that ours uses; a property that it does not describe is a mistake here."""
    types = {"object": dict, "string": str, "integer": int}
    if "type" in schema:
        assert isinstance(value, types[schema["type"]])
    if "const" in schema:
        assert value == schema["const"]
    if "enum" in schema:
        assert value in schema["enum"]
    if "pattern" in schema:
        assert re.search(schema["pattern"], value)
    if "minimum" in schema:
        assert value >= schema["minimum"]
    for name in schema.get("required", ()):
        assert name in value
    if "properties" in schema:
        assert set(value) <= set(schema["properties"])
        for name, each in schema["properties"].items():
            if name in value:
                _check(value[name], each)
    if "additionalProperties" in schema:
        for each in value.values():
            _check(each, schema["additionalProperties"])
