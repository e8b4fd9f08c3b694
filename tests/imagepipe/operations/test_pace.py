"""How fast messages are sent."""

from typing import Any

import pytest

from imagepipe.errors import PipelineError
from imagepipe.operations.pace import BACKLOG, LOOK_EVERY, Sender


class FakeQueue:
    """A queue whose length is scripted, beside a clock that sleeping moves."""

    def __init__(self, *lengths: int) -> None:
        self.url, self.sqs, self.lengths, self.bodies, self.time = "url", self, list(lengths), list[str](), 0.0

    def backlog(self) -> int:
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
    queue, lengths = FakeQueue(BACKLOG + 7, BACKLOG + 1, BACKLOG), list[int | None]()
    queue.sender(1000, lengths.append).send(["x"])
    assert lengths == [BACKLOG + 7, BACKLOG + 1, None]


def test_queue_is_looked_at_again_after_so_many_messages() -> None:
    queue = FakeQueue(0, 0, 0)
    queue.sender(1000).send(["x"] * (LOOK_EVERY + 1))
    assert len(queue.lengths) == 1


def test_refused_message_is_an_error() -> None:
    with pytest.raises(PipelineError, match="SQS refused 1 messages: too long"):
        FakeQueue().sender(1000).send(["bad"])
