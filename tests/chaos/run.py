"""One seed, from the first upload to the verdict."""

import contextlib
import json
import math
import queue
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from chaos.cloud import RELEASES, Deployment
from chaos.oracle import Oracle, Violation, image_id
from chaos.proxy import Schedule
from chaos.relay import GARBAGE, Relay, drain
from chaos.traffic import Traffic
from imagepipe.operations.sweep import GRACE, orphans, versions

#: So many seconds the queues may hold as many messages as ever before these count as stuck, however slow the machine.
#: A batch may be hidden several times meanwhile.
STUCK_SECONDS = 240

#: Outcomes between two releases, in a long run.
OUTCOMES_PER_RELEASE = 60


@dataclass
class Report:
    seed: int
    events: int = 0
    seconds: float = 0.0
    operations: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    redriven: int = 0
    swept: int = 0
    violations: list[Violation] = field(default_factory=list)
    history: dict[str, list[str]] = field(default_factory=dict)


def run(deployment: Deployment, seed: int, events: int, *, kill_rate: float = 0.0008, meetings: float = 0.2) -> Report:
    began = time.monotonic()
    proxy = deployment.cloud.proxy
    deployment.wipe()
    deployment.release(RELEASES[0])
    traffic, relay = Traffic(deployment, seed, events), Relay(deployment, seed)
    report, oracle = Report(seed), Oracle(deployment, traffic)
    images = {image_id(deployment.uploads, key): key for key in traffic.keys}
    proxy.faults.clear()
    proxy.disturbed.clear()
    proxy.schedule = Schedule(seed, kill_rate=kill_rate, meetings=meetings)
    with _watching(deployment, oracle, images), _releasing(deployment, seed, events):
        with _reprocessing(deployment, oracle, images, seed):
            relay.start()
            traffic.run()
            relay.finish()
        _settle(deployment, oracle)
    proxy.schedule = None
    garbage = _redrive(deployment, oracle, report)
    if garbage != relay.garbage:
        oracle.verdict.say("kept", "", f"of messages that are no events the dead-letter queue has {garbage}")
    _judge(deployment, oracle, report, images, traffic.keys)
    report.events = relay.passed
    report.operations, report.faults = traffic.done, proxy.faults + relay.faults
    report.seconds = time.monotonic() - began
    report.violations = oracle.verdict.violations
    report.history = {
        version.key: _history(deployment, oracle, version.key) for version in report.violations[:20] if version.key
    }
    return report


def _judge(deployment: Deployment, oracle: Oracle, report: Report, images: dict[str, str], keys: list[str]) -> None:
    oracle.judge_states(keys)
    for left in sorted(oracle.left_over(set(images))):
        image = left.partition("/")[0]
        if image not in deployment.cloud.proxy.disturbed:
            oracle.verdict.say("uncleaned", images[image], f"{left} was left though nothing disturbed its writer")
    report.swept = sweep(deployment, oracle, set(images))
    for left in oracle.left_over(set(images)):
        oracle.verdict.say("orphan", images[left.partition("/")[0]], left)
    oracle.judge_states(keys)
    announced = drain(deployment.cloud.client("sqs"), deployment.announced)
    oracle.judge_events(images, announced)


def sweep(deployment: Deployment, oracle: Oracle, images: set[str]) -> int:
    """The product's rule of what is an orphan; all is quiet, so the grace is over."""
    s3 = deployment.cloud.client("s3")
    pages = s3.get_paginator("list_object_versions").paginate(Bucket=deployment.processed)
    kept = sorted((item for page in pages for item in versions(page)), key=lambda item: item.key)

    def shown(image: str) -> set[str]:
        record = oracle.record(image) or {}
        return {variant["key"] for variant in (record.get("variants") or {}).values()}

    mine = [item for item in kept if item.key.partition("/")[0] in images]
    taken = list(orphans(mine, shown, datetime.now(UTC) + GRACE + timedelta(seconds=5)))
    for orphan in taken:
        for version in orphan.versions:
            s3.delete_object(Bucket=deployment.processed, Key=orphan.key, VersionId=version.id)
    return len(taken)


