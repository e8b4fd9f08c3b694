"""Functions of the local cloud run under a filter of system calls, as Lambda's do."""

import subprocess
import sys

import pytest

from imagepipe.localcloud import function_filter

TRIES = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
libc.prctl(38, 1, 0, 0, 0)
print("prctl", os.strerror(ctypes.get_errno()))
from pathlib import Path
status = dict(line.split(":\\t", 1) for line in Path("/proc/self/status").read_text().splitlines())
print("seccomp", status["Seccomp"])
print("capabilities", int(status["CapEff"], 16))
print("descriptors", sorted(map(int, os.listdir("/proc/self/fd")))[:3])
"""


def under(descriptor: int, *command: str) -> str:
    whole = function_filter.under(descriptor, [sys.executable, *command])
    return subprocess.run(whole, pass_fds=(descriptor,), capture_output=True, text=True, check=True).stdout


def test_function_may_not_call_prctl_and_has_no_capability() -> None:
    with function_filter.opened() as descriptor:
        lines = under(descriptor, "-c", TRIES).splitlines()
    assert lines[:3] == ["prctl Operation not permitted", "seccomp 2", "capabilities 0"]


@pytest.mark.parametrize("call", function_filter.REFUSED + function_filter.REFUSED_IN_CONTAINERS)
def test_filter_refuses_what_lambda_is_said_to_refuse(call: str) -> None:
    code = f"""
import ctypes, sys
sys.path[:0] = {sys.path!r}
from image_processor.decoder import seccomp
libc = ctypes.CDLL(None, use_errno=True)
print(libc.syscall(seccomp.number("{call}"), -1, -1, -1, -1, -1), ctypes.get_errno())
"""
    with function_filter.opened() as descriptor:
        assert under(descriptor, "-I", "-S", "-c", code).split() == ["-1", "1"]
