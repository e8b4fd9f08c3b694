"""One execution environment: a real `awslambdaric` process within the limits of its function."""

import asyncio
import contextlib
import os
import signal
import sys
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from imagepipe.localcloud import function_filter, sandbox
from imagepipe.localcloud.addresses import LOOPBACK, listening_socket
from imagepipe.localcloud.function import Credentials, Emulator, Function
from imagepipe.localcloud.runtime_api import Answer, Invocation, RuntimeApi, listen
from imagepipe.localcloud.sandbox import Image

#: Lambda gives initialisation ten seconds, and then the time of the first invocation as well.
INIT_SECONDS = 10
MEMORY_POLL_SECONDS = 0.05
#: Idle time of a process's connection to its runtime API. Longer than any invocation: the process does not reconnect.
IDLE_SECONDS = 3600
MEGABYTE = 1024 * 1024
#: The longest event CloudWatch Logs takes.
LOG_LINE_BYTES = 256 * 1024

#: Names that Lambda gives to signals.
_SIGNALS: dict[int, str] = {signal.SIGKILL: "killed", signal.SIGSEGV: "segmentation fault", signal.SIGABRT: "aborted"}


class Worker:
    """Runs one invocation at a time; a timeout or too much memory ends the process."""

    def __init__(self, function: Function, credentials: Credentials, say: Callable[["Worker", str], None]) -> None:
        self.function = function
        self.credentials = credentials
        self.log_stream = f"{datetime.now(UTC):%Y/%m/%d}/[{function.version}]{uuid.uuid4().hex}"
        self.idle_since = time.monotonic()
        self.peak_mb = 0
        self._say = say
        self._api = RuntimeApi()
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._process: asyncio.subprocess.Process | None = None
        self._killed = False

    async def start(self, emulator: Emulator, code: Path | Image) -> Answer | None:
        """Start the process from the source tree or from an image; wait until it requests its first event.

        Returns:
            An error answer if the process does not get that far, else None.
        """
        listening = listening_socket()
        api = f"{LOOPBACK}:{listening.getsockname()[1]}"
        self._tasks.append(asyncio.create_task(listen(self._api, listening, self._stop, IDLE_SECONDS)))
        with function_filter.opened() as descriptor:
            self._process = await asyncio.create_subprocess_exec(
                *self._command(api, emulator, code, descriptor),
                cwd=code if isinstance(code, Path) else "/",
                env=self._environment(api, emulator, code) if isinstance(code, Path) else {},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                pass_fds=(descriptor,),
            )
        self._tasks.append(asyncio.create_task(self._read_output()))
        ready = asyncio.create_task(self._api.ready.wait())
        limit = INIT_SECONDS + self.function.timeout_seconds
        failure = await self._watch(ready, limit, "")
        return (self._api.init_error or failure) if failure else None

    async def invoke(self, invocation: Invocation) -> Answer:
        """Run one invocation and write the log lines that Lambda writes around it."""
        function = self.function
        began = time.monotonic()
        self._say(self, f"START RequestId: {invocation.request_id} Version: {function.version}")
        deadline_ms = int((time.time() + function.timeout_seconds) * 1000)
        answer = self._api.send(invocation, deadline_ms)
        failure = await self._watch(answer, function.timeout_seconds, f"RequestId: {invocation.request_id} Error: ")
        if failure is not None:
            self._say(self, failure.message)
        spent = (time.monotonic() - began) * 1000
        self._say(self, f"END RequestId: {invocation.request_id}")
        self._say(
            self,
            f"REPORT RequestId: {invocation.request_id}\tDuration: {spent:.2f} ms\t"
            f"Billed Duration: {int(spent) + 1} ms\tMemory Size: {function.memory_mb} MB\t"
            f"Max Memory Used: {self.peak_mb} MB",
        )
        self.idle_since = time.monotonic()
        return failure or answer.result()

    @property
    def usable(self) -> bool:
        """True if the process can take another invocation."""
        running = self._process is not None and self._process.returncode is None and not self._killed
        return running and self.credentials.last

    async def stop(self) -> None:
        """End the process and wait for it."""
        self._kill()
        if self._process is not None:
            await self._process.wait()
        self._api.close()
        self._stop.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _watch(self, work: "asyncio.Future[Any]", limit: float, prefix: str) -> Answer | None:
        """Wait for `work`; return an error answer if the process ends, or exceeds its memory or `limit` seconds."""
        assert self._process is not None
        exited = asyncio.create_task(self._process.wait())
        deadline = time.monotonic() + limit
        try:
            while True:
                await asyncio.wait({work, exited}, timeout=MEMORY_POLL_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                used = self._resident_mb()
                self.peak_mb = max(self.peak_mb, used)
                if work.done():
                    return None
                if exited.done():
                    return Answer.failure("Runtime.ExitError", f"{prefix}{_exit_reason(exited.result())}")
                if used > self.function.memory_mb:
                    self._kill()
                    return Answer.failure("Runtime.OutOfMemory", f"{prefix}{_exit_reason(-signal.SIGKILL)}")
                if time.monotonic() > deadline:
                    self._kill()
                    return Answer.failure("Sandbox.Timedout", f"{prefix}Task timed out after {limit:.2f} seconds")
        finally:
            work.cancel()
            exited.cancel()

    def _kill(self) -> None:
        self._killed = True
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    def _resident_mb(self) -> int:
        """Return the resident memory of the process and its children, which is what Lambda counts."""
        assert self._process is not None
        total = 0
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(self._process.pid)
            for member in (process, *process.children(recursive=True)):
                with contextlib.suppress(psutil.NoSuchProcess):
                    total += member.memory_info().rss
        return int(total / MEGABYTE)

    async def _read_output(self) -> None:
        """Pass on the lines of the process; cut a line at the length where CloudWatch cuts it."""
        assert self._process is not None
        assert self._process.stdout is not None
        rest = b""
        while chunk := await self._process.stdout.read(65536):
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > LOG_LINE_BYTES:
                lines, rest = [*lines, rest], b""
            for line in lines:
                self._say(self, line.decode(errors="replace"))
        if rest:
            self._say(self, rest.decode(errors="replace"))

    def _command(self, api: str, emulator: Emulator, code: Path | Image, filter_descriptor: int) -> list[str]:
        function = self.function
        if isinstance(code, Image):
            variables = self._environment(api, emulator, code)
            settings = (variables, emulator.certificate, function.temporary_mb, filter_descriptor)
            return sandbox.command(code, function.command, *settings)
        return function_filter.under(filter_descriptor, [sys.executable, "-m", "awslambdaric", *function.command])

    def _environment(self, api: str, emulator: Emulator, code: Path | Image) -> dict[str, str]:
        """Return the variables that Lambda and the function's configuration set, and the address of the local cloud."""
        function = self.function
        if isinstance(code, Image):
            # The image says itself where Python and the code are.
            place = {"LAMBDA_TASK_ROOT": code.folder, "AWS_CA_BUNDLE": sandbox.CERTIFICATE}
        else:
            place = {
                "LAMBDA_TASK_ROOT": str(code),
                "PATH": os.defpath,
                "PYTHONPATH": str(code),
                "AWS_CA_BUNDLE": str(emulator.certificate),
            }
        return {
            **function.variables,
            "_HANDLER": function.command[0] if function.command else "",
            "AWS_ACCESS_KEY_ID": self.credentials.access_key,
            "AWS_SECRET_ACCESS_KEY": self.credentials.secret_key,
            "AWS_SESSION_TOKEN": self.credentials.session_token,
            "AWS_DEFAULT_REGION": function.region,
            "AWS_REGION": function.region,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mb),
            "AWS_LAMBDA_FUNCTION_NAME": function.name,
            "AWS_LAMBDA_FUNCTION_VERSION": function.version,
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_GROUP_NAME": function.log_group,
            "AWS_LAMBDA_LOG_STREAM_NAME": self.log_stream,
            "AWS_LAMBDA_RUNTIME_API": api,
            "LANG": "en_US.UTF-8",
            "TZ": ":UTC",
            "AWS_ENDPOINT_URL": emulator.endpoint,  # instead of AWS
            **place,
        }


def _exit_reason(code: int) -> str:
    """Describe an exit in Lambda's words; a negative code is a signal."""
    how = f"signal: {_SIGNALS.get(-code, -code)}" if code < 0 else f"exit status {code}"
    return f"Runtime exited with error: {how}"
