"""Ours beside sharp and Pillow, in one run: `make bench IMAGES=<folder>` writes build/bench/engine.{json,svg}.

Every engine runs in processes of its own, pinned to one core and in alternation, file by file; of several rounds the
least CPU counts. What is compared:

- `same`: one ladder (1920 JPEG q80; 1280, 640, 256 WebP q80 effort 4) by all three;
- `recipe`: the same four widths as our default recipe makes them, fallbacks and facts included, beside sharp's `same`
  (`all` adds the thumbnail, which sharp is not asked for); bytes and SSIMULACRA2 are those of the best format of each
  width, which is what a current browser gets;
- `floor`: decode, resizes and encodes of `recipe` one by one, without anything around them; `isolated`: `recipe` in the
  confined process, which is how the pipeline runs it.
- `codecs_alone`: what `same` would take if resizing cost nothing: no pyramid can bring it below that.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import pyvips
from rich.console import Console
from rich.progress import track
from rich.table import Table

from chart import bars
from imagepipe.images import samples
from score import BUILD, judge, reference, score

HERE = Path(__file__).parent
WIDTHS = ("w1920", "w1280", "w640", "w256")
#: Goals of the engine, by ratio: at most, or at least for those in AT_LEAST.
GOALS = {
    "same_settings_cpu_vs_sharp": 0.72,
    "same_settings_cpu_vs_pillow": 0.42,
    "recipe_cpu_vs_sharp": 0.45,
    "recipe_bytes_vs_sharp": 1.00,
    "recipe_images_per_s_vs_sharp": 2.2,
    "peak_rss_vs_sharp": 1.0,
    "overhead_over_floor": 0.05,
    "overhead_isolated": 0.08,
}
AT_LEAST = {"recipe_images_per_s_vs_sharp"}
#: SSIMULACRA2 of the resize alone, at least.
CONTRACT = {"w1920": 92, "w1280": 90, "w640": 94, "w256": 91}

Answer = dict[str, Any]


class Engine:
    """A process that makes ladders, pinned to one core or free to use all."""

    def __init__(self, kind: str, core: int | None = 0) -> None:
        command = [sys.executable, str(HERE / "peer_python.py"), kind]
        if kind == "sharp":
            command = ["node", str(HERE / "peer_sharp.mjs"), str(BUILD / "node")]
        environment = os.environ | {"MALLOC_ARENA_MAX": "2", "VIPS_CONCURRENCY": "1"}
        if core is not None:
            cores = sorted(os.sched_getaffinity(0))
            command = ["taskset", "--cpu-list", str(cores[core % len(cores)]), *command]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def make(self, files: list[Path], parallel: int = 1, keep: Path | None = None) -> Answer:
        assert self._process.stdin
        assert self._process.stdout
        task = {"files": [str(file) for file in files], "parallel": parallel, "keep": keep and str(keep)}
        self._process.stdin.write(json.dumps(task) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"bench: {self._process.args} ended on {files[-1]}; its message is above")
        return dict(json.loads(line))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(60)


def install_sharp() -> str:
    """Install sharp under build/ where it is missing; return its version."""
    folder = BUILD / "node"
    folder.mkdir(parents=True, exist_ok=True)
    package = (HERE / "package.json").read_text()
    if not (folder / "node_modules/sharp").exists() or (folder / "package.json").read_text() != package:
        if not shutil.which("npm"):
            raise SystemExit("bench: npm is needed for sharp; install Node.js 20 or newer")
        (folder / "package.json").write_text(package)
        subprocess.run(
            ["npm", "install", "--silent", "--no-audit", "--no-fund", "--no-package-lock"], cwd=folder, check=True
        )
    return str(json.loads((folder / "node_modules/sharp/package.json").read_text())["version"])


def generated(folder: Path) -> list[Path]:
    """Make photo-like JPEGs of 5, 8, 12 and 16 megapixels."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for seed, (width, height) in enumerate(((2592, 1944), (3264, 2448), (4000, 3000), (4608, 3456)), start=1):
        file = folder / f"landscape-{width}.jpg"
        if not file.exists():
            samples.landscape(width, height, seed).gaussblur(0.8).jpegsave(str(file), Q=92)
        files.append(file)
    return files


