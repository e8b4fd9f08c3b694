"""The function host: a process that takes invocations from the emulator and has real Lambda runtimes answer them.

The emulator posts an event with the function's name, version and request id in headers (`compat` sees to it). What
the function is, its role, limits and variables, is read from the emulator, so that what runs is what is deployed.
"""

import asyncio
import http
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from imagepipe.errors import PipelineError
from imagepipe.localcloud import image_store
from imagepipe.localcloud.addresses import LOOPBACK, remembered_port
from imagepipe.localcloud.folder import Folder
from imagepipe.localcloud.function import Emulator
from imagepipe.localcloud.pool import Pool
from imagepipe.localcloud.runtime_api import Invocation, Outcome, listen, read_body, respond
from imagepipe.localcloud.sandbox import Image

REAP_SECONDS = 15.0


class FunctionHost:
    """An ASGI application: `POST /invoke` and `GET /health`."""

    def __init__(self, emulator: Emulator, folder: Folder) -> None:
        self._emulator = emulator
        self._folder = folder
        self._pools: dict[tuple[str, str], Pool] = {}
        self._reading = asyncio.Lock()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        if scope["path"] == "/health":
            await respond(send, http.HTTPStatus.OK, b'{"status": "ok"}')
            return
        headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
        outcome = await self._invoke(headers, await read_body(receive))
        error = {"X-Amz-Function-Error": "Unhandled"} if outcome.is_error else {}
        await respond(send, http.HTTPStatus.OK, outcome.payload, error)

    async def _invoke(self, headers: dict[str, str], payload: bytes) -> Outcome:
        arn = headers["x-amzn-lambda-function-arn"]
        unqualified = ":".join(arn.split(":")[:7])
        try:
            pool = await self._pool(
                unqualified, headers["x-amzn-lambda-function-version"], headers["x-amzn-lambda-revision-id"]
            )
        except (ClientError, BotoCoreError) as error:
            return Outcome.failure("Runtime.InitError", f"the function's configuration cannot be read: {error}")
        except PipelineError as error:
            return Outcome.failure("Runtime.InitError", str(error))
        return await pool.invoke(Invocation(headers["x-amzn-lambda-request-id"], arn, payload))

    async def _pool(self, arn: str, version: str, revision: str) -> Pool:
        """The pool of what is deployed now: a changed $LATEST, or a function made anew, gets a new one."""
        async with self._reading:
            pool = self._pools.get((arn, version))
            from_image = self._folder.runs_images.exists()
            if pool is not None and pool.revision == revision and isinstance(pool.code, Image) == from_image:
                return pool
            function = await asyncio.to_thread(self._emulator.function, arn, version)
            code: Path | Image = self._folder.function_source
            if from_image:
                code = await asyncio.to_thread(
                    image_store.find, self._folder, function.image_digest, function.image_repository
                )
            if pool is not None:
                _background(pool.close())
            pool = Pool(function, revision, self._emulator, code, self._folder.function_log)
            self._pools[arn, version] = pool
            return pool

    async def reap(self) -> None:
        while True:
            await asyncio.sleep(REAP_SECONDS)
            for pool in self._pools.values():
                pool.reap()

    async def kill(self) -> None:
        await asyncio.gather(*(pool.kill() for pool in self._pools.values()))


_tasks: set[asyncio.Task[None]] = set()


def _background(work: Any) -> None:
    """Tasks that nobody holds may be collected before they end."""
    task = asyncio.create_task(work)
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


async def run(folder: Folder, listening: socket.socket) -> None:
    emulator = Emulator(f"https://{LOOPBACK}:{remembered_port(folder)}", folder.certificate)
    host = FunctionHost(emulator, folder)
    told, done = asyncio.Event(), asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, told.set)
    _background(host.reap())
    serving = asyncio.create_task(listen(host, listening, done))
    await told.wait()
    await host.kill()  # first, so that no open request keeps the server from closing
    done.set()
    await serving


def main() -> None:
    root, descriptor = sys.argv[1:]
    asyncio.run(run(Folder(Path(root)), socket.socket(fileno=int(descriptor))))


if __name__ == "__main__":
    main()
