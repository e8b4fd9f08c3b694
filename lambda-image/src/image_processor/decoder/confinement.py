"""Irrevocably drops the decoder process's privileges. Linux only; needs no root and no `prctl`.

Rlimits hold everywhere: no new descriptor means no file, no socket, no process's memory by /proc. The filter of system
calls holds wherever an outer sandbox lets a process narrow itself; Lambda's does not. `confine` tries what is left and
returns the names of what holds.
"""

import ctypes
import errno
import os
import platform
import resource
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from image_processor.decoder import seccomp

#: Calls of decoders and encoders after the warm-up, as `make bench-calls` lists them, frequent ones first;
#: in the last two rows what other C libraries, errors and the end of the process need. Threads and an abort also need
#: `clone` and `tgkill`, which `seccomp.allowing` bounds by argument.
ALLOWED = (
    *("futex", "rt_sigprocmask", "mprotect", "brk", "madvise", "mmap", "munmap", "mremap"),
    *("pread64", "pwrite64", "ftruncate", "newfstatat", "fstat", "recvfrom", "sendto", "setitimer"),
    *("gettid", "getpid", "set_robust_list", "rseq", "sched_getaffinity", "restart_syscall", "exit"),
    *("write", "writev", "close", "sched_yield", "nanosleep", "clock_nanosleep", "clock_gettime"),
    *("getrandom", "sysinfo", "rt_sigaction", "rt_sigreturn", "exit_group"),
)

_PTRACE_PEEKDATA = 2


def confine(memory_bytes: int, output_bytes: int) -> list[str]:
    """Drop everything that a decoder does not need; return the names of what holds.

    `memory_bytes` is address space beyond what is mapped now, `output_bytes` the largest file that can be written.
    """
    parent = os.getppid()
    libc = ctypes.CDLL(None, use_errno=True)
    may_trace = _works(lambda: os.open(f"/proc/{parent}/mem", os.O_RDONLY))
    held = []
    for name, limit, value in (
        ("address space", resource.RLIMIT_AS, address_space() + memory_bytes),
        ("file size", resource.RLIMIT_FSIZE, output_bytes),
        ("core", resource.RLIMIT_CORE, 0),
        ("descriptors", resource.RLIMIT_NOFILE, 0),
    ):
        with suppress(OSError, ValueError):
            resource.setrlimit(limit, (value, value))
            held.append(name)
    machine = platform.machine()
    if seccomp.number("seccomp") is not None and seccomp.install(seccomp.allowing(ALLOWED, os.getpid(), machine)):
        held.append("system calls")
    return held + _tried(libc, parent, may_trace)


def address_space() -> int:
    """Return the bytes of address space that this process has mapped."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _tried(libc: ctypes.CDLL, parent: int, may_trace: bool) -> list[str]:
    """Try what must not work; return the names of what does not."""
    held = []
    if not _works(lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))):
        if not _works(lambda: os.open("/proc/self/status", os.O_RDONLY)):
            held.append("files")
        if not _works(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM).detach()):
            held.append("network")
    # Both calls ask the same permission as /proc/<pid>/mem; a filter may refuse them apart. Untraced is ESRCH.
    libc.ptrace(_PTRACE_PEEKDATA, parent, None, None)
    traces = ctypes.get_errno() == errno.ESRCH
    reads = libc.process_vm_readv(parent, None, 0, None, 0, 0) == 0
    if not (may_trace and (traces or reads)):
        held.append("memory of others")
    if not _works(lambda: os.kill(parent, 0)):
        held.append("signals")
    return held


def _works(attempt: Callable[[], int | None]) -> bool:
    """Return whether an attempt works, and close the descriptor that it opens: a hostile file would find it."""
    try:
        descriptor = attempt()
    except (OSError, ValueError):
        return False
    if descriptor is not None:
        os.close(descriptor)
    return True
