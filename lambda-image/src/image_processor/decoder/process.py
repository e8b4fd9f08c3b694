"""The decoding process as its parent sees it: start, messages, time limits, and how it died.

The child has none of the parent's environment (no credentials) and reaches no file, network or other process (see
confinement.py). It answers in JSON, so that no answer can execute code here. Image and variants are in shared files,
which are opened once, because the child can open none.
"""

import json
import math
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Any

from image_processor.decoder import shared_files
from image_processor.decoder.vips_errors import lacks_memory
from image_processor.recipe import PATIENCE, Limits
from image_processor.verdict import Header, Reason, Usage

#: What runs in the process. Tests and benchmarks put a hostile one in its place.
WORKER = "image_processor.decoder.worker"

_MESSAGE_BYTES = 1024 * 1024
_START_SECONDS = 30

#: TOO_SLOW needs a process that got at least _BUSY of its time limit as CPU time. A starved process gets up to
#: PATIENCE times the limit; then Starved is raised, and the image is tried again.
_BUSY = 0.5


class WorkerFailed(Exception):
    """A transient failure, or a fault of ours: another try may end differently. The message says what happened."""

    def __init__(self, message: str, header: Header | None = None, usage: Usage | None = None) -> None:
        super().__init__(message)
        self.header, self.usage = header, usage or Usage()


class Starved(WorkerFailed):
    """The process got hardly any CPU time, or did not start in time."""


class OutOfTime(WorkerFailed):
    """The caller has no time left. Nothing is known of the image: it had less than its limit."""


class Faulty(WorkerFailed):
    """The process reports a fault of its own, or its answer cannot be true: a taken-over process may have forged it."""


class Unconfined(WorkerFailed):
    """The limits require confinement, and the process is not confined here. No image was sent to it."""


class Level(StrEnum):
    """How well a decoding process is confined; docs/container-image.md says what holds at each level."""

    #: Only the calls that decoding needs go through.
    SYSTEM_CALLS = "system calls"
    #: No file, no socket, no memory of other processes: nothing of the function is in reach. It can still send signals.
    DESCRIPTORS = "descriptors"
    #: Memory, time and file size are limited, and no more.
    LIMITS = "limits"

    @classmethod
    def of(cls, held: list[str]) -> "Level":
        """Return the level by the names of what holds, as `confinement.confine` tried it."""
        if not {"files", "network", "memory of others"} <= set(held):
            return cls.LIMITS
        return cls.SYSTEM_CALLS if {"system calls", "signals"} <= set(held) else cls.DESCRIPTORS


