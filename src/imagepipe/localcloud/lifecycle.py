"""Start, stop and inspect the local cloud of a clone."""

import contextlib
import fcntl
import hashlib
import importlib.metadata
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from imagepipe.errors import LocalCloudError
from imagepipe.localcloud import addresses, image_registry, server
from imagepipe.localcloud.addresses import LOOPBACK
from imagepipe.localcloud.folder import Folder
from imagepipe.localcloud.process import Detached, await_answer


@dataclass(frozen=True)
class LocalCloud:
    """Address of a running local cloud, and the certificate to trust."""

    endpoint: str
    ca_bundle: Path

    def environment(self, account_id: str, region: str) -> dict[str, str]:
        """Return the AWS_* variables for any AWS client in an account: the access key is the account's id."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_CA_BUNDLE": str(self.ca_bundle),
            "AWS_ACCESS_KEY_ID": account_id,
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_REGION": region,
            "AWS_DEFAULT_REGION": region,
            "AWS_EC2_METADATA_DISABLED": "true",
        }


@dataclass(frozen=True)
class Status:
    """State of a clone's local cloud; endpoint and uptime are None unless both processes answer."""

    running: bool
    endpoint: str | None
    pids: dict[str, int]
    uptime_seconds: float | None
    accounts: list[str]
    folder: Path


def up(root: Path) -> LocalCloud:
    """Start the processes that do not run yet; return how to reach them.

    Raises:
        LocalCloudError: the port is taken, or a process does not come up.
    """
    folder = Folder(root.resolve())
    folder.create()
    with _locked(folder):
        if not _is_running(folder):
            _stop(folder)
            _start(folder)
        return _handle(folder)


def down(root: Path) -> None:
    """Stop the processes and keep their state; without running processes it does nothing."""
    folder = Folder(root.resolve())
    if folder.path.exists():
        with _locked(folder):
            _stop(folder)


def status(root: Path) -> Status:
    """Return whether the local cloud runs, where, and with which accounts."""
    folder = Folder(root.resolve())
    processes = {detached.name: detached.process() for detached in (_server(folder), _host(folder))}
    alive = {name: process for name, process in processes.items() if process}
    running = len(alive) == len(processes) and _is_running(folder)
    return Status(
        running=running,
        endpoint=_handle(folder).endpoint if running else None,
        pids={name: process.pid for name, process in alive.items()},
        uptime_seconds=time.time() - max(process.create_time() for process in alive.values()) if running else None,
        accounts=sorted(account.name for account in folder.objects.glob("[0-9]" * 12)),
        folder=folder.path,
    )


def logs(root: Path, follow: bool) -> None:
    """Print the last lines of the server, the host and the functions; with `follow` also new ones, until Ctrl-C.

    Raises:
        LocalCloudError: the local cloud was never started.
    """
    folder = Folder(root.resolve())
    files = [file for file in (_server(folder).log, _host(folder).log, folder.function_log) if file.exists()]
    if not files:
        raise LocalCloudError("no logs yet: start the local cloud with `make up`")
    command = ["tail", "--verbose", "--lines=40", *(["--follow=name"] if follow else []), *map(str, files)]
    with contextlib.suppress(KeyboardInterrupt):
        subprocess.run(command, check=True)


def _start(folder: Folder) -> None:
    from imagepipe.localcloud import certificate  # slow to import, and `up` is mostly called to look

    port = addresses.server_port(folder)
    if not addresses.becomes_free(port):
        raise LocalCloudError(
            f"port {port} of this clone's local cloud is held by {addresses.holder(port)}: end it and try again. "
            f"To reset the local cloud and take another port, losing all that it holds: rm -r {folder.path}"
        )
    folder.trim_logs()
    certificate.ensure(folder.certificate, folder.private_key)
    fingerprint = _fingerprint()
    with addresses.listening_socket() as listening:
        host_port = listening.getsockname()[1]
        _server(folder).start(
            server.command(), server.environment(folder, port, f"http://{LOOPBACK}:{host_port}"), port, fingerprint
        )
        _host(folder).start(
            [sys.executable, "-m", "imagepipe.localcloud.host", str(folder.root), str(listening.fileno())],
            server.python_environment(folder),
            host_port,
            fingerprint,
            files=[listening.fileno()],
        )
    try:
        for process in (_server(folder), _host(folder)):
            await_answer(process, partial(_answers, process, folder))
    except LocalCloudError:
        _stop(folder)
        raise


def _stop(folder: Folder) -> None:
    """Stop the host before the server, because running functions need the server."""
    image_registry.down(folder)
    _host(folder).stop()
    _server(folder).stop()


def _is_running(folder: Folder) -> bool:
    """Return whether both processes answer and run the code of the source tree as it is now."""
    fingerprint = _fingerprint()
    return all(
        process.process() is not None and process.started_from(fingerprint) and _answers(process, folder)
        for process in (_server(folder), _host(folder))
    )


def _answers(process: Detached, folder: Folder) -> bool:
    port = process.port()
    if port is None:
        return False
    if process.name == "host":
        return server.is_host_healthy(port)
    return server.is_healthy(port, folder.certificate)


def _fingerprint() -> str:
    """Hash the code of the local cloud and the version of the emulator."""
    total = hashlib.sha256(importlib.metadata.version("ministack").encode())
    for file in sorted(Path(__file__).parent.rglob("*.py")):
        total.update(file.read_bytes())
    return total.hexdigest()


def _server(folder: Folder) -> Detached:
    return Detached("server", folder.process_record("server"), folder.process_log("server"))


def _host(folder: Folder) -> Detached:
    return Detached("host", folder.process_record("host"), folder.process_log("host"))


def _handle(folder: Folder) -> LocalCloud:
    return LocalCloud(f"https://{LOOPBACK}:{addresses.remembered_port(folder)}", folder.certificate)


@contextmanager
def _locked(folder: Folder) -> Iterator[None]:
    """Let one command at a time start or stop processes: Terragrunt and people may call `up` at once."""
    with folder.lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
