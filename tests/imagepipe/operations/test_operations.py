"""Operations: what needs no cloud. Orders, selections, estimates, verdicts, and how people write times."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image_processor import events
from image_processor.intake.processor import Processor
from image_processor.recipe import Limits, Recipe
from imagepipe.cli import operate as commands
from imagepipe.errors import PipelineError
from imagepipe.live import environments
from imagepipe.operations import messages
from imagepipe.operations.dead_letters import Letter
from imagepipe.operations.differences import Finding, Trouble, judge, make_finding, replacement_event
from imagepipe.operations.estimate import Estimate, Sums, estimate
from imagepipe.operations.failures import Failure, group
from imagepipe.operations.inventory import (
    Inventory,
    RecordedObject,
    StoredObject,
    VariantFolder,
    list_folders,
    outer_join,
)
from imagepipe.operations.pace import BACKLOG, LOOK_EVERY, Sender
from imagepipe.operations.report import Report
from imagepipe.operations.reprocess import Journal, Progress
from imagepipe.operations.resources import Resources, Workers
from imagepipe.operations.selection import Selection, duration, moment
from imagepipe.terragrunt.target import Cloud, Target

NOW = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)
OLD, YOUNG = NOW - timedelta(hours=2), NOW - timedelta(minutes=1)
SETTLED = NOW - timedelta(minutes=30)
BUCKET = "uploads"
ID = events.image_id(BUCKET, "a+b/ü.jpg")

#: As S3 writes them: 16 to 18 hex digits, the first of them a time.
s3_sequencers = st.integers(0x0055AED6DCD90281, 0x00FFFFFFFFFFFFFF).map(lambda number: f"{number:018X}")


def record(**changes: Any) -> dict[str, Any]:
    return {
        "image_id": ID,
        "status": "READY",
        "status_since": OLD.isoformat(),
        "sequencer": "0" * 14 + "0069228f00aabbccdd",
        "listed_at": f"{OLD.isoformat(timespec='milliseconds')}#{ID}",
        "pipeline": {"recipe": "r1"},
        "source": {"bucket": BUCKET, "key": "a+b/ü.jpg", "version_id": "v1", "etag": "e1", "bytes": 7},
        **changes,
    }


def known(status: str = "READY", since: datetime = OLD, version: str | None = "v1", etag: str = "e1") -> RecordedObject:
    return RecordedObject(ID, "a+b/ü.jpg", version, etag, status, since)


def thing(modified: datetime = OLD, version: str | None = "v1", etag: str = "e1") -> StoredObject:
    return StoredObject(ID, "a+b/ü.jpg", version, etag, 7, modified)


# --- messages ---------------------------------------------------------------------------------------------------------


def test_lost_event_is_made_again_as_the_one_that_it_was() -> None:
    (event,) = events.parse(messages.original_event(record()))
    assert (event.image_id, event.key, event.version_id, event.size) == (ID, "a+b/ü.jpg", "v1", 7)
    assert event.sequencer == record()["sequencer"]
    assert event.time == OLD


@given(s3_sequencers, s3_sequencers)
def test_made_up_event_comes_after_the_recorded_one_and_before_any_later(one: str, other: str) -> None:
    earlier, later = sorted(_sequencer(each) for each in (one, other))
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
    body = messages.creation_event(thing(), BUCKET, text)
    return events.parse(body)[0].sequencer


# --- verdicts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("known", "found", "trouble"),
    [
        (known(), thing(), None),
        (None, thing(), Trouble.MISSING_RECORD),
        (known("DELETED"), None, None),
        (known("DELETED"), thing(), Trouble.OUTDATED_RECORD),
        (known(version="v0"), thing(), Trouble.OUTDATED_RECORD),
        (known(version=None, etag="e0"), thing(version=None), Trouble.OUTDATED_RECORD),
        (known(version=None), thing(version=None), None),
        (known(), None, Trouble.OBJECT_GONE),
        (known("REJECTED"), None, Trouble.OBJECT_GONE),
        (known("PROCESSING"), thing(), Trouble.STUCK),
        (known("FAILED"), thing(), None),
    ],
)
def test_verdict(known: RecordedObject | None, found: StoredObject | None, trouble: Trouble | None) -> None:
    assert judge(known, found, SETTLED) is trouble


@pytest.mark.parametrize(
    ("known", "found"),
    [(None, thing(YOUNG)), (known("PROCESSING", YOUNG), thing()), (known(version="v0"), thing(YOUNG))],
)
def test_nothing_young_is_judged(known: RecordedObject | None, found: StoredObject | None) -> None:
    assert judge(known, found, SETTLED) is None


def test_repair_of_an_outdated_record_tells_of_the_object_that_is_there() -> None:
    (event,) = events.parse(_repair(Trouble.OUTDATED_RECORD, record(), thing(version="v2", etag="e2")))
    assert (event.created, event.version_id, event.etag) == (True, "v2", "e2")
    assert event.sequencer > record()["sequencer"]


def test_repair_of_a_record_without_object_tells_of_a_removal() -> None:
    (event,) = events.parse(_repair(Trouble.OBJECT_GONE, record(), None))
    assert not event.created
    assert not event.of_one_version
    assert event.sequencer > record()["sequencer"]


def test_repair_of_missing_variants_is_news_of_the_same_version() -> None:
    (event,) = events.parse(_repair(Trouble.MISSING_VARIANTS, record(), thing()))
    assert (event.created, event.version_id) == (True, "v1")
    assert event.sequencer > record()["sequencer"]


def test_what_failed_and_was_overwritten_since_is_told_of_the_new_version() -> None:
    (event,) = events.parse(replacement_event(BUCKET, record(status="FAILED"), thing(version="v2")))
    assert event.version_id == "v2"


def test_what_failed_and_was_removed_since_is_told_of_the_removal() -> None:
    (event,) = events.parse(replacement_event(BUCKET, record(status="FAILED"), None))
    assert not event.created


def test_repair_of_a_stuck_image_is_its_own_event_again() -> None:
    (event,) = events.parse(_repair(Trouble.STUCK, record(status="PROCESSING"), thing()))
    assert event.sequencer == record()["sequencer"]


def _repair(trouble: Trouble, known: dict[str, Any] | None, found: StoredObject | None) -> str:
    message = make_finding(trouble, BUCKET, known, found).message
    assert message
    return message


# --- inventory --------------------------------------------------------------------------------------------------------

keys = st.sets(st.text("abc", min_size=1, max_size=3))


@given(keys, keys)
def test_streams_are_joined_like_sets(left: set[str], right: set[str]) -> None:
    pairs = list(outer_join(sorted(left), sorted(right), str, str))
    assert [one or other for one, other in pairs] == sorted(left | right)
    assert {one for one, other in pairs if one == other} == left & right
    assert {one for one, other in pairs if other is None} == left - right


@pytest.fixture
def inventory(tmp_path: Path) -> Iterator[Inventory]:
    inventory = Inventory(tmp_path / "inventory.sqlite")
    yield inventory
    inventory.close()


def test_inventory_puts_record_beside_object(inventory: Inventory) -> None:
    other = StoredObject("f" * 32, "z", None, "e", 1, OLD)
    inventory.add_objects([other, thing()], lambda _: None)
    inventory.add_records([record(), record(image_id="0" * 32)], BUCKET, lambda _: None)
    sides = {(one or two).image_id: (bool(one), bool(two)) for one, two in inventory.side_by_side()}  # type: ignore[union-attr]
    assert sides == {"0" * 32: (True, False), ID: (True, True), "f" * 32: (False, True)}


def test_records_of_another_bucket_are_not_compared(inventory: Inventory) -> None:
    inventory.add_records([record(source={"bucket": "elsewhere", "key": "k"})], BUCKET, lambda _: None)
    assert list(inventory.side_by_side()) == []


def show(*keys: str) -> dict[str, dict[str, str]]:
    return {key: {"key": key} for key in keys}


def folder(name: str, *files: str) -> VariantFolder:
    (found,) = list_folders(FakeBucket(*(name + file for file in files)), BUCKET)
    return found


class FakeBucket:
    """Lists its keys on one page."""

    def __init__(self, *keys: str) -> None:
        self._keys = sorted(keys)

    def get_paginator(self, _: str) -> Any:
        return self

    def paginate(self, **_: str) -> Any:
        return [{"Contents": [{"Key": key, "LastModified": OLD} for key in self._keys]}]


def test_folder_that_is_as_its_record_shows_it_has_the_same_digest(inventory: Inventory) -> None:
    inventory.add_records([record(variants=show(f"{ID}/r1/b", f"{ID}/r1/a"))], BUCKET, lambda _: None)
    ((found, shown),) = inventory.folders([folder(f"{ID}/r1/", "a", "b")])
    assert found
    assert shown
    assert found.digest == shown.digest


@pytest.mark.parametrize("files", [("a",), ("a", "b", "c"), ("a", "c")])
def test_folder_that_is_not_as_its_record_shows_it_has_another_digest(
    inventory: Inventory, files: tuple[str, ...]
) -> None:
    inventory.add_records([record(variants=show(f"{ID}/r1/b", f"{ID}/r1/a"))], BUCKET, lambda _: None)
    ((found, shown),) = inventory.folders([folder(f"{ID}/r1/", *files)])
    assert found
    assert shown
    assert found.digest != shown.digest


def test_folders_of_revisions_with_a_common_beginning_come_in_the_order_of_s3(inventory: Inventory) -> None:
    names = [f"{ID}/{revision}/" for revision in ("1", "10", "1-2", "1.a")]
    inventory.add_records([record(variants=show(*(f"{name}w1.avif" for name in names)))], BUCKET, lambda _: None)
    listed = list_folders(FakeBucket(*(f"{name}w1.avif" for name in names)), BUCKET)
    assert all(found and shown for found, shown in inventory.folders(listed))


def test_what_is_in_no_folder_of_an_image_is_nobodys_variant() -> None:
    keys = ("robots.txt", f"{ID}/favicon.ico", f"{ID}/r1/sub/a", "no-image/r1/a", f"{ID}/r1/a")
    assert [each.name for each in list_folders(FakeBucket(*keys), BUCKET)] == [f"{ID}/r1/"]


# --- failures ---------------------------------------------------------------------------------------------------------


def failure(status: str, code: str, since: datetime) -> Failure:
    return Failure(status, code, "why", since, ID, "key", 3, status == "FAILED")


def test_groups_say_how_many_since_when_and_name_a_few() -> None:
    found = [failure("FAILED", "A", OLD), failure("FAILED", "A", NOW), failure("FAILED", "A", YOUNG)]
    (only,) = group(iter(found), most_examples=2)
    assert (only.count, only.dead_letters, only.first, only.last, len(only.examples)) == (3, 3, OLD, NOW, 2)


def test_failures_come_before_rejections_and_many_before_few() -> None:
    found = [failure("REJECTED", "R", OLD)] * 9 + [failure("FAILED", "A", OLD)] + [failure("FAILED", "B", OLD)] * 2
    assert [each.code for each in group(iter(found), 1)] == ["B", "A", "R"]


# --- selection and journal --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("selection", "taken"),
    [
        (Selection(), True),
        (Selection(prefix="a+b/"), True),
        (Selection(prefix="b/"), False),
        (Selection(recipe="r1"), True),
        (Selection(recipe="r2"), False),
        (Selection(not_recipe="r1"), False),
        (Selection(not_recipe="r2"), True),
        (Selection(statuses=("REJECTED",)), False),
        (Selection(reason="TRUNCATED"), False),
    ],
)
def test_selection_takes_what_it_names(selection: Selection, taken: bool) -> None:
    assert selection.takes(record()) is taken


@pytest.mark.parametrize(
    ("status", "conditions", "statuses"),
    [
        ("", {}, ("READY",)),
        ("", {"reason": "TRUNCATED"}, ("REJECTED",)),
        ("", {"image_ids": (ID,)}, ("READY", "REJECTED", "FAILED")),
        ("READY", {"image_ids": (ID,)}, ("READY",)),
    ],
)
def test_status_that_is_not_said_is_the_one_that_is_meant(
    status: str, conditions: dict[str, Any], statuses: tuple[str, ...]
) -> None:
    assert commands._selection(status, **{"reason": None, "image_ids": (), **conditions}).statuses == statuses


def test_status_that_cannot_be_made_again_is_an_error() -> None:
    with pytest.raises(PipelineError, match="READY, REJECTED, FAILED, not ready"):
        commands._selection("ready", reason=None, image_ids=())


def test_selections_that_differ_have_journals_that_differ() -> None:
    selections = [
        Selection(),
        Selection(prefix="a"),
        Selection(recipe="a"),
        Selection(since="2h"),
        Selection(until="2h"),
    ]
    assert len({each.name for each in selections}) == len(selections)


def test_same_selection_finds_its_journal_again(tmp_path: Path) -> None:
    Journal(tmp_path / "a" / f"{Selection(prefix='x').name}.json").write(Progress("2026#i", 7))
    assert Journal(tmp_path / "a" / f"{Selection(prefix='x').name}.json").read() == ("2026#i", 7)


def test_finished_run_leaves_no_journal(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.json")
    journal.write(Progress("2026#i", 7))
    journal.forget()
    assert journal.read() == ("", 0)


# --- estimate ---------------------------------------------------------------------------------------------------------


def test_operations_know_what_the_processor_has_made_again() -> None:
    """Both make the same version of the function's settings; otherwise a backfill would leave nothing out, ever."""
    digest, limits, recipe = "sha256:" + "c" * 64, '{"max_side": 500}', '{"background": "#123456"}'
    variables = {"IMAGE_DIGEST": digest, "LIMITS": limits, "RECIPE": recipe}
    functions = Mock()
    functions.list_event_source_mappings.return_value = {"EventSourceMappings": [{"FunctionArn": "processor:live"}]}
    functions.get_function_configuration.return_value = {"MemorySize": 1024, "Environment": {"Variables": variables}}
    units = ("queue", "backfill_queue", "dead_letter_queue", "table", "upload_bucket", "processed_bucket")
    resources = Resources(Mock(client=lambda _: functions), {unit: {"arn": unit} for unit in units})
    sandbox = Mock(limits=Limits.parse(limits).within(1024))
    processor = Processor(Mock(), Recipe.parse(recipe), sandbox, digest, "uploads")
    assert resources.workers.verdict == processor.verdict_version


