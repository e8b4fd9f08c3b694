"""A taken-over decoder: what it reaches where it may confine itself, and under a filter like Lambda's."""

import os
import platform
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from seeds import seeds

import hostile
from image_processor.decoder import seccomp, shared_files
from image_processor.decoder.confinement import ALLOWED
from image_processor.decoder.process import Level, Process, Unconfined
from image_processor.decoder.sandbox import Sandbox
from image_processor.recipe import Limits, Recipe, ladder
from imagepipe.localcloud import function_filter

SMALL = Recipe(variants=ladder(64, thumbnail=32))
LIKE_LAMBDA = hostile.KERNELS["like Lambda"]
PARENTS_MEMORY = {"ptrace", "process_vm_readv", "process_vm_writev", "kcmp", "pidfd_getfd"}


@pytest.fixture(scope="module")
def anywhere() -> dict[str, Any]:
    return hostile.try_everything(hostile.KERNELS["any Linux"])


@pytest.fixture(scope="module")
def like_lambda() -> dict[str, Any]:
    return hostile.try_everything(LIKE_LAMBDA)


def worked(result: dict[str, Any]) -> set[str]:
    return {name for name, outcome in result["results"].items() if outcome.startswith("worked")}


def test_hostile_decoder_reaches_nothing_where_it_may_confine_itself(anywhere: dict[str, Any]) -> None:
    assert anywhere["level"] == Level.SYSTEM_CALLS
    assert len(anywhere["results"]) > 40
    assert worked(anywhere) == set()


def test_hostile_decoder_reads_and_sends_nothing_under_a_filter_like_lambdas(like_lambda: dict[str, Any]) -> None:
    """No environment of the parent, no file, no socket, although `prctl` and `seccomp` are refused."""
    assert like_lambda["level"] == Level.DESCRIPTORS
    assert worked(like_lambda) == hostile.OPEN_BY_DESIGN
    hostile.show({"like Lambda": like_lambda})


def test_kernel_that_leaves_the_parents_memory_open_counts_as_not_confined() -> None:
    """Nobody has published if Lambda refuses `ptrace`: the process tries it and says so."""
    result = hostile.try_everything(tuple(call for call in LIKE_LAMBDA if call not in PARENTS_MEMORY))
    assert result["level"] == Level.LIMITS
    assert "read the parent's memory: process_vm_readv" in worked(result)
    assert "memory of others" not in result["held"]


RENDERS = """
import sys
from seeds import seeds
from image_processor.decoder.sandbox import Sandbox
from image_processor.recipe import Limits, Recipe, ladder
recipe = Recipe(variants=ladder(64, thumbnail=32))
with Sandbox(Limits(require_confinement=sys.argv[1] == "required")) as box:
    print(",".join(box.held()))
    for name in ("jpeg-exif", "avif-10", "heic", "gif-animated"):
        rendition = box.render(bytes(seeds()[name]), recipe).rendition
        print(name, len(rendition.variants))
"""


def under(calls: tuple[str, ...], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run code that renders images under an outer filter that refuses these calls."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with function_filter.opened(calls) as descriptor:
        command = function_filter.under(descriptor, [sys.executable, "-c", RENDERS, *arguments])
        return subprocess.run(command, env=environment, pass_fds=(descriptor,), capture_output=True, text=True)


def test_images_are_made_in_full_under_a_filter_like_lambdas() -> None:
    finished = under(LIKE_LAMBDA, "required")
    assert finished.returncode == 0, finished.stderr
    held, *lines = finished.stdout.splitlines()
    assert "system calls" not in held
    assert lines == ["jpeg-exif 4", "avif-10 4", "heic 4", "gif-animated 5"]


def test_images_are_made_where_files_in_memory_and_limits_of_others_are_refused() -> None:
    """Without `memfd_create` files without a name in /tmp do; without `prlimit` the clock stops a decoder."""
    finished = under((*LIKE_LAMBDA, "memfd_create", "prlimit64", "setrlimit"), "optional")
    assert finished.returncode == 0, finished.stderr
    held, *lines = finished.stdout.splitlines()
    assert len(lines) == 4
    assert "descriptors" not in held.split(",")


def test_required_confinement_refuses_to_decode_where_nothing_holds() -> None:
    finished = under((*LIKE_LAMBDA, "prlimit64", "setrlimit"), "required")
    assert "jpeg" not in finished.stdout
    assert "Unconfined: the decoder is not confined here" in finished.stderr
    assert "limits.require_confinement is true" in finished.stderr


def test_image_is_not_sent_to_a_process_that_must_be_confined_and_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Process, "held", lambda *_: ["address space", "files"])
    monkeypatch.setattr(shared_files, "write", lambda *_: pytest.fail("the image was sent"))
    with (
        Sandbox(Limits(require_confinement=True)) as box,
        pytest.raises(Unconfined, match="only address space, files hold"),
    ):
        box.render(bytes(seeds()["jpeg-exif"]), SMALL)


