"""`make fuzz SECONDS=300`: mutated files of each format through gate and engine in the real isolation.

Every file must end in a picture or in a reason, in time and in memory. A file that kills the decoder, runs out of time
or raises an error in our code is made as small as possible and kept in build/fuzz/kept/; build/fuzz/report.json has the
counts.
"""

import argparse
import hashlib
import json
import os
import random
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table
from seeds import seeds

from image_processor.decoder.answers import Question, understand
from image_processor.decoder.process import Died, Process, Starved, WorkerFailed
from image_processor.decoder.sandbox import Sandbox
from image_processor.recipe import Animation, Encoding, Limits, Recipe, ladder
from image_processor.sniff import sniff
from image_processor.verdict import Reason, Rejected, Usage

OUT = Path("build/fuzz")

#: Every encoder once, at small sizes: the decoders are under test.
RECIPE = Recipe(
    variants=ladder(32, thumbnail=16, formats=(Encoding("webp", 50), Encoding("jpeg", 50))),
    animation=Animation(max_frames=20),
)
LIMITS = Limits(max_pixels=20_000_000, max_memory_mb=1000)

#: Results that count as faults, although the next image is processed as usual.
BAD = {Reason.DECODER_CRASHED, Reason.OUT_OF_MEMORY, Reason.TOO_SLOW, "FAILED"}

_INTERESTING = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]


@dataclass
class Tally:
    """Results of one process: counts by format, the slowest (seconds, name) and the largest (bytes, name)."""

    outcomes: dict[str, Counter[str]] = field(default_factory=dict)
    slowest: tuple[float, str] = (0.0, "")
    largest: tuple[int, str] = (0, "")
    kept: list[str] = field(default_factory=list)


def mutate(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """Damage a file at random: bits, numbers, lengths, cuts, and pieces of another file."""
    mutant = bytearray(data)
    for _ in range(1 << chance.randrange(5)):
        # Headers are where decoders believe what they read.
        place = chance.randrange(min(len(mutant), 400) if chance.random() < 0.6 else len(mutant)) if mutant else 0
        kind = chance.randrange(8)
        if kind == 0:
            mutant[place : place + 1] = bytes([mutant[place] ^ 1 << chance.randrange(8)]) if mutant else b""
        elif kind == 1:
            mutant[place : place + 1] = bytes([chance.randrange(256)])
        elif kind == 2:
            size = chance.choice([1, 2, 4])
            value = chance.choice(_INTERESTING) & (1 << 8 * size) - 1
            mutant[place : place + size] = value.to_bytes(size, chance.choice(["big", "little"]))
        elif kind == 3:
            del mutant[place : place + 1 + chance.randrange(32)]
        elif kind == 4:
            piece = mutant[place : place + 1 + chance.randrange(64)]
            mutant[place:place] = piece * chance.choice([1, 1, 2, 50])
        elif kind == 5 and chance.random() < 0.3:
            del mutant[place:]
        elif kind == 6:
            start = chance.randrange(len(other))
            mutant[place : place + 16] = other[start : start + chance.randrange(64)]
        else:
            mutant[place : place + 4] = bytes(chance.randrange(256) for _ in range(4))
    return bytes(mutant)


class Worn:
    """One process for many files, which the sandbox replaces at each refusal: that many more files in a minute."""

    def __init__(self) -> None:
        self._process: Process | None = None

    def render(self, data: bytes) -> Usage:
        name = sniff(data)
        if self._process is None or not self._process.usable or self._process.images > 1000:
            self.close()
            self._process = Process(LIMITS, None, with_heic=True)
        try:
            answer, blobs = self._process.render(data, {"recipe": asdict(RECIPE), "focal_point": None})
        except Died as death:
            self.close()
            raise Rejected(death.reason, death.message) from None
        return understand(answer, blobs, Question(name, RECIPE, LIMITS))[2]

    def close(self) -> None:
        if self._process:
            self._process.end()
            self._process = None


def outcome(decoder: Sandbox | Worn, data: bytes) -> tuple[str, Usage]:
    try:
        return "READY", decoder.render(data) if isinstance(decoder, Worn) else decoder.render(data, RECIPE).usage
    except Rejected as rejected:
        return rejected.reason, rejected.usage
    except Starved as starved:
        return "STARVED", starved.usage  # a fault of the machine, not of the file
    except WorkerFailed as failed:
        print(failed, file=sys.stderr)
        return "FAILED", failed.usage


def minimise(box: Sandbox, data: bytes, bad: str, seconds: float) -> bytes:
    """Remove ever smaller pieces while the result stays the same and time is left."""
    end, size = time.monotonic() + seconds, len(data) // 2
    while size and time.monotonic() < end:
        place = 0
        while place < len(data) and time.monotonic() < end:
            shorter = data[:place] + data[place + size :]
            if outcome(box, shorter)[0] == bad:
                data = shorter
            else:
                place += size
        size //= 2
    return data


def fuzz(seed: int, seconds: float) -> Tally:
    chance, tally, files = random.Random(seed), Tally(), seeds()
    end = time.monotonic() + seconds
    with Sandbox(LIMITS) as box, closing(Worn()) as worn:
        while time.monotonic() < end:
            name, other = chance.choice(list(files)), chance.choice(list(files))
            data = mutate(files[name], files[other], chance)
            began = time.monotonic()
            result, usage = outcome(worn, data)
            tally.outcomes.setdefault(name.split("-")[0], Counter())[result] += 1
            tally.slowest = max(tally.slowest, (round(time.monotonic() - began, 3), name))
            tally.largest = max(tally.largest, (usage.peak_bytes, name))
            if result in BAD and outcome(box, data)[0] == result:  # and not by what came before it
                tally.kept.append(keep(minimise(box, data, result, 30), f"{result.lower()}-{name}"))
    return tally


def keep(data: bytes, name: str) -> str:
    folder = OUT / "kept"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{hashlib.sha256(data).hexdigest()[:8]}"
    path.write_bytes(data)
    return str(path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument(
        "--seed",
        type=int,
        default=random.SystemRandom().randrange(2**32),
        help="seed of a run to repeat",
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(arguments.jobs) as pool:
        runs = [pool.submit(fuzz, arguments.seed + job, arguments.seconds) for job in range(arguments.jobs)]
        for _ in track(range(int(arguments.seconds)), f"seed {arguments.seed}", console=Console(stderr=True)):
            time.sleep(1)
        tallies = [run.result() for run in runs]
    formats = sorted({name for tally in tallies for name in tally.outcomes})
    outcomes = {
        name: dict(sum((tally.outcomes.get(name, Counter()) for tally in tallies), Counter()).most_common())
        for name in formats
    }
    kept = [path for tally in tallies for path in tally.kept]
    report = {
        "seed": arguments.seed,
        "seconds": arguments.seconds,
        "outcomes": outcomes,
        "slowest": max(tally.slowest for tally in tallies),
        "largest_bytes": max(tally.largest for tally in tallies),
        "kept": kept,
    }
    (OUT / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    table = Table("format", "files", "ready", "rejected", *sorted(BAD))
    for name, counts in outcomes.items():
        total, ready, bad = sum(counts.values()), counts.get("READY", 0), [counts.get(code, 0) for code in sorted(BAD)]
        table.add_row(name, *map(str, [total, ready, total - ready - sum(bad), *bad]))
    console = Console()
    console.print(table)
    console.print(f"slowest {report['slowest']}, largest {report['largest_bytes']}, seed {arguments.seed}")
    for path in kept:
        console.print(f"kept {path}")
    return 1 if kept else 0


if __name__ == "__main__":
    sys.exit(main())
