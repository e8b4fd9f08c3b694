"""Files without a name that the decoding process and its parent share: the image goes in, the variants come out.

They are opened before the process is confined, because afterwards it can open none. Both sides read and write at
explicit offsets: they share the position. Nobody maps such a file, as shortening it would kill who does.
"""

import math
import os

#: Most bytes of all variants of an image together.
OUTPUT_BYTES = 512 * 1024 * 1024


def create(name: str) -> int:
    """Return the descriptor of an empty file in memory; in /tmp where the kernel refuses `memfd_create`."""
    try:
        return os.memfd_create(name)
    except OSError:
        import tempfile

        with tempfile.TemporaryFile(dir="/tmp") as file:
            return os.dup(file.fileno())


def write(descriptor: int, parts: list[bytes]) -> None:
    """Replace the content of a file."""
    os.ftruncate(descriptor, 0)
    place = 0
    for part in parts:
        view = memoryview(part)
        while view:
            written = os.pwrite(descriptor, view, place)
            view, place = view[written:], place + written


def read(descriptor: int, sizes: list[int], most: float = math.inf) -> list[bytes]:
    """Return the parts of a file by their sizes in bytes, and empty the file: its memory counts.

    Raises:
        ValueError: the sizes are not those of the file, or more than `most` bytes together.
    """
    if any(type(size) is not int or size < 0 for size in sizes) or sum(sizes) > most:
        raise ValueError("sizes that no file has")
    if sum(sizes) != os.fstat(descriptor).st_size:
        raise ValueError("sizes that do not add up to the file")
    parts, place = [], 0
    for size in sizes:
        part = b""
        while len(part) < size and (piece := os.pread(descriptor, size - len(part), place + len(part))):
            part = part + piece if part else piece
        if len(part) < size:
            raise ValueError("a file that was shortened")
        parts.append(part)
        place += size
    os.ftruncate(descriptor, 0)
    return parts
