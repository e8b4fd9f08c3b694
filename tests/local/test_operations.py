"""Operations against real queues, buckets and a real table, with nobody to work the queues off: what is sent stays."""

import json
import tempfile
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from image_processor import events
from image_processor.records.items import to_item
from imagepipe.cli import app, images, operate
from imagepipe.errors import PipelineError
from imagepipe.live import environments
from imagepipe.operations import failures, messages, orphans, redrive
from imagepipe.operations.dead_letters import Drawer
from imagepipe.operations.differences import Finding, Trouble
from imagepipe.operations.erase import Subject, dead_letters, erase, remains
from imagepipe.operations.inventory import StoredObject
from imagepipe.operations.orphans import Repair
from imagepipe.operations.pace import BACKLOG
from imagepipe.operations.reconcile import Comparison
from imagepipe.operations.redrive import Choice, Redrive, RedriveCounts
from imagepipe.operations.reprocess import Backfill, Journal
from imagepipe.operations.resources import Queue, Resources
from imagepipe.operations.selection import Selection
from imagepipe.terragrunt.target import Cloud as Kind
from imagepipe.terragrunt.target import Target

from .conftest import ACCOUNT, REGION, Cloud, eventually

START, FUTURE = datetime(2026, 1, 1, tzinfo=UTC), datetime(2999, 1, 1, tzinfo=UTC)
ALL_FAILED, ALL_READY = Choice(), Selection()


@pytest.fixture
def resources(cloud: Cloud) -> Resources:
    """Buckets, queues and table as the storage module makes them, empty."""
    name = f"ops-{uuid.uuid4().hex[:8]}"
    s3, sqs, dynamodb = (cloud.client(service) for service in ("s3", "sqs", "dynamodb"))
    for bucket in (f"{name}-uploads", f"{name}-processed"):
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    dlq = sqs.create_queue(QueueName=f"{name}-dlq")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dlq, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 5})
    attributes = {"RedrivePolicy": policy, "VisibilityTimeout": "360"}
    urls = {
        queue: sqs.create_queue(QueueName=f"{name}-{queue}", Attributes=attributes)["QueueUrl"]
        for queue in ("uploads", "backfill")
    }
    dynamodb.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "image_id", "KeyType": "HASH"}],
        AttributeDefinitions=[
            {"AttributeName": attribute, "AttributeType": "S"}
            for attribute in ("image_id", "listed_at", "listing", "status")
        ],
        GlobalSecondaryIndexes=[
            {
                "IndexName": index,
                "KeySchema": [
                    {"AttributeName": key, "KeyType": "HASH"},
                    {"AttributeName": "listed_at", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "ALL"},
            }
            for index, key in (("newest", "listing"), ("by-status", "status"))
        ],
    )
    storage = {
        "queue": {"url": urls["uploads"]},
        "backfill_queue": {"url": urls["backfill"], "arn": arn.replace("-dlq", "-backfill")},
        "dead_letter_queue": {"url": dlq},
        "table": {"name": name},
        "upload_bucket": {"name": f"{name}-uploads"},
        "processed_bucket": {"name": f"{name}-processed"},
    }
    variables = cloud.local.environment(ACCOUNT, REGION)
    return Resources(Target(environments.load("dev"), Kind.LOCAL, variables, str(cloud.local.ca_bundle)), storage)


@pytest.fixture
def add_record(cloud: Cloud, resources: Resources) -> Callable[..., dict[str, Any]]:
    """Writes a record as the processor would, of an event `age` hours ago."""

    def add(key: str, status: str = "READY", age: float = 48, **fields: Any) -> dict[str, Any]:
        bucket = resources.upload_bucket
        image_id = events.image_id(bucket, key)
        when = datetime.now(UTC) - timedelta(hours=age)
        record = {
            "image_id": image_id,
            "status": status,
            "status_since": when.isoformat(),
            "listing": "images",
            "listed_at": f"{when.isoformat(timespec='milliseconds')}#{image_id}",
            "sequencer": f"{int(when.timestamp()):032x}",
            "revision": "r1",
            "pipeline": {"recipe": "old"},
            "source": {"bucket": bucket, "key": key},
            **fields,
        }
        cloud.client("dynamodb").put_item(TableName=resources.records.table, Item=to_item(record))
        return record

    return add


