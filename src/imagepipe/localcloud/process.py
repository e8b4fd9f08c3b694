"""Processes that outlive the command which started them.

A record on disk holds the process id and the start time of the process. The system may give the id to another process
later; the start time keeps us from signalling that one.
"""

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import psutil

from imagepipe.errors import LocalCloudError

#: The server writes its whole state while stopping.
STOP_SECONDS = 20.0
START_SECONDS = 60.0
POLL_SECONDS = 0.02
#: A start time is counted from the time of boot, which shifts when the machine's clock is set.
CLOCK_TOLERANCE_SECONDS = 5.0


@dataclass(frozen=True)
class Detached:
    """A process in a session of its own, identified by the record that `start` writes."""

    name: str
    record: Path
    log: Path

    def start(
        self,
        command: Sequence[str],
        environment: dict[str, str],
        port: int,
        fingerprint: str,
        files: Sequence[int] = (),
    ) -> None:
        """Start a command and record its port and the fingerprint of its code; it inherits the descriptors `files`."""
        with self.log.open("ab") as log:
            started = subprocess.Popen(
                command,
                cwd=self.log.parent,
                env=environment,
                pass_fds=files,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        # A process that has ended already leaves a record that matches no process; its log says why.
        began = 0.0
        with contextlib.suppress(psutil.NoSuchProcess):
            began = psutil.Process(started.pid).create_time()
        known: _Record = {"pid": started.pid, "began": began, "port": port, "fingerprint": fingerprint}
        self.record.write_text(json.dumps(known))

    def process(self) -> psutil.Process | None:
        """Return the process if it still runs."""
        known = self._read()
        if known is None:
            return None
        try:
            process = psutil.Process(known["pid"])
            other = abs(process.create_time() - known["began"]) > CLOCK_TOLERANCE_SECONDS
            if other or process.status() == psutil.STATUS_ZOMBIE:
                return None
        except psutil.NoSuchProcess:
            return None
        return process

    def started_from(self, fingerprint: str) -> bool:
        """Return whether the process was started with this fingerprint."""
        known = self._read()
        return known is not None and known["fingerprint"] == fingerprint

    def port(self) -> int | None:
        """Return the port that the process was started with, or None if it was not started."""
        known = self._read()
        return known["port"] if known else None

    def stop(self) -> None:
        """End the process, by SIGTERM and then SIGKILL, and what is left of its session; remove the record."""
        known = self._read()
        process = self.process()
        if process is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.terminate()
                if not self._ends():
                    process.kill()
                    self._ends()
        if known is not None:
            _end_orphans(known["pid"], known["began"])
        self.record.unlink(missing_ok=True)

    def last_lines(self, count: int = 15) -> str:
        """Return the end of the process's log."""
        with contextlib.suppress(FileNotFoundError):
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-count:])
        return ""

    def _ends(self) -> bool:
        """Wait for the process to end. A zombie counts as ended: another process may have to reap it."""
        deadline = time.monotonic() + STOP_SECONDS
        while self.process() is not None:
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_SECONDS)
        return True

    def _read(self) -> "_Record | None":
        try:
            known: _Record = json.loads(self.record.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        return known


def await_answer(process: Detached, answers: Callable[[], bool]) -> None:
    """Wait until a started process answers.

    Raises:
        LocalCloudError: the process has ended or takes too long; the message holds the end of its log.
    """
    deadline = time.monotonic() + START_SECONDS
    while not answers():
        if process.process() is None or time.monotonic() > deadline:
            raise LocalCloudError(
                f"the {process.name} did not start; its log, {process.log}, ends with:\n{process.last_lines()}"
            )
        time.sleep(POLL_SECONDS)


class _Record(TypedDict):
    pid: int
    began: float
    port: int
    fingerprint: str


def _end_orphans(session: int, began: float) -> None:
    """End the functions of a host that was killed: the processes that are left of its session."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            younger = process.create_time() >= began - CLOCK_TOLERANCE_SECONDS
            if os.getsid(process.pid) == session and younger and "awslambdaric" in process.cmdline():
                process.kill()