@pytest.mark.parametrize(
    ("held", "level"),
    [
        (["files", "network", "memory of others", "signals", "system calls"], Level.SYSTEM_CALLS),
        (["files", "network", "memory of others", "system calls"], Level.DESCRIPTORS),
        (["files", "network", "memory of others"], Level.DESCRIPTORS),
        (["files", "network", "descriptors", "address space"], Level.LIMITS),
        ([], Level.LIMITS),
    ],
)
def test_level_is_that_of_the_weakest_wall(held: list[str], level: Level) -> None:
    assert Level.of(held) is level


def test_process_takes_as_many_images_as_the_limits_say() -> None:
    pids = list[int]()
    with Sandbox(Limits(images_per_worker=2)) as box:
        for _ in range(5):
            pids.append(box.process.pid)
            box.render(bytes(seeds()["jpeg-exif"]), SMALL)
        pids.append(box.process.pid)
        assert box.process.images == 1, "the next process is started before its image comes"
    assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [2, 2, 2]


def test_numbers_of_system_calls_are_those_of_the_kernels_headers() -> None:
    own, general = (
        Path(f"/usr/include/{platform.machine()}-linux-gnu/asm/unistd_64.h"),
        Path("/usr/include/asm-generic/unistd.h"),
    )
    if not own.exists() or not general.exists():
        pytest.skip("the kernel's headers are not installed (linux-libc-dev)")
    pattern = r"#define __NR(?:3264)?_(\w+) (\d+)"
    x86_64, aarch64 = (dict(re.findall(pattern, file.read_text())) for file in (own, general))
    aarch64["newfstatat"] = aarch64["fstatat"]
    for name, numbers in seccomp.NUMBERS.items():
        expected = tuple(int(table[name]) if name in table else None for table in (x86_64, aarch64))
        assert numbers == expected, name


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_filter_fits_into_a_program_of_either_machine(machine: str) -> None:
    program = seccomp.allowing(ALLOWED, 1, machine)
    assert len(program) % 8 == 0
    assert len(program) // 8 < 4096  # BPF_MAXINSNS


def test_confined_process_still_has_threads_and_limited_files(tmp_path: Path) -> None:
    code = """
import os, threading
from image_processor.decoder import confinement, seccomp, shared_files
file = shared_files.create("x")
seccomp.drop_capabilities()
print(confinement.confine(500_000_000, 1000))
thread = threading.Thread(target=print, args=("thread",)); thread.start(); thread.join()
try:
    shared_files.write(file, [b"x" * 2000]); shared_files.write(file, [b"x" * 1000, b"x"])
except OSError as error:
    print("file size", error.errno)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    finished = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    held, *lines = finished.stdout.splitlines()
    assert "system calls" in held, "this kernel does not let a process narrow itself"
    assert lines == ["thread", "file size 27"], finished.stderr


def test_confined_process_can_abort() -> None:
    """GLib and the C library end a process that way; its parent reads the reason from the signal."""
    code = "import os; from image_processor.decoder import confinement; confinement.confine(10**9, 1000); os.abort()"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    finished = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert finished.returncode == -signal.SIGABRT, finished.stderr


def test_files_are_emptied_when_they_are_read_and_never_read_in_part() -> None:
    file = shared_files.create("x")
    try:
        shared_files.write(file, [b"abc", b"", b"de"])
        for sizes in ([3, 1], [3, -1, 3], [2, 2, 2], [5.0], [True, 4], ["5"]):
            with pytest.raises(ValueError, match="sizes"):
                shared_files.read(file, sizes)
        assert shared_files.read(file, [3, 0, 2]) == [b"abc", b"", b"de"]
        assert os.fstat(file).st_size == 0
    finally:
        os.close(file)
