"""A hostile decoding process: it tries what somebody would who took a decoder over, and says what worked.

It runs in the place of `image_processor.decoder.worker`, confined by the same code. `python benchmarks/hostile.py` is
its parent: it holds a secret in its environment and listens as a runtime API does; it prints a JSON object of attempts
and their results.
"""

import ctypes
import errno
import json
import os
import resource
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from image_processor.decoder import process, seccomp
from image_processor.recipe import Limits
from imagepipe.localcloud import function_filter

SECRET = "AWS_SECRET_ACCESS_KEY"

#: What works at the level `Level.DESCRIPTORS`, and does not reach anything of the function but its time.
OPEN_BY_DESIGN = frozenset(
    {
        "copy itself to another process",
        "signal the parent: kill",
        "signal the parent: tkill",
        "signal the parent: tgkill",
        "signal the parent: rt_sigqueueinfo",
        "signal the parent: rt_tgsigqueueinfo",
        "make a folder in /tmp",
        "remove a file in /tmp",
        "slow the parent down: priority",
        "slow the parent down: processors",
        "slow the parent down: input and output",
        "lower the parent's limits",
        "shared memory of System V",
    }
)

#: Calls that the outer filter refuses.
KERNELS: dict[str, tuple[str, ...]] = {
    "any Linux": (),
    "like Lambda": function_filter.REFUSED + function_filter.REFUSED_IN_CONTAINERS,
}

libc = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: Any) -> int:
    """Make a system call by name.

    Raises:
        OSError: it is refused, or fails.
    """
    answer = int(libc.syscall(NUMBERS[name], *arguments))
    if answer < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return answer


#: Numbers of x86_64 and aarch64 (asm/unistd_64.h, asm-generic/unistd.h); those of the filter come from there.
_OWN = {
    "ioprio_set": (251, 30),
    "shmctl": (31, 195),
    "shmget": (29, 194),
    "sched_setaffinity": (203, 122),
    "setpriority": (141, 140),
}


def _numbers() -> dict[str, int]:
    column = 0 if os.uname().machine == "x86_64" else 1
    return {name: row[column] or -1 for name, row in {**seccomp.NUMBERS, **_OWN}.items()}


NUMBERS = _numbers()


def _attempts(parent: int, thread: int, port: int, victim: str, place: int) -> dict[str, Callable[[], object]]:
    information = ctypes.create_string_buffer(struct.pack("iii", 0, 0, -1).ljust(128, b"\0"))
    own = ctypes.create_string_buffer(64)
    vector, theirs = struct.pack("PL", ctypes.addressof(own), 8), struct.pack("PL", place, 8)

    def open_read(path: str) -> bytes:
        with open(path, "rb", buffering=0) as file:
            return file.read(100)

    def runtime_api() -> bytes:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as connection:
            connection.connect(("127.0.0.1", port))
            return connection.recv(100)

    def shared_memory() -> int:
        segment = call("shmget", 0, 4096, 0o1600)
        return call("shmctl", segment, 0, None)

    def copy() -> int:
        if not (child := os.fork()):
            os._exit(0)
        return os.waitpid(child, 0)[1]

    def program() -> None:
        child = os.posix_spawn("/bin/true", ["true"], {})
        if code := os.waitpid(child, 0)[1]:
            raise OSError(f"it starts and cannot open its libraries ({code})")

    def left_open() -> list[int]:
        """Return descriptors beyond those that are shared on purpose: error output, channel, image, variants."""
        known = {0, 1, 2, *map(int, sys.argv[1:4])}
        others = []
        for descriptor in set(range(64)) - known:
            try:
                content = os.pread(descriptor, 4096, place)
            except OSError as error:
                if error.errno not in {errno.EBADF, errno.EIO}:  # EIO: no memory of its own at that address
                    others.append(descriptor)
            else:
                if content:
                    others.append(descriptor)
        if not others:
            raise OSError("none is open")
        return others

    def beyond_the_limit() -> int:
        return os.pwrite(int(sys.argv[3]), b"x", 1 << 40)

    return {
        "read the parent's environment": lambda: SECRET.encode() in open_read(f"/proc/{parent}/environ"),
        "read the parent's memory: /proc": lambda: open_read(f"/proc/{parent}/mem"),
        "read the parent's memory: process_vm_readv": lambda: call("process_vm_readv", parent, vector, 1, theirs, 1, 0),
        "write the parent's memory: process_vm_writev": lambda: call(
            "process_vm_writev", parent, vector, 1, theirs, 1, 0
        ),
        "trace the parent: PTRACE_SEIZE": lambda: call("ptrace", 0x4206, parent, 0, 0),
        "compare the parent's descriptors: kcmp": lambda: call("kcmp", parent, parent, 0, 0, 0),
        "read by a descriptor that was left open": left_open,
        "read a file": lambda: open_read("/etc/hostname"),
        "read the code": lambda: open_read(__file__),
        "list a folder": lambda: os.listdir("/tmp"),
        "write a file in /tmp": lambda: Path(victim + ".new").write_text("x"),
        "open a descriptor again": lambda: os.open(f"/proc/self/fd/{sys.argv[2]}", os.O_RDWR),
        "make a folder in /tmp": lambda: os.mkdir(victim + ".folder"),
        "remove a file in /tmp": lambda: os.unlink(victim),
        "write more than the limit": beyond_the_limit,
        "a file in memory: memfd_create": lambda: os.memfd_create("x"),
        "shared memory of System V": shared_memory,
        "open a TCP socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
        "open a UDP socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
        "open a local socket": socket.socketpair,
        "call the runtime API": runtime_api,
        "copy itself to another process": copy,
        "start a program": program,
        "signal the parent: kill": lambda: call("kill", parent, 0),
        "signal the parent: tkill": lambda: call("tkill", thread, 0),
        "signal the parent: tgkill": lambda: call("tgkill", parent, thread, 0),
        "signal the parent: rt_sigqueueinfo": lambda: call("rt_sigqueueinfo", parent, 0, information),
        "signal the parent: rt_tgsigqueueinfo": lambda: call("rt_tgsigqueueinfo", parent, thread, 0, information),
        "signal the parent: pidfd_send_signal": lambda: call(
            "pidfd_send_signal", call("pidfd_open", parent, 0), 0, None, 0
        ),
        "slow the parent down: priority": lambda: call("setpriority", 0, parent, 19),
        "slow the parent down: processors": lambda: call("sched_setaffinity", parent, 128, b"\xff" * 128),
        "slow the parent down: input and output": lambda: call("ioprio_set", 1, parent, 3 << 13),
        "lower the parent's limits": lambda: call(
            "prlimit64", parent, resource.RLIMIT_CORE, struct.pack("LL", 0, 0), None
        ),
        "raise its own limit of descriptors": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)),
        "raise its own limit of file size": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 50, 1 << 50)),
        "raise its own limit of memory": lambda: resource.setrlimit(resource.RLIMIT_AS, (1 << 50, 1 << 50)),
        "a namespace of its own": lambda: call("unshare", 0x10000000),
        "mount a file system": lambda: call("mount", b"none", b"/tmp", b"tmpfs", 0, None),
        "parts of the kernel: bpf": lambda: call("bpf", 0, bytes(128), 128),
        "parts of the kernel: io_uring_setup": lambda: call("io_uring_setup", 1, ctypes.create_string_buffer(256)),
        "parts of the kernel: userfaultfd": lambda: call("userfaultfd", 1),
        "parts of the kernel: perf_event_open": lambda: call("perf_event_open", bytes(128), 0, -1, -1, 0),
        "parts of the kernel: keyctl": lambda: call("keyctl", 0, -3, 1),
    }


