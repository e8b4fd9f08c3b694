"""One batch of a queue: in which order its messages are worked on, when to stop, and what comes back when."""

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

#: A share of the time that an invocation has: with less left, no further image is begun.
LAST_START = 0.25

#: A share of the visibility timeout: no function runs for longer than a sixth of it, the compute module sees to that.
LONGEST_WORK = 1 / 6

#: Suspects that were not tried come back at different times, in seconds, so that they meet in no batch again.
SPREAD = (1, 30)


@dataclass(frozen=True)
class Message:
    id: str
    body: str
    handle: str
    delivery: int  # how often it was received, this time included
    queue_arn: str

    @classmethod
    def of(cls, record: dict[str, Any]) -> "Message":
        """Shape: https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html"""
        return cls(
            record["messageId"],
            record["body"],
            record["receiptHandle"],
            int(record["attributes"]["ApproximateReceiveCount"]),
            record["eventSourceARN"],
        )


@dataclass(frozen=True)
class Queues:
    """What can be said about messages to the queues that they came from."""

    sqs: Callable[[], "SQSClient"]  # made when it is needed: that is, when something went wrong
    urls: dict[str, str]  # by ARN
    visibility_timeout: int  # seconds
    most_deliveries: int  # after so many, SQS moves a message to the dead-letter queue instead of delivering it again

    def is_last(self, message: Message) -> bool:
        """Whether it will not be delivered again."""
        return message.delivery >= self.most_deliveries

    def delay(self, message: Message, seconds: float) -> None:
        """Lets a message come back so many seconds from now. Where that fails, it does after its visibility timeout."""
        try:
            self.sqs().change_message_visibility(
                QueueUrl=self.urls[message.queue_arn],
                ReceiptHandle=message.handle,
                VisibilityTimeout=min(round(seconds), self.visibility_timeout),
            )
        except Exception:  # an optimisation must not become a failure
            logger.warning("a message could not be delayed", exc_info=True)

    def delete(self, messages: list[Message]) -> None:
        """Says that messages are done now and not with the batch."""
        for message in messages:
            try:
                self.sqs().delete_message(QueueUrl=self.urls[message.queue_arn], ReceiptHandle=message.handle)
            except Exception:  # the answer to the batch says it once more
                logger.warning("a message could not be deleted", exc_info=True)

    def still_worked_on(self, suspect: Suspect) -> float:
        """Seconds for which whoever began work on an image may still be at it; 0 where that process must be dead.

        The same object announced twice, or one message delivered twice, mostly comes at about the same time.
        """
        longest = self.visibility_timeout * LONGEST_WORK
        return min(max(0.0, longest - suspect.age), longest)

    def backoff(self, delivery: int) -> float:
        """Seconds until the next try: about 10, 20, 40 … for a visibility timeout of 6 minutes, and at most that.

        After the last one there is nothing to wait for: what has failed is in the dead-letter queue at once.
        """
        if delivery >= self.most_deliveries:
            return 0
        longest: float = min(self.visibility_timeout, self.visibility_timeout / 36 * 2 ** (delivery - 1))
        return random.uniform(0.5, 1) * longest  # noqa: S311


def work(
    messages: list[Message], seconds_left: Callable[[], float], handle: Callable[[Message, bool], None], queues: Queues
) -> list[Message]:
    """Works on a batch and returns the messages that are to come back.

    `handle` is given a message and whether it may run a risk. A message whose image was begun before and has not ended
    comes back when that work must have ended: then it is done, and nothing was decoded twice. If it never ended, it may
    be the one that kills the process: it waits until all others are done and deleted, and is then tried alone.
    """
    reserve, slowest = seconds_left() * LAST_START, 0.0
    done: list[Message] = []
    back: list[Message] = []
    suspects: list[Message] = []

    def attempt(message: Message, risk: bool) -> None:
        nonlocal slowest
        began = seconds_left()
        if began < max(reserve, 2 * slowest):
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
            queues.delay(message, 0)  # nothing will change: on to the dead-letter queue
            back.append(message)
        except Exception:  # whatever it is, it is this message's alone; it has been logged
            queues.delay(message, queues.backoff(message.delivery))
            back.append(message)
        else:
            done.append(message)
        slowest = max(slowest, began - seconds_left())

    for message in sorted(messages, key=queues.is_last, reverse=True):  # what does not come back is not put off
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
