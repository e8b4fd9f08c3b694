"""Runs the pipeline's engine on local files, without AWS: `image-processor FILES|FOLDER --out DIR`."""

import argparse
import hashlib
import json
import os
import stat
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from time import monotonic
from typing import Any, NoReturn

from image_processor.decoder.process import WorkerFailed
from image_processor.decoder.sandbox import Rendered, Sandbox
from image_processor.recipe import Limits, Recipe
from image_processor.rendition import Rendition
from image_processor.sniff import judge_size
from image_processor.verdict import Header, Reason, Rejected, Usage

#: Tries of a file whose decoding process fails.
_TRIES = 3

_EPILOG = """\
Every file gets a folder of its own under DIR, named like the file, with its variants in it.
Exit status: 0 all are ready, 3 some were rejected or failed, 2 wrong use.
"""

Record = dict[str, Any]


def main() -> NoReturn:
    """Run the command and exit with its status."""
    arguments = _arguments()
    try:
        sys.exit(_run(arguments))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # the reader of the records has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="image-processor",
        description="Make the ladder of variants of local images.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="FILES|FOLDER", help="images, or folders to search")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="where the variants go")
    parser.add_argument("--recipe", type=Path, metavar="FILE", help="JSON: what to make, where not the default")
    parser.add_argument("--limits", type=Path, metavar="FILE", help="JSON: what to refuse, where not the default")
    parser.add_argument("--json", action="store_true", help="one JSON record per file on standard output")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="images at a time (default: one per core)"
    )
    arguments = parser.parse_args()
    if not 1 <= arguments.jobs <= 64:
        parser.error("--jobs must be from 1 to 64")
    try:
        for path in arguments.paths:
            if not os.path.lexists(path):
                parser.error(f"{path}: no such file or folder")
        arguments.recipe = Recipe.parse(arguments.recipe.read_text() if arguments.recipe else None)
        arguments.limits = Limits.parse(arguments.limits.read_text() if arguments.limits else None)
        arguments.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"{error.filename}: {error.strerror}")
    except ValueError as error:
        parser.error(str(error))
    arguments.files = list(_places(arguments.paths, arguments.out))
    if not arguments.files:
        parser.error("there are no files in " + ", ".join(map(str, arguments.paths)))
    return arguments


def _places(paths: list[Path], out: Path) -> Iterator[tuple[Path, Path]]:
    """Yield every file with the folder for its variants; no two folders are the same."""
    taken: Counter[str] = Counter()
    for path, relative in _files(paths, out.resolve()):
        taken[str(relative)] += 1
        again = taken[str(relative)]
        # The name may already be as long as the file system allows.
        mark = f"~{again}"
        other = relative.with_name(os.fsdecode(os.fsencode(relative.name)[: 250 - len(mark)]) + mark)
        yield path, out / (relative if again == 1 else other)


def _files(paths: list[Path], out: Path) -> Iterator[tuple[Path, Path]]:
    for path in paths:
        if not path.is_dir():
            yield path, Path(path.name)
            continue
        # Links to folders are not followed: they may lead back.
        for folder, folders, names in os.walk(path):
            here = Path(folder)
            folders[:] = sorted(name for name in folders if (here / name).resolve() != out)
            for name in sorted(names):
                yield here / name, here.relative_to(path) / name


def _run(arguments: argparse.Namespace) -> int:
    bench = _Bench(arguments.recipe, arguments.limits)
    outcomes: Counter[str] = Counter()
    progress = _Progress(len(arguments.files))
    pool = ThreadPoolExecutor(arguments.jobs)
    try:
        for done in as_completed([pool.submit(bench.render, *place) for place in arguments.files]):
            record = done.result()
            outcomes[record["status"]] += 1
            progress.clear()
            print(json.dumps(record) if arguments.json else _line(record), flush=True)
            progress.show(outcomes)
    finally:
        pool.shutdown(cancel_futures=True)
        bench.close()
    progress.clear()
    print(", ".join(f"{count:,} {status.lower()}" for status, count in sorted(outcomes.items())), file=sys.stderr)
    return 0 if set(outcomes) == {"READY"} else 3


