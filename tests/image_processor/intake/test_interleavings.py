"""Handlers of one image's events side by side, interleaved request by request as a seed says: the last thing wins.

They are of two releases, as while one is deployed, and what they make of an image differs.

What `make chaos` finds by luck and cannot repeat is found here by trying: who is at which request when is the seed's.
"""

import hashlib
import json
import os
import random
import threading
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from image_processor.decoder.sandbox import Sandbox
from image_processor.events import image_id, parse
from image_processor.intake.processor import GivenUp, Processor, Suspect
from image_processor.rendition import Variant
from image_processor.verdict import Reason, Rejected

from ..conftest import PROCESSED, RECIPE, UPLOADS, Environment

KEY = "a.jpg"
IMAGE = image_id(UPLOADS, KEY)

SEEDS = range(*map(int, os.environ.get("SEEDS", "0:50").split(":")))

#: Of a request: that the process is killed before it.
DEADLY = 0.01


class Died(BaseException):
    """The process is gone: no handler of exceptions runs on Lambda either."""


class Baton:
    """Lets one of several threads run at a time, from one request to the next."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._turn = threading.local()
        self._running: dict[threading.Event, threading.Thread] = {}
        self._yielded = threading.Event()

    def start(self, work: Callable[[], None]) -> None:
        go = threading.Event()

        def run() -> None:
            self._turn.go = go
            self._wait()
            try:
                work()
            finally:
                del self._running[go]
                self._yielded.set()

        thread = threading.Thread(target=run, daemon=True)
        self._running[go] = thread
        thread.start()

    def pause(self) -> None:
        """Called by a worker before each request: somebody else may be next."""
        if hasattr(self._turn, "go"):
            self._yielded.set()
            self._wait()
            if self._dice.random() < DEADLY:
                raise Died

    def _wait(self) -> None:
        self._turn.go.wait()
        self._turn.go.clear()

    @property
    def busy(self) -> int:
        return len(self._running)

    def step(self) -> None:
        """One request of one worker."""
        chosen = self._dice.choice(list(self._running))
        self._yielded.clear()
        chosen.set()
        assert self._yielded.wait(30), "a worker hangs"


class Paused:
    """A client whose requests wait for the baton."""

    def __init__(self, client: Any, baton: Baton) -> None:
        self._client, self._baton = client, baton

    def __getattr__(self, name: str) -> Any:
        outcome = getattr(self._client, name)
        if not callable(outcome) or name == "get_paginator":
            return outcome

        def request(**arguments: Any) -> Any:
            self._baton.pause()
            return outcome(**arguments)

        return request


class Life:
    """What happens to one key in S3, and to the messages that tell of it."""

    def __init__(self, environment: Environment, releases: list[Processor], seed: int) -> None:
        self.environment, self.releases = environment, releases
        self.dice = random.Random(seed)
        self.baton = Baton(self.dice)
        self.versions: list[dict[str, Any]] = []  # events by which a version that is still there came to be
        self.waiting: list[tuple[str, int]] = []  # body, delivery
        self.sent: list[str] = []
        self.log: list[str] = []

    def happen(self) -> None:
        kind = self.dice.choices(("upload", "remove", "remove version"), (5, 2, 3))[0]
        if kind == "upload":
            event = self.environment.put(KEY, self.dice.choice((b"good one", b"good two", b"bad")))
        elif kind == "remove":
            if not self._current():
                return
            event = self.environment.remove(KEY)
        elif self.versions:
            event = self.environment.remove_version(KEY, self.versions.pop(self.dice.randrange(len(self.versions))))
        else:
            return
        if kind != "remove version":
            self.versions.append(event)
        body = json.dumps({"Records": [event]})
        self.log.append(f"{kind} {event['s3']['object']['sequencer']}")
        self.sent.append(body)
        self.waiting += [(body, 1)] * self.dice.choice((1, 1, 1, 2))

    def order_again(self) -> None:
        record = self.record()
        if record and record["status"] in {"READY", "REJECTED", "FAILED"}:
            what = {name: record["source"][name] for name in ("bucket", "key", "version_id")}
            what |= {"sequencer": record["sequencer"], "event_time": record["listed_at"].partition("#")[0]}
            self.waiting.append((json.dumps({"reprocess": what}), 1))

    def deliver(self) -> None:
        body, delivery = self.waiting.pop(self.dice.randrange(len(self.waiting)))
        (event,) = parse(body)
        release = self.dice.choice(self.releases)

        def work() -> None:
            try:
                result = release.handle(event, delivery, risk=delivery > 1)
                self.log.append(f"  {event.revision} {'again ' if event.reprocess else ''}{result.effect}")
            except (Suspect, GivenUp, Died) as error:
                self.log.append(f"  {event.revision} {type(error).__name__}")
                self.waiting.append((body, delivery + 1))

        self.baton.start(work)

    def live(self, things: int) -> None:
        """Everything that happens, and all of its deliveries, until nothing is left to be done."""
        while things or self.waiting or self.baton.busy:
            choice = self.dice.random()
            if things and choice < 0.08:
                things -= 1
                self.happen()
            elif choice < 0.1 and things:
                self.order_again()
            elif self.waiting and self.baton.busy < 4 and choice < 0.2:
                self.deliver()
            elif self.baton.busy:
                self.baton.step()

    def judge(self) -> None:
        """The record is of what lies in the bucket, and what it shows is all there is."""
        record = self.record()
        if not self.sent:
            return
        assert record, "no record"
        shown = {variant["key"]: variant["sha256"] for variant in record.get("variants", {}).values()}
        current = self._current()
        if not current:
            assert record["status"] == "DELETED"
        else:
            content = current["Body"].read()
            assert record["status"] == ("REJECTED" if content == b"bad" else "READY")
            assert record["source"]["version_id"] == current["VersionId"]
            if content != b"bad":
                made_by = record["pipeline"]["image"].encode()
                assert set(shown.values()) == {hashlib.sha256(content + made_by).hexdigest()}
        assert set(shown) <= self.environment.variants(), "shown and not there"
        for key, digest in shown.items():
            there = self.environment.s3.get_object(Bucket=PROCESSED, Key=key)["Body"].read()
            assert hashlib.sha256(there).hexdigest() == digest, "shown and another"

    def _current(self) -> dict[str, Any] | None:
        try:
            return dict(self.environment.s3.get_object(Bucket=UPLOADS, Key=KEY))
        except self.environment.s3.exceptions.ClientError:
            return None

    def record(self) -> dict[str, Any] | None:
        return self.environment.store.record(IMAGE)


@pytest.fixture
def life(environment: Environment, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Life]:
    """One key's life under a seed. Contents are words, so that making variants of them takes no time."""
    store = environment.store

    def make_variants(self: Processor, work: Any, data: bytes, source: dict[str, Any]) -> dict[str, Any]:
        if data == b"bad":
            raise Rejected(Reason.NOT_AN_IMAGE, "bad")
        variants = [Variant(name, "png", 1, 1, data + self._pipeline["image"].encode()) for name in ("one", "two")]
        return {"source": source, "variants": store.put_variants(IMAGE, work.revision, variants)}

    def one_by_one(request: Callable[[Any], Any], things: Iterable[Any]) -> list[Any]:
        return [request(item) for item in things]  # in the thread that waits for the baton

    monkeypatch.setattr(Processor, "_make_variants", make_variants)
    monkeypatch.setattr("image_processor.records.store._in_parallel", one_by_one)
    releases = [Processor(store, RECIPE, sandbox, image, UPLOADS) for image in ("old", "new")]
    s3, dynamodb = store._s3, store._dynamodb

    def begin(seed: int) -> Life:
        dynamodb.delete_item(TableName=store._table, Key={"image_id": {"S": IMAGE}})
        for bucket in (UPLOADS, PROCESSED):
            page = s3.list_object_versions(Bucket=bucket)
            for item in page.get("Versions", []) + page.get("DeleteMarkers", []):
                s3.delete_object(Bucket=bucket, Key=item["Key"], VersionId=item["VersionId"])
        outcome = Life(environment, releases, seed)
        monkeypatch.setattr(store, "_s3", Paused(s3, outcome.baton))
        monkeypatch.setattr(store, "_dynamodb", Paused(dynamodb, outcome.baton))
        return outcome

    return begin


def test_whatever_runs_beside_it_the_last_thing_wins(life: Callable[[int], Life]) -> None:
    for seed in SEEDS:
        one = life(seed)
        one.live(things=10)
        try:
            one.judge()
        except AssertionError as error:
            pytest.fail(f"seed {seed}: {error}\n" + "\n".join(one.log))
