"""The server's port: one per clone, chosen once.

It cannot be chosen anew at every start: queue URLs and API endpoints that the server remembers, and Terraform's state
with them, contain it. Ports are taken from below the range that systems hand out to outgoing connections, so that a
passing connection rarely sits on one.
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
    try:
        return int(json.loads(folder.addresses.read_text())["port"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def server_port(folder: Folder) -> int:
    """The port of this clone; at the first call a free one, remembered from then on.

    Raises:
        PipelineError: every port of the range is taken.
    """
    port = remembered_port(folder)
    if port is None:
        port = next((each for each in _candidates(folder.root) if is_free(each)), None)
        if port is None:
            raise PipelineError(
                f"no port is free between {FIRST_PORT} and {FIRST_PORT + PORT_COUNT}: end programs that hold them"
            )
        folder.addresses.write_text(json.dumps({"port": port}))
    return port


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def becomes_free(port: int) -> bool:
    """Waits a moment: a process that was killed may still be letting go."""
    deadline = time.monotonic() + RELEASE_SECONDS
    while not is_free(port):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def listening_socket() -> socket.socket:
    """A socket on a free loopback port, for addresses that nothing remembers."""
    listening = socket.socket()
    listening.bind((LOOPBACK, 0))
    listening.listen(128)
    return listening


def holder(port: int) -> str:
    """Who listens on a port, in words; other users' processes cannot always be seen."""
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.laddr.port == port and connection.pid:
                return f"process {connection.pid} ({psutil.Process(connection.pid).name()})"
    except psutil.Error:
        pass
    return "another process"


def _candidates(root: Path) -> Iterator[int]:
    """Each clone begins at a place of its own, so that two started at the same time do not meet."""
    start = int.from_bytes(hashlib.sha256(str(root.resolve()).encode()).digest()[:4], "big")
    return (FIRST_PORT + (start + step) % PORT_COUNT for step in range(PORT_COUNT))
