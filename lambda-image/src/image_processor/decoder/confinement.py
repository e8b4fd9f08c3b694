"""Irrevocably drops the decoder process's privileges (rlimits, seccomp). Linux only; needs no root.

Rlimits always hold. The system-call filter (seccomp-bpf) holds wherever the kernel allows a process to confine itself:
every Linux since 3.17, unless an outer sandbox forbids it. `confine` returns which of them hold.
"""

import ctypes
import errno
import os
import platform
import resource
import struct
from pathlib import Path

_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP_SET_MODE_FILTER, _SECCOMP_FILTER_FLAG_TSYNC = 1, 1
_RETURN_ALLOW, _RETURN_ERRNO, _RETURN_KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
_CLONE_THREAD = 0x00010000

# Classic BPF: load a word of `struct seccomp_data`, compare, return.
_LOAD, _JUMP_EQUAL, _JUMP_ANY_BIT, _JUMP_AT_LEAST, _RETURN = 0x20, 0x15, 0x45, 0x35, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets into struct seccomp_data

#: AUDIT_ARCH_*, the numbers of seccomp(2), and of what is denied. x86-64 from asm/unistd_64.h, aarch64 from
#: asm-generic/unistd.h; calls that aarch64 never had are missing there.
_AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_SECCOMP = {"x86_64": 317, "aarch64": 277}
_X32_BIT = 0x40000000

_DENIED: dict[str, dict[str, int]] = {
    "x86_64": {
        # files: everything needed is open by now
        **{"open": 2, "creat": 85, "openat": 257, "openat2": 437, "open_by_handle_at": 304, "truncate": 76},
        **{"rename": 82, "renameat": 264, "renameat2": 316, "link": 86, "linkat": 265, "symlink": 88},
        **{"symlinkat": 266, "unlink": 87, "unlinkat": 263, "rmdir": 84, "mkdir": 83, "mkdirat": 258},
        **{"mknod": 133, "mknodat": 259, "chmod": 90, "fchmodat": 268, "chown": 92, "fchownat": 260},
        **{"mount": 165, "umount2": 166, "chroot": 161, "pivot_root": 155, "open_tree": 428, "fsopen": 430},
        # network
        **{"socket": 41, "socketpair": 53, "bind": 49, "listen": 50, "connect": 42, "accept": 43, "accept4": 288},
        # other processes
        **{"execve": 59, "execveat": 322, "fork": 57, "vfork": 58, "ptrace": 101, "kill": 62, "tkill": 200},
        **{"process_vm_readv": 310, "process_vm_writev": 311, "pidfd_open": 434, "pidfd_getfd": 438},
        **{"pidfd_send_signal": 424, "setns": 308, "unshare": 272, "rt_sigqueueinfo": 129, "kcmp": 312},
        # the limits themselves, and parts of the kernel that no decoder needs
        **{"setrlimit": 160, "bpf": 321, "perf_event_open": 298, "userfaultfd": 323, "io_uring_setup": 425},
        **{"add_key": 248, "request_key": 249, "keyctl": 250},
    },
    "aarch64": {
        **{"openat": 56, "openat2": 437, "open_by_handle_at": 265, "truncate": 45},
        **{"renameat": 38, "renameat2": 276, "linkat": 37, "symlinkat": 36, "unlinkat": 35, "mkdirat": 34},
        **{"mknodat": 33, "fchmodat": 53, "fchownat": 54},
        **{"mount": 40, "umount2": 39, "chroot": 51, "pivot_root": 41, "open_tree": 428, "fsopen": 430},
        **{"socket": 198, "socketpair": 199, "bind": 200, "listen": 201, "connect": 203, "accept": 202, "accept4": 242},
        **{"execve": 221, "execveat": 281, "ptrace": 117, "kill": 129, "tkill": 130},
        **{"process_vm_readv": 270, "process_vm_writev": 271, "pidfd_open": 434, "pidfd_getfd": 438},
        **{"pidfd_send_signal": 424, "setns": 268, "unshare": 97, "rt_sigqueueinfo": 138, "kcmp": 272},
        **{"setrlimit": 164, "bpf": 280, "perf_event_open": 241, "userfaultfd": 282, "io_uring_setup": 425},
        **{"add_key": 217, "request_key": 218, "keyctl": 219},
    },
}
#: Denied for some arguments only: a thread may be cloned, a process not; limits may be read, not set; a signal may be
#: raised in the process itself (abort), not sent. clone3 hides its flags in memory: the C library then uses clone.
_PARTLY: dict[str, dict[str, int]] = {
    "x86_64": {"clone": 56, "clone3": 435, "prlimit64": 302, "tgkill": 234},
    "aarch64": {"clone": 220, "clone3": 435, "prlimit64": 261, "tgkill": 131},
}


