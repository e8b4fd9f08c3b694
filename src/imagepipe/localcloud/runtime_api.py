"""The Lambda Runtime API that one worker talks to.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html. Each worker has a port of its own, which identifies it:
the API has no field for an identity, and the runtime client takes only host:port.
"""

import asyncio
import json
import socket
from dataclasses import dataclass, field
from typing import Any

from hypercorn.asyncio import serve
from hypercorn.config import Config

VERSION_PATH = "/2018-06-01/runtime"


@dataclass(frozen=True)
class Invocation:
    """One event for a function."""

    request_id: str
    function_arn: str
    payload: bytes


@dataclass(frozen=True)
class Answer:
    """Result of an invocation: the function's payload, or an error in Lambda's JSON shape."""

    payload: bytes
    is_error: bool = False

    @property
    def message(self) -> str:
        """Message of an error."""
        return str(json.loads(self.payload)["errorMessage"])

    @classmethod
    def failure(cls, error_type: str, message: str) -> "Answer":
        """Make an error in Lambda's shape."""
        return cls(json.dumps({"errorType": error_type, "errorMessage": message}).encode(), is_error=True)


@dataclass
class RuntimeApi:
    """An ASGI application for one worker, driven through its queues."""

    #: Set when the worker requests its first event: it is initialised.
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    #: The worker's report of a failed initialisation, which it sends before it exits.
    init_error: Answer | None = None
    _events: asyncio.Queue[tuple[Invocation, int] | None] = field(default_factory=asyncio.Queue)
    _answer: asyncio.Future[Answer] | None = None
    _current: str = ""

    def send(self, invocation: Invocation, deadline_ms: int) -> asyncio.Future[Answer]:
        """Give the worker its next event; the future will hold the answer.

        `deadline_ms` counts from 1970.
        """
        self._current = invocation.request_id
        self._answer = asyncio.get_running_loop().create_future()
        self._events.put_nowait((invocation, deadline_ms))
        return self._answer

    def close(self) -> None:
        """End the worker's open request for the next event."""
        self._events.put_nowait(None)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Answer one HTTP request of the worker."""
        if scope["type"] != "http":
            return
        request = (scope["method"], scope["path"].removeprefix(VERSION_PATH))
        if request == ("GET", "/invocation/next"):
            self.ready.set()
            await self._send_event(send)
            return
        body = await read_body(receive)
        if request == ("POST", "/init/error"):
            self.init_error = Answer(body, is_error=True)
        elif request == ("POST", f"/invocation/{self._current}/response"):
            self._settle(Answer(body))
        elif request == ("POST", f"/invocation/{self._current}/error"):
            self._settle(Answer(body, is_error=True))
        else:
            await respond(send, 403, b'{"errorType": "InvalidRequestID", "errorMessage": "Invalid request ID"}')
            return
        await respond(send, 202, b'{"status": "OK"}')

    async def _send_event(self, send: Any) -> None:
        event = await self._events.get()
        if event is None:
            await respond(send, 410, b"{}")
            return
        invocation, deadline_ms = event
        headers = {
            "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
            "Lambda-Runtime-Deadline-Ms": str(deadline_ms),
            "Lambda-Runtime-Invoked-Function-Arn": invocation.function_arn,
        }
        await respond(send, 200, invocation.payload, headers)

    def _settle(self, answer: Answer) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(answer)


async def read_body(receive: Any) -> bytes:
    """Return the whole body of an ASGI request."""
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


async def respond(send: Any, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
    """Send an ASGI response, always with a content type: without one awslambdaric's client crashes."""
    named = {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})}
    raw = [(name.lower().encode(), value.encode()) for name, value in named.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


async def listen(application: Any, listening: socket.socket, stop: asyncio.Event, idle_seconds: float = 5) -> None:
    """Serve an ASGI application on a socket, which this function closes, until `stop` is set.

    A connection stays open for `idle_seconds` after its last request, even if the client has closed its end.
    """
    config = Config()
    config.bind = [f"fd://{listening.detach()}"]
    config.graceful_timeout = 0.1
    config.keep_alive_timeout = idle_seconds
    config.errorlog = None
    await serve(application, config, shutdown_trigger=stop.wait)
