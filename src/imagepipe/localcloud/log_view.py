"""Showing log files to people, the way `tail` does, each line with the name of its file."""

import time
from pathlib import Path

LINES_AT_FIRST = 40
POLL_SECONDS = 0.3


def show(files: list[Path], follow: bool) -> None:
    """Prints the end of each file, and with `follow` what is added, until interrupted."""
    for file in files:
        for line in file.read_text(errors="replace").splitlines()[-LINES_AT_FIRST:]:
            _print(file, line)
    if follow:
        _follow(files)


def _follow(files: list[Path]) -> None:
    handles = {file: file.open(errors="replace") for file in files}
    try:
        for handle in handles.values():
            handle.seek(0, 2)
        while True:
            for file, handle in handles.items():
                for line in handle:
                    _print(file, line.rstrip("\n"))
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        pass
    finally:
        for handle in handles.values():
            handle.close()


def _print(file: Path, line: str) -> None:
    print(f"{file.stem:<9} {line}", flush=True)
