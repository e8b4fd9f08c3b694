"""Between the functions' processes and the cloud: passes requests on, refuses, loses the answer, kills the caller.

What a seed reproduces: who uploads and removes what under which key, in the order of each writer; the ids of the
images; what becomes of the n-th event of a key between S3 and the queue; the fault that the n-th request of a kind for
an image meets. What it does not: how writers, batches and functions interleave, so which request is the n-th, how many
there are and which images are made again meanwhile; nor the faults of requests that are about no image (those to SQS).
"""

import asyncio
import contextlib
import hashlib
import json
import random
import re
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h11
import psutil
import urllib3

from imagepipe.localcloud.host import FunctionHost


@dataclass(frozen=True)
class Call:
    """One request of a function, as far as faults and counts are concerned."""

    service: str  # s3, dynamodb, events, sqs, …
    operation: str  # GetObject, UpdateItem, PutEvents, …
    subject: str  # the image it is about, or nothing
    body: bytes

    @property
    def name(self) -> str:
        return f"{self.service}:{self.operation}"

    @property
    def begins(self) -> bool:
        """Whether it is the write that notes that work on an image begins."""
        return self.operation == "UpdateItem" and b'"PROCESSING"' in self.body

    @property
    def publishes(self) -> bool:
        """Whether it is the write that makes an outcome visible."""
        return self.operation == "UpdateItem" and b'"revision"' in self.body and b'"PROCESSING"' not in self.body


#: What may happen to a request, with the weight of each where it may.
FAULTS: dict[str, tuple[str, ...]] = {
    "refused": ("s3", "dynamodb", "events", "sqs"),  # 503, throttled: it had no effect
    "lost": ("s3", "dynamodb", "events"),  # it had its effect, the answer never came
    "cut": ("s3", "dynamodb", "events"),  # the connection broke first
    "late": ("s3", "dynamodb"),  # the connection broke, and it has its effect a moment later
    "slow": ("s3", "dynamodb", "events"),
    "killed before": ("s3", "dynamodb", "events"),
    "killed after": ("s3", "dynamodb", "events"),
}
DOOM = 100
KILLS = ("killed before", "killed after")
#: Seconds for which the begin of work on some images waits for another one of the same image.
MEETING_SECONDS = 4
WEIGHTS = {"refused": 6, "lost": 4, "cut": 3, "late": 2, "slow": 3}


class Schedule:
    """Which request meets which fault: decided by seed, operation, image and count, whatever else goes on meanwhile."""

    def __init__(self, seed: int, rate: float = 0.02, kill_rate: float = 0.002, meetings: float = 0) -> None:
        self.seed, self.rate, self.kill_rate, self.meetings = seed, rate, kill_rate, meetings
        self._counts: Counter[tuple[str, str]] = Counter()

    def fault(self, call: Call) -> str | None:
        if call.service not in {"s3", "dynamodb", "events", "sqs"}:
            return None
        self._counts[call.name, call.subject] += 1
        digest = hashlib.sha256(
            f"{self.seed}/{call.name}/{call.subject}/{self._counts[call.name, call.subject]}".encode()
        )
        dice = random.Random(digest.digest())
        # An image has good and bad days: a few that meet faults again and again get through all retries of the SDK.
        # Some have the worst of days: S3 refuses them through all deliveries, until they are redriven.
        luck = random.Random(f"{self.seed}/{call.subject}").choices((0.5, 1, 6, DOOM), (36, 24, 12, 1))[0]
        if luck == DOOM:
            return "refused" if call.service == "s3" else None
        # The writes that decide, and the announcer, are killed at more often than they are called.
        weight = 4 if call.publishes or call.service == "events" else 1
        if dice.random() < self.kill_rate * weight and call.service in FAULTS["killed after"]:
            return dice.choice(KILLS)
        if dice.random() < self.rate * luck:
            kinds = [kind for kind in WEIGHTS if call.service in FAULTS[kind]]
            return dice.choices(kinds, [WEIGHTS[kind] for kind in kinds])[0]
        return None

    def meets(self, call: Call) -> bool:
        """Whether it is the begin of work on an image for which two events may begin at once."""
        return call.begins and random.Random(f"{self.seed}/{call.subject}/meets").random() < self.meetings


@dataclass
class _Meeting:
    """Two begins of work on one image, by the sequencers of their events."""

    first: bytes
    second: bytes = b"g"  # after every hex digit: nobody came
    met: asyncio.Event = field(default_factory=asyncio.Event)
    written: asyncio.Event = field(default_factory=asyncio.Event)


