"""What is dear to make is made once for all tests: by whichever worker of pytest-xdist, or run, needs it first."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

#: Parts of the repository that no image and no deployment is made from.
_ASIDE = (":!tests", ":!*.md")

#: Tests' own files that say how it is made.
_MAKERS = ("tests/clones.py", "tests/once.py", "tests/saved.py", "tests/e2e/conftest.py")


def once(root: Path, factory: pytest.TempPathFactory, name: str, more: str, make: Callable[[Path], None]) -> Path:
    """Return a folder that `make` fills unless it was filled from the same sources; nobody changes it afterwards.

    The folder is in build/tests of the repository at `root`; one of other sources is removed.

    Args:
        more: another condition for using an old one.

    Raises:
        AssertionError: `make` failed, now or in another worker of this run; it is not tried again.
    """
    home = root / "build/tests"
    home.mkdir(parents=True, exist_ok=True)
    folder = home / f"{name}-{_digest(root, more)}"
    failure = _of_this_run(factory) / f"{name}.failed"
    with (home / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists() and not failure.exists():
            for old in home.glob(f"{name}-*"):
                shutil.rmtree(old)
            unfinished = home / f"{name}-unfinished"
            try:
                make(unfinished)
                unfinished.rename(folder)
            except BaseException:
                failure.write_text(traceback.format_exc())
        assert not failure.exists(), f"{name} could not be made:\n{failure.read_text()}"
    return folder


def _digest(root: Path, more: str) -> str:
    """Hash everything that it is made from, as it lies there."""
    list_files = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", ".", *_ASIDE]
    listed = subprocess.run(list_files, cwd=root, capture_output=True, text=True, check=True).stdout.split("\0")
    total = hashlib.sha256(more.encode())
    for file in sorted(root / name for name in {*listed[:-1], *_MAKERS}):
        if file.is_file():
            total.update(f"{file.relative_to(root)}\0{file.stat().st_mode & 0o111}\0".encode() + file.read_bytes())
    return total.hexdigest()[:16]


def _of_this_run(factory: pytest.TempPathFactory) -> Path:
    """Return the folder that all workers of this run share."""
    top = factory.getbasetemp()
    return top.parent if "PYTEST_XDIST_WORKER" in os.environ else top
