"""The workers of one function version: reused while warm, added while all are busy, ended when idle or spent."""

import asyncio
import time
from collections import deque
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from imagepipe.localcloud.function import Credentials, Emulator, Function
from imagepipe.localcloud.log_shipping import LogShipper
from imagepipe.localcloud.runtime_api import Answer, Invocation
from imagepipe.localcloud.sandbox import Image
from imagepipe.localcloud.worker import Worker

#: Processes of one function version; further invocations wait. AWS has no such bound, a laptop does.
WORKER_LIMIT = 8
IDLE_SECONDS = 300.0


class Pool:
    """Workers of one function version, at most `WORKER_LIMIT`."""

    def __init__(self, function: Function, revision: str, emulator: Emulator, code: Path | Image, log: Path) -> None:
        self.revision = revision
        self.shipper = LogShipper(function, emulator, log)
        self._function = function
        self._emulator = emulator
        self.code = code
        self._idle: list[Worker] = []
        self._waiting: deque[asyncio.Future[Worker | Answer]] = deque()
        self._workers: set[Worker] = set()
        self._starting = 0
        self._credentials: Credentials | None = None
        self._assuming = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    async def invoke(self, invocation: Invocation) -> Answer:
        """Run an invocation in a free worker, or in a new one."""
        worker = await self._acquire()
        if isinstance(worker, Answer):
            return worker
        try:
            return await worker.invoke(invocation)
        finally:
            self._release(worker)

    def reap(self) -> None:
        """End workers that have been idle for `IDLE_SECONDS`, or whose credentials expire soon."""
        oldest = time.monotonic() - IDLE_SECONDS
        for worker in [worker for worker in self._idle if worker.idle_since < oldest or not worker.usable]:
            self._idle.remove(worker)
            self._discard(worker)

    async def close(self) -> None:
        """End idle workers now, and busy ones when their invocation ends."""
        self._closed = True
        while self._idle:
            self._discard(self._idle.pop())
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.shipper.flush()

    async def kill(self) -> None:
        """End every worker now, also in the middle of an invocation."""
        await asyncio.gather(*(worker.stop() for worker in self._workers), return_exceptions=True)
        await self.shipper.flush()

    async def _acquire(self) -> Worker | Answer:
        """Return an idle worker, or the first that becomes free; an error answer if a new worker cannot start."""
        while self._idle:
            worker = self._idle.pop()  # the one used last: its pages are the warmest, and the others may go
            if worker.usable:
                return worker
            self._discard(worker)
        future: asyncio.Future[Worker | Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self._grow()
        return await future

    def _grow(self) -> None:
        """Start a worker per waiting invocation, up to the limit."""
        while self._starting < len(self._waiting) and len(self._workers) + self._starting < WORKER_LIMIT:
            self._starting += 1
            self._spawn(self._start())

    async def _start(self) -> None:
        try:
            result = await self._new_worker()
        except Exception as error:  # the role is gone, the emulator stops: the caller gets an error, the host goes on
            result = Answer.failure("Runtime.InitError", f"the function cannot start: {error}")
        self._starting -= 1
        if isinstance(result, Worker):
            self._workers.add(result)
        self._hand_over(result)

    async def _new_worker(self) -> Worker | Answer:
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

    def _hand_over(self, result: Worker | Answer) -> None:
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
