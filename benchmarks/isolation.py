"""Cost of decoding in the confined process beside decoding in the caller's: build/bench/isolation.json.

Same picture, same recipe, alternating. Milliseconds are processor time of all processes together; of the start, by the
clock: until the confined process takes its first image, and how long that keeps the caller from its own work. Then a
table of what a hostile process tries, where a process may confine itself and where it may not.
"""

import json
import os
import resource
import time
from dataclasses import replace
from pathlib import Path
from statistics import fmean, median
from typing import Any

import hostile
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


def fresh(data: bytes, limits: Limits, recipe: Recipe) -> dict[str, float]:
    """Return CPU and wall-clock milliseconds of an image whose process takes no other one."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    own = time.process_time()
    with Sandbox(limits) as box:
        for _ in range(ROUNDS):
            box.render(data, recipe)
        wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime + time.process_time() - own
    return {"cpu_ms": round(cpu / ROUNDS * 1000, 1), "wall_ms": round(wall / ROUNDS * 1000, 1)}


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
    alone = fresh(data, replace(limits, images_per_worker=1), recipe)
    report: dict[str, Any] = {
        "image": "4000 × 3000 JPEG",
        "confined_by": held,
        "cpu_ms": {"in_process": round(fmean(outside), 1), "isolated": round(fmean(inside), 1)},
        "wall_ms": {"in_process": round(median(clock_outside), 1), "isolated": round(median(clock_inside), 1)},
        "cost": round(sum(inside) / sum(outside) - 1, 4),
        "images_per_worker_1": alone,
        "start_ms": {"caller_is_kept": round(spawned, 1), "until_ready": round(ready, 1)},
        "cpus": os.cpu_count(),
    }
    report["hostile"] = {name: hostile.try_everything(calls) for name, calls in hostile.KERNELS.items()}
    path = Path("build/bench/isolation.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    print(json.dumps({**report, "hostile": "below"}, indent=2, ensure_ascii=False))
    hostile.show(report["hostile"])


if __name__ == "__main__":
    main()
