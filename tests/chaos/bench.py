"""`make bench-pipeline`: requests for an image, by kind, and events per second through queue, function and record."""

import io
import json
import os
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from PIL import Image
from rich.console import Console
from rich.table import Table

from chaos.cloud import ChaosCloud, Deployment
from chaos.relay import drain
from imagepipe.live.environments import ROOT
from imagepipe.tools import tool_variables

RESULT = ROOT / "build/bench/pipeline.json"

#: Images per kind: enough that one odd request shows as a fraction.
COUNT = 10
EVENTS = 100
SECONDS = 180
COUNTED = ("s3:", "dynamodb:", "events:", "sqs:")


class Bench:
    def __init__(self, deployment: Deployment) -> None:
        self._deployment, self._cloud = deployment, deployment.cloud
        self._sqs, self._s3 = deployment.cloud.client("sqs"), deployment.cloud.client("s3")
        self._number = 0

    def upload(self, key: str, data: bytes) -> None:
        self._s3.put_object(Bucket=self._deployment.uploads, Key=key, Body=data)

    def take_events(self, count: int) -> list[str]:
        """Take the events of so many changes from S3's queue."""
        bodies: list[str] = []
        deadline = time.monotonic() + SECONDS
        while len(bodies) < count and time.monotonic() < deadline:
            bodies += [body for body in drain(self._sqs, self._deployment.s3_events) if '"Records"' in body]
        return bodies

    def send(self, bodies: list[str]) -> None:
        for start in range(0, len(bodies), 10):
            entries = [
                {"Id": str(number), "MessageBody": body} for number, body in enumerate(bodies[start : start + 10])
            ]
            self._sqs.send_message_batch(QueueUrl=self._deployment.queue, Entries=entries)

    def finished(self) -> None:
        """Waits until the queue is empty and nothing of it is being worked on."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        deadline = time.monotonic() + SECONDS
        while any(
            value != "0"
            for value in self._sqs.get_queue_attributes(QueueUrl=self._deployment.queue, AttributeNames=names)[
                "Attributes"
            ].values()
        ):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the queue is not empty after {SECONDS} s")
            time.sleep(0.02)

    def requests(self, bodies: list[str]) -> dict[str, float]:
        """Requests per message of a batch that is sent and worked on."""
        self._settled()
        before = Counter(self._cloud.proxy.counts)
        self.send(bodies)
        self.finished()
        self._settled()
        spent = self._cloud.proxy.counts - before
        return {
            name: round(count / len(bodies), 2) for name, count in sorted(spent.items()) if name.startswith(COUNTED)
        }

    def _settled(self) -> None:
        """Waits until the announcer is done too."""
        seen, since = -1, time.monotonic()
        while time.monotonic() - since < 1.5:
            total = self._cloud.proxy.counts["events:PutEvents"]
            if total != seen:
                seen, since = total, time.monotonic()
            time.sleep(0.1)


def picture(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (20, 20), (number % 256, number // 256 % 256, 90)).save(buffer, "PNG")
    return buffer.getvalue()


def measure(deployment: Deployment) -> dict[str, Any]:
    bench = Bench(deployment)
    bench.upload("warm.png", picture(65_000))
    bench.send(bench.take_events(1))
    bench.finished()
    kinds: dict[str, dict[str, float]] = {}
    for number in range(COUNT):
        bench.upload(f"first/{number}.png", picture(number))
    first = bench.take_events(COUNT)
    kinds["first"] = bench.requests(first)
    kinds["duplicate"] = bench.requests(first)
    for number in range(COUNT):
        bench.upload(f"same/{number}.png", picture(number))
    kinds["same content, other key"] = bench.requests(bench.take_events(COUNT))
    for number in range(COUNT):
        bench.upload(f"broken/{number}.png", b"no image %d" % number)
    kinds["rejected"] = bench.requests(bench.take_events(COUNT))
    for number in range(COUNT):
        bench.upload(f"first/{number}.png", picture(1000 + number))
    kinds["overwritten"] = bench.requests(bench.take_events(COUNT))
    for number in range(COUNT):
        deployment.cloud.client("s3").delete_object(Bucket=deployment.uploads, Key=f"first/{number}.png")
    kinds["removed"] = bench.requests(bench.take_events(COUNT))
    for number in range(EVENTS):
        bench.upload(f"many/{number}.png", picture(10_000 + number))
    many = bench.take_events(EVENTS)
    began = time.monotonic()
    bench.send(many)
    bench.finished()
    return {
        "events": EVENTS,
        "events_per_second": round(EVENTS / (time.monotonic() - began), 1),
        "requests_per_image": kinds,
    }


def main() -> None:
    os.environ.update(tool_variables())
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        cloud = ChaosCloud(Path(folder) / "clone")
        try:
            bodies = measure(Deployment(cloud, Path(folder) / "modules", visibility=360))
        finally:
            cloud.close()
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(bodies, indent=2) + "\n")
    kinds = bodies["requests_per_image"]
    table = Table("requests per image", *kinds)
    for name in sorted({name for counts in kinds.values() for name in counts}):
        table.add_row(name.replace(":", " "), *(f"{counts.get(name, 0):g}" for counts in kinds.values()))
    Console().print(table)
    Console().print(f"{bodies['events_per_second']} events per second through queue, function and record")


if __name__ == "__main__":
    main()
