"""Between S3 and the queue: what S3 tells is passed on twice, late, in another order, or dropped and told again."""

import json
import random
import threading
from collections import Counter
from typing import Any

from chaos.cloud import Deployment

_FOREIGN = {"bucket": {"name": "another-bucket"}, "object": {"key": "a.png", "sequencer": "0055AED6DCD90281E5"}}

#: Nobody's events: kept in the dead-letter queue, or ignored.
GARBAGE = (
    "this is no event",
    "{}",
    json.dumps({"Records": [{"eventName": "ObjectCreated:Put", "s3": {}}]}),
    json.dumps({"Records": [{"eventName": "ObjectCreated:Put", "eventTime": "2026-05-01T12:00:00Z", "s3": _FOREIGN}]}),
)
TEST_EVENT = json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "uploads"})


class Relay:
    def __init__(self, deployment: Deployment, seed: int) -> None:
        self._deployment, self._sqs, self._seed = deployment, deployment.cloud.client("sqs"), seed
        self._dice = random.Random(f"{seed}/relay")
        self._deliveries: Counter[str] = Counter()  # events by key
        self._held: list[tuple[int, str]] = []  # rounds to wait, body
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)
        self._ending = threading.Event()
        self.faults: Counter[str] = Counter()
        self.passed = 0
        self.garbage: Counter[str] = Counter()

    def start(self) -> None:
        self._thread.start()

    def finish(self) -> None:
        """Passes on all that is left, and returns when it is."""
        self._ending.set()
        self._thread.join(300)
        assert not self._thread.is_alive(), "the relay hangs"

    def _run(self) -> None:
        idle = 0
        while idle < 3 or self._held:
            bodies = self._receive()
            idle = idle + 1 if not bodies and self._ending.is_set() else 0
            ready = [body for rounds, body in self._held if rounds <= 0]
            self._held = [(rounds - 1, body) for rounds, body in self._held if rounds > 0]
            entries = [(body, 0) for body in ready]
            for body in bodies:
                dice = self._dice_of(body)
                entries += self._mischief(body, dice)
                if dice.random() < 0.02:
                    garbage = dice.choice(GARBAGE)
                    self.garbage[garbage] += 1
                    entries += [(garbage, 0), (TEST_EVENT, 0)]
            if self._dice.random() < 0.5 and len(entries) > 1:
                self._dice.shuffle(entries)
                self.faults["reordered"] += 1
            self._send(_apart(entries))

    def _receive(self) -> list[str]:
        url = self._deployment.s3_events
        bodies: list[str] = []
        while len(bodies) < 40:
            messages = self._sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=0).get(
                "Messages", []
            )
            if not messages:
                break
            bodies += [message["Body"] for message in messages]
            entries = [
                {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]}
                for number, message in enumerate(messages)
            ]
            self._sqs.delete_message_batch(QueueUrl=url, Entries=entries)
        if not bodies:
            threading.Event().wait(0.05)
        return bodies

    def _dice_of(self, body: str) -> random.Random:
        """Of the n-th event of a key, whenever it is received and whatever else is."""
        keys = [record["s3"]["object"]["key"] for record in json.loads(body).get("Records", [])]
        self._deliveries.update(keys)
        return random.Random(f"{self._seed}/{[(key, self._deliveries[key]) for key in keys]}")

    def _mischief(self, body: str, dice: random.Random) -> list[tuple[str, int]]:
        """Bodies to send now, each with a delay in seconds; what is held back comes in a later round."""
        self.passed += len(json.loads(body).get("Records", []))
        fate = dice.random()
        if fate < 0.10:
            self.faults["duplicated"] += 1
            return [(body, 0), (body, dice.choice((0, 0, 1, 3)))]
        if fate < 0.20:
            self.faults["delayed"] += 1
            return [(body, dice.choice((1, 2, 4)))]
        if fate < 0.28:
            self.faults["dropped, then told again"] += 1
            self._held.append((dice.randrange(5, 40), body))
            return []
        return [(body, 0)]

    def _send(self, entries: list[tuple[str, int]]) -> None:
        for start in range(0, len(entries), 10):
            batch = [
                {"Id": str(number), "MessageBody": body, "DelaySeconds": delay}
                for number, (body, delay) in enumerate(entries[start : start + 10])
            ]
            self._sqs.send_message_batch(QueueUrl=self._deployment.queue, Entries=batch)


def _apart(entries: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """Move later events of a key behind first ones: far apart, they are worked on at the same time."""
    seen: Counter[str] = Counter()
    ranks = []
    for body, _ in entries:
        key = _key(body)
        ranks.append(seen[key])
        seen[key] += 1
    return [entry for _, entry in sorted(zip(ranks, entries, strict=True), key=lambda pair: pair[0])]


def _key(body: str) -> str:
    """Return the key that a message is about, or the message if it is none of S3's."""
    try:
        return str(json.loads(body)["Records"][0]["s3"]["object"]["key"])
    except (ValueError, KeyError):
        return body


def drain(sqs: Any, url: str) -> list[str]:
    """Takes every message of a queue and returns their bodies."""
    bodies: list[str] = []
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        bodies += [message["Body"] for message in messages]
        for message in messages:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return bodies