WORKERS = Workers(concurrency=2, memory_mb=1024, architecture="arm64", recipe="r1", verdict="v1")


def sums(count: int, milliseconds: int) -> Sums:
    result = Sums()
    for _ in range(count):
        result.add(record(timings={"processing_ms": milliseconds}, variants={"w": {"bytes": 10**6}}))
    return result


def test_functions_that_are_slower_than_the_sending_set_the_time() -> None:
    assert estimate(sums(100, 2000), WORKERS, rate=50, kept_days=0).seconds == 100 * 2 / 2


def test_sending_that_is_slower_than_the_functions_sets_the_time() -> None:
    assert estimate(sums(100, 10), WORKERS, rate=2, kept_days=0).seconds == 100 / 2


def test_dollars_are_computing_requests_and_old_versions() -> None:
    images = 1_000_000
    lambda_ = images * (2 * 0.0000133334 + 0.20e-6)
    requests = images * (0.0004e-3 + 0.005e-3 + 3 * 0.40e-6 + 12 * 0.7068e-6)
    one = Sums(count=images, timed=images, milliseconds=images * 2000, variants=images, variant_bytes=images * 10**6)
    assert estimate(one, WORKERS, 50, kept_days=0).dollars == pytest.approx(lambda_ + requests)
    assert estimate(one, WORKERS, 50, kept_days=30).dollars == pytest.approx(lambda_ + requests + 1000 * 0.023)


