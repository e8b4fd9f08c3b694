"""Whatever order events come in, however often, and wherever the process dies: the last thing that happened wins."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from image_processor.decoder.engine import Variant
from image_processor.events import ObjectEvent, padded
from image_processor.intake.processor import Processor
from image_processor.records.store import Store, is_about, is_newer

from ..conftest import PROCESSED, UPLOADS, Environment

KEY = "a.jpg"
NOW = datetime(2026, 5, 1, tzinfo=UTC)


class Died(BaseException):
    """The process is gone: no handler of exceptions runs on Lambda either."""


class Deliveries(RuleBasedStateMachine):
    """One key: what happens to it in S3, and deliveries of what happened, in any order."""

    environment: Environment
    processor: Processor

    def __init__(self) -> None:
        super().__init__()
        self._store = self.environment.store
        for name in self.environment.variants():
            self.environment.s3.delete_object(Bucket=PROCESSED, Key=name)
        self._forget()
        self.happened: list[ObjectEvent] = []
        self.delivered: set[int] = set()
        self.highest = ""

    def _forget(self) -> None:
        image = ObjectEvent(UPLOADS, KEY, True, "0", NOW).image_id
        self._store._dynamodb.delete_item(TableName=self._store._table, Key={"image_id": {"S": image}})

    @rule(created=st.booleans(), step=st.integers(1, 2**20), digits=st.sampled_from((14, 16, 18)))
    def something_happens(self, created: bool, step: int, digits: int) -> None:
        """S3's sequencers grow by any step and differ in length, compared as the guide says."""
        last = int(self.happened[-1].sequencer[:14], 16) if self.happened else 0x0055AED6DCD90
        text = f"{last + step:014x}".ljust(digits, "7")
        self.happened.append(ObjectEvent(UPLOADS, KEY, created, padded(text), NOW, size=3, etag=text))

    @precondition(lambda self: self.happened)
    @rule(data=st.data(), delivery=st.integers(1, 3), dies=st.sampled_from((None, None, "put", "publish", "clean")))
    def one_is_delivered(self, data: st.DataObject, delivery: int, dies: str | None) -> None:
        number = data.draw(st.integers(0, len(self.happened) - 1))
        with _dying(self._store, dies):
            self.processor.handle(self.happened[number], delivery)
            self.delivered.add(number)

    @invariant()
    def the_record_never_goes_back(self) -> None:
        record = self._record()
        assert (record["sequencer"] if record else "") >= self.highest
        self.highest = record["sequencer"] if record else ""

    @invariant()
    def the_newest_that_was_delivered_has_had_its_effect(self) -> None:
        if self.delivered:
            newest = self.happened[max(self.delivered)]
            record = self._record()
            assert record
            assert is_newer(record, newest) or (
                is_about(record, newest) and record["status"] == ("READY" if newest.created else "DELETED")
            )

    @invariant()
    def what_is_shown_is_there(self) -> None:
        record = self._record()
        shown = {variant["key"] for variant in ((record or {}).get("variants") or {}).values()}
        assert shown <= self.environment.variants()

    def teardown(self) -> None:
        for event in self.happened:
            self.processor.handle(event, 2)
        record = self._record()
        if self.happened:
            assert record
            assert record["sequencer"] == self.happened[-1].sequencer
            assert record["status"] == ("READY" if self.happened[-1].created else "DELETED")

    def _record(self) -> dict[str, Any] | None:
        return self._store.record(ObjectEvent(UPLOADS, KEY, True, "0", NOW).image_id)


@contextmanager
def _dying(store: Store, where: str | None) -> Iterator[None]:
    """Lets the process die after a write: of variants, of the record, or before what was replaced is cleaned up."""
    name = {"put": "put_variants", "publish": "publish", "clean": "delete_variants"}.get(where or "")
    with pytest.MonkeyPatch.context() as patched:
        if name:
            real = getattr(store, name)

            def last_words(*arguments: Any, **options: Any) -> None:
                if where != "clean":
                    real(*arguments, **options)
                raise Died

            patched.setattr(store, name, last_words)
        with suppress(Died):
            yield


@pytest.fixture
def undecoded(processor: Processor, monkeypatch: pytest.MonkeyPatch) -> Processor:
    """Events without objects: what is read and made is the same for all, how it is kept is what is tested."""
    contents = itertools.count()

    def make_variants(work: Any, data: bytes, source: dict[str, Any], _: float) -> dict[str, Any]:
        variant = Variant("w1-png", "png", 1, 1, data)
        return {
            "source": source,
            "variants": processor._store.put_variants(work.event.image_id, work.revision, [variant]),
        }

    monkeypatch.setattr(processor, "_read", lambda _: (b"abc", {"sha256": f"{next(contents):064x}"}))
    monkeypatch.setattr(processor, "_make_variants", make_variants)
    return processor


def test_any_order_of_deliveries_converges(environment: Environment, undecoded: Processor) -> None:
    machine = type("Machine", (Deliveries,), {"environment": environment, "processor": undecoded})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=12, stateful_step_count=14, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


@given(st.lists(st.text("0123456789abcdefABCDEF", min_size=1, max_size=32), min_size=2, max_size=2))
def test_padding_orders_like_text_of_equal_length(pair: list[str]) -> None:
    """The guide's rule, said in another way: the shorter one continues with zeros."""
    length = max(map(len, pair))
    first, second = (text.lower() + "0" * (length - len(text)) for text in pair)
    assert (padded(pair[0]) < padded(pair[1])) == (first < second)
