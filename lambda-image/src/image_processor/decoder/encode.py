"""Encodes pictures: chooses the formats of a picture, and writes all of them side by side."""

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyvips

from image_processor.decoder import metadata
from image_processor.recipe import Animation, Encoding, Recipe, VariantSpec
from image_processor.rendition import Variant

#: Encoding a pixel, relative to JPEG (`make bench-frontier`): decides only what starts first.
_COST = {"avif": 14, "webp": 8, "png": 8, "gif": 20, "jpeg": 1}

#: Bytes of working memory per pixel, measured as peak RSS over the picture's own.
_MEMORY = {"avif": 40, "webp": 20, "png": 8, "gif": 16, "jpeg": 6}

#: Longest side of a WebP, in pixels (WebP container specification: 14 bits).
_WEBP_SIDE = 16_383

#: Share of pixels equal to their neighbour from which a picture is a graphic: photographs stay below 0.4 even with
#: burnt-out skies, screenshots and logos are above 0.8.
_FLAT = 0.6

#: Up to so many pixels lossless costs hardly anything, and the halved colour resolution of lossy formats is visible.
_ICON_PIXELS = 32 * 32


@dataclass(frozen=True)
class Job:
    """One picture to write in one format."""

    name: str
    picture: pyvips.Image
    encoding: Encoding | Animation
    frames: int = 1

    @property
    def pixels(self) -> int:
        """Pixels of all frames."""
        return int(self.picture.width * self.picture.height)

    @property
    def cost(self) -> int:
        """Relative CPU time; decides only the order."""
        return self.pixels * _COST[self.encoding.format] * (1 + self.encoding.effort)

    @property
    def memory(self) -> int:
        """Bytes of working memory that the encoder takes."""
        return self.pixels * _MEMORY[self.encoding.format]


def formats(spec: VariantSpec, picture: pyvips.Image, graphic: bool, recipe: Recipe) -> tuple[Encoding, ...]:
    """Choose the formats by what the picture shows, from best to fallback; no WebP for pictures too long for it."""
    if graphic and recipe.graphic:
        chosen = recipe.graphic
    else:
        chosen = recipe.alpha if picture.hasalpha() and recipe.alpha else spec.formats
    fits = tuple(how for how in chosen if how.format != "webp" or max(picture.width, picture.height) <= _WEBP_SIDE)
    return fits or (Encoding("png", effort=3) if picture.hasalpha() else Encoding("jpeg"),)


def is_graphic(picture: pyvips.Image) -> bool:
    """Return whether large areas have one colour, where lossless formats are smaller and sharper. Looks at 64 rows.

    Fully transparent pixels do not count: otherwise every cut-out photograph would be a graphic.
    """
    if picture.width < 2:
        return True
    rows = picture.subsample(1, max(1, picture.height // 64))
    left, right = rows.crop(0, 0, rows.width - 1, rows.height), rows.crop(1, 0, rows.width - 1, rows.height)
    same = (left == right).bandand()
    if not picture.hasalpha():
        return bool(same.avg() / 255 >= _FLAT)
    seen = left[left.bands - 1] > 0
    return bool((same & seen).avg() >= _FLAT * seen.avg())


def has_few_colours(source: pyvips.Image) -> bool:
    """Return whether a file is an icon, or has at most 16 colours by its header."""
    bits = source.get("bits-per-sample") if "bits-per-sample" in source.get_fields() else 8
    return bool(source.width * source.height <= _ICON_PIXELS or bits <= 4)


def encode(jobs: Iterable[Job], recipe: Recipe, wide_gamut: bool, threads: int | None, memory: int) -> list[Variant]:
    """Encode the most expensive first, in as many threads as CPUs and the bytes of memory allow."""
    ordered = sorted(jobs, key=lambda job: job.cost, reverse=True)
    with ThreadPoolExecutor(_workers(ordered, threads or len(os.sched_getaffinity(0)), memory)) as pool:
        return list(pool.map(lambda job: _variant(job, recipe, wide_gamut), ordered))


def _workers(jobs: list[Job], threads: int, memory: int) -> int:
    """Count the jobs with the largest needs that fit into memory together, at least one."""
    needs = sorted((job.memory for job in jobs), reverse=True)
    workers = 1
    while workers < min(threads, len(needs)) and sum(needs[: workers + 1]) <= memory:
        workers += 1
    return workers


def _variant(job: Job, recipe: Recipe, wide_gamut: bool) -> Variant:
    height = job.picture.height // job.frames
    data = save(job.picture, job.encoding, recipe, wide_gamut)
    return Variant(job.name, job.encoding.format, job.picture.width, height, data, job.frames)


def save(picture: pyvips.Image, how: Encoding | Animation, recipe: Recipe, wide_gamut: bool = False) -> bytes:
    """Encode one picture; with `wide_gamut` it keeps its Display P3 profile."""
    kinds = metadata.kept(picture) + (["icc"] if wide_gamut else [])
    keep: dict[str, object] = {"keep": "|".join(kinds) or "none", **({"profile": "p3"} if wide_gamut else {})}
    lossless = isinstance(how, Encoding) and how.lossless
    if how.format == "jpeg":
        flat = picture.flatten(background=recipe.background_rgb) if picture.hasalpha() else picture
        table = how.quant_table if isinstance(how, Encoding) else 0
        return bytes(flat.jpegsave_buffer(Q=how.quality, optimize_coding=how.effort > 0, quant_table=table, **keep))
    if how.format == "png":
        return bytes(picture.pngsave_buffer(compression=how.effort, **keep))
    if how.format == "gif":
        return bytes(picture.gifsave_buffer(effort=max(1, how.effort), **keep))
    if how.format == "avif":
        options = {"compression": "av1", "effort": how.effort, "lossless": lossless}
        return bytes(picture.heifsave_buffer(Q=how.quality, **options, **keep))
    return bytes(picture.webpsave_buffer(Q=how.quality, effort=how.effort, lossless=lossless, **keep))