def test_estimate_says_what_it_takes() -> None:
    assert str(Estimate(1200, 3725.0, 12.345)) == (
        "1200 images to reprocess: about 1:02:05 (h:mm:ss) and 12.35 US dollars"
    )
    assert str(Estimate(1, 0.2, 0.00001)).endswith("about 0:00:01 (h:mm:ss) and less than a cent")
    assert str(Estimate(0, 0, 0)) == "no image is left to reprocess"


# --- pace -------------------------------------------------------------------------------------------------------------


class FakeQueue:
    """A queue whose length is scripted, beside a clock that sleeping moves."""

    def __init__(self, *lengths: int) -> None:
        self.url, self.sqs, self.lengths, self.bodies, self.time = "url", self, list(lengths), list[str](), 0.0

    def waiting(self) -> int:
        return self.lengths.pop(0) if self.lengths else 0

    def send_message_batch(self, QueueUrl: str, Entries: list[dict[str, str]]) -> dict[str, Any]:
        self.bodies += [entry["MessageBody"] for entry in Entries]
        return {"Failed": [{"Message": "too long"}]} if "bad" in self.bodies else {}

    def sender(self, rate: float, waiting: Any = lambda _: None) -> Sender:
        return Sender(self, rate, waiting, clock=lambda: self.time, sleep=self.sleep)  # type: ignore[arg-type]

    def sleep(self, seconds: float) -> None:
        self.time += seconds


