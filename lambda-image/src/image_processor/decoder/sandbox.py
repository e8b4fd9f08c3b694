"""The sandbox: renders images in a confined process. The parent's side; imports no decoder and trusts no answer."""

import math
import time
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Self

from image_processor.decoder.answers import Question, understand
from image_processor.decoder.process import Died, Faulty, Process, WorkerFailed
from image_processor.recipe import Limits, Recipe
from image_processor.rendition import Rendition
from image_processor.sniff import judge_format, judge_size, sniff
from image_processor.verdict import Header, Reason, Rejected, Usage


@dataclass(frozen=True)
class Rendered:
    """An image's header, everything made of it, and what that cost."""

    header: Header
    rendition: Rendition
    usage: Usage


class Sandbox:
    """Renders images in a confined process, kept from image to image; replaced when it dies or refuses an image.

    Use one sandbox per thread: it takes one image at a time. The process starts at once, beside whatever the caller
    does next, and costs nothing while it waits. `threads` bounds those of libvips and the encoders; None: one per CPU.
    """

    def __init__(self, limits: Limits, threads: int | None = None) -> None:
        self.limits, self._threads = limits, threads
        #: Names of what holds for the process that took the last image; None before the first.
        self.confinement: list[str] | None = None
        self._process: Process | None = Process(limits, threads, with_heic=False)

    @property
    def process(self) -> Process:
        """The process that takes the next image; a fresh one where the last has died."""
        return self._ready(with_heic=False)

    def render(
        self,
        data: bytes,
        recipe: Recipe,
        focal_point: tuple[float, float] | None = None,
        seconds: float = math.inf,
    ) -> Rendered:
        """Judge and render an image in the confined process. See `engine.render` for the focal point.

        An image may take the limit `max_seconds` several times: in a process that gets no CPU, or that an earlier image
        has damaged. `seconds` bounds them all together.

        A refusal or a death counts against the image only if the process was fresh. Otherwise an earlier image may have
        damaged the process, and this one is tried again in a new process.

        Raises:
            Rejected: by gate or engine; OUT_OF_MEMORY, TOO_SLOW or DECODER_CRASHED by how the process ended.
            WorkerFailed: the process got no CPU time, did not start, or failed by a fault of ours.
            OutOfTime: the image is not done after so many seconds.
        """
        started = time.monotonic()
        try:
            header, rendition, usage = self._ask(data, recipe, focal_point, started + seconds)
        except (Rejected, WorkerFailed) as error:
            error.usage = Usage(time.monotonic() - started, error.usage.peak_bytes)
            raise
        return Rendered(header, rendition, Usage(time.monotonic() - started, usage.peak_bytes))

    def held(self) -> list[str]:
        """Return the names of what confines the process."""
        return self.process.held()

    def close(self) -> None:
        """End the process. The next image starts another."""
        if self._process:
            self._process.end()
            self._process = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def _ask(
        self, data: bytes, recipe: Recipe, focal_point: tuple[float, float] | None, until: float
    ) -> tuple[Header, Rendition, Usage]:
        """Return what was made of an image. It depends on this image alone: only a fresh process refuses for good.

        In a process that worked before, threads of an earlier picture may still run and write to the library's errors;
        or an earlier picture may have taken it over. So a process that refuses a picture takes no other one.
        """
        name = self._judge_start(data)
        order = {"recipe": asdict(recipe), "focal_point": focal_point}
        while True:
            process = self._ready(name == "heic")
            fresh = process.images == 0
            try:
                self.confinement = process.held(until)
                answer, blobs = process.render(data, order, until)
                made = understand(answer, blobs, Question(name, recipe, self.limits))
            except Died as death:
                self.close()
                if fresh or death.reason is Reason.TOO_SLOW:
                    raise Rejected(death.reason, death.message) from None
            except (Rejected, Faulty):
                self._replace(name == "heic")
                if fresh:
                    raise
            except WorkerFailed:
                self.close()
                raise
            else:
                if process.images >= self.limits.images_per_worker:
                    self._replace(name == "heic")
                return made

    def _judge_start(self, data: bytes) -> str:
        """Refuse by size and first bytes, without waking the process. Return the format."""
        judge_size(len(data), self.limits)
        name = sniff(data)
        judge_format(name, self.limits)
        return name

    def _ready(self, with_heic: bool) -> Process:
        process = self._process
        if process and process.usable and process.with_heic >= with_heic:
            return process
        return self._replace(with_heic)

    def _replace(self, with_heic: bool) -> Process:
        """Start a fresh process; it gets ready beside whatever the caller does next."""
        # After one HEIC more are likely: they come from the same phone.
        with_heic = with_heic or bool(self._process and self._process.with_heic)
        self.close()
        self._process = Process(self.limits, self._threads, with_heic)
        return self._process