def child() -> None:
    """Run as the worker, and try everything instead of decoding."""
    from image_processor.decoder import worker

    def attack(data: bytes, order: dict[str, Any], limits: object) -> tuple[dict[str, Any], list[bytes]]:
        results = {}
        for name, attempt in _attempts(*order["targets"]).items():
            try:
                results[name] = f"worked: {attempt()!r}"[:60]
            except (OSError, ValueError, AssertionError) as error:
                results[name] = f"refused: {error}"
        return {"status": "tried", "results": results}, []

    worker._process = attack
    worker.main()


def parent() -> None:
    """Start the hostile process, and print what worked."""
    victim = f"/tmp/hostile-{os.getpid()}"
    Path(victim).touch()
    process.WORKER = "hostile"
    started = process.Process(Limits(), 1, with_heic=False)
    held = started.held()
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=lambda: server.accept()[0].sendall(b"HTTP/1.1 200 OK\r\n\r\n"), daemon=True).start()
        place = ctypes.create_string_buffer(64)
        here = (os.getpid(), threading.get_native_id(), server.getsockname()[1], victim, ctypes.addressof(place))
        order = {"targets": here}
        answer, _ = started.render(b"x", order)
    started.end()
    for path in (Path(victim), Path(victim + ".new")):
        path.unlink(missing_ok=True)
    if Path(victim + ".folder").exists():
        Path(victim + ".folder").rmdir()
    print(json.dumps({"held": held, "level": process.Level.of(held), "results": answer["results"]}))


def try_everything(refused: tuple[str, ...] = ()) -> dict[str, Any]:
    """Run parent and child under an outer filter that refuses these calls; return level, limits and results by name.

    Raises:
        RuntimeError: one of them fails, with what it wrote.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), SECRET: "secret"}
    command = [sys.executable, __file__]
    with function_filter.opened(refused) as descriptor:
        finished = subprocess.run(
            function_filter.under(descriptor, command),
            env=environment,
            pass_fds=(descriptor,),
            capture_output=True,
            text=True,
        )
    if finished.returncode:
        raise RuntimeError(finished.stderr)
    return dict(json.loads(finished.stdout))


def show(kernels: dict[str, Any]) -> None:
    """Print the attempts and their results, one column for every kernel."""
    from rich.console import Console
    from rich.table import Table

    table = Table("a hostile decoder tries to", *(f"{name}: {result['level']}" for name, result in kernels.items()))
    for attempt in next(iter(kernels.values()))["results"]:
        table.add_row(attempt, *(result["results"][attempt].partition(":")[0] for result in kernels.values()))
    Console(width=160).print(table)


if __name__ == "__main__":
    child() if len(sys.argv) > 1 else parent()