def chosen(folder: Path | None, most: int) -> list[Path]:
    """Choose camera JPEGs of 5 to 17 megapixels, evenly over the sorted folder; without a folder, generate some."""
    if folder is None:
        return generated(BUILD / "samples")
    fitting = []
    for file in sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg")):
        try:
            image = pyvips.Image.new_from_file(str(file), access="sequential")
        except pyvips.Error:
            continue
        if 5e6 <= image.width * image.height <= 17e6 and image.bands == 3 and min(image.width, image.height) > 1000:
            fitting.append(file)
    if not fitting:
        raise SystemExit(f"bench: {folder} holds no JPEG of 5 to 17 megapixels; leave IMAGES out for generated ones")
    step = max(1, len(fitting) // most)
    return fitting[::step][:most]


def single(files: list[Path], rounds: int) -> dict[str, Any]:
    """Measure per engine: CPU and wall milliseconds per image, bytes per variant, peak RSS in MB."""
    kinds = ("sharp", "same", "recipe", "isolated", "all", "pillow", "floor", "resize", "decode")
    taken: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
    sizes: dict[str, dict[str, list[int]]] = {kind: {} for kind in kinds}
    results: dict[str, Any] = {}
    engines = {kind: Engine(kind) for kind in kinds}
    for engine in engines.values():
        engine.make(files[:1])  # the start of the process is not counted as work on an image
    for file in track(files, "one core"):
        runs: dict[str, list[Answer]] = {kind: [] for kind in kinds}
        for _ in range(rounds):
            for kind, engine in engines.items():
                runs[kind].append(engine.make([file]))
        for kind, answers in runs.items():
            taken[kind].append((min(a["cpu_ms"] for a in answers), min(a["wall_ms"] for a in answers)))
            for variant in answers[0]["variants"]:
                sizes[kind].setdefault(f"{variant['name'].split('-')[0]} {variant['format']}", []).append(
                    variant["bytes"]
                )
            results.setdefault(kind, {})["peak_rss_mb"] = round(answers[-1]["rss_mb"], 1)
    for kind, engine in engines.items():
        engine.__exit__()
        results[kind] |= {
            "cpu_ms": round(statistics.mean(cpu for cpu, _ in taken[kind]), 1),
            "wall_ms": round(statistics.mean(wall for _, wall in taken[kind]), 1),
            "bytes": {name: round(statistics.mean(values)) for name, values in sizes[kind].items()}
            if kind not in ("floor", "resize", "decode")
            else {},
        }
    return results


def quality(files: list[Path]) -> tuple[dict[str, dict[str, float]], dict[str, list[int]]]:
    """Return the mean SSIMULACRA2 per width and engine, and per engine the bytes of the four judged widths."""
    scores: dict[str, dict[str, list[float]]] = {width: {} for width in WIDTHS}
    totals: dict[str, list[int]] = {}
    judge()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for file in track(files, "SSIMULACRA2"):
            pending: list[tuple[str, Answer, Future[float]]] = []
            exact: dict[tuple[int, int], pyvips.Image] = {}
            with tempfile.TemporaryDirectory() as folder:
                for kind in ("sharp", "pillow", "same", "recipe", "lossless"):
                    with Engine(kind, None) as engine:
                        made = engine.make([file], keep=Path(folder))["variants"]
                    best = {width: [v for v in made if v["name"].split("-")[0] == width] for width in WIDTHS}
                    smallest = [min(variants, key=lambda v: v["bytes"]) for variants in best.values() if variants]
                    totals.setdefault(kind, []).append(sum(variant["bytes"] for variant in smallest))
                    for variant in smallest:
                        size = (variant["width"], variant["height"])
                        if size not in exact:
                            exact[size] = reference(file, *size).copy_memory()
                        pending.append((kind, variant, pool.submit(_judged, exact[size], variant)))
                for kind, variant, result in pending:
                    scores[variant["name"].split("-")[0]].setdefault(kind, []).append(result.result())
    means = {w: {kind: round(statistics.mean(values), 2) for kind, values in by.items()} for w, by in scores.items()}
    return means, totals


def _judged(exact: pyvips.Image, variant: Answer) -> float:
    return score(exact, pyvips.Image.new_from_file(variant["path"]))


def throughput(files: list[Path], rounds: int) -> dict[str, float]:
    """Measure images per second with every core busy: one process for all cores or one per core, the faster counts."""
    cores = len(os.sched_getaffinity(0))
    batch = (files * -(-4 * cores // len(files)))[: max(4 * cores, len(files))]
    best: dict[str, float] = {}
    for kind in track(("sharp", "same", "recipe"), f"{cores} cores"):
        with ExitStack() as stack, ThreadPoolExecutor(cores) as pool:
            shared, *pinned = [stack.enter_context(Engine(kind, core)) for core in (None, *range(cores))]
            shares = [batch[core::cores] for core in range(cores)]
            for _ in range(rounds):
                seconds = [shared.make(batch, parallel=cores)["wall_ms"] / 1000]
                started = time.perf_counter()
                list(pool.map(Engine.make, pinned, shares))
                seconds.append(time.perf_counter() - started)
                best[kind] = max(best.get(kind, 0), round(len(batch) / min(seconds), 2))
    return best


def special(images: Path | None) -> list[dict[str, Any]]:
    """Measure CPU, wall time and memory of expensive images, each in a process of its own."""
    folder = BUILD / "samples"
    folder.mkdir(parents=True, exist_ok=True)
    large = {"24 MP baseline JPEG": (6000, 4000, False), "50 MP progressive JPEG": (8660, 5774, True)}
    files = {}
    for name, (width, height, progressive) in large.items():
        files[name] = folder / f"{name.replace(' ', '-')}.jpg"
        if not files[name].exists():
            picture = samples.landscape(width, height, 3).gaussblur(0.8)
            picture.jpegsave(str(files[name]), Q=90, interlace=progressive)
    files["100-frame animation"] = folder / "100-frames.gif"
    if not files["100-frame animation"].exists():
        frame = samples.landscape(480, 360, 3)
        strip = pyvips.Image.arrayjoin([frame.wrap(x=-5 * step, y=0) for step in range(100)], across=1).copy()
        strip.set_type(pyvips.GValue.gint_type, "page-height", 360)
        strip.gifsave(str(files["100-frame animation"]), effort=1)
    if images and (phone := sorted(path for path in images.rglob("*") if path.suffix.lower() in (".heic", ".heif"))):
        files[f"HEIC {phone[0].name}"] = phone[0]
    lines = []
    for name, file in track(files.items(), "large ones"):
        try:
            with Engine("all") as engine:
                answer = engine.make([file])
            lines.append({"name": name} | {key: round(answer[key], 1) for key in ("cpu_ms", "wall_ms", "rss_mb")})
        except SystemExit as ended:
            lines.append({"name": name, "error": str(ended)})
    return lines


def ratios(one: dict[str, Any], totals: dict[str, list[int]], many: dict[str, float]) -> dict[str, float]:
    cpu = {kind: result["cpu_ms"] for kind, result in one.items()}
    return {
        "same_settings_cpu_vs_sharp": round(cpu["same"] / cpu["sharp"], 3),
        "same_settings_cpu_vs_pillow": round(cpu["same"] / cpu["pillow"], 3),
        "recipe_cpu_vs_sharp": round(cpu["recipe"] / cpu["sharp"], 3),
        "recipe_bytes_vs_sharp": round(sum(totals["recipe"]) / sum(totals["sharp"]), 3),
        "recipe_images_per_s_vs_sharp": round(many["recipe"] / many["sharp"], 3),
        "peak_rss_vs_sharp": round(one["same"]["peak_rss_mb"] / one["sharp"]["peak_rss_mb"], 3),
        "overhead_over_floor": round(cpu["recipe"] / cpu["floor"] - 1, 3),
        "overhead_isolated": round(cpu["isolated"] / cpu["floor"] - 1, 3),
        "codecs_alone_vs_sharp": round((cpu["same"] - cpu["resize"] + cpu["decode"]) / cpu["sharp"], 3),
    }


def report(result: dict[str, Any]) -> None:
    console = Console()
    table = Table(
        "", "CPU ms", "wall ms", "peak RSS MB", "images/s, all cores", *WIDTHS, title=f"{result['files']} images"
    )
    for kind, one in result["engines"].items():
        judged = "lossless" if kind == "resize" else kind
        per_width = (f"{result['ratios']['ssimulacra2'][width].get(judged, '')}" for width in WIDTHS)
        many = result["images_per_s"].get(kind, "")
        table.add_row(kind, f"{one['cpu_ms']}", f"{one['wall_ms']}", f"{one['peak_rss_mb']}", f"{many}", *per_width)
    console.print(
        table, "The four widths: SSIMULACRA2 against full resolution in linear light; `resize`: not encoded.\n"
    )
    goals = Table("ratio", "measured", "goal", "")
    for name, goal in GOALS.items():
        value = result["ratios"][name]
        met = value >= goal if name in AT_LEAST else value <= goal
        goals.add_row(name, f"{value}", f"{'≥' if name in AT_LEAST else '≤'} {goal}", "met" if met else "missed")
    for width, least in CONTRACT.items():
        value = result["ratios"]["ssimulacra2"][width]["lossless"]
        goals.add_row(f"resize alone, {width}", f"{value}", f"≥ {least}", "met" if value >= least else "missed")
    console.print(goals)
    for line in result["special"]:
        console.print("  ".join(f"{key} {value}" if key != "name" else f"{value}:" for key, value in line.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="folder of camera JPEGs; default: generated ones")
    parser.add_argument("--most", type=int, default=24, help="images at most (24)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds, of which the least counts (3)")
    given = parser.parse_args()
    version = install_sharp()
    files = chosen(given.images, given.most)
    one = single(files, given.rounds)
    print("  ".join(f"{kind} {result['cpu_ms']}" for kind, result in one.items()), "ms of CPU per image")
    many = throughput(files, given.rounds)
    scores, totals = quality(files)
    result = {
        "files": len(files),
        "versions": {"sharp": version, "libvips": ".".join(str(pyvips.version(part)) for part in range(3))},
        "engines": one,
        "images_per_s": many,
        "special": [],
        "ratios": ratios(one, totals, many) | {"ssimulacra2": scores},
        "goals": GOALS,
        "contract": CONTRACT,
    }
    (BUILD / "engine.json").write_text(json.dumps(result, indent=2) + "\n")  # in case the large ones end it
    result["special"] = special(given.images)
    (BUILD / "engine.json").write_text(json.dumps(result, indent=2) + "\n")
    names = {"sharp": "sharp", "pillow": "Pillow", "same": "ours, same settings", "recipe": "ours, default recipe"}
    groups = [
        ("CPU per image, ms", [(text, one[kind]["cpu_ms"], f"{one[kind]['cpu_ms']}") for kind, text in names.items()]),
        (
            "Peak RSS, MB",
            [(text, one[kind]["peak_rss_mb"], f"{one[kind]['peak_rss_mb']}") for kind, text in names.items()],
        ),
        *(
            (
                f"SSIMULACRA2 at {width[1:]}",
                [(text, scores[width][kind], f"{scores[width][kind]}") for kind, text in names.items()],
            )
            for width in WIDTHS
        ),
    ]
    (BUILD / "engine.svg").write_text(bars(f"{len(files)} images, sharp {version}", groups))
    report(result)
    print(f"\n{BUILD}/engine.json, engine.svg")


if __name__ == "__main__":
    main()
