"""Cost of decoding in the confined process beside decoding in the caller's: build/bench/isolation.json.

Same picture, same recipe, alternating. Milliseconds are processor time of all processes together; of the start, by the
clock: until the confined process takes its first image, and how long that keeps the caller from its own work.
"""

import json
import os
import resource
import time
from pathlib import Path
from statistics import fmean, median

from image_processor.decoder import engine, gate
from image_processor.decoder.sandbox import Sandbox
from image_processor.recipe import Limits, Recipe
from imagepipe.images import samples

ROUNDS = 21


def spent(box: Sandbox) -> float:
    """Return the processor time of this process and the sandbox's, in milliseconds."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    # In ticks of 10 ms, whose errors cancel out over the rounds.
    return (own.ru_utime + own.ru_stime + box.process.cpu_seconds()) * 1000


def main() -> None:
    data = bytes(samples.landscape(4000, 3000, 1).jpegsave_buffer(Q=88))
    recipe, limits = Recipe(), Limits()
    started = time.perf_counter()
    box = Sandbox(limits)
    spawned = (time.perf_counter() - started) * 1000
    held = box.held()
    ready = (time.perf_counter() - started) * 1000
    inside, outside, clock_inside, clock_outside = [], [], [], []
    for _ in range(ROUNDS):
        for times, clock, render in (
            (outside, clock_outside, lambda: engine.render(data, gate.inspect(data, limits), recipe)),
            (inside, clock_inside, lambda: box.render(data, recipe)),
        ):
            before, at = spent(box), time.perf_counter()
            render()
            clock.append((time.perf_counter() - at) * 1000)
            times.append(spent(box) - before)
    box.close()
    report = {
        "image": "4000 × 3000 JPEG",
        "confined_by": held,
        "cpu_ms": {"in_process": round(fmean(outside), 1), "isolated": round(fmean(inside), 1)},
        "wall_ms": {"in_process": round(median(clock_outside), 1), "isolated": round(median(clock_inside), 1)},
        "cost": round(sum(inside) / sum(outside) - 1, 4),
        "start_ms": {"caller_is_kept": round(spawned, 1), "until_ready": round(ready, 1)},
        "cpus": os.cpu_count(),
    }
    path = Path("build/bench/isolation.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    print(path.read_text(), end="")


if __name__ == "__main__":
    main()
