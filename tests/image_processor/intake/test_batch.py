"""In which order a batch is worked on, when it stops, and what comes back when."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from image_processor.events import NotAnEvent
from image_processor.intake.batch import LONGEST_WORK, SPREAD, Message, Queues, work
from image_processor.intake.processor import GivenUp, Suspect

ARN, URL = "arn:aws:sqs:eu-west-1:111111111111:uploads", "https://queue"
MOST, VISIBILITY = 10, 360  # deliveries, seconds

#: Begun so long ago that whoever did it is dead.
SUSPECT = Suspect(begun=1, age=VISIBILITY)


@dataclass
class Sqs:
    """Remembers what it is told."""

    delays: dict[str, int] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)

    def change_message_visibility(self, *, QueueUrl: str, ReceiptHandle: str, VisibilityTimeout: int) -> None:
        assert QueueUrl == URL
        self.delays[ReceiptHandle] = VisibilityTimeout

    def delete_message(self, *, QueueUrl: str, ReceiptHandle: str) -> None:
        assert QueueUrl == URL
        self.deleted.append(ReceiptHandle)
        self.log.append(f"{ReceiptHandle} deleted")


def batch(*names: str, delivery: int = 1) -> list[Message]:
    return [Message(name, "", name, delivery, ARN) for name in names]


def worked(
    messages: list[Message],
    handle: Callable[[Message, bool], None],
    sqs: Sqs | None = None,
    seconds: Any = None,
    longest: float = 0,
) -> list[str]:
    left = seconds or (lambda: 60.0)
    queues = Queues(lambda: sqs or Sqs(), {ARN: URL}, VISIBILITY, MOST)  # type: ignore[arg-type,return-value]
    return [message.id for message in work(messages, left, handle, queues, longest)]


def raising(**errors: Exception) -> Callable[[Message, bool], None]:
    def handle(message: Message, risk: bool) -> None:
        if message.id in errors:
            raise errors[message.id]

    return handle


def test_only_what_failed_comes_back() -> None:
    assert worked(batch("a", "b", "c"), raising(b=ValueError("no"))) == ["b"]


@pytest.mark.parametrize(("delivery", "low", "high"), [(1, 5, 10), (2, 10, 20), (3, 20, 40), (9, 180, 360)])
def test_failures_come_back_later_each_time_and_at_most_after_the_visibility_timeout(
    delivery: int, low: int, high: int
) -> None:
    sqs = Sqs()
    worked(batch("a", delivery=delivery), raising(a=TimeoutError()), sqs)
    assert low <= sqs.delays["a"] <= high


def test_what_failed_for_the_last_time_is_a_dead_letter_at_once() -> None:
    sqs = Sqs()
    assert worked(batch("a", delivery=MOST), raising(a=TimeoutError()), sqs) == ["a"]
    assert sqs.delays == {"a": 0}


@pytest.mark.parametrize("error", [GivenUp(), NotAnEvent()])
def test_what_will_never_succeed_hurries_to_the_dead_letter_queue(error: Exception) -> None:
    sqs = Sqs()
    assert worked(batch("a"), raising(a=error), sqs) == ["a"]
    assert sqs.delays == {"a": 0}


def test_suspect_is_tried_last_and_after_its_neighbours_are_done_for_good() -> None:
    sqs = Sqs()

    def handle(message: Message, risk: bool) -> None:
        if message.id == "suspect" and not risk:
            raise SUSPECT
        sqs.log.append(message.id)

    assert worked(batch("suspect", "a", "b"), handle, sqs) == []
    assert sqs.log == ["a", "b", "a deleted", "b deleted", "suspect"]


def test_of_several_suspects_one_is_tried_and_the_others_come_back_at_different_times() -> None:
    sqs, tried = Sqs(), []

    def handle(message: Message, risk: bool) -> None:
        if not risk:
            raise SUSPECT
        tried.append(message.id)

    back = worked(batch("a", "b", "c"), handle, sqs)
    assert len(tried) == 1
    assert sorted(back + tried) == ["a", "b", "c"]
    assert all(SPREAD[0] <= sqs.delays[message] <= SPREAD[1] for message in back)


@pytest.mark.parametrize(("age", "delay"), [(0.0, 60), (-5.0, 60), (12.5, 48), (59.9, 1)])
def test_image_that_somebody_may_still_be_at_is_left_to_them(age: float, delay: int) -> None:
    """A duplicate that comes at the same time: later it is known to be done, and nothing is decoded twice."""
    sqs = Sqs()
    assert VISIBILITY * LONGEST_WORK == 60
    assert worked(batch("twin", "b"), raising(twin=Suspect(begun=1, age=age)), sqs) == ["twin"]
    assert sqs.delays == {"twin": delay}


def test_message_on_its_last_delivery_comes_first() -> None:
    began = []

    def handle(message: Message, risk: bool) -> None:
        began.append(message.id)

    worked([*batch("a"), *batch("last", delivery=MOST)], handle, None)
    assert began == ["last", "a"]


def test_no_image_but_the_first_is_begun_when_it_may_take_longer_than_is_left() -> None:
    """In a process that an earlier image has damaged, and then in a fresh one."""
    clock = iter([60.0, 34.0, 33.0, 33.0])  # at the start, then around each message
    assert worked(batch("a", "b"), raising(), None, lambda: next(clock), longest=30) == ["b"]


def test_message_at_its_last_delivery_is_worked_on_however_little_time_is_left() -> None:
    clock = iter([60.0, 60.0, 3.0, 3.0, 2.0])
    began = []

    def handle(message: Message, risk: bool) -> None:
        began.append(message.id)

    assert worked(batch("a", "b", delivery=MOST), handle, None, lambda: next(clock), longest=30) == []
    assert began == ["a", "b"]


def test_no_image_is_begun_when_a_quarter_of_the_time_is_left() -> None:
    clock = iter([60.0, 60.0, 14.0, 14.0])  # at the start, then around each message
    sqs = Sqs()
    assert worked(batch("a", "b"), raising(), sqs, lambda: next(clock)) == ["b"]
    assert sqs.delays == {"b": 0}


def test_no_image_is_begun_when_the_slowest_so_far_would_not_fit_twice() -> None:
    clock = iter([60.0, 60.0, 39.0, 39.0])  # the first took 21 s
    assert worked(batch("a", "b"), raising(), None, lambda: next(clock)) == ["b"]


def test_a_queue_that_does_not_listen_does_no_harm() -> None:
    class Deaf(Sqs):
        def change_message_visibility(self, **_: Any) -> None:
            raise TimeoutError

    assert worked(batch("a", "b"), raising(a=ValueError()), Deaf()) == ["a"]