def put_variants(resources: Resources, image_id: str, revision: str, *names: str) -> dict[str, dict[str, str]]:
    keys = {name: f"{image_id}/{revision}/{name}.avif" for name in names}
    for key in keys.values():
        resources.s3.put_object(Bucket=resources.processed_bucket, Key=key, Body=b"x")
    return {name: {"key": key} for name, key in keys.items()}


@pytest.fixture
def add_image(resources: Resources, add_record: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """An object, its record and its variants, all in order."""

    def add(key: str, **fields: Any) -> dict[str, Any]:
        put = resources.s3.put_object(Bucket=resources.upload_bucket, Key=key, Body=key.encode())
        image_id = events.image_id(resources.upload_bucket, key)
        source = {"bucket": resources.upload_bucket, "key": key, "version_id": put["VersionId"]}
        return add_record(
            key, **{"source": source, "variants": put_variants(resources, image_id, "r1", "w1", "w2"), **fields}
        )

    return add


def dead_letter(resources: Resources, *bodies: str) -> None:
    for body in bodies:
        resources.sqs.send_message(QueueUrl=resources.dead_letters.url, MessageBody=body)


def visible(queue: Queue) -> list[str]:
    """Bodies of the messages that anybody could receive now; they stay."""
    fields = {}
    while messages := queue.sqs.receive_message(QueueUrl=queue.url, MaxNumberOfMessages=10, VisibilityTimeout=30).get(
        "Messages", []
    ):
        fields |= {message["ReceiptHandle"]: message["Body"] for message in messages}
    for receipt in fields:
        queue.sqs.change_message_visibility(QueueUrl=queue.url, ReceiptHandle=receipt, VisibilityTimeout=0)
    return sorted(fields.values())


def hidden(queue: Queue) -> int:
    """Count the messages that somebody has received and nobody has put back or deleted."""
    name = "ApproximateNumberOfMessagesNotVisible"
    return int(queue.sqs.get_queue_attributes(QueueUrl=queue.url, AttributeNames=[name])["Attributes"][name])


NO_EVENT = '{"hello": "world"}'


# --- the dead-letter queue --------------------------------------------------------------------------------------------


def test_looking_hides_nothing(resources: Resources) -> None:
    bodies = sorted(f"message {number}" for number in range(25))
    dead_letter(resources, *bodies)
    with Drawer(resources) as drawer:
        seen = sorted(letter.body for letters in drawer for letter in letters)
    assert seen == bodies
    assert visible(resources.dead_letters) == bodies


def test_looking_that_is_broken_off_hides_nothing(resources: Resources) -> None:
    dead_letter(resources, *map(str, range(25)))

    def look() -> None:
        with Drawer(resources) as drawer:
            next(iter(drawer))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        look()
    assert len(visible(resources.dead_letters)) == 25


def test_every_message_comes_once_even_if_looking_takes_long(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imagepipe.operations.dead_letters.HIDDEN_SECONDS", 2)
    dead_letter(resources, *map(str, range(15)))
    seen = []
    with Drawer(resources) as drawer:
        for letters in drawer:
            seen += [letter.body for letter in letters]
            if len(seen) <= 10:
                eventually(lambda: hidden(resources.dead_letters) == 0)
    assert sorted(seen) == sorted(map(str, range(15)))
    assert len(visible(resources.dead_letters)) == 15


# --- failures ---------------------------------------------------------------------------------------------------------


def test_event_of_another_bucket_is_none_of_ours(resources: Resources) -> None:
    """The processor refuses it at every try: put back, it would only be here again."""
    foreign = messages.creation_event(StoredObject("", "a.jpg", None, "e", 1, START), "another", "1")
    dead_letter(resources, foreign)
    [group] = failures.group(failures.find(resources), most_examples=1)
    assert (group.status, group.code, group.examples[0].message) == (
        "DEAD_LETTER", "NOT_AN_EVENT", "an event of another",
    )  # fmt: skip
    assert run(resources) == RedriveCounts(not_events=1)
    assert [letter.body for letter in redrive.not_events(resources)] == [foreign]


def test_failures_are_records_and_messages_by_reason(
    resources: Resources, add_record: Callable[..., dict[str, Any]]
) -> None:
    for number in range(3):
        record = add_record(f"f{number}.jpg", "FAILED", reason={"code": "PROCESSING_FAILED", "message": "AccessDenied"})
    add_record("r.jpg", "REJECTED", reason={"code": "TRUNCATED", "message": "ends early"})
    add_record("fine.jpg")
    lost = messages.creation_event(StoredObject("", "lost.jpg", None, "e", 1, START), resources.upload_bucket, "1")
    dead_letter(resources, messages.original_event(record), lost, NO_EVENT)
    groups = failures.group(failures.find(resources), most_examples=2)
    assert {(group.status, group.code): (group.count, group.dead_letters) for group in groups} == {
        ("FAILED", "PROCESSING_FAILED"): (3, 1),
        ("DEAD_LETTER", "NO_VERDICT"): (1, 1),
        ("DEAD_LETTER", "NOT_AN_EVENT"): (1, 1),
        ("REJECTED", "TRUNCATED"): (1, 0),
    }
    assert groups[0].examples[0].message == "AccessDenied"


# --- redrive ----------------------------------------------------------------------------------------------------------


def run(resources: Resources, choice: Choice = ALL_FAILED, *, dry: bool = False) -> RedriveCounts:
    return Redrive(resources, choice, 1000, lambda _: None, dry=dry).run(lambda _: None)


@pytest.fixture
def failed(resources: Resources, add_image: Callable[..., dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Three failed images, two of them with a message in the dead-letter queue; and a message that is no event."""
    reasons = {"a.jpg": "TIMEOUT", "b.jpg": "PROCESSING_FAILED", "silent.jpg": "PROCESSING_FAILED"}
    records = {key: add_image(key, status="FAILED", reason={"code": code}) for key, code in reasons.items()}
    dead_letter(resources, *(messages.original_event(records[key]) for key in ("a.jpg", "b.jpg")), NO_EVENT)
    return records


def test_redrive_puts_every_failed_image_back(resources: Resources, failed: dict[str, dict[str, Any]]) -> None:
    assert run(resources) == RedriveCounts(moved=2, made=1, kept=0, not_events=1)
    assert visible(resources.uploads) == sorted(messages.original_event(failed[key]) for key in ("a.jpg", "b.jpg"))
    assert visible(resources.backfill) == [messages.original_event(failed["silent.jpg"])]
    assert visible(resources.dead_letters) == [NO_EVENT]


def test_dry_run_changes_nothing(resources: Resources, failed: dict[str, dict[str, Any]]) -> None:
    before = visible(resources.dead_letters)
    assert run(resources, dry=True) == RedriveCounts(moved=2, made=1, kept=0, not_events=1)
    assert visible(resources.dead_letters) == before
    assert visible(resources.uploads) == visible(resources.backfill) == []


def test_redrive_by_reason_leaves_the_others(resources: Resources, failed: dict[str, dict[str, Any]]) -> None:
    assert run(resources, Choice(reasons=frozenset({"TIMEOUT"}))) == RedriveCounts(
        moved=1, made=0, kept=1, not_events=1
    )
    assert visible(resources.uploads) == [messages.original_event(failed["a.jpg"])]
    assert messages.original_event(failed["b.jpg"]) in visible(resources.dead_letters)


def test_redrive_by_image_leaves_the_others(resources: Resources, failed: dict[str, dict[str, Any]]) -> None:
    chosen = failed["silent.jpg"]["image_id"]
    assert run(resources, Choice(image_ids=frozenset({chosen}))) == RedriveCounts(moved=0, made=1, kept=2, not_events=1)


def test_message_of_the_backfill_goes_back_to_the_backfill(
    resources: Resources, add_record: Callable[..., dict[str, Any]]
) -> None:
    body = messages.reprocess_request(add_record("a.jpg", "FAILED"))
    dead_letter(resources, body)
    run(resources)
    assert visible(resources.backfill) == [body]
    assert visible(resources.uploads) == []


def test_redrive_killed_before_it_deletes_loses_nothing(
    resources: Resources, failed: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Drawer, "remove", killed)
        with pytest.raises(KeyboardInterrupt):
            run(resources)
    assert len(visible(resources.dead_letters)) == 3
    run(resources)
    assert visible(resources.dead_letters) == [NO_EVENT]
    assert set(visible(resources.uploads)) == {messages.original_event(failed[key]) for key in ("a.jpg", "b.jpg")}


def test_discard_deletes_what_is_no_event_and_nothing_else(
    resources: Resources, failed: dict[str, dict[str, Any]]
) -> None:
    assert redrive.discard(resources, redrive.not_events(resources)) == 1
    assert visible(resources.dead_letters) == sorted(messages.original_event(failed[key]) for key in ("a.jpg", "b.jpg"))


# --- reprocess --------------------------------------------------------------------------------------------------------


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.json")


def sent_keys(resources: Resources) -> list[str]:
    return [json.loads(body)["reprocess"]["key"] for body in visible(resources.backfill)]


def backfill(resources: Resources, journal: Journal, selection: Selection = ALL_READY) -> Backfill:
    return Backfill(resources, selection, journal, "today")


def test_backfill_sends_every_image_of_the_selection_once(
    resources: Resources, add_record: Callable[..., dict[str, Any]], journal: Journal
) -> None:
    for number in range(30):
        add_record(f"old/{number:02}.jpg", pipeline={"recipe": "new" if number % 2 else "old"})
    add_record("old/rejected.jpg", "REJECTED")
    job = backfill(resources, journal, Selection(prefix="old/", not_recipe="new"))
    assert job.measure(lambda: None).count == 15
    job.send(1000, lambda _: None, lambda _: None)
    assert sorted(sent_keys(resources)) == [f"old/{number:02}.jpg" for number in range(0, 30, 2)]


@pytest.mark.parametrize(
    ("since", "until", "keys"), [("30h", "", ["b", "c"]), ("", "30h", ["a"]), ("60h", "15h", ["a", "b"])]
)
def test_backfill_by_time(
    resources: Resources, add_record: Callable[..., dict[str, Any]], journal: Journal, since: str, until: str,
    keys: list[str],
) -> None:  # fmt: skip
    for key, hours in (("a", 50), ("b", 20), ("c", 10)):
        add_record(key, age=hours)
    backfill(resources, journal, Selection(since=since, until=until)).send(1000, lambda _: None, lambda _: None)
    assert sorted(sent_keys(resources)) == keys


def test_what_todays_processor_has_made_again_is_not_sent_once_more(
    resources: Resources, add_record: Callable[..., dict[str, Any]], journal: Journal
) -> None:
    add_record("again.jpg", revision="r1-today")
    add_record("once.jpg", revision="r1")
    job = backfill(resources, journal)
    sums = job.measure(lambda: None)
    assert (sums.count, sums.done) == (1, 1)
    job.send(1000, lambda _: None, lambda _: None)
    assert sent_keys(resources) == ["once.jpg"]


def test_unknown_image_is_an_error_that_names_it(resources: Resources, journal: Journal) -> None:
    with pytest.raises(PipelineError, match="no image has the id 0123"):
        backfill(resources, journal, Selection(image_ids=("0123",))).measure(lambda: None)


def test_backfill_that_is_stopped_goes_on_where_it_was(
    resources: Resources, add_record: Callable[..., dict[str, Any]], journal: Journal
) -> None:
    for number in range(35):
        add_record(f"{number:02}.jpg", age=100 - number)

    def stop_after_20(count: int, so_far: list[int] = []) -> None:  # noqa: B006 - remembers on purpose
        so_far.append(count)
        if sum(so_far) >= 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backfill(resources, journal).send(1000, stop_after_20, lambda _: None)
    again = backfill(resources, journal)
    assert (again.sent, again.measure(lambda: None).count) == (20, 15)
    again.send(1000, lambda _: None, lambda _: None)
    assert sorted(sent_keys(resources)) == [f"{number:02}.jpg" for number in range(35)]
    assert journal.read().sent == 0


def test_backfill_waits_while_its_queue_is_full(
    resources: Resources, add_record: Callable[..., dict[str, Any]], journal: Journal
) -> None:
    resources.backfill.sqs.get_queue_attributes(QueueUrl=resources.backfill.url, AttributeNames=["All"])
    for _ in range(BACKLOG // 10 + 1):
        entries = [{"Id": str(place), "MessageBody": "x"} for place in range(10)]
        resources.sqs.send_message_batch(QueueUrl=resources.backfill.url, Entries=entries)
    add_record("a.jpg")
    messages_sent: list[int | None] = []

    def make_room(waiting: int | None) -> None:
        messages_sent.append(waiting)
        resources.sqs.purge_queue(QueueUrl=resources.backfill.url)

    backfill(resources, journal).send(1000, lambda _: None, make_room)
    assert messages_sent[0] == BACKLOG + 10
    assert sent_keys(resources) == ["a.jpg"]


# --- reconcile --------------------------------------------------------------------------------------------------------


@pytest.fixture
def hour_later(resources: Resources) -> None:
    """From here on S3's clock is an hour ahead: everything written so far is old enough."""
    set_clock(resources, timedelta(hours=1))


def set_clock(resources: Resources, ahead: timedelta) -> None:
    """Change the header Date of S3's answers, which is how S3 tells the time."""

    def change(http_response: Any, parsed: dict[str, Any], **_: Any) -> None:
        headers = parsed["ResponseMetadata"]["HTTPHeaders"]
        headers["date"] = format_datetime(parsedate_to_datetime(headers["date"]) + ahead, usegmt=True)

    resources.s3.meta.events.register("after-call.s3", change)


def compare(resources: Resources, min_age: timedelta = timedelta(0)) -> list[Finding]:
    with tempfile.TemporaryDirectory() as scratch:
        return list(Comparison(resources, min_age, Path(scratch), lambda *_: None).findings())


def troubles(result: list[Finding]) -> set[tuple[str, str]]:
    return {(finding.trouble, finding.name) for finding in result}


@pytest.fixture
def wrecked(
    cloud: Cloud, resources: Resources, add_image: Callable[..., dict[str, Any]],
    add_record: Callable[..., dict[str, Any]],
) -> set[tuple[str, str]]:  # fmt: skip
    """An environment with one difference of each kind; returns them."""
    s3, uploads, processed = resources.s3, resources.upload_bucket, resources.processed_bucket
    add_image("fine é.jpg")
    s3.put_object(Bucket=uploads, Key="unknown + new.jpg", Body=b"x")
    add_image("overwritten.jpg")
    s3.put_object(Bucket=uploads, Key="overwritten.jpg", Body=b"y")
    add_image("gone.jpg")
    s3.delete_object(Bucket=uploads, Key="gone.jpg")
    add_image("stuck.jpg", status="PROCESSING")
    s3.delete_object(Bucket=processed, Key=add_image("thin.jpg")["variants"]["w1"]["key"])
    left = add_image("left.jpg")["image_id"]
    put_variants(resources, left, "r0", "w1")
    nobody = events.image_id(uploads, "nobody.jpg")
    put_variants(resources, nobody, "r9", "w1")
    s3.put_object(Bucket=processed, Key="robots.txt", Body=b"x")
    return {
        ("MISSING_RECORD", "unknown + new.jpg"),
        ("OUTDATED_RECORD", "overwritten.jpg"),
        ("OBJECT_GONE", "gone.jpg"),
        ("STUCK", "stuck.jpg"),
        ("MISSING_VARIANTS", "thin.jpg"),
        ("ORPHANED_VARIANTS", f"{left}/r0/"),
        ("ORPHANED_VARIANTS", f"{nobody}/r9/"),
    }


@pytest.mark.usefixtures("hour_later")
def test_comparison_finds_each_difference_and_nothing_else(resources: Resources, wrecked: set[tuple[str, str]]) -> None:
    assert troubles(compare(resources)) == wrecked


def test_nothing_young_is_touched(resources: Resources, wrecked: set[tuple[str, str]]) -> None:
    young = troubles(compare(resources, timedelta(hours=1)))
    # What says of itself when it happened is old: its record. What was only just written to S3 is not.
    assert young == {item for item in wrecked if item[0] in {"OBJECT_GONE", "MISSING_VARIANTS"}}


def test_variants_of_a_young_record_are_left_to_whoever_is_at_work(
    resources: Resources, add_image: Callable[..., dict[str, Any]]
) -> None:
    key = add_image("a.jpg", age=0.5)["variants"]["w1"]["key"]
    resources.s3.delete_object(Bucket=resources.processed_bucket, Key=key)
    assert compare(resources, timedelta(hours=1)) == []
    assert troubles(compare(resources)) == {("MISSING_VARIANTS", "a.jpg")}


@pytest.mark.usefixtures("hour_later")
def test_repair_tells_the_processor_and_deletes_orphans(resources: Resources, wrecked: set[tuple[str, str]]) -> None:
    outcome = compare(resources)
    repair = Repair(resources, FUTURE, 1000, lambda _: None)
    repair.mend(outcome, lambda _: None)
    assert repair.mended == len(wrecked)
    messages_sent = {}
    for body in visible(resources.backfill):
        (event,) = events.parse(body)
        messages_sent[event.key] = "created" if event.created else "removed"
    assert messages_sent == {
        "unknown + new.jpg": "created",
        "overwritten.jpg": "created",
        "gone.jpg": "removed",
        "stuck.jpg": "created",
        "thin.jpg": "created",
    }
    assert not [item for item in compare(resources) if item.trouble is Trouble.ORPHANED_VARIANTS]


@pytest.mark.usefixtures("hour_later")
def test_repair_that_is_stopped_says_how_far_it_came(
    resources: Resources, wrecked: set[tuple[str, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(operate, "FOLDER", tmp_path)
    monkeypatch.setattr(operate, "load_target", lambda *_: resources.target)
    monkeypatch.setattr(Resources, "of", lambda _: resources)
    monkeypatch.setattr(orphans, "delete", stop)
    result = CliRunner().invoke(app, ["reconcile", "--repair", "--yes", "--json", "--min-age=0s", "--rate=1000"])
    assert result.exit_code == operate.INTERRUPTED
    assert "stopped: 5 of 7 are repaired, and the others are unchanged" in " ".join(result.stderr.split())
    assert len(visible(resources.backfill)) == 5


@pytest.mark.usefixtures("hour_later")
def test_orphans_that_were_published_meanwhile_are_left(
    resources: Resources, add_image: Callable[..., dict[str, Any]], add_record: Callable[..., dict[str, Any]]
) -> None:
    image = add_image("a.jpg")
    variants = put_variants(resources, image["image_id"], "r2", "w1")
    assert [item.name for item in compare(resources)] == [f"{image['image_id']}/r2/"]
    add_record("a.jpg", source=image["source"], variants=variants)
    assert orphans.delete(resources, f"{image['image_id']}/r2/", FUTURE) == 0
    assert resources.s3.get_object(Bucket=resources.processed_bucket, Key=variants["w1"]["key"])["Body"].read()


def test_orphans_that_somebody_may_still_write_to_are_left_whatever_the_age_asked_for(
    resources: Resources, add_image: Callable[..., dict[str, Any]]
) -> None:
    folder = f"{add_image('a.jpg')['image_id']}/r2/"
    put_variants(resources, folder.split("/")[0], "r2", "w1")
    assert orphans.delete(resources, folder, FUTURE) == 0
    assert compare(resources, timedelta(hours=-1)) == []
    set_clock(resources, timedelta(minutes=29))
    assert compare(resources) == []
    set_clock(resources, timedelta(minutes=2))
    assert troubles(compare(resources)) == {("ORPHANED_VARIANTS", folder)}


def test_repair_with_a_short_age_leaves_running_work_its_variants(
    resources: Resources, add_image: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A processor that waits between its variants and its record ends READY with all of them."""
    variants = put_variants(resources, add_image("a.jpg")["image_id"], "r2", "w1", "w2")
    monkeypatch.setattr(operate, "FOLDER", tmp_path)
    monkeypatch.setattr(operate, "load_target", lambda *_: resources.target)
    monkeypatch.setattr(Resources, "of", lambda _: resources)
    result = CliRunner().invoke(app, ["reconcile", "--repair", "--yes", "--min-age=0s"])
    assert result.exit_code == 0
    assert "variants of the last 30 minutes are left alone whatever MIN_AGE says" in " ".join(result.stderr.split())
    for variant in variants.values():
        assert resources.s3.head_object(Bucket=resources.processed_bucket, Key=variant["key"])


def test_ages_are_counted_by_the_clock_of_s3(resources: Resources) -> None:
    """An operator's clock that is two hours ahead of S3's makes nothing older."""
    set_clock(resources, timedelta(hours=-2))
    resources.s3.put_object(Bucket=resources.upload_bucket, Key="just-now.jpg", Body=b"x")
    assert compare(resources) == []


@pytest.mark.usefixtures("hour_later")
def test_single_variants_beside_shown_ones_are_orphans(
    resources: Resources, add_image: Callable[..., dict[str, Any]]
) -> None:
    image = add_image("a.jpg")
    put_variants(resources, image["image_id"], "r1", "w9")
    assert troubles(compare(resources)) == {("ORPHANED_VARIANTS", f"{image['image_id']}/r1/")}
    assert orphans.delete(resources, f"{image['image_id']}/r1/", FUTURE) == 1
    assert compare(resources) == []


def test_environment_of_an_older_release_is_an_error_that_names_the_fix(resources: Resources) -> None:
    with pytest.raises(PipelineError, match=r"no backfill_queue.*make apply ENV=dev"):
        Resources(resources.target, {name: {} for name in resources._storage if name != "backfill_queue"})


# --- erase ------------------------------------------------------------------------------------------------------------


def versions_of(resources: Resources, bucket: str, prefix: str) -> list[str]:
    answer = resources.s3.list_object_versions(Bucket=bucket, Prefix=prefix)
    return [entry["Key"] for kind in ("Versions", "DeleteMarkers") for entry in answer.get(kind, [])]


@pytest.fixture
def photo(resources: Resources, add_image: Callable[..., dict[str, Any]]) -> Subject:
    """An image with an older version, variants of an older revision, one of them removed, and a neighbour."""
    resources.s3.put_object(Bucket=resources.upload_bucket, Key="anna.jpg", Body=b"older")
    image = add_image("anna.jpg")
    old = put_variants(resources, image["image_id"], "r0", "w1", "w2")
    resources.s3.delete_object(Bucket=resources.processed_bucket, Key=old["w1"]["key"])
    add_image("anna.jpg.bak")
    return Subject(image["image_id"], "anna.jpg")


@pytest.fixture
def bury(add_record: Callable[..., dict[str, Any]], resources: Resources) -> Callable[[float], None]:
    """Stands for the processor, which writes the removal while the command waits."""

    def write(_: float) -> None:
        add_record("anna.jpg", "DELETED", source={"bucket": resources.upload_bucket})

    return write


def test_erasing_leaves_no_version_of_original_or_variants(
    resources: Resources, photo: Subject, bury: Callable[[float], None]
) -> None:
    assert len(remains(resources, photo)) == 2 + 5
    assert erase(resources, photo, bury) == 3 + 5  # with the marker of the removal
    assert versions_of(resources, resources.processed_bucket, photo.image_id) == []
    assert versions_of(resources, resources.upload_bucket, "") == ["anna.jpg.bak"]
    assert "anna.jpg" not in json.dumps(resources.records.get(photo.image_id))
    assert erase(resources, photo, pytest.fail) == 0


def test_erasing_that_is_stopped_never_brings_an_older_version_back_and_goes_on(
    resources: Resources, photo: Subject, bury: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    delete, calls = orphans.delete_versions, []

    def delete_once(*arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        delete(*arguments)

    monkeypatch.setattr(orphans, "delete_versions", delete_once)
    with pytest.raises(KeyboardInterrupt):
        erase(resources, photo, bury)
    assert resources.object("anna.jpg") is None
    monkeypatch.undo()
    assert erase(resources, photo, pytest.fail) == 1 + 5
    assert len(remains(resources, photo)) == 0


def test_nothing_is_erased_before_the_record_says_that_the_image_is_removed(
    resources: Resources, photo: Subject
) -> None:
    """Until then running work may publish variants, which would show an image whose original is gone for good."""
    waited: list[float] = []
    with pytest.raises(PipelineError, match=r"anna.jpg within 180 s, so nothing is erased yet: make failures"):
        erase(resources, photo, waited.append)
    assert len(waited) == 180
    assert len(remains(resources, photo).variants) == 5


def test_image_that_comes_back_while_it_is_erased_is_an_error(
    resources: Resources, photo: Subject, bury: Callable[[float], None]
) -> None:
    def upload_again(seconds: float) -> None:
        bury(seconds)
        resources.s3.put_object(Bucket=resources.upload_bucket, Key="anna.jpg", Body=b"again")

    with pytest.raises(PipelineError, match=r"anna.jpg was uploaded again meanwhile: run the same command again"):
        erase(resources, photo, upload_again)
    assert len(remains(resources, photo).variants) == 5


def test_dead_letters_of_erased_images_go_and_others_stay(resources: Resources, photo: Subject) -> None:
    record = resources.records.get(photo.image_id)
    assert record
    other = messages.removal_event(resources.upload_bucket, "other.jpg", "0f", START)
    dead_letter(resources, messages.original_event(record | {"sequencer": "0e"}), other, "no event")
    assert dead_letters(resources, [photo], remove=False) == 1
    assert dead_letters(resources, [photo], remove=True) == 1
    assert sorted(visible(resources.dead_letters)) == sorted([other, "no event"])


def test_command_erases_by_id_and_by_key_after_a_look(
    resources: Resources, photo: Subject, bury: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "load_target", lambda *_: resources.target)
    monkeypatch.setattr(Resources, "of", lambda _: resources)

    def run(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["remove", *arguments])
        return result.exit_code, " ".join((result.stderr + str(result.exception or "")).split())

    looked = run(photo.image_id, "--erase", "--dry-run")[1]
    assert looked.endswith("1 images: 2 versions of originals, 5 of variants, 0 dead letters")
    assert len(remains(resources, photo)) == 7
    assert "need --erase" in run("--key", "anna.jpg")[1]
    assert "name the images" in run("--erase")[1]

    with monkeypatch.context() as patch:
        patch.setattr(images.erasing, "erase", _interrupt)
        code, shown = run(photo.image_id, "--erase", "--yes")
        assert (code, "stopped: 0 of 1 are erased" in shown) == (130, True)
    bury(0)
    assert "its record keeps no key: name the file with --key" in run(photo.image_id, "--erase")[1]
    code, shown = run("--erase", "--key", "anna.jpg", "--yes")
    assert (code, "8 versions erased" in shown) == (0, True)
    assert len(remains(resources, photo)) == 0


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt
