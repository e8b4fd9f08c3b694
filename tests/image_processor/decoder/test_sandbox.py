"""The process that decodes: what it cannot do, and what becomes of an image that hurts it."""

import json
import os
import resource
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from seeds import UNSPEAKABLE

from image_processor.decoder.process import OutOfTime, Process, WorkerFailed
from image_processor.decoder.sandbox import Sandbox
from image_processor.handlers.queue import vcpus
from image_processor.recipe import Encoding, Limits, Recipe, ladder
from image_processor.verdict import Reason, Rejected
from imagepipe.images import samples

SOURCE = str(Path(__file__).parents[3] / "lambda-image" / "src")
PICTURE = samples.landscape(320, 200, 1)
SMALL = Recipe(variants=ladder(64, thumbnail=32))
JPEG = bytes(PICTURE.jpegsave_buffer())

#: Takes a quarter of a second at least, and few bytes: an empty page.
SLOW = bytes(samples.pyvips.Image.black(6000, 6000, bands=3).pngsave_buffer(compression=1))
#: Interlaced: decoded in one block of 108 MB.
WHOLE = bytes(samples.pyvips.Image.black(6000, 6000, bands=3).pngsave_buffer(compression=1, interlace=True))


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with Sandbox(Limits()) as sandbox:
        sandbox.held()
        yield sandbox


def pid(box: Sandbox) -> int:
    return box.process.pid


def signalled_while_it_works(box: Sandbox, number: signal.Signals, times: int = 1) -> threading.Thread:
    """Sends a signal to the worker, and to as many successors, some time into their work."""

    def send() -> None:
        seen = set[int]()
        while len(seen) < times:
            process = box._process
            if process and process.images and process.pid not in seen:
                time.sleep(0.1)
                os.kill(process.pid, number)
                seen.add(process.pid)
            time.sleep(0.005)

    thread = threading.Thread(target=send)
    thread.start()
    return thread


def refusal(box: Sandbox, data: bytes) -> Rejected:
    with pytest.raises(Rejected) as raised:
        box.render(data, Recipe())
    return raised.value


def reason(box: Sandbox, data: bytes) -> Reason:
    return refusal(box, data).reason


def test_images_come_out_of_one_and_the_same_process(box: Sandbox) -> None:
    process = pid(box)
    for _ in range(2):
        rendered = box.render(JPEG, Recipe())
        rendition = rendered.rendition
        assert (rendered.header.format, rendition.width, rendition.height) == ("jpeg", 320, 200)
        for variant in rendition.variants:
            picture = samples.pyvips.Image.new_from_buffer(variant.data, "")
            assert (picture.width, picture.height) == (variant.width, variant.height)
    assert pid(box) == process
    assert 0 < rendered.usage.seconds < 10
    assert 20e6 < rendered.usage.peak_bytes < 400e6


def test_what_is_refused_is_refused_with_the_engines_own_reason(box: Sandbox) -> None:
    truncated = refusal(box, JPEG[: len(JPEG) // 2])
    assert truncated.reason == Reason.TRUNCATED
    assert truncated.header
    assert truncated.header.width == 320
    assert truncated.usage.peak_bytes > 20e6
    unknown = refusal(box, b"Dear all,")
    assert unknown.reason == Reason.NOT_AN_IMAGE
    assert unknown.header is None


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS])
def test_image_whose_decoder_crashes_is_tried_once_more_in_a_fresh_process(number: signal.Signals) -> None:
    with Sandbox(Limits()) as box:
        box.render(JPEG, Recipe())
        first = pid(box)
        thread = signalled_while_it_works(box, number)
        rendition = box.render(SLOW, Recipe()).rendition
        thread.join()
        assert rendition.width == 6000
        assert pid(box) != first


def test_image_that_crashes_a_fresh_process_is_rejected_and_the_next_never_notices(box: Sandbox) -> None:
    thread = signalled_while_it_works(box, signal.SIGSEGV)
    assert reason(box, SLOW) == Reason.DECODER_CRASHED
    thread.join()
    assert box.render(JPEG, Recipe()).rendition.width == 320


def test_process_killed_for_memory_is_out_of_memory(box: Sandbox) -> None:
    thread = signalled_while_it_works(box, signal.SIGKILL)
    assert reason(box, SLOW) == Reason.OUT_OF_MEMORY
    thread.join()


def test_address_space_is_limited(box: Sandbox) -> None:
    mapped = int(Path(f"/proc/{pid(box)}/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.prlimit(pid(box), resource.RLIMIT_AS)
    assert mapped < soft == hard < mapped + 1.5e9
    # Less than the one block that this picture needs, and more than anything else does: codecs that get not even a few
    # bytes crash or hang instead of saying so.
    resource.prlimit(pid(box), resource.RLIMIT_AS, (mapped + 60_000_000, hard))
    assert reason(box, WHOLE) == Reason.OUT_OF_MEMORY
    assert box.render(JPEG, Recipe()).rendition.width == 320


#: Seconds of work, whatever the machine.
LABORIOUS = Recipe(variants=ladder(1920, thumbnail=64, formats=(Encoding("avif", 80, effort=9), Encoding("jpeg"))))
LARGE = bytes(samples.landscape(480, 480, 1).replicate(4, 4).jpegsave_buffer())


def test_image_that_takes_too_long_is_stopped_by_the_clock() -> None:
    with Sandbox(Limits(max_seconds=1)) as box:
        box.held()
        with pytest.raises(Rejected, match="stopped after 1 s") as raised:
            box.render(LARGE, LABORIOUS)
        assert raised.value.reason == Reason.TOO_SLOW
        assert box.render(JPEG, SMALL).rendition.width == 320


def test_processor_time_is_limited_too(box: Sandbox) -> None:
    box.render(JPEG, Recipe())
    soft, _ = resource.prlimit(pid(box), resource.RLIMIT_CPU)
    assert 0 < soft <= Limits().max_seconds * (os.cpu_count() or 1) + 10
    thread = signalled_while_it_works(box, signal.SIGXCPU)
    assert reason(box, SLOW) == Reason.TOO_SLOW
    thread.join()


def test_process_that_gets_no_processor_time_says_nothing_of_the_image() -> None:
    with Sandbox(Limits(max_seconds=1)) as box:
        box.held()
        os.kill(pid(box), signal.SIGSTOP)
        with pytest.raises(WorkerFailed, match=r"it got only 0\.0 s of CPU time"):
            box.render(JPEG, Recipe())
        assert box.render(JPEG, SMALL).rendition.width == 320


def test_image_is_stopped_when_its_caller_has_no_time_left_and_nothing_is_said_of_it() -> None:
    """Half its own limit, which it works through: with less than its limit, nobody knows how long it would take."""
    with Sandbox(Limits(max_seconds=2)) as box:
        box.held()
        with pytest.raises(OutOfTime):
            box.render(LARGE, LABORIOUS, seconds=1.2)
        with pytest.raises(OutOfTime):
            box.render(JPEG, SMALL, seconds=0)
        assert box.render(JPEG, SMALL, seconds=60).rendition.width == 320


def test_image_that_its_decoder_hangs_on_is_told_from_a_machine_without_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with Sandbox(Limits(max_seconds=1)) as box:
        box.held()
        # It waits for a message that never comes, as a deadlocked decoder does for its lock.
        monkeypatch.setattr(Process, "_send", lambda *_: None)
        with pytest.raises(Rejected, match="hangs the process") as raised:
            box.render(JPEG, Recipe())
        assert raised.value.reason == Reason.DECODER_CRASHED
        monkeypatch.undo()
        assert box.render(JPEG, SMALL).rendition.width == 320


def test_process_that_died_idle_is_replaced(box: Sandbox) -> None:
    box.render(JPEG, Recipe())
    os.kill(pid(box), signal.SIGKILL)
    assert box.render(JPEG, Recipe()).rendition.width == 320


def test_nothing_is_left_behind() -> None:
    before = set(os.listdir("/proc/self/fd"))
    with Sandbox(Limits()) as box:
        box.render(JPEG, Recipe())
        process = pid(box)
    assert not Path(f"/proc/{process}").exists()
    assert set(os.listdir("/proc/self/fd")) <= before


def test_process_knows_nothing_of_its_parents_environment(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with Sandbox(Limits()) as other:
        other.held()
        assert b"AWS_" not in Path(f"/proc/{pid(other)}/environ").read_bytes()


def test_answer_that_makes_no_sense_is_not_believed(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = b"[" * 100_000
    answers = [b"{", b"[]", deep, json.dumps({"sizes": [10**9]}).encode(), json.dumps({"sizes": [], "x": 1}).encode()]
    waiting = iter(answers)
    monkeypatch.setattr(Process, "_receive", lambda *_: next(waiting))
    monkeypatch.setattr(Process, "held", lambda *_: [])
    for _ in answers:
        with pytest.raises(WorkerFailed, match="malformed answer"):
            box.render(JPEG, Recipe())


@pytest.mark.parametrize(("memory_mb", "processors"), [(128, 1), (1769, 1), (1770, 2), (3538, 2), (10240, 6)])
def test_threads_are_those_that_the_memory_size_buys(memory_mb: int, processors: int) -> None:
    assert vcpus(memory_mb) == processors


def test_worker_keeps_to_its_threads() -> None:
    with Sandbox(Limits(), threads=1) as box:
        box.render(JPEG, SMALL)
        environment = Path(f"/proc/{pid(box)}/environ").read_bytes().split(b"\0")
    assert b"VIPS_CONCURRENCY=1" in environment


def test_message_that_is_no_text_is_a_broken_image(sandbox: Sandbox) -> None:
    for _ in range(2):
        with pytest.raises(Rejected, match="the error is unreadable") as raised:
            sandbox.render(UNSPEAKABLE, Recipe())
        assert raised.value.reason == Reason.UNDECODABLE
    assert sandbox.render(JPEG, Recipe()).header.width == 320
