"""Decoding where it can be stopped: the parent's side. Loads no decoder itself and believes the child nothing.

The child has none of the parent's environment (no credentials), no file system, no network, no other process to reach
(`confinement`), and answers in JSON: nothing it says can run here.
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
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from image_processor.decoder import gate
from image_processor.decoder.gate import Header, Reason, Rejected
from image_processor.recipe import Limits, Recipe
from image_processor.rendition import Rendition, Variant

_MESSAGE_BYTES = 1024 * 1024
_START_SECONDS = 30

#: A worker is replaced after so many images: what its allocator lost to fragments counts against its limit.
_IMAGES_PER_WORKER = 1000

#: An image is slow itself only if it was given the processor for this share of the seconds it may take. If not, it
#: gets so many times the seconds; then nothing can be said of it.
_BUSY, _PATIENCE = 0.5, 3


#: The memory of a function that has the time of one processor.
#: https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html
MB_PER_VCPU = 1769


def vcpus(memory_mb: int) -> int:
    """The processors that a function of that size has the time of, six at most. Lambda shows more than it gives."""
    return min(6, math.ceil(memory_mb / MB_PER_VCPU))


class WorkerFailed(Exception):
    """Transient, or a fault of ours: another try may end differently. The message says what happened."""


class Starved(WorkerFailed):
    """The worker was hardly given the processor, or did not start in time."""


@dataclass(frozen=True)
class Usage:
    """What the last image cost."""

    seconds: float = 0.0
    peak_bytes: int = 0


class Sandbox:
    """Renders images in a confined process, which is kept from image to image and replaced when it dies.

    One image at a time; use one sandbox per thread. The process starts at once, in parallel to what the caller does
    next, and costs nothing while it waits. `threads` bounds those of libvips and of the encoders; None: one per CPU.
    """

    def __init__(self, limits: Limits, threads: int | None = None) -> None:
        self.limits, self._threads = limits, threads
        self.usage = Usage()
        #: The header of the last image, as far as it came to be known.
        self.header: Header | None = None
        self._worker: _Worker | None = _Worker(limits, threads, with_heic=False)

    def render(
        self, data: bytes, recipe: Recipe, focal_point: tuple[float, float] | None = None
    ) -> tuple[Header, Rendition]:
        """Gate and engine, in the worker. For the focal point see `engine.render`.

        A death counts against the image only if the process was fresh: else the one before may have broken it, and the
        image is tried again in a new one.

        Raises:
            Rejected: by gate or engine, or OUT_OF_MEMORY, TOO_SLOW, DECODER_CRASHED by what became of the worker.
            WorkerFailed: the worker got no processor time, did not start, or failed by a fault of ours.
        """
        started = time.monotonic()
        self.usage, self.header = Usage(), None
        try:
            with_heic = self._judge_start(data) == "heic"
            while True:
                worker = self._ready(with_heic)
                fresh = worker.images == 0
                try:
                    answer, blobs = worker.process(data, {"recipe": asdict(recipe), "focal_point": focal_point})
                except _Died as died:
                    self.close()
                    if fresh or died.reason is Reason.TOO_SLOW:
                        raise Rejected(died.reason, died.message) from None
                    continue
                except WorkerFailed:
                    self.close()
                    raise
                if answer.get("reason") == Reason.OUT_OF_MEMORY:
                    self.close()
                    if not fresh:
                        continue
                return self._understand(answer, blobs)
        finally:
            self.usage = Usage(time.monotonic() - started, self.usage.peak_bytes)

    def held(self) -> list[str]:
        """What the worker says it is confined by."""
        return self._ready(with_heic=False).held()

    def close(self) -> None:
        if self._worker:
            self._worker.end()
            self._worker = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def _judge_start(self, data: bytes) -> str:
        """What needs no decoder is refused without waking one."""
        gate.judge_size(len(data), self.limits)
        name = gate.sniff(data)
        gate.judge_format(name, self.limits)
        return name

    def _ready(self, with_heic: bool) -> "_Worker":
        worker = self._worker
        if worker and worker.usable and worker.images < _IMAGES_PER_WORKER and worker.with_heic >= with_heic:
            return worker
        # Once a HEIC has come, more will: a phone took it.
        with_heic = with_heic or bool(worker and worker.with_heic)
        self.close()
        self._worker = _Worker(self.limits, self._threads, with_heic)
        return self._worker

    def _understand(self, answer: dict[str, Any], blobs: list[bytes]) -> tuple[Header, Rendition]:
        try:
            self.usage = Usage(peak_bytes=int(answer["peak_bytes"]))
            if answer["header"]:
                self.header = Header(**answer["header"])
            if answer["status"] == "rejected":
                raise Rejected(Reason(answer["reason"]), str(answer["message"])[:300])
            if answer["status"] != "ready" or self.header is None:
                raise WorkerFailed(str(answer["message"]))
            fields = answer["rendition"]
            pairs = zip(fields.pop("variants"), blobs, strict=True)
            variants = [Variant(**variant, data=blob) for variant, blob in pairs]
            return self.header, Rendition(**fields, variants=variants)
        except (KeyError, TypeError, ValueError) as error:
            self.close()
            raise WorkerFailed(f"the worker's answer makes no sense: {error!r}") from None


class _Died(Exception):
    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason, self.message = reason, message


class _Worker:
    """One child process, from start to end."""

    def __init__(self, limits: Limits, threads: int | None, with_heic: bool) -> None:
        self.with_heic, self.images, self._limits = with_heic, 0, limits
        self._held: list[str] | None = None
        self._words = os.memfd_create("words")  # what it and its libraries say on stderr
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        given = {key: os.environ[key] for key in ("LD_LIBRARY_PATH", "SSL_CERT_DIR", "TZ") if key in os.environ}
        arguments = [str(theirs.fileno()), json.dumps(asdict(limits)), str(int(with_heic))]
        package = str(Path(__file__).resolve().parents[2])
        with theirs:
            self._process = subprocess.Popen(
                # -S -P: no site packages' hooks, no current folder; the paths are the parent's own
                [sys.executable, "-S", "-P", "-m", "image_processor.decoder.worker", *arguments],
                cwd="/",
                env={
                    "PYTHONPATH": os.pathsep.join([package, *(path for path in sys.path if path)]),
                    "PYTHONDONTWRITEBYTECODE": "1",
                    "MALLOC_ARENA_MAX": "2",
                    "VIPS_BLOCK_UNTRUSTED": "1",
                    **({"VIPS_CONCURRENCY": str(threads)} if threads else {}),
                    "VIPS_DISC_THRESHOLD": "100g",  # no temporary files: what does not fit in memory is refused
                    **given,
                },
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._words,
                pass_fds=(theirs.fileno(),),
            )

    @property
    def usable(self) -> bool:
        return self._process.poll() is None

    def held(self) -> list[str]:
        """Waits until it has started.

        Raises:
            WorkerFailed: it does not start.
        """
        if self._held is None:
            message, _ = self._receive(_START_SECONDS)
            if message is None:
                self.end()
                raise Starved(f"the decoding process did not start in {_START_SECONDS} s")
            if not message:
                self._process.kill()
                self._process.wait()
                raise WorkerFailed(f"the decoding process does not start: {self._last_words() or 'no word of why'}")
            self._held = list(json.loads(message)["held"])
        return self._held

    def process(self, data: bytes, order: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
        """The worker's answer, and the variants' bytes.

        Raises:
            _Died: and why, as far as it can be told.
            WorkerFailed: it did not start, or got no processor time.
        """
        self.held()
        os.ftruncate(self._words, 0)
        os.lseek(self._words, 0, os.SEEK_SET)
        before = self._cpu_seconds()
        seconds = self._limits.max_seconds
        allowed = math.ceil(before + seconds * (os.cpu_count() or 1)) + 1
        resource.prlimit(self._process.pid, resource.RLIMIT_CPU, (allowed, resource.RLIM_INFINITY))
        self.images += 1
        image = os.memfd_create("image")
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(image, view) :]
            os.lseek(image, 0, os.SEEK_SET)
            socket.send_fds(self._channel, [json.dumps(order).encode()], [image])
        except OSError:
            raise self._post_mortem() from None
        finally:
            os.close(image)
        for _ in range(_PATIENCE):
            message, descriptors = self._receive(seconds)
            used = self._cpu_seconds() - before
            if message is not None or used >= _BUSY * seconds:
                break
            if self._sleeps():  # unless it has answered in this very moment
                message, descriptors = self._receive(0)
                if message is None:
                    self.end()
                    raise _Died(Reason.DECODER_CRASHED, f"decoding it hangs the process: no answer in {seconds} s")
                break
        if message is None:
            self.end()
            if used < _BUSY * seconds:
                text = f"no answer in {_PATIENCE * seconds} s, but it was given the processor for {used:.1f} s only"
                raise Starved(text)
            raise _Died(Reason.TOO_SLOW, f"stopped after {seconds} s, the limit")
        if not message:
            raise self._post_mortem()
        try:
            answer = json.loads(message)
            return answer, _read(descriptors[0], answer["sizes"])
        except (ValueError, KeyError, TypeError, IndexError) as error:
            self.end()
            raise WorkerFailed(f"the worker's answer makes no sense: {error!r}") from None
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def end(self) -> None:
        """Kills it, if it lives, and waits for it. May be called again."""
        self._process.kill()
        self._process.wait()
        self._channel.close()
        if self._words >= 0:
            os.close(self._words)
            self._words = -1

    def _receive(self, seconds: float) -> tuple[bytes | None, list[int]]:
        """One message; None after that many seconds without, empty at the worker's end."""
        poll = select.poll()
        poll.register(self._channel, select.POLLIN)
        if not poll.poll(seconds * 1000):
            return None, []
        try:
            message, descriptors, _, _ = socket.recv_fds(self._channel, _MESSAGE_BYTES, 1)
        except ConnectionError:
            return b"", []
        return message, descriptors

    def _cpu_seconds(self) -> float:
        stat = Path(f"/proc/{self._process.pid}/stat").read_text()
        user, system = stat.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def _sleeps(self) -> bool:
        """Whether every thread waits for another. One that is only starved could run, or is stopped."""
        try:
            stats = [path.read_text() for path in Path(f"/proc/{self._process.pid}/task").glob("*/stat")]
        except OSError:  # a thread that has just ended
            return False
        return {stat.rpartition(")")[2].split()[0] for stat in stats} == {"S"}

    def _post_mortem(self) -> _Died:
        code = self._process.wait()
        words = self._last_words()
        name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        # SIGKILL that is not ours is the kernel's, when all memory is gone; GLib traps when it gets none.
        if code == -signal.SIGKILL or gate.lacks_memory(words) or "MemoryError" in words:
            return _Died(Reason.OUT_OF_MEMORY, f"no memory left to decode it ({name})")
        if code in (-signal.SIGXCPU, -signal.SIGALRM):
            return _Died(Reason.TOO_SLOW, f"stopped by its limit of processor time ({name})")
        return _Died(Reason.DECODER_CRASHED, f"decoding it kills the process ({name}) {words[-200:]}".rstrip())

    def _last_words(self) -> str:
        size = os.fstat(self._words).st_size
        return os.pread(self._words, 2000, max(0, size - 2000)).decode(errors="replace").replace("\0", "").strip()


def _read(descriptor: int, sizes: list[int]) -> list[bytes]:
    """Cuts the variants out of the worker's memfd. Read, never mapped: what it shortens meanwhile would kill us."""
    if sum(sizes) != os.fstat(descriptor).st_size or any(size < 0 for size in sizes):
        raise ValueError("sizes of variants do not add up")
    with open(os.dup(descriptor), "rb") as file:
        file.seek(0)
        return [file.read(size) for size in sizes]