class _Bench:
    """A sandbox per thread."""

    def __init__(self, recipe: Recipe, limits: Limits) -> None:
        self._recipe, self._limits = recipe, limits
        self._mine, self._all = threading.local(), list[Sandbox]()

    def render(self, path: Path, folder: Path) -> Record:
        """Return the record of one file. Every failure becomes part of the record; none is raised."""
        started = monotonic()
        record: Record = {"path": str(path), "status": "READY", "reason": None, "message": None}
        record |= {"source": {}, "variants": []}
        header: Header | None = None
        usage = Usage()
        try:
            data = _read(path, self._limits)
            record["source"] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            rendered = self._rendered(data)
            header, usage = rendered.header, rendered.usage
            _write(rendered.rendition, folder, record)
        except Rejected as rejected:
            header, usage = rejected.header, rejected.usage
            record |= {"status": "REJECTED", "reason": rejected.reason, "message": rejected.message}
        except Exception as error:
            if isinstance(error, WorkerFailed):
                header, usage = error.header, error.usage
            message = f"{type(error).__name__}: {error}"[:500]
            record |= {"status": "FAILED", "reason": Reason.PROCESSING_FAILED, "message": message}
        if header:
            record["source"] = asdict(header) | record["source"]
        record["seconds"] = round(monotonic() - started, 4)
        record["peak_memory_bytes"] = usage.peak_bytes
        return record

    def _rendered(self, data: bytes) -> Rendered:
        if not hasattr(self._mine, "sandbox"):
            self._mine.sandbox = Sandbox(self._limits)
            self._all.append(self._mine.sandbox)
        sandbox: Sandbox = self._mine.sandbox
        for _ in range(_TRIES - 1):
            with suppress(WorkerFailed):
                return sandbox.render(data, self._recipe)
        return sandbox.render(data, self._recipe)

    def close(self) -> None:
        for sandbox in self._all:
            sandbox.close()


def _write(rendition: Rendition, folder: Path, record: Record) -> None:
    """Write the variants into a folder, and what they are into the record."""
    folder.mkdir(parents=True, exist_ok=True)
    for variant in rendition.variants:
        path = folder / variant.file_name
        path.write_bytes(variant.data)
        size = {"width": variant.width, "height": variant.height, "bytes": len(variant.data)}
        record["variants"].append({"name": variant.name, "path": str(path), "format": variant.format, **size})
    facts = {name: value for name, value in vars(rendition).items() if name != "variants"}
    record["source"] |= facts  # including width and height, the upright ones


def _read(path: Path, limits: Limits) -> bytes:
    """Return the file's bytes. Never waits for a pipe or a device.

    Raises:
        Rejected: UNREADABLE, EMPTY or TOO_LARGE_BYTES.
    """
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise Rejected(Reason.UNREADABLE, "not a regular file but a folder, pipe, device or socket")
            judge_size(status.st_size, limits)
            return file.read(limits.max_bytes + 1)
    except OSError as error:
        raise Rejected(Reason.UNREADABLE, error.strerror or str(error)) from None


def _line(record: Record) -> str:
    """Return a line for people. Characters of a file name that a terminal would obey are escaped."""
    name = "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in record["path"])
    if record["status"] != "READY":
        return f"{record['status']:<9} {name}: {record['reason']}, {record['message']}"
    source, size = record["source"], sum(variant["bytes"] for variant in record["variants"])
    shape = f"{source['format']} {source['width']} × {source['height']}"
    made = f"{len(record['variants'])} variants, {size / 1000:,.0f} KB"
    return f"{'READY':<9} {name}: {shape}, {made}, {record['seconds']:.2f} s"


class _Progress:
    """One progress line on standard error, where that is a terminal."""

    def __init__(self, total: int) -> None:
        self._total, self._on = total, sys.stderr.isatty()

    def show(self, outcomes: Counter[str]) -> None:
        if self._on:
            done, width = outcomes.total(), 30
            filled = width * done // self._total
            bar = "━" * filled + "·" * (width - filled)
            print(f"\r\x1b[K{bar} {done:,} of {self._total:,}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        if self._on:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