def _settle(deployment: Deployment, oracle: Oracle) -> None:
    """Waits until the queues are empty and nothing of them is being worked on, as long as they become emptier."""
    quiet, fewest, since = 0, math.inf, time.monotonic()
    names = [
        "ApproximateNumberOfMessages",
        "ApproximateNumberOfMessagesNotVisible",
        "ApproximateNumberOfMessagesDelayed",
    ]
    while quiet < 3:
        counts = [
            sum(
                int(value)
                for value in deployment.cloud.client("sqs")
                .get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
                .values()
            )
            for url in (deployment.queue, deployment.backfill, deployment.s3_events)
        ]
        quiet = quiet + 1 if not any(counts) else 0
        if sum(counts) < fewest:
            fewest, since = sum(counts), time.monotonic()
        if time.monotonic() - since > STUCK_SECONDS:
            oracle.verdict.say("stuck", "", f"messages in the queues of uploads, backfill and S3: {counts}")
            return
        time.sleep(0.2)


def _redrive(deployment: Deployment, oracle: Oracle, report: Report) -> Counter[str]:
    """Puts dead letters back as an operator would, until only what is no event is left; returns that."""
    sqs, garbage = deployment.cloud.client("sqs"), Counter[str]()
    for _ in range(10):
        _settle(deployment, oracle)
        letters = drain(sqs, deployment.dead_letters)
        if not letters:
            return garbage
        for body in letters:
            if body in GARBAGE:
                garbage[body] += 1
                continue
            report.redriven += 1
            url = deployment.backfill if '"reprocess"' in body else deployment.queue
            sqs.send_message(QueueUrl=url, MessageBody=body)
    return garbage


@contextlib.contextmanager
def _watching(deployment: Deployment, oracle: Oracle, images: dict[str, str]) -> Any:
    """Looks, as a reader would, at what was just published."""
    seen: queue.Queue[str | None] = queue.Queue()
    dice = random.Random(0)

    def look() -> None:
        while (image := seen.get()) is not None:
            if image in images and seen.qsize() < 20:
                oracle.judge_shown(image, images[image])

    def published(image: str) -> None:
        if dice.random() < 0.15:
            seen.put(image)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    deployment.cloud.proxy.on_publish = published
    try:
        yield
    finally:
        deployment.cloud.proxy.on_publish = None
        seen.put(None)
        thread.join(60)


@contextlib.contextmanager
def _beside(work: Callable[[], None], stop: threading.Event) -> Iterator[None]:
    """Run work in a thread that ends soon after `stop` is set."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(60)


@contextlib.contextmanager
def _reprocessing(deployment: Deployment, oracle: Oracle, images: dict[str, str], seed: int) -> Any:
    """Orders now and then that an image is made again, while it may be overwritten or removed."""
    dice, stop = random.Random(f"{seed}/again"), threading.Event()
    sqs = deployment.cloud.client("sqs")

    def order() -> None:
        while not stop.wait(1.0):
            record = oracle.record(dice.choice(list(images)))
            if not record or record["status"] not in {"READY", "REJECTED", "FAILED"}:
                continue
            what = {name: record["source"][name] for name in ("bucket", "key", "version_id")}
            what |= {"sequencer": record["sequencer"], "event_time": record["listed_at"].partition("#")[0]}
            for _ in range(dice.choice((1, 1, 2))):
                sqs.send_message(QueueUrl=deployment.backfill, MessageBody=json.dumps({"reprocess": what}))

    with _beside(order, stop):
        yield


@contextlib.contextmanager
def _releasing(deployment: Deployment, seed: int, events: int) -> Any:
    """Deploys another release of the processor each time that so many outcomes were published."""
    dice, stop, proxy = random.Random(f"{seed}/releases"), threading.Event(), deployment.cloud.proxy
    step = min(OUTCOMES_PER_RELEASE, max(4, events // 5))
    proxy.published = 0

    def deploy() -> None:
        release, due = RELEASES[0], step
        while not stop.wait(0.1):
            if proxy.published >= due:
                release, due = dice.choice([other for other in RELEASES if other != release]), due + step
                deployment.release(release)

    with _beside(deploy, stop):
        yield


def _history(deployment: Deployment, oracle: Oracle, key: str) -> list[str]:
    """What the table went through for a key."""
    image = image_id(deployment.uploads, key)
    return [
        f"{after.get('status_since')} {after['status']} {after['revision']} trying={after.get('trying')}"
        for _, after in oracle._writes({image: key})
    ]
