"""Reads the dead-letter queue without losing or hiding messages: those not removed are put back at once."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from image_processor import events
from imagepipe.errors import PipelineError
from imagepipe.operations.records import batches
from imagepipe.operations.resources import Resources

#: Seconds after which messages are visible again if this process is killed while it reads.
HIDDEN_SECONDS = 300

#: Seconds that a receive waits for messages. With 0, SQS would ask only a sample of its servers.
WAIT_SECONDS = 1

#: A queue may have 120,000 messages in flight; more cannot be received until some are put back.
MOST_HELD = 100_000

#: Most messages that one call receives, deletes or puts back.
BATCH = 10


@dataclass(frozen=True)
class Letter:
    """One message of the dead-letter queue."""

    message_id: str
    body: str
    sent: datetime
    image_ids: tuple[str, ...]
    keys: tuple[str, ...]
    problem: str | None  # why it is no event of this environment's bucket; None if it is one

    @property
    def of_backfill(self) -> bool:
        """Return whether the message came from the backfill queue and not from S3."""
        return self.problem is None and "reprocess" in json.loads(self.body)


class Drawer:
    """Every message of the queue once, in lists of up to ten, while this is open.

    with Drawer(resources) as drawer:
        for letters in drawer:
            drawer.remove(letters)
    """

    def __init__(self, resources: Resources) -> None:
        self._queue, self._bucket = resources.dead_letters, resources.upload_bucket
        self._held: dict[str, str] = {}  # message id → its newest receipt
        self._seen: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Put the messages back that were not removed, after Ctrl-C too."""
        for batch in batches(list(self._held.values()), BATCH):
            entries = [
                {"Id": str(n), "ReceiptHandle": receipt, "VisibilityTimeout": 0} for n, receipt in enumerate(batch)
            ]
            self._queue.sqs.change_message_visibility_batch(QueueUrl=self._queue.url, Entries=entries)
        self._held.clear()

    def __iter__(self) -> Iterator[list[Letter]]:
        while len(self._held) < MOST_HELD and (messages := self._receive()):
            fresh = [message for message in messages if message["MessageId"] not in self._seen]
            # A message that was held for too long comes again, once: only its newest receipt can put it back.
            self._held |= {message["MessageId"]: message["ReceiptHandle"] for message in messages}
            self._seen |= {message["MessageId"] for message in messages}
            if fresh:
                yield [_letter(message, self._bucket) for message in fresh]

    def remove(self, letters: list[Letter]) -> None:
        """Delete messages.

        Raises:
            PipelineError: SQS refused; the messages are still in the queue.
        """
        receipts = [self._held[letter.message_id] for letter in letters]
        entries = [{"Id": str(place), "ReceiptHandle": receipt} for place, receipt in enumerate(receipts)]
        for batch in batches(entries, BATCH):
            answer = self._queue.sqs.delete_message_batch(QueueUrl=self._queue.url, Entries=batch)
            if failed := answer.get("Failed"):
                reason = failed[0].get("Message")
                raise PipelineError(f"SQS refused to delete {len(failed)} messages ({reason}): run the command again")
        for letter in letters:
            del self._held[letter.message_id]

    def _receive(self) -> list[dict[str, Any]]:
        answer = self._queue.sqs.receive_message(
            QueueUrl=self._queue.url,
            MaxNumberOfMessages=BATCH,
            VisibilityTimeout=HIDDEN_SECONDS,
            WaitTimeSeconds=WAIT_SECONDS,
            MessageSystemAttributeNames=["SentTimestamp"],
        )
        return list(answer.get("Messages", []))


def _letter(message: dict[str, Any], bucket: str) -> Letter:
    sent = datetime.fromtimestamp(int(message["Attributes"]["SentTimestamp"]) / 1000, UTC)
    try:
        parsed = events.parse(message["Body"])
        ours = [event for event in parsed if event.bucket == bucket]
        problem = None if ours else f"an event of {parsed[0].bucket}" if parsed else "it names no object"
    except events.NotAnEvent as error:
        ours, problem = [], str(error)
    return Letter(
        message_id=message["MessageId"],
        body=message["Body"],
        sent=sent,
        image_ids=tuple(event.image_id for event in ours),
        keys=tuple(event.key for event in ours),
        problem=problem,
    )
