"""The server's port: one per clone, chosen once.

The port stays the same from start to start, because queue URLs, API endpoints and Terraform's state contain it. It
lies below the range that systems give to outgoing connections, so that a passing connection rarely holds it.
"""

import hashlib
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from imagepipe.errors import PipelineError
from imagepipe.localcloud.folder import Folder

LOOPBACK = "127.0.0.1"
RELEASE_SECONDS = 1.0
FIRST_PORT, PORT_COUNT = 20_000, 10_000


def remembered_port(folder: Folder) -> int | None:
    """Return the port of an earlier start, or None before the first."""
    try:
        return int(json.loads(folder.addresses.read_text())["port"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def server_port(folder: Folder) -> int:
    """Return the port of this clone: at the first call a free one, which is then kept.

    Raises:
        PipelineError: every port of the range is taken.
    """
    port = remembered_port(folder)
    if port is None:
        port = next(filter(is_free, _candidates(folder.root)), None)
        if port is None:
            raise PipelineError(
                f"no port is free between {FIRST_PORT} and {FIRST_PORT + PORT_COUNT}: end programs that hold them"
            )
        folder.addresses.write_text(json.dumps({"port": port}))
    return port


def is_free(port: int) -> bool:
    """Return whether a server could listen on this loopback port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def becomes_free(port: int) -> bool:
    """Wait a moment for a port: the system may still hold it for a process that was killed."""
    deadline = time.monotonic() + RELEASE_SECONDS
    while not is_free(port):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def listening_socket() -> socket.socket:
    """Open a socket on any free loopback port, for addresses that need not stay the same."""
    listening = socket.socket()
    listening.bind((LOOPBACK, 0))
    listening.listen(128)
    return listening


def holder(port: int) -> str:
    """Name the process that listens on a port; processes of other users cannot always be seen."""
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.laddr.port == port and connection.pid:
                return f"process {connection.pid} ({psutil.Process(connection.pid).name()})"
    except psutil.Error:
        pass
    return "another process"


def _candidates(root: Path) -> Iterator[int]:
    """List the ports from a first one that differs by clone, so that two clones rarely want the same."""
    start = int.from_bytes(hashlib.sha256(str(root.resolve()).encode()).digest()[:4], "big")
    return (FIRST_PORT + (start + step) % PORT_COUNT for step in range(PORT_COUNT))
