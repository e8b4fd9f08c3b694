"""Files and folders that appear whole: a reader sees the old content or the new, never a part."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_atomically(file: Path, content: bytes | str) -> None:
    """Replace a file in one step, and make its folder where that is missing.

    The content is written beside the file first. If that fails, the old file stays and no part of the new one does.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = _beside(file)
    try:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder that takes the place of `folder` when the block ends without an error.

    If the block raises, the old folder stays and no part of the new one does.
    """
    partial = _beside(folder)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.partial")
