"""Which way to shrink, which encoder for which width and content: `make bench-frontier` writes tables and a plot.

Ways to shrink are judged by their pictures before any encoder has touched them. For the encoders, every picture is
scaled by the engine's own ladder, written by every encoder at several settings, and decoded again. The judge is
SSIMULACRA2 against full resolution in linear light. A setting is on the frontier if no other one of its width and
content is at least as good in score, bytes and CPU and better in one. Alpha is judged on grey. All of it is in
build/bench/frontier.{json,svg}.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

os.environ.setdefault("VIPS_CONCURRENCY", "1")

import pyvips
from rich.console import Console
from rich.progress import track
from rich.table import Table

from chart import scatter
from engine import chosen
from image_processor.decoder import decode, gate, ladder, light, sizes
from image_processor.decoder.encode import save
from image_processor.recipe import Encoding, Limits, Recipe, VariantSpec
from imagepipe.images import samples
from score import BUILD, judge, score

WIDTHS = (1920, 1280, 640, 256)
LOSSY = [
    *(Encoding("jpeg", quality, quant_table=table) for table in (0, 3, 4) for quality in (62, 70, 78)),
    *(Encoding("webp", quality, effort) for effort in (0, 2, 4) for quality in (70, 80)),
    *(Encoding("avif", quality) for quality in (52, 58, 64)),
    Encoding("avif", 58, 1),
]
TRANSPARENT = [
    *(Encoding("webp", quality, effort) for effort in (0, 4) for quality in (75, 90)),
    *(Encoding("avif", quality) for quality in (58, 75)),
    *(Encoding("webp", 80, effort, lossless=True) for effort in (0, 2)),
    *(Encoding("png", effort=effort) for effort in (3, 6)),
]
CONTENTS = {"photograph": LOSSY, "graphic": [*LOSSY, *TRANSPARENT[-4:]], "alpha": TRANSPARENT}


@dataclass(frozen=True)
class Point:
    """Means of one setting over all pictures of a content at a width."""

    encoding: Encoding
    score: float
    bytes: float
    cpu_ms: float

    @property
    def label(self) -> str:
        how = self.encoding
        extra = "".join(
            (" lossless" * how.lossless, f" e{how.effort}", f" table {how.quant_table}" * bool(how.quant_table))
        )
        return f"{how.format}{'' if how.lossless or how.format == 'png' else f' q{how.quality}'}{extra}"

    def beaten_by(self, other: "Point") -> bool:
        mine, theirs = ((p.score, -p.bytes, -p.cpu_ms) for p in (self, other))
        return theirs != mine and all(b >= a for a, b in zip(mine, theirs, strict=True))


def screen(width: int, height: int) -> pyvips.Image:
    """Draw a screenshot: panels, rules, and rows of glyph-like blocks in a few colours. sRGB."""
    x, y = (pyvips.Image.xyz(width, height)[band] for band in (0, 1))
    picture = (y < 60).ifthenelse([36, 41, 47], (x < 320).ifthenelse([246, 248, 250], [255, 255, 255]))
    noise = pyvips.Image.gaussnoise(width // 6 + 1, height // 12 + 1, mean=0, sigma=1, seed=5)
    glyphs = noise.resize(6, vscale=12, kernel="nearest").crop(0, 0, width, height) > 0.2
    text = glyphs & (y % 24 < 12) & (x % 6 < 4) & (x > 350) & (x < width - 200) & (y > 100)
    picture = text.ifthenelse([36, 41, 47], picture)
    button = (x > 40) & (x < 260) & (y % 90 > 30) & (y % 90 < 70) & (y > 80)
    return button.ifthenelse([9, 105, 218], picture).cast("uchar").copy(interpretation="srgb")


def pictures(content: str, images: Path | None, most: int) -> list[bytes]:
    """Return the sources of a kind of content, each as the bytes of a file."""
    if content == "photograph":
        return [file.read_bytes() for file in chosen(images, most)]
    if content == "graphic":
        return [bytes(screen(*size).pngsave_buffer(compression=1)) for size in ((2560, 1440), (2880, 1800))]
    cut_out = samples.landscape(2400, 1800, 4)
    x, y = (pyvips.Image.xyz(2400, 1800)[band].cast("float") for band in (0, 1))
    alpha = ((1 - (((x - 1200) / 1100) ** 2 + ((y - 900) / 800) ** 2) ** 0.5) * 20000).cast("uchar")
    return [bytes(cut_out.bandjoin(alpha).pngsave_buffer(compression=1)), bytes(samples.logo(2048).pngsave_buffer())]


def sized(data: bytes) -> dict[int, tuple[pyvips.Image, pyvips.Image]]:
    """Return, by width, the engine's picture and the reference."""
    recipe = Recipe(variants=tuple(map(ladder_spec, WIDTHS)))
    header = gate.inspect(data, Limits())
    upright = (header.width, header.height)[:: -1 if header.orientation >= 5 else 1]
    wanted = sizes.sizes(*upright, recipe)
    top = decode.decode(data, header, sizes.top(*upright, wanted), recipe)
    full = decode.decode(data, header, upright, recipe).picture
    return {
        size.spec.width: (
            picture,
            full.thumbnail_image(picture.width, height=picture.height, size="force", linear=True, no_rotate=True),
        )
        for size, picture in ladder.pictures(top.picture, wanted, recipe, None)
    }