def confine(memory_bytes: int, output_bytes: int) -> list[str]:
    """Drop everything that a decoder does not need; return the names of the limits that hold.

    `memory_bytes` is address space beyond what is mapped now, `output_bytes` the largest file that can be written.
    """
    resource.setrlimit(resource.RLIMIT_AS, (address_space() + memory_bytes,) * 2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (output_bytes,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    held = ["address space", "file size", "cpu time"]
    if _filter_system_calls():
        held.append("system calls")
    return held


def address_space() -> int:
    """Return the bytes of address space that this process has mapped."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _filter_system_calls() -> bool:
    machine = platform.machine()
    if machine not in _DENIED:
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    code = _program(machine)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(buffer)))
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        return False
    # For all threads, not only this one: libvips may have started some.
    call = _SECCOMP[machine], _SECCOMP_SET_MODE_FILTER, _SECCOMP_FILTER_FLAG_TSYNC, ctypes.byref(program)
    return bool(libc.syscall(*call) == 0)


def _program(machine: str) -> bytes:
    deny, no_such = _RETURN_ERRNO | errno.EACCES, _RETURN_ERRNO | errno.ENOSYS
    partly = _PARTLY[machine]
    code = [
        _step(_LOAD, _ARCHITECTURE),
        _step(_JUMP_EQUAL, _AUDIT[machine], 1, 0),
        _step(_RETURN, _RETURN_KILL_PROCESS),
        _step(_LOAD, _NUMBER),
    ]
    if machine == "x86_64":
        code += [_step(_JUMP_AT_LEAST, _X32_BIT, 0, 1), _step(_RETURN, _RETURN_KILL_PROCESS)]
    for number in _DENIED[machine].values():
        code += [_step(_JUMP_EQUAL, number, 0, 1), _step(_RETURN, deny)]
    code += [_step(_JUMP_EQUAL, partly["clone3"], 0, 1), _step(_RETURN, no_such)]
    # A block runs for one number only and ends in a return; other numbers jump over it.
    code += _if_number(partly["clone"], 0, _JUMP_ANY_BIT, _CLONE_THREAD, deny)
    code += _if_number(partly["tgkill"], 0, _JUMP_EQUAL, os.getpid(), deny)
    # The pointer to the new limit is 64 bits wide: both halves must be zero.
    code += [
        _step(_JUMP_EQUAL, partly["prlimit64"], 0, 6),
        _step(_LOAD, _ARGUMENTS + 8 * 2),
        _step(_JUMP_EQUAL, 0, 0, 3),
        _step(_LOAD, _ARGUMENTS + 8 * 2 + 4),
        _step(_JUMP_EQUAL, 0, 0, 1),
        _step(_RETURN, _RETURN_ALLOW),
        _step(_RETURN, deny),
    ]
    return b"".join([*code, _step(_RETURN, _RETURN_ALLOW)])


def _if_number(number: int, argument: int, test: int, value: int, otherwise: int) -> list[bytes]:
    return [
        _step(_JUMP_EQUAL, number, 0, 4),
        _step(_LOAD, _ARGUMENTS + 8 * argument),
        _step(test, value, 0, 1),
        _step(_RETURN, _RETURN_ALLOW),
        _step(_RETURN, otherwise),
    ]


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """One `struct sock_filter`."""
    return struct.pack("HBBI", code, if_true, if_false, value)
