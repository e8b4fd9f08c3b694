"""Limits how fast messages are sent: so many a second, and few ahead of the functions that receive them."""

import time
from collections.abc import Callable, Iterable

from imagepipe.errors import PipelineError
from imagepipe.operations.records import batches
from imagepipe.operations.resources import Queue

#: Most messages that one SendMessageBatch takes.
BATCH = 10

#: Messages that may wait in the queue before sending pauses. So much work continues after a stop, and so much stands
#: before a fresh upload where both use one queue.
BACKLOG = 200

#: Seconds between two looks at a full queue.
LOOK_AGAIN = 1.0

#: Messages between two looks at the queue. SQS counts waiting messages with some delay, so a look per message would
#: tell no more.
LOOK_EVERY = 100


class Sender:
    """Sends messages at a rate, and pauses while the queue is full.

    Args:
        rate: messages a second.
        waiting: called with the number of waiting messages while sending pauses, and with None when it continues.
    """

    def __init__(
        self,
        queue: Queue,
        rate: float,
        waiting: Callable[[int | None], None] = lambda _: None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._queue, self._rate, self._waiting = queue, rate, waiting
        self._clock, self._sleep = clock, sleep
        self._next, self._unlooked = clock(), LOOK_EVERY

    def send(self, bodies: Iterable[str]) -> None:
        """Send messages, and return when SQS has accepted all of them.

        Raises:
            PipelineError: SQS refused some; those before them are sent.
        """
        for batch in batches(bodies, BATCH):
            self._let_pass(len(batch))
            entries = [{"Id": str(place), "MessageBody": body} for place, body in enumerate(batch)]
            answer = self._queue.sqs.send_message_batch(QueueUrl=self._queue.url, Entries=entries)
            if failed := answer.get("Failed"):
                reason = failed[0].get("Message") or failed[0]
                raise PipelineError(f"SQS refused {len(failed)} messages: {reason}; run the same command again")

    def _let_pass(self, count: int) -> None:
        self._unlooked += count
        if self._unlooked > LOOK_EVERY:
            while (waiting := self._queue.backlog()) > BACKLOG:
                self._waiting(waiting)
                self._sleep(LOOK_AGAIN)
            self._waiting(None)
            self._unlooked = count
        now = self._clock()
        if self._next > now:
            self._sleep(self._next - now)
        self._next = max(self._next, now) + count / self._rate
