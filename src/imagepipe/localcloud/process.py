"""Processes that outlive the command which started them.

A record on disk holds the process id and the time at which that process began: an id alone may by now belong to a
stranger, and a stranger is never signalled.
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
    """One process of its own session, known by the record that `start` leaves."""

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
        """Starts the command, which listens on `port`, was made from `fingerprint` and inherits descriptors `files`."""
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
        # A process that has already gone leaves a record that matches nothing, and its log says why.
        began = 0.0
        with contextlib.suppress(psutil.NoSuchProcess):
            began = psutil.Process(started.pid).create_time()
        known: _Record = {"pid": started.pid, "began": began, "port": port, "fingerprint": fingerprint}
        self.record.write_text(json.dumps(known))

    def process(self) -> psutil.Process | None:
        """The process if it still runs."""
        known = self._read()
        if known is None:
            return None
        try:
            found = psutil.Process(known["pid"])
            other = abs(found.create_time() - known["began"]) > CLOCK_TOLERANCE_SECONDS
            if other or found.status() == psutil.STATUS_ZOMBIE:
                return None
        except psutil.NoSuchProcess:
            return None
        return found

    def started_from(self, fingerprint: str) -> bool:
        known = self._read()
        return known is not None and known["fingerprint"] == fingerprint

    def port(self) -> int | None:
        known = self._read()
        return known["port"] if known else None

    def stop(self) -> None:
        """Ends the process, politely first, and whatever of its session it left behind; removes the record."""
        known = self._read()
        found = self.process()
        if found is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                found.terminate()
                if not self._gone():
                    found.kill()
                    self._gone()
        if known is not None:
            _end_orphans(known["pid"], known["began"])
        self.record.unlink(missing_ok=True)

    def last_lines(self, count: int = 15) -> str:
        with contextlib.suppress(FileNotFoundError):
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-count:])
        return ""

    def _gone(self) -> bool:
        """Waits for the process to end; a zombie counts as ended, since it may not be ours to reap."""
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
    """Waits until a process that was started does what it was started for.

    Raises:
        LocalCloudError: it has ended or takes too long; with the end of its log.
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
    """Ends function processes whose host was killed: they are what is left of the session that the host led."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            younger = process.create_time() >= began - CLOCK_TOLERANCE_SECONDS
            if os.getsid(process.pid) == session and younger and "awslambdaric" in process.cmdline():
                process.kill()