def test_messages_are_sent_no_faster_than_the_rate() -> None:
    queue = FakeQueue()
    queue.sender(rate=20).send(str(number) for number in range(101))
    assert queue.bodies == [str(number) for number in range(101)]
    assert queue.time == pytest.approx(100 / 20)


def test_sending_pauses_while_the_queue_is_full_and_says_so() -> None:
    queue, told = FakeQueue(BACKLOG + 7, BACKLOG + 1, BACKLOG), list[int | None]()
    queue.sender(1000, told.append).send(["x"])
    assert told == [BACKLOG + 7, BACKLOG + 1, None]


def test_queue_is_looked_at_again_after_so_many_messages() -> None:
    queue = FakeQueue(0, 0, 0)
    queue.sender(1000).send(["x"] * (LOOK_EVERY + 1))
    assert len(queue.lengths) == 1


def test_refused_message_is_an_error() -> None:
    with pytest.raises(PipelineError, match="SQS refused 1 messages: too long"):
        FakeQueue().sender(1000).send(["bad"])


# --- report, times ----------------------------------------------------------------------------------------------------


def test_report_reads_back_what_was_found(tmp_path: Path) -> None:
    report = Report(tmp_path / "r.jsonl")
    found = [Finding(Trouble.STUCK, ID, "a", OLD, "body"), Finding(Trouble.ORPHANED_VARIANTS, ID, f"{ID}/r/", OLD)]
    report.write(found)
    assert list(report.read()) == found
    assert report.counts == {Trouble.STUCK: 1, Trouble.ORPHANED_VARIANTS: 1}


