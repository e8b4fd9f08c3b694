"""The function host: a process that runs the emulator's invocations in real Lambda runtimes.

The emulator posts an event, with the function's ARN, version and request id in headers (`compat.functions`). The host
reads the function's role, limits and variables from the emulator, so that it runs exactly the deployed function.
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
from imagepipe.localcloud.runtime_api import Answer, Invocation, listen, read_body, respond
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
        """Answer one HTTP request."""
        if scope["type"] != "http":
            return
        if scope["path"] == "/health":
            await respond(send, http.HTTPStatus.OK, b'{"status": "ok"}')
            return
        headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
        result = await self._invoke(headers, await read_body(receive))
        error = {"X-Amz-Function-Error": "Unhandled"} if result.is_error else {}
        await respond(send, http.HTTPStatus.OK, result.payload, error)

    async def _invoke(self, headers: dict[str, str], payload: bytes) -> Answer:
        arn = headers["x-amzn-lambda-function-arn"]
        unqualified = ":".join(arn.split(":")[:7])
        try:
            pool = await self._pool(
                unqualified, headers["x-amzn-lambda-function-version"], headers["x-amzn-lambda-revision-id"]
            )
        except (ClientError, BotoCoreError) as error:
            return Answer.failure("Runtime.InitError", f"the function's configuration cannot be read: {error}")
        except PipelineError as error:
            return Answer.failure("Runtime.InitError", str(error))
        return await pool.invoke(Invocation(headers["x-amzn-lambda-request-id"], arn, payload))

    async def _pool(self, arn: str, version: str, revision: str) -> Pool:
        """Return the pool of the deployed revision; a changed $LATEST or a function created again gets a new pool."""
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
        """End idle workers of all pools, again and again."""
        while True:
            await asyncio.sleep(REAP_SECONDS)
            for pool in self._pools.values():
                pool.reap()

    async def kill(self) -> None:
        """End all workers now."""
        await asyncio.gather(*(pool.kill() for pool in self._pools.values()))


_tasks: set[asyncio.Task[None]] = set()


def _background(work: Any) -> None:
    """Start a task and hold a reference: Python may collect a task without one before it ends."""
    task = asyncio.create_task(work)
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


async def run(folder: Folder, listening: socket.socket) -> None:
    """Serve on a socket until SIGTERM or SIGINT."""
    emulator = Emulator(f"https://{LOOPBACK}:{remembered_port(folder)}", folder.certificate)
    host = FunctionHost(emulator, folder)
    stopping, done = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    _background(host.reap())
    serving = asyncio.create_task(listen(host, listening, done))
    await stopping.wait()
    await host.kill()  # first, so that no open request keeps the server from closing
    done.set()
    await serving


def main() -> None:
    """Run the host; arguments are the clone's folder and the descriptor of a listening socket."""
    root, descriptor = sys.argv[1:]
    asyncio.run(run(Folder(Path(root)), socket.socket(fileno=int(descriptor))))


if __name__ == "__main__":
    main()
