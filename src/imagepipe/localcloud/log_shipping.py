"""Sends the output of functions to CloudWatch log groups with the credentials of their roles, as Lambda does.

So a role without permission to write logs leaves none here either. Lines in CloudWatch's embedded metric format become
metrics when CloudWatch Logs has accepted them; on AWS, CloudWatch does that itself.
"""

import asyncio
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from imagepipe.localcloud import embedded_metrics
from imagepipe.localcloud.function import Credentials, Emulator, Function

if TYPE_CHECKING:
    from imagepipe.localcloud.worker import Worker

FLUSH_SECONDS = 0.3
#: PutLogEvents takes up to 10,000 events and 1 MiB, 26 bytes counted on top of each.
BATCH_EVENTS, BATCH_BYTES, EVENT_OVERHEAD = 10_000, 1_000_000, 26


class LogShipper:
    """Collects the lines of one function version and sends them in batches."""

    def __init__(self, function: Function, emulator: Emulator, file: Path) -> None:
        self.credentials: Credentials | None = None
        self._function = function
        self._emulator = emulator
        self._file = file
        self._pending: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._streams: set[str] = set()
        self._cloudwatch: Any = None
        self._client: Any = None
        self._client_credentials: Credentials | None = None
        self._flushing = asyncio.Lock()
        self._due: asyncio.Task[None] | None = None

    def add(self, worker: "Worker", line: str) -> None:
        """Take one line of a worker, to be sent a little later together with others."""
        if not line:
            return
        function = self._function
        with self._file.open("a") as file:
            file.write(f"{function.account_id} {function.name}[{function.version}] {line}\n")
        self._pending[worker.log_stream].append({"timestamp": int(time.time() * 1000), "message": line})
        if self._due is None or self._due.done():
            self._due = asyncio.create_task(self._flush_soon())

    async def flush(self) -> None:
        """Send the pending lines. A role without the permission loses them, as on AWS; the local file has them."""
        async with self._flushing:
            while self._pending:
                stream, events = self._pending.popitem()
                for batch in _batches(events):
                    try:
                        await asyncio.to_thread(self._send, stream, batch)
                    except (ClientError, BotoCoreError) as error:
                        with self._file.open("a") as file:
                            file.write(f"{self._function.account_id} {self._function.name} logs not sent: {error}\n")
                        break

    async def _flush_soon(self) -> None:
        while self._pending:
            await asyncio.sleep(FLUSH_SECONDS)
            await self.flush()

    def _send(self, stream: str, events: list[dict[str, Any]]) -> None:
        logs = self._logs()
        group = self._function.log_group
        if stream not in self._streams:
            try:
                logs.create_log_stream(logGroupName=group, logStreamName=stream)
            except logs.exceptions.ResourceNotFoundException:
                logs.create_log_group(logGroupName=group)
                logs.create_log_stream(logGroupName=group, logStreamName=stream)
            self._streams.add(stream)
        logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)
        self._put_metrics(events)

    def _put_metrics(self, events: list[dict[str, Any]]) -> None:
        function = self._function
        metrics = embedded_metrics.extract(event["message"] for event in events)
        if metrics:
            if self._cloudwatch is None:
                self._cloudwatch = self._emulator.client("cloudwatch", function.region, function.account_id)
            for namespace, data in metrics.items():
                for first in range(0, len(data), embedded_metrics.REQUEST_LIMIT):
                    self._cloudwatch.put_metric_data(
                        Namespace=namespace, MetricData=data[first : first + embedded_metrics.REQUEST_LIMIT]
                    )

    def _logs(self) -> Any:
        """Return a client with the role's current credentials."""
        if self._client is None or self._client_credentials is not self.credentials:
            assert self.credentials is not None
            self._client = self._emulator.client("logs", self._function.region, self.credentials)
            self._client_credentials = self.credentials
        return self._client


def _batches(events: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    batches: list[list[dict[str, Any]]] = []
    size = BATCH_BYTES
    for event in events:
        size += len(event["message"].encode()) + EVENT_OVERHEAD
        if size > BATCH_BYTES or len(batches[-1]) == BATCH_EVENTS:
            batches.append([])
            size = len(event["message"].encode()) + EVENT_OVERHEAD
        batches[-1].append(event)
    return batches
