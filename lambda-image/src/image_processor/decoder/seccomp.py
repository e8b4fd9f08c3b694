"""Filters of system calls (seccomp-bpf) as classic BPF. Linux on x86_64 and aarch64; needs no root.

A process installs one for itself for good, and what it starts inherits it. Where an outer filter refuses `prctl` or
`seccomp`, as Lambda's does, `install` returns False.
"""

import ctypes
import errno
import platform
import struct

_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP_SET_MODE_FILTER, _SECCOMP_FILTER_FLAG_TSYNC = 1, 1
_RETURN_ALLOW, _RETURN_ERRNO, _RETURN_KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
_CLONE_THREAD = 0x00010000
_CAPABILITY_VERSION_3 = 0x20080522

# Classic BPF: load a word of `struct seccomp_data`, compare, return.
_LOAD, _JUMP_EQUAL, _JUMP_ANY_BIT, _JUMP_AT_LEAST, _RETURN = 0x20, 0x15, 0x45, 0x35, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets into struct seccomp_data

#: AUDIT_ARCH_* of seccomp(2).
_AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32_BIT = 0x40000000

#: Numbers of system calls on x86_64 (asm/unistd_64.h) and aarch64 (asm-generic/unistd.h); None: it never had that call.
NUMBERS: dict[str, tuple[int, int | None]] = {
    "add_key": (248, 217),
    "bpf": (321, 280),
    "brk": (12, 214),
    "capset": (126, 91),
    "chroot": (161, 51),
    "clock_gettime": (228, 113),
    "clock_nanosleep": (230, 115),
    "clone": (56, 220),
    "clone3": (435, 435),
    "close": (3, 57),
    "exit": (60, 93),
    "exit_group": (231, 94),
    "fallocate": (285, 47),
    "fstat": (5, 80),
    "ftruncate": (77, 46),
    "futex": (202, 98),
    "getpid": (39, 172),
    "getrandom": (318, 278),
    "gettid": (186, 178),
    "io_uring_setup": (425, 425),
    "kcmp": (312, 272),
    "keyctl": (250, 219),
    "kill": (62, 129),
    "madvise": (28, 233),
    "memfd_create": (319, 279),
    "mmap": (9, 222),
    "mount": (165, 40),
    "mprotect": (10, 226),
    "mremap": (25, 216),
    "munmap": (11, 215),
    "nanosleep": (35, 101),
    "newfstatat": (262, 79),
    "perf_event_open": (298, 241),
    "pidfd_getfd": (438, 438),
    "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424),
    "pivot_root": (155, 41),
    "prctl": (157, 167),
    "pread64": (17, 67),
    "prlimit64": (302, 261),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "pwrite64": (18, 68),
    "recvfrom": (45, 207),
    "request_key": (249, 218),
    "restart_syscall": (219, 128),
    "rseq": (334, 293),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigqueueinfo": (129, 138),
    "rt_sigreturn": (15, 139),
    "rt_tgsigqueueinfo": (297, 240),
    "sched_getaffinity": (204, 123),
    "sched_yield": (24, 124),
    "seccomp": (317, 277),
    "sendto": (44, 206),
    "set_robust_list": (273, 99),
    "setitimer": (38, 103),
    "setns": (308, 268),
    "setrlimit": (160, 164),
    "sysinfo": (99, 179),
    "tgkill": (234, 131),
    "tkill": (200, 130),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
    "write": (1, 64),
    "writev": (20, 66),
}


def number(name: str, machine: str | None = None) -> int | None:
    """Return the number of a system call, by default on this machine; None if the machine lacks it or is unknown."""
    machines = {"x86_64": 0, "aarch64": 1}
    column = machines.get(machine or platform.machine())
    return None if column is None else NUMBERS[name][column]


def allowing(names: tuple[str, ...], pid: int, machine: str) -> bytes:
    """Return a filter that lets only these calls through, and what threads and an abort need; others get EACCES.

    A thread may be cloned, a process not; clone3 hides its flags in memory, so the C library gets ENOSYS and uses
    clone. A signal may be raised in the process `pid` itself (abort), and not be sent.
    """
    deny, no_such = _RETURN_ERRNO | errno.EACCES, _RETURN_ERRNO | errno.ENOSYS
    code = _head(machine)
    for name in names:
        code += _on(number(name, machine), _RETURN_ALLOW)
    code += _on(number("clone3", machine), no_such)
    # A block runs for one number only and ends in a return; other numbers jump over it.
    code += _on_argument(number("clone", machine), 0, _JUMP_ANY_BIT, _CLONE_THREAD, deny)
    code += _on_argument(number("tgkill", machine), 0, _JUMP_EQUAL, pid, deny)
    return b"".join([*code, _step(_RETURN, deny)])


def refusing(names: tuple[str, ...], machine: str) -> bytes:
    """Return a filter that answers these calls with EPERM and lets all others through."""
    code = _head(machine)
    for name in names:
        code += _on(number(name, machine), _RETURN_ERRNO | errno.EPERM)
    return b"".join([*code, _step(_RETURN, _RETURN_ALLOW)])


def install(program: bytes) -> bool:
    """Install a filter for every thread of this process, for good; return False where an outer filter refuses that."""
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(program, len(program))
    head = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer)))
    # Refused or not: a parent may have set it already, and then the filter installs all the same.
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    call = number("seccomp"), _SECCOMP_SET_MODE_FILTER, _SECCOMP_FILTER_FLAG_TSYNC, ctypes.byref(head)
    return bool(libc.syscall(*call) == 0)


def drop_capabilities() -> bool:
    """Drop every capability of this thread, so that root is held by limits and permissions as anybody is."""
    libc = ctypes.CDLL(None, use_errno=True)
    head = ctypes.create_string_buffer(struct.pack("Ii", _CAPABILITY_VERSION_3, 0))
    return bool(libc.syscall(number("capset"), ctypes.byref(head), ctypes.byref(ctypes.create_string_buffer(24))) == 0)


def _head(machine: str) -> list[bytes]:
    code = [
        _step(_LOAD, _ARCHITECTURE),
        _step(_JUMP_EQUAL, _AUDIT[machine], 1, 0),
        _step(_RETURN, _RETURN_KILL_PROCESS),
        _step(_LOAD, _NUMBER),
    ]
    if machine == "x86_64":
        code += [_step(_JUMP_AT_LEAST, _X32_BIT, 0, 1), _step(_RETURN, _RETURN_KILL_PROCESS)]
    return code


def _on(call: int | None, answer: int) -> list[bytes]:
    return [] if call is None else [_step(_JUMP_EQUAL, call, 0, 1), _step(_RETURN, answer)]


def _on_argument(call: int | None, argument: int, test: int, value: int, otherwise: int) -> list[bytes]:
    return [
        _step(_JUMP_EQUAL, call or 0, 0, 4),
        _step(_LOAD, _ARGUMENTS + 8 * argument),
        _step(test, value, 0, 1),
        _step(_RETURN, _RETURN_ALLOW),
        _step(_RETURN, otherwise),
    ]


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """One `struct sock_filter`."""
    return struct.pack("HBBI", code, if_true, if_false, value)