def test_letter_knows_which_queue_it_is_of() -> None:
    bodies = [messages.reprocess_request(record()), messages.original_event(record())]
    assert [Letter("m", body, OLD, (ID,), ("k",), None).of_backfill for body in bodies] == [True, False]


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


@pytest.mark.parametrize(
    ("cloud", "command"),
    [
        (Cloud.LOCAL, "make redrive ENV=prod IMAGE=1"),
        (Cloud.AWS, "make redrive ENV=prod CLOUD=aws IMAGE=1"),
    ],
)
def test_next_command_is_for_the_same_environment_in_the_same_cloud(cloud: Cloud, command: str) -> None:
    units = ("queue", "backfill_queue", "dead_letter_queue", "table", "upload_bucket", "processed_bucket")
    target = Target(environments.load("prod"), cloud, {})
    assert Resources(target, dict.fromkeys(units)).command("redrive", "IMAGE=1") == command


def test_times_are_written_as_people_write_them() -> None:
    assert moment("2026-01-31") == datetime(2026, 1, 31, tzinfo=UTC)
    assert moment("2026-01-31T04:30+01:00") == datetime(2026, 1, 31, 3, 30, tzinfo=UTC)
    assert abs(datetime.now(UTC) - moment("2h") - timedelta(hours=2)) < timedelta(minutes=1)
    assert duration("15m") == timedelta(minutes=15)


@pytest.mark.parametrize("text", ["", "yesterday", "5 min", "-2h"])
def test_what_is_no_time_is_an_error_that_shows_one(text: str) -> None:
    with pytest.raises(PipelineError, match="2h"):
        moment(text)
