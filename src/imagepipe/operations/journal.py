"""How far a long run has come, kept in a file, so that the same command goes on where it was broken off."""

import json
from pathlib import Path
from typing import NamedTuple


class Progress(NamedTuple):
    listed_at: str = ""  # of the last image that was sent
    sent: int = 0


class Journal:
    """One file per environment, cloud and selection."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def read(self) -> Progress:
        try:
            return Progress(**json.loads(self._file.read_text()))
        except FileNotFoundError:
            return Progress()

    def write(self, progress: Progress) -> None:
        """Never half a file: a stop at any moment leaves the old one or the new one."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        partial = self._file.with_suffix(".partial")
        partial.write_text(json.dumps(progress._asdict()))
        partial.replace(self._file)

    def forget(self) -> None:
        self._file.unlink(missing_ok=True)
