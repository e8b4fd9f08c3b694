"""Handlers of some images' events side by side, interleaved request by request as a seed says: the last thing wins.

The images share their contents. The handlers are of three releases, of which two run at a time, as while one is
deployed: what they make of an image differs, and what they refuse.

What `make chaos` finds by luck and cannot repeat is found here by trying: who is at which request when is the seed's.
"""

import hashlib
import json
import os
import random
import threading
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

import pytest

from image_processor.events import image_id, parse
from image_processor.intake.processor import Effect, GivenUp, Overtaken, Processor, Suspect
from image_processor.recipe import Limits
from image_processor.rendition import Variant
from image_processor.sniff import judge_format, sniff

from ..conftest import PROCESSED, RECIPE, UPLOADS, Environment

KEYS = ("a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg")

#: Words that begin like images, so that judging them is all that takes time.
PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"
CONTENTS = (PNG + b"one", PNG + b"two", JPEG + b"one", JPEG + b"two", b"no image")

#: Limits by the name of a container image.
RELEASES = {"first": Limits(), "second": Limits(), "strict": Limits(formats=("png",))}


def accepts(image: str, content: bytes) -> bool:
    """Whether a release makes variants of a content."""
    return content.startswith(PNG) or (content.startswith(JPEG) and image != "strict")


SEEDS = range(*map(int, os.environ.get("SEEDS", "0:30").split(":")))

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
    """What happens to some keys in S3, and to the messages that tell of it."""

    def __init__(self, environment: Environment, releases: list[Processor], seed: int) -> None:
        self.environment = environment
        self.dice = random.Random(seed)
        self.releases = self.dice.sample(releases, len(releases))  # the first two are running
        self.baton = Baton(self.dice)
        self.key = KEYS[0]  # of the last thing that happened
        self.contents: dict[str, bytes] = {}  # by version
        #: Events by which a version that is still there came to be.
        self.versions: dict[str, list[dict[str, Any]]] = {key: [] for key in KEYS}
        self.wrong: list[str] = []
        self.waiting: list[tuple[str, int]] = []  # body, delivery
        self.sent: list[str] = []
        self.log: list[str] = []

    def happen(self) -> None:
        kind = self.dice.choices(("upload", "remove", "remove version"), (6, 2, 2))[0]
        if self.dice.random() < 0.6:  # mostly the same key again: events in quick succession are what goes wrong
            self.key = self.dice.choice(KEYS)
        key = self.key
        if kind == "upload":
            content = self.dice.choice(CONTENTS)
            event = self.environment.put(key, content)
            self.contents[event["s3"]["object"]["versionId"]] = content
        elif kind == "remove":
            if not self._current(key):
                return
            event = self.environment.remove(key)
        elif versions := self.versions[key]:
            event = self.environment.remove_version(key, versions.pop(self.dice.randrange(len(versions))))
        else:
            return
        if kind != "remove version":
            self.versions[key].append(event)
        body = json.dumps({"Records": [event]})
        self.log.append(f"{key} {kind} {event['s3']['object']['sequencer']}")
        self.sent.append(key)
        self.waiting += [(body, 1)] * self.dice.choice((1, 1, 1, 2))

    def order_again(self) -> None:
        record = self.record(self.dice.choice(KEYS))
        if record and record["status"] in {"READY", "REJECTED", "FAILED"}:
            what = {name: record["source"][name] for name in ("bucket", "key", "version_id")}
            what |= {"sequencer": record["sequencer"], "event_time": record["listed_at"].partition("#")[0]}
            self.waiting.append((json.dumps({"reprocess": what}), 1))

    def release_another(self) -> None:
        self.releases.append(self.releases.pop(0))
        self.log.append(f"running: {' and '.join(release._pipeline['image'] for release in self.releases[:2])}")

    def deliver(self) -> None:
        body, delivery = self.waiting.pop(self.dice.randrange(len(self.waiting)))
        (event,) = parse(body)
        release = self.dice.choice(self.releases[:2])
        image = release._pipeline["image"]

        def work() -> None:
            say = f"  {event.key} {event.revision} {'again ' if event.reprocess else ''}by {image}"
            try:
                result = release.handle(event, delivery, risk=delivery > 1)
                self.log.append(f"{say} {result.effect}")
                content = self.contents.get(event.version_id or "", b"")
                if event.created and result.effect is Effect.LINKED and not accepts(image, content):
                    self.wrong.append(f"{event.key}: linked to what {image} refuses")
            except (Suspect, GivenUp, Overtaken, Died) as error:
                self.log.append(f"{say} {type(error).__name__}")
                self.waiting.append((body, delivery + 1))

        self.baton.start(work)

    def live(self, things: int) -> None:
        """Everything that happens, and all of its deliveries, until nothing is left to be done."""
        while things or self.waiting or self.baton.busy:
            choice = self.dice.random()
            if things and choice < 0.12:
                things -= 1
                self.happen()
            elif choice < 0.14 and things:
                self.order_again()
            elif choice < 0.15:
                self.release_another()
            elif self.waiting and self.baton.busy < 4 and choice < 0.3:
                self.deliver()
            elif self.baton.busy:
                self.baton.step()

    def judge(self) -> None:
        """Every record is of what lies in the bucket, and what it shows is all there is."""
        assert not self.wrong, self.wrong
        shown = [self._judge(key) for key in sorted(set(self.sent))]
        assert set().union(*shown) <= self.environment.variants(), "shown and not there"

    def _judge(self, key: str) -> set[str]:
        """Judge the record of a key by the verdict of the release that it names; return the keys that it shows."""
        record, current = self.record(key), self._current(key)
        assert record, f"{key}: no record"
        shown = {variant["key"]: variant["sha256"] for variant in record.get("variants", {}).values()}
        if not current:
            assert record["status"] == "DELETED", key
            return set(shown)
        content, image = current["Body"].read(), record["pipeline"]["image"]
        assert record["status"] == ("READY" if accepts(image, content) else "REJECTED"), f"{key} by {image}"
        assert record["source"]["version_id"] == current["VersionId"], f"{key} shows another version"
        if record["status"] == "READY":
            assert set(shown.values()) == {_made(content, image)}, f"{key} shows what {image} did not make"
        for variant, digest in shown.items():
            there = self.environment.s3.get_object(Bucket=PROCESSED, Key=variant)["Body"].read()
            assert hashlib.sha256(there).hexdigest() == digest, f"{key}: shown and another"
        return set(shown)

    def _current(self, key: str) -> dict[str, Any] | None:
        try:
            return dict(self.environment.s3.get_object(Bucket=UPLOADS, Key=key))
        except self.environment.s3.exceptions.ClientError:
            return None

    def record(self, key: str) -> dict[str, Any] | None:
        return self.environment.store.record(image_id(UPLOADS, key))


