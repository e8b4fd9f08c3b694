"""System calls that decoders and encoders make once they are confined: build/bench/system-calls.json. Needs strace.

Every format with every encoder, mutants of every format, a picture beyond the memory, an abort. The process runs under
an outer filter, so that it has none of its own and strace sees the calls that it would make.
"""

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from fuzz.__main__ import mutate
from fuzz.seeds import seeds
from image_processor.decoder.confinement import ALLOWED
from image_processor.decoder.process import WorkerFailed
from image_processor.decoder.sandbox import Sandbox
from image_processor.recipe import Animation, Encoding, Limits, Recipe, ladder
from image_processor.verdict import Rejected
from imagepipe.images import samples
from imagepipe.localcloud import function_filter

#: Calls that the filter judges by their arguments, or answers itself.
PARTLY = ("clone", "clone3", "tgkill")
RECIPES = tuple(
    Recipe(
        variants=ladder(
            64, 400, thumbnail=32, formats=(Encoding("avif", 50, lossless=lossless), Encoding("jpeg", 60, 1))
        ),
        graphic=(Encoding("webp", 60, lossless=lossless), Encoding("png", effort=3)),
        animation=Animation(kind),
        partial=True,
        gps=True,
        wide_gamut=True,
    )
    for lossless, kind in ((False, "webp"), (True, "gif"))
)


def files(seconds: float) -> list[bytes]:
    """Return real files, then mutants of them for as long as they are made."""
    names, chance = [bytes(seed) for seed in seeds().values()], random.Random(1)
    large = bytes(samples.landscape(2000, 1500, 1).jpegsave_buffer())
    return [
        *names,
        large,
        *(mutate(chance.choice(names), chance.choice(names), chance) for _ in range(int(seconds * 40))),
    ]


def work(seconds: float, log: Path) -> None:
    """Render everything in processes that strace watches from the moment they are confined."""
    for limits in (Limits(), Limits(max_memory_mb=64, max_seconds=5)):
        with Sandbox(limits) as box:
            watched, tracers = set[int](), list[subprocess.Popen[bytes]]()
            for recipe in RECIPES:
                for data in files(seconds / 4):
                    box.process.held()
                    if box.process.pid not in watched:
                        watched.add(box.process.pid)
                        target = ["strace", "-f", "-o", f"{log}.{box.process.pid}", "-p", str(box.process.pid)]
                        tracers.append(subprocess.Popen(target, stderr=subprocess.PIPE))
                        tracers[-1].stderr.readline()  # type: ignore[union-attr] # it is attached
                    with suppress(Rejected, WorkerFailed):
                        box.render(data, recipe)
            os.kill(box.process.pid, signal.SIGABRT)


def count(log: Path) -> tuple[Counter[str], Counter[str]]:
    """Count the calls that ended well and those that did not."""
    well, badly = Counter[str](), Counter[str]()
    for path in log.parent.glob(f"{log.name}.*"):
        for line in path.read_text(errors="replace").splitlines():
            if match := re.match(r"\d+ +(?:<\.\.\. )?(\w+)(?:\(| resumed>).*= (-1 )?", line):
                (badly if match[2] else well)[match[1]] += 1
    return well, badly


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inside:
        work(arguments.seconds, arguments.inside)
        return
    log = Path("build/bench/strace", time.strftime("%H%M%S")).resolve()
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, __file__, "--seconds", str(arguments.seconds), "--inside", str(log)]
    with function_filter.opened(("prctl", "seccomp")) as descriptor:
        subprocess.run(function_filter.under(descriptor, command), pass_fds=(descriptor,), check=True)
    well, badly = count(log)
    report = {
        "made": dict(well.most_common()),
        "failed": dict(badly.most_common()),
        "made_but_not_allowed": sorted(set(well) - set(ALLOWED) - set(PARTLY)),
        "allowed_but_not_made": sorted(set(ALLOWED) - set(well)),
    }
    path = Path("build/bench/system-calls.json")
    path.write_text(json.dumps(report, indent=2) + "\n")
    print(path.read_text(), end="")


if __name__ == "__main__":
    main()
