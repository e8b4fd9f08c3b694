"""Handles one batch of a queue: the order of its messages, when to stop, and when a failed message comes back."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from image_processor.events import NotAnEvent
from image_processor.intake.processor import GivenUp, Suspect
from image_processor.telemetry import logger

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

#: Share of an invocation's time: with less left, no further image is begun.
LAST_START = 0.25

#: Share of an invocation's time that no image gets: what is left for its last writes, and to write FAILED for others.
SPARE = 1 / 12

#: Share of the visibility timeout that a function may run for: modules/compute enforces it.
LONGEST_WORK = 1 / 6

#: Seconds after which suspects that were not tried come back: at different times, so that they share no batch again.
SPREAD = (1, 30)


@dataclass(frozen=True)
class Message:
    """A message of a queue."""

    id: str
    body: str
    handle: str
    delivery: int  # how often it was received, this time included
    queue_arn: str

    @classmethod
    def of(cls, record: dict[str, Any]) -> "Message":
        """Read a record of Lambda's event: https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html."""
        return cls(
            record["messageId"],
            record["body"],
            record["receiptHandle"],
            int(record["attributes"]["ApproximateReceiveCount"]),
            record["eventSourceARN"],
        )


@dataclass(frozen=True)
class Queues:
    """The queues that messages come from: their limits, and requests about a message."""

    sqs: Callable[[], "SQSClient"]  # made only when it is needed: after a failure
    urls: dict[str, str]  # by ARN
    visibility_timeout: int  # seconds
    most_deliveries: int  # after so many, SQS moves a message to the dead-letter queue instead of delivering it again

    def is_last(self, message: Message) -> bool:
        """Return whether a message will not be delivered again."""
        return message.delivery >= self.most_deliveries

    def delay(self, message: Message, seconds: float) -> None:
        """Let a message come back in so many seconds. If that fails, it comes back after its visibility timeout."""
        try:
            self.sqs().change_message_visibility(
                QueueUrl=self.urls[message.queue_arn],
                ReceiptHandle=message.handle,
                VisibilityTimeout=min(round(seconds), self.visibility_timeout),
            )
        except Exception:  # an optimisation must not become a failure
            logger.warning("a message could not be delayed", exc_info=True)

    def delete(self, messages: list[Message]) -> None:
        """Delete messages now, not with the batch."""
        for message in messages:
            try:
                self.sqs().delete_message(QueueUrl=self.urls[message.queue_arn], ReceiptHandle=message.handle)
            except Exception:  # the answer to the batch deletes it as well
                logger.warning("a message could not be deleted", exc_info=True)

    def still_worked_on(self, suspect: Suspect) -> float:
        """Return the seconds for which the worker that began an image may still be alive; 0 if it must be dead.

        Duplicates of an event mostly come at about the same time.
        """
        longest = self.visibility_timeout * LONGEST_WORK
        return min(max(0.0, longest - suspect.age), longest)

    def backoff(self, delivery: int) -> float:
        """Return the seconds until the next try: about 10, 20, 40 … for a visibility timeout of 6 minutes, its maximum.

        After the last try it is 0, so that the message is in the dead-letter queue at once.
        """
        if delivery >= self.most_deliveries:
            return 0
        longest: float = min(self.visibility_timeout, self.visibility_timeout / 36 * 2 ** (delivery - 1))
        return random.uniform(0.5, 1) * longest  # noqa: S311


def work(
    messages: list[Message],
    seconds_left: Callable[[], float],
    handle: Callable[[Message, bool], None],
    queues: Queues,
    longest: float,
) -> list[Message]:
    """Handle a batch; return the messages that must come back.

    `longest` is the number of seconds that one image may take. With less left, only the first is begun, and messages at
    their last delivery: those get no other try, and must not become dead letters without a verdict.

    `handle` takes a message and whether it may run a risk. A message whose image was begun before without an end comes
    back when that work must be over: usually it is done by then, and nothing is decoded twice. If it still has no end,
    the image may have killed the process: it waits until all others are done and deleted, and is then tried alone.
    """
    start, slowest = seconds_left(), 0.0
    reserve = max(start * LAST_START, longest + start * SPARE)
    done: list[Message] = []
    back: list[Message] = []
    suspects: list[Message] = []

    def attempt(message: Message, risk: bool) -> None:
        nonlocal slowest
        began = seconds_left()
        first = not (done or back or suspects)
        if began < max(reserve, 2 * slowest) and not first and not queues.is_last(message):
            logger.info("too little time is left for another image", extra={"message_id": message.id})
            queues.delay(message, 0)
            back.append(message)
            return
        try:
            handle(message, risk)
        except Suspect as suspect:
            if rest := queues.still_worked_on(suspect):
                queues.delay(message, math.ceil(rest))
                back.append(message)
            else:
                suspects.append(message)
        except (GivenUp, NotAnEvent):
            queues.delay(message, 0)  # another try would end the same way: on to the dead-letter queue
            back.append(message)
        except Exception:  # logged by `handle`; it must not fail the other messages
            queues.delay(message, queues.backoff(message.delivery))
            back.append(message)
        else:
            done.append(message)
        slowest = max(slowest, began - seconds_left())

    for message in sorted(messages, key=queues.is_last, reverse=True):  # last deliveries first: they get no other try
        attempt(message, risk=False)
    if suspects:
        chosen = random.choice(suspects)  # noqa: S311
        for message in suspects:
            if message is not chosen:
                queues.delay(message, random.uniform(*SPREAD))  # noqa: S311
                back.append(message)
        queues.delete(done)
        attempt(chosen, risk=True)
    return back