def ladder_spec(width: int) -> Any:
    return VariantSpec(width, (Encoding("png"),))


def one_by_one(data: bytes, **options: Any) -> dict[int, pyvips.Image]:
    """Decode once per width, shrunk by the decoder as far as the width allows, as servers of single images do."""
    return {
        width: pyvips.Image.thumbnail_buffer(data, width, height=10**6, **options).copy_memory() for width in WIDTHS
    }


def pyramid(data: bytes, linear_below: int) -> dict[int, pyvips.Image]:
    """Make the engine's own ladder, in linear light below a width in pixels."""
    with patch.object(ladder, "LINEAR_BELOW", linear_below):
        header, recipe = gate.inspect(data, Limits()), Recipe(variants=tuple(map(ladder_spec, WIDTHS)))
        upright = (header.width, header.height)[:: -1 if header.orientation >= 5 else 1]
        wanted = sizes.sizes(*upright, recipe)
        top = decode.decode(data, header, sizes.top(*upright, wanted), recipe)
        return {size.spec.width: made for size, made in ladder.pictures(top.picture, wanted, recipe, None)}


def green_alone(picture: pyvips.Image, width: int, height: int) -> pyvips.Image:
    """Scale plain values and correct them by green in linear light: a third of the 16-bit work, most of the effect."""
    plain, green = light.scale(picture, width, height), picture[1]
    brighter = light.to_srgb(light.scale(light.from_srgb(green), width, height)).copy(interpretation="b-w") - plain[1]
    return (plain + brighter).cast("uchar").copy(interpretation="srgb")


def green_pyramid(data: bytes) -> dict[int, pyvips.Image]:
    with patch.object(light, "resize", green_alone):
        return pyramid(data, sizes.LINEAR_BELOW)


#: Ways from a file to the pictures of all widths.
PATHS: dict[str, Callable[[bytes], dict[int, pyvips.Image]]] = {
    "each width by itself, shrink-on-load, plain values": one_by_one,
    "pyramid, plain values": lambda data: pyramid(data, 0),
    f"pyramid, linear light below {sizes.LINEAR_BELOW} (the engine)": lambda data: pyramid(data, sizes.LINEAR_BELOW),
    f"pyramid, linear light for green alone below {sizes.LINEAR_BELOW}": green_pyramid,
    "pyramid, linear light below 1920": lambda data: pyramid(data, 1920),
    "pyramid, linear light throughout": lambda data: pyramid(data, 10**6),
    "each width by itself, exact linear light": lambda data: one_by_one(data, linear=True),
}


def measure_paths(sources: list[bytes]) -> dict[str, dict[str, Any]]:
    """Measure each path: mean CPU of decode and resizes in ms, mean SSIMULACRA2 of the resize alone by width."""
    runs: dict[str, list[tuple[float, dict[int, float]]]] = {path: [] for path in PATHS}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for data in track(sources, "ways to shrink"):
            exact = {width: reference.copy_memory() for width, (_, reference) in sized(data).items()}
            for path, make in PATHS.items():
                taken, made = min((_cpu_ms(make, data) for _ in range(3)), key=lambda run: run[0])
                scores = dict(zip(made, pool.map(score, (exact[width] for width in made), made.values()), strict=True))
                runs[path].append((taken, scores))
    return {
        path: {
            "cpu_ms": round(statistics.mean(taken for taken, _ in measured), 1),
            "ssimulacra2": {str(w): round(statistics.mean(scores[w] for _, scores in measured), 2) for w in WIDTHS},
        }
        for path, measured in runs.items()
    }


