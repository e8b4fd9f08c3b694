"""The filter of system calls that functions run under, like Lambda's: a parent installs it before the function starts.

AWS says that execution environments are confined by seccomp-bpf and not which calls that refuses:
https://docs.aws.amazon.com/whitepapers/latest/security-overview-aws-lambda/lambda-isolation-technologies.html
"""

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import image_processor
from image_processor.decoder import seccomp

#: Refused by Lambda according to its users: `prctl` (https://github.com/ClickHouse/ClickHouse/pull/53117,
#: https://github.com/magJ/cypress-lambda-example/issues/2), a filter of one's own, namespaces, and `fallocate`
#: (https://github.com/realm/realm-js/issues/1832).
REFUSED = ("prctl", "seccomp", "unshare", "setns", "fallocate")
#: Refused by filters of containers in general, so taken for granted here; nobody has published Lambda's list.
REFUSED_IN_CONTAINERS = (
    *("mount", "umount2", "pivot_root", "chroot", "bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "kcmp"),
    *("keyctl", "add_key", "request_key", "ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd"),
)

#: Program of the process that installs a filter and then becomes the function. Lambda's functions have no capability.
_LAUNCH = """
import os, sys
sys.path.insert(0, sys.argv[1])
from image_processor.decoder import seccomp
seccomp.drop_capabilities()
seccomp.install(os.pread(int(sys.argv[2]), 65536, 0))
os.close(int(sys.argv[2]))
os.execv(sys.argv[3], sys.argv[3:])
"""


@contextmanager
def opened(calls: tuple[str, ...] = REFUSED + REFUSED_IN_CONTAINERS) -> Iterator[int]:
    """Yield a descriptor of the filter that refuses these calls, for one `under` or one `--seccomp` of bubblewrap."""
    descriptor = os.memfd_create("filter")
    try:
        os.pwrite(descriptor, seccomp.refusing(calls, platform.machine()), 0)
        yield descriptor
    finally:
        os.close(descriptor)


def under(descriptor: int, command: list[str]) -> list[str]:
    """Return the command line that runs a command under a filter; its process inherits the filter's descriptor."""
    sources = str(Path(image_processor.__file__).parents[1])
    return [sys.executable, "-I", "-S", "-c", _LAUNCH, sources, str(descriptor), *command]