class Died(Exception):
    """The process died, hung or was stopped while it worked on an image."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason, self.message = reason, message


class Process:
    """One decoding process, from start to end."""

    def __init__(self, limits: Limits, threads: int | None, with_heic: bool) -> None:
        self.with_heic, self.images, self._limits = with_heic, 0, limits
        self._held: list[str] | None = None
        self._shared = [shared_files.create(name) for name in ("image", "variants", "stderr")]
        self._image, self._variants, self._stderr = self._shared
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        inherited = {key: os.environ[key] for key in ("LD_LIBRARY_PATH", "SSL_CERT_DIR", "TZ") if key in os.environ}
        shared = (theirs.fileno(), self._image, self._variants)
        arguments = [*map(str, shared), json.dumps(asdict(limits)), str(int(with_heic))]
        package = str(Path(__file__).resolve().parents[2])
        with theirs:
            self._process = subprocess.Popen(
                # -S -P: no hooks of site packages, no current folder; PYTHONPATH holds the parent's own paths
                [sys.executable, "-S", "-P", "-m", WORKER, *arguments],
                cwd="/",
                env={
                    "PYTHONPATH": os.pathsep.join([package, *(path for path in sys.path if path)]),
                    "PYTHONDONTWRITEBYTECODE": "1",
                    "MALLOC_ARENA_MAX": "2",
                    "VIPS_BLOCK_UNTRUSTED": "1",
                    **({"VIPS_CONCURRENCY": str(threads)} if threads else {}),
                    "VIPS_DISC_THRESHOLD": "100g",  # no temporary files: what does not fit in memory is refused
                    **inherited,
                },
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._stderr,
                pass_fds=shared,
            )

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def usable(self) -> bool:
        """True while the process lives."""
        return self._process.poll() is None

    def held(self, until: float = math.inf) -> list[str]:
        """Wait until the process has started; return the names of what confines it.

        Raises:
            WorkerFailed: it does not start.
        """
        if self._held is None:
            message = self._receive_in_time(_START_SECONDS, until)
            if message is None:
                self.end()
                raise Starved(f"the decoding process did not start in {_START_SECONDS} s")
            if not message:
                self._process.kill()
                self._process.wait()
                raise WorkerFailed(f"the decoding process does not start: {self._last_messages() or 'no error output'}")
            self._held = list(json.loads(message)["held"])
        return self._held

    def render(self, data: bytes, order: dict[str, Any], until: float = math.inf) -> tuple[dict[str, Any], list[bytes]]:
        """Send an image; return the answer and the bytes of the variants. `until` is a time of `time.monotonic`.

        Raises:
            OutOfTime: there is no answer at that time.
            Faulty: the answer is malformed.
            Died: the process ended, hung or ran out of time; with the reason as far as it is known.
            WorkerFailed: the process did not start, is not confined although it must be, or got no CPU time.
        """
        held = self.held(until)
        if self._limits.require_confinement and Level.of(held) is Level.LIMITS:
            raise Unconfined(
                f"the decoder is not confined here: only {', '.join(held)} hold; the image was not decoded, because "
                "limits.require_confinement is true"
            )
        os.ftruncate(self._stderr, 0)
        os.lseek(self._stderr, 0, os.SEEK_SET)
        before = self.cpu_seconds()
        seconds = self._limits.max_seconds
        allowed = math.ceil(before + seconds * (os.cpu_count() or 1)) + 1
        with suppress(PermissionError):  # where an outer sandbox forbids it, the clock remains
            resource.prlimit(self._process.pid, resource.RLIMIT_CPU, (allowed, resource.RLIM_INFINITY))
        self.images += 1
        shared_files.write(self._image, [data])
        try:
            self._send({**order, "bytes": len(data)})
        except OSError:
            raise self._post_mortem() from None
        for _ in range(PATIENCE):
            message = self._receive_in_time(seconds, until)
            used = self.cpu_seconds() - before
            if message is not None or used >= _BUSY * seconds:
                break
            if self._sleeps():  # look once more: it may have answered just now
                message = self._receive(0)
                if message is None:
                    self.end()
                    raise Died(Reason.DECODER_CRASHED, f"decoding it hangs the process: no answer in {seconds} s")
                break
        if message is None:
            self.end()
            if used < _BUSY * seconds:
                text = f"no answer in {PATIENCE * seconds} s, but it got only {used:.1f} s of CPU time"
                raise Starved(text)
            raise Died(Reason.TOO_SLOW, f"stopped after {seconds} s, the limit")
        if not message:
            raise self._post_mortem()
        try:
            answer = json.loads(message)
            return answer, shared_files.read(self._variants, answer["sizes"], shared_files.OUTPUT_BYTES)
        except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
            self.end()
            raise Faulty(f"the decoding process sent a malformed answer: {error!r}"[:300]) from None

    def end(self) -> None:
        """Kill the process if it lives, and wait for it. May be called again."""
        self._process.kill()
        self._process.wait()
        self._channel.close()
        while self._shared:
            os.close(self._shared.pop())

    def _send(self, order: dict[str, Any]) -> None:
        self._channel.send(json.dumps(order).encode())

    def _receive_in_time(self, seconds: float, until: float) -> bytes | None:
        """Receive one message like `_receive`; raise OutOfTime if the caller's time ends before."""
        message = self._receive(max(0, min(seconds, until - time.monotonic())))
        if message is None and time.monotonic() >= until:
            self.end()
            raise OutOfTime("the function had no time left for it")
        return message

    def _receive(self, seconds: float) -> bytes | None:
        """Receive one message: None after so many seconds without one, empty after the process has ended."""
        poll = select.poll()
        poll.register(self._channel, select.POLLIN)
        if not poll.poll(seconds * 1000):
            return None
        try:
            return self._channel.recv(_MESSAGE_BYTES)
        except ConnectionError:
            return b""

    def cpu_seconds(self) -> float:
        """Return the CPU time of the process so far, in seconds."""
        stat = Path(f"/proc/{self._process.pid}/stat").read_text()
        user, system = stat.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def _sleeps(self) -> bool:
        """Return whether every thread sleeps. The threads of a starved process are runnable or stopped."""
        try:
            stats = [path.read_text() for path in Path(f"/proc/{self._process.pid}/task").glob("*/stat")]
        except OSError:  # a thread that has just ended
            return False
        return {stat.rpartition(")")[2].split()[0] for stat in stats} == {"S"}

    def _post_mortem(self) -> Died:
        code = self._process.wait()
        messages = self._last_messages()
        name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        # A SIGKILL that is not ours comes from the kernel when memory is exhausted; GLib traps when it gets none.
        if code == -signal.SIGKILL or lacks_memory(messages) or "MemoryError" in messages:
            return Died(Reason.OUT_OF_MEMORY, f"no memory left to decode it ({name})")
        if code in (-signal.SIGXCPU, -signal.SIGALRM):
            return Died(Reason.TOO_SLOW, f"stopped by its limit of processor time ({name})")
        return Died(Reason.DECODER_CRASHED, f"decoding it kills the process ({name}) {messages[-200:]}".rstrip())

    def _last_messages(self) -> str:
        size = os.fstat(self._stderr).st_size
        text = os.pread(self._stderr, 2000, max(0, size - 2000)).decode(errors="replace").replace("\0", "")
        return "".join(sign if sign.isprintable() else " " for sign in text).strip()