def _sequencer(body: bytes) -> bytes:
    """Return the sequencer in a begin. Ids of images have as many digits, but begin with zeros once in 65,536."""
    return max(re.findall(rb'"(0000[0-9a-f]{28})"', body), default=b"")


class Proxy:
    def __init__(self, port: int, certificate: Path, key: Path, host: FunctionHost) -> None:
        self._upstream = urllib3.HTTPSConnectionPool(
            "127.0.0.1", port, ca_certs=str(certificate), maxsize=24, block=True, timeout=60
        )
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._tls.load_cert_chain(certificate, key)
        self._host = host
        self._threads = ThreadPoolExecutor(24)
        self._tasks: set[asyncio.Task[Any]] = set()
        self.schedule: Schedule | None = None
        self.counts: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        #: Images whose work was disturbed, by which the oracle excuses what they left behind.
        self.disturbed: set[str] = set()
        self._meetings: dict[str, _Meeting] = {}
        self.published = 0  # outcomes
        self.on_publish: Callable[[str], None] | None = None
        self.refuse: Callable[[Call], bool] | None = None

    async def serve(self, listening: socket.socket) -> None:
        await asyncio.start_server(self._client, sock=listening, ssl=self._tls, limit=2**22)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER)
        try:
            while True:
                request, body = await self._read(connection, reader, writer)
                if request is None:
                    return
                answer = await self._answer(request, body, writer)
                if answer is None:
                    writer.transport.abort()
                    return
                status, headers, content = answer
                head = connection.send(h11.Response(status_code=status, headers=headers)) or b""
                if content and request.method != b"HEAD" and status not in (204, 304):
                    head += connection.send(h11.Data(data=content)) or b""
                writer.write(head + (connection.send(h11.EndOfMessage()) or b""))
                await writer.drain()
                if connection.our_state is h11.MUST_CLOSE:
                    return
                connection.start_next_cycle()
        except (ConnectionError, h11.RemoteProtocolError, ssl.SSLError, asyncio.IncompleteReadError):
            pass
        finally:
            with contextlib.suppress(Exception):
                writer.close()

    @staticmethod
    async def _read(
        connection: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[h11.Request | None, bytes]:
        request, parts = None, []
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                if connection.they_are_waiting_for_100_continue:
                    writer.write(connection.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
                connection.receive_data(await reader.read(65536))
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                parts.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                return request, b"".join(parts)
            else:
                return None, b""

    async def _answer(
        self, request: h11.Request, body: bytes, writer: asyncio.StreamWriter
    ) -> tuple[int, list[tuple[str, str]], bytes] | None:
        call = _call(request, body)
        self.counts[call.name] += 1
        if self.refuse and self.refuse(call):
            return _refusal(call)
        fault = self.schedule.fault(call) if self.schedule else None
        if fault:
            self.faults[f"{call.service} {fault}"] += 1
            self.disturbed.add(call.subject)
        if fault == "refused":
            return _refusal(call)
        if fault == "slow":
            await asyncio.sleep(0.7)
        if fault in {"cut", "late"}:
            if fault == "late":
                self._later(self._forward(request, body, call), 0.4)
            return None
        if fault == "killed before":
            self._kill(writer)
            return None
        if self.schedule and self.schedule.meets(call):
            answer = await self._meet(request, body, call)
        else:
            answer = await self._forward(request, body, call)
        if fault == "lost":
            return None
        if fault == "killed after":
            self._kill(writer)
            return None
        return answer

    async def _meet(self, request: h11.Request, body: bytes, call: Call) -> tuple[int, list[tuple[str, str]], bytes]:
        """Hold a begin until another one of the same image comes; then the older event's has its effect first.

        Both were decided on the same record, and the newer event is the one that loses the race.
        """
        mine = _sequencer(body)
        if other := self._meetings.pop(call.subject, None):
            self.faults["dynamodb met"] += 1
            other.second = mine
            other.met.set()
            if other.first <= mine:
                await other.written.wait()
            try:
                return await self._forward(request, body, call)
            finally:
                other.written.set()
        meeting = self._meetings[call.subject] = _Meeting(mine)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(meeting.met.wait(), MEETING_SECONDS)
        if self._meetings.get(call.subject) is meeting:
            del self._meetings[call.subject]
        if meeting.second < meeting.first:
            await meeting.written.wait()
        try:
            return await self._forward(request, body, call)
        finally:
            meeting.written.set()

    def _later(self, work: Any, seconds: float) -> None:
        async def wait() -> None:
            await asyncio.sleep(seconds)
            await work

        task = asyncio.create_task(wait())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _forward(self, request: h11.Request, body: bytes, call: Call) -> tuple[int, list[tuple[str, str]], bytes]:
        skipped = {b"transfer-encoding", b"expect", b"connection", b"content-length"}
        headers = {name.decode(): value.decode("latin-1") for name, value in request.headers if name not in skipped}
        if body:
            headers["content-length"] = str(len(body))

        def send() -> urllib3.BaseHTTPResponse:
            return self._upstream.urlopen(
                request.method.decode(), request.target.decode(), body=body or None, headers=headers, retries=False,
                redirect=False, preload_content=True, decode_content=False, assert_same_host=False,
            )  # fmt: skip

        answer = await asyncio.get_running_loop().run_in_executor(self._threads, send)
        if call.publishes and answer.status == 200:
            self.published += 1
            if self.on_publish:
                self.on_publish(call.subject)
        kept = [
            (name, value)
            for name, value in answer.headers.items()
            if name.lower() not in {"transfer-encoding", "connection", "content-length"}
        ]
        length = answer.headers.get("content-length") if request.method == b"HEAD" else str(len(answer.data))
        return answer.status, [*kept, ("content-length", length or "0")], answer.data

    def _kill(self, writer: asyncio.StreamWriter) -> None:
        """Ends the process at the other end of a connection, as Lambda does: without a word."""
        port = writer.get_extra_info("peername")[1]
        for pool in self._host._pools.values():
            for worker in list(pool._workers):
                process = worker._process
                if process is None or process.returncode is not None:
                    continue
                with contextlib.suppress(psutil.Error):
                    ports = {connection.laddr.port for connection in psutil.Process(process.pid).net_connections("tcp")}
                    if port in ports:
                        process.kill()
                        return


_IMAGE = re.compile(r"[0-9a-f]{32}")


def _call(request: h11.Request, body: bytes) -> Call:
    headers = {name.decode(): value.decode("latin-1") for name, value in request.headers}
    scope = re.search(r"Credential=[^/]+/\d+/[^/]+/([^/]+)/", headers.get("authorization", ""))
    service = scope.group(1) if scope else "unsigned"
    path = request.target.decode()
    subject = ""
    if target := headers.get("x-amz-target"):
        operation = target.rpartition(".")[2]
        if service == "dynamodb" and (match := re.search(rb'"image_id": ?\{"S": ?"([^"]+)"', body)):
            subject = match.group(1).decode()
        elif service == "events" and (named := re.search(rb"image_id\W+([0-9a-f]{32})", body)):
            subject = named.group(1).decode()  # of several, the first
    elif service == "s3":
        operation = _s3_operation(request.method.decode(), path, headers)
        if "-processed-" in path:
            # In the key of an object, in the prefix of a list, or in the list of what is to be deleted.
            image = _IMAGE.search(path.partition("-processed-")[2]) or _IMAGE.search(body[:2000].decode("latin-1"))
            subject = image.group(0) if image else ""
        elif "-uploads-" in path:
            bucket, _, key = path.partition("?")[0].lstrip("/").partition("/")
            subject = hashlib.sha256(f"{bucket}/{_unquoted(key)}".encode()).hexdigest()[:32]
    else:
        operation = path.partition("?")[0]
    return Call(service, operation, subject, body)


def _unquoted(key: str) -> str:
    from urllib.parse import unquote

    return unquote(key)


def _s3_operation(method: str, path: str, headers: dict[str, str]) -> str:
    if method == "GET" and "list-type" in path:
        return "ListObjects"
    if method == "POST":
        return "DeleteObjects"
    if method == "PUT" and "x-amz-copy-source" in headers:
        return "CopyObject"
    return {"GET": "GetObject", "PUT": "PutObject", "HEAD": "HeadObject", "DELETE": "DeleteObject"}[method]


def _refusal(call: Call) -> tuple[int, list[tuple[str, str]], bytes]:
    if call.service == "s3":
        content = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>injected</Message></Error>"
        return 503, [("content-type", "application/xml"), ("content-length", str(len(content)))], content
    content = json.dumps({"__type": "ThrottlingException", "message": "injected"}).encode()
    return 400, [("content-type", "application/x-amz-json-1.0"), ("content-length", str(len(content)))], content