def _made(content: bytes, image: str) -> str:
    return hashlib.sha256(content + image.encode()).hexdigest()


@pytest.fixture
def life(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Life]:
    """Some keys' lives under a seed."""
    store = environment.store

    def make_variants(self: Processor, work: Any, data: bytes, source: dict[str, Any], _: float) -> dict[str, Any]:
        judge_format(sniff(data), self._sandbox.limits)
        variants = [Variant(name, "png", 1, 1, data + self._pipeline["image"].encode()) for name in ("one", "two")]
        return {"source": source, "variants": store.put_variants(work.event.image_id, work.revision, variants)}

    def one_by_one(request: Callable[[Any], Any], things: Iterable[Any]) -> list[Any]:
        return [request(item) for item in things]  # in the thread that waits for the baton

    monkeypatch.setattr(Processor, "_make_variants", make_variants)
    monkeypatch.setattr("image_processor.records.store._in_parallel", one_by_one)
    releases = [
        Processor(store, RECIPE, SimpleNamespace(limits=limits), image, UPLOADS)  # type: ignore[arg-type]
        for image, limits in RELEASES.items()
    ]
    s3, dynamodb = store._s3, store._dynamodb

    def begin(seed: int) -> Life:
        for item in dynamodb.scan(TableName=store._table, ProjectionExpression="image_id")["Items"]:
            dynamodb.delete_item(TableName=store._table, Key=item)
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
        one.live(things=12)
        try:
            one.judge()
        except AssertionError as error:
            pytest.fail(f"seed {seed}: {error}\n" + "\n".join(one.log))