def _cpu_ms(make: Callable[[Any], Any], of: Any) -> tuple[float, Any]:
    started = time.process_time()
    made = make(of)
    return (time.process_time() - started) * 1000, made


def measure(content: str, sources: list[bytes]) -> dict[int, list[Point]]:
    runs: dict[tuple[int, Encoding], list[tuple[Any, int, float]]] = {}
    recipe = Recipe()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for data in track(sources, content):
            for width, (picture, exact) in sized(data).items():
                reference = on_grey(exact).copy_memory()
                encoded = [(encoding, *_timed(picture, encoding, recipe)) for encoding in CONTENTS[content]]
                waiting = [pool.submit(_judged, reference, data) for _, data, _ in encoded]
                for (encoding, written, taken), judged in zip(encoded, waiting, strict=True):
                    runs.setdefault((width, encoding), []).append((judged.result(), len(written), taken))
        points: dict[int, list[Point]] = {}
        for (width, encoding), measured in runs.items():
            means = [statistics.mean(values) for values in zip(*measured, strict=True)]
            points.setdefault(width, []).append(Point(encoding, *means))
    return points


def _timed(picture: pyvips.Image, encoding: Encoding, recipe: Recipe) -> tuple[bytes, float]:
    """Return the encoded bytes and the CPU of the whole process in ms; run nothing beside it."""
    taken, encoded = _cpu_ms(lambda picture: save(picture, encoding, recipe), picture)
    return encoded, taken


def on_grey(picture: pyvips.Image) -> pyvips.Image:
    return picture.flatten(background=[128, 128, 128]) if picture.hasalpha() else picture


def _judged(reference: pyvips.Image, encoded: bytes) -> float:
    return score(reference, on_grey(pyvips.Image.new_from_buffer(encoded, "")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="folder of camera JPEGs; default: generated ones")
    parser.add_argument("--most", type=int, default=6, help="photographs at most (6)")
    given = parser.parse_args()
    BUILD.mkdir(parents=True, exist_ok=True)
    judge()
    console = Console()
    paths = measure_paths(pictures("photograph", given.images, given.most))
    table = Table("way to shrink", "CPU ms", *map(str, WIDTHS), title="decode and resizes: SSIMULACRA2 before encoding")
    for path, means in paths.items():
        table.add_row(path, f"{means['cpu_ms']}", *map(str, means["ssimulacra2"].values()))
    console.print(table)
    result: dict[str, Any] = {"resize": paths}
    ways = {
        path: [(means["cpu_ms"], value, f"{width} wide") for width, value in means["ssimulacra2"].items()]
        for path, means in paths.items()
    }
    panels = [("the resize alone, every width", "CPU ms", "SSIMULACRA2", ways)]
    for content in CONTENTS:
        for width, points in measure(content, pictures(content, given.images, given.most)).items():
            frontier = [point for point in points if not any(point.beaten_by(other) for other in points)]
            table = Table("encoder", "SSIMULACRA2", "KB", "CPU ms", title=f"{content}, {width} wide: the frontier")
            for point in sorted(frontier, key=lambda point: -point.score):
                table.add_row(point.label, f"{point.score:.1f}", f"{point.bytes / 1000:.1f}", f"{point.cpu_ms:.1f}")
            console.print(table)
            result.setdefault(content, {})[str(width)] = [
                {
                    "encoder": point.label,
                    "ssimulacra2": round(point.score, 2),
                    "bytes": round(point.bytes),
                    "cpu_ms": round(point.cpu_ms, 2),
                    "frontier": point in frontier,
                }
                for point in points
            ]
            series: dict[str, list[tuple[float, float, str]]] = {}
            for point in points:
                name = point.encoding.format + (
                    " lossless" if point.encoding.lossless else f" e{point.encoding.effort}"
                )
                series.setdefault(name, []).append(
                    (point.bytes / 1000, point.score, f"{point.label} {point.cpu_ms:.0f} ms")
                )
            panels.append((f"{content}, {width} wide", "KB", "SSIMULACRA2", series))
        (BUILD / "frontier.json").write_text(json.dumps(result, indent=2) + "\n")
        (BUILD / "frontier.svg").write_text(scatter(panels))
    console.print(f"{BUILD}/frontier.json, frontier.svg")


if __name__ == "__main__":
    main()
