"""The workers of one function version: reused while warm, added while all are busy, ended when idle or spent."""

import asyncio
import time
from collections import deque
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from imagepipe.localcloud.function import Credentials, Emulator, Function
from imagepipe.localcloud.log_shipping import LogShipper
from imagepipe.localcloud.runtime_api import Invocation, Outcome
from imagepipe.localcloud.sandbox import Image
from imagepipe.localcloud.worker import Worker

#: Processes of one function version; further invocations wait. AWS has no such bound, a laptop does.
WORKER_LIMIT = 8
IDLE_SECONDS = 300.0


class Pool:
    def __init__(self, function: Function, revision: str, emulator: Emulator, code: Path | Image, log: Path) -> None:
        self.revision = revision
        self.shipper = LogShipper(function, emulator, log)
        self._function = function
        self._emulator = emulator
        self.code = code
        self._idle: list[Worker] = []
        self._waiting: deque[asyncio.Future[Worker | Outcome]] = deque()
        self._workers: set[Worker] = set()
        self._starting = 0
        self._credentials: Credentials | None = None
        self._assuming = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    async def invoke(self, invocation: Invocation) -> Outcome:
        worker = await self._acquire()
        if isinstance(worker, Outcome):
            return worker
        try:
            return await worker.invoke(invocation)
        finally:
            self._release(worker)

    def reap(self) -> None:
        """Ends workers that had nothing to do for a while, or whose credentials run out."""
        oldest = time.monotonic() - IDLE_SECONDS
        for worker in [each for each in self._idle if each.idle_since < oldest or not each.usable]:
            self._idle.remove(worker)
            self._discard(worker)

    async def close(self) -> None:
        """Ends idle workers now, and busy ones as soon as they are done."""
        self._closed = True
        while self._idle:
            self._discard(self._idle.pop())
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.shipper.flush()

    async def kill(self) -> None:
        """Ends every worker now, whatever it does."""
        await asyncio.gather(*(worker.stop() for worker in self._workers), return_exceptions=True)
        await self.shipper.flush()

    async def _acquire(self) -> Worker | Outcome:
        """An idle worker, or the first that becomes free or ready; the reason if a new one cannot start."""
        while self._idle:
            worker = self._idle.pop()  # the one used last: its pages are the warmest, and the others may go
            if worker.usable:
                return worker
            self._discard(worker)
        future: asyncio.Future[Worker | Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self._grow()
        return await future

    def _grow(self) -> None:
        """Starts workers until each waiting invocation has one coming, or the bound is reached."""
        while self._starting < len(self._waiting) and len(self._workers) + self._starting < WORKER_LIMIT:
            self._starting += 1
            self._spawn(self._start())

    async def _start(self) -> None:
        try:
            result = await self._new_worker()
        except Exception as error:  # role gone, emulator stopping: the caller is told, the host lives on
            result = Outcome.failure("Runtime.InitError", f"the function cannot start: {error}")
        self._starting -= 1
        if isinstance(result, Worker):
            self._workers.add(result)
        self._hand_over(result)

    async def _new_worker(self) -> Worker | Outcome:
        worker = Worker(self._function, await self._fresh_credentials(), self.shipper.add)
        failure = await worker.start(self._emulator, self.code)
        if failure is None:
            return worker
        self.shipper.add(worker, failure.message)
        await worker.stop()
        return failure

    async def _fresh_credentials(self) -> Credentials:
        async with self._assuming:
            if self._credentials is None or not self._credentials.last:
                self._credentials = await asyncio.to_thread(self._emulator.assume_role, self._function)
                self.shipper.credentials = self._credentials
            return self._credentials

    def _release(self, worker: Worker) -> None:
        if self._closed or not worker.usable:
            self._discard(worker)
            self._grow()
        else:
            self._hand_over(worker)

    def _hand_over(self, result: Worker | Outcome) -> None:
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(result)
                return
        if isinstance(result, Worker):
            self._idle.append(result)

    def _discard(self, worker: Worker) -> None:
        self._workers.discard(worker)
        self._spawn(worker.stop())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
