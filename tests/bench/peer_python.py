"""Ours and Pillow, each in a process of its own: JSON objects on lines in and out, as in peer_sharp.mjs.

Kinds: `same` (ours, at sharp's formats and settings), `recipe` (the widths of our default recipe), `all` (with its
thumbnail), `floor` (the library calls of `recipe` and nothing else), `resize` (decode and resizes alone), `lossless`
(the same, kept as PNG), `pillow`.
"""

import json
import re
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

WIDTHS = (1920, 1280, 640, 256)
Made = list[tuple[str, str, int, int, bytes]]  # name, format, width, height, bytes


def pillow(data: bytes) -> Made:
    """`thumbnail` drafts: it has the decoder shrink as far as twice the size allows."""
    import io

    from PIL import Image, ImageOps

    made: Made = []
    for width in WIDTHS:
        image = Image.open(io.BytesIO(data))
        turned = image.getexif().get(0x0112, 1) >= 5
        box = (10**6, width) if turned else (width, 10**6)
        image.thumbnail(box, Image.Resampling.LANCZOS)
        upright = ImageOps.exif_transpose(image)
        out = io.BytesIO()
        if width == 1920:
            upright.convert("RGB").save(out, "JPEG", quality=80, optimize=True)
        else:
            upright.save(out, "WEBP", quality=80, method=4)
        made.append((f"w{width}", "jpeg" if width == 1920 else "webp", *upright.size, out.getvalue()))
    return made


def ours(kind: str) -> Callable[[bytes], Made]:
    from image_processor import decode, encode, engine, gate, heic, ladder
    from image_processor.recipe import Encoding, Limits, Recipe, VariantSpec

    everything = Limits(max_bytes=2**31, max_pixels=2**31, max_progressive_pixels=2**31, max_side=65_535)
    recipe = Recipe()
    if kind in ("recipe", "floor"):
        recipe = Recipe(tuple(spec for spec in recipe.variants if spec.width in WIDTHS))
    if kind in ("same", "resize", "lossless"):
        formats = {width: (Encoding("jpeg", 80, 1) if width == 1920 else Encoding("webp", 80, 4),) for width in WIDTHS}
        recipe = Recipe(tuple(VariantSpec(width, formats[width]) for width in WIDTHS), graphic=(), alpha=())

    keep = kind == "lossless"

    def render(data: bytes) -> Made:
        header = gate.inspect(data, everything)
        if header.format == "heic":
            data = heic.to_png(data)
        made = engine.render(data, header, recipe, threads=1)
        return [(v.name, v.format, v.width, v.height, v.data) for v in made.variants]

    def floor(data: bytes) -> Made:
        header = gate.inspect(data, everything)
        width, height = (header.width, header.height)[:: -1 if header.orientation >= 5 else 1]
        wanted = ladder.sizes(width, height, recipe)
        decoded = decode.decode(data, header, ladder.top(width, height, wanted), recipe)
        pictures = ladder.pictures(decoded.picture, wanted, recipe, None)
        if kind in ("resize", "lossless"):
            return [
                (
                    size.spec.name,
                    "png",
                    picture.width,
                    picture.height,
                    picture.pngsave_buffer(compression=1) if keep else b"",
                )
                for size, picture in pictures
            ]
        for size, picture in pictures:
            for encoding in size.spec.formats:
                encode.save(picture, encoding, recipe)
        return []

    return floor if kind in ("floor", "resize", "lossless") else render


def main() -> None:
    make = pillow if sys.argv[1] == "pillow" else ours(sys.argv[1])
    for line in sys.stdin:
        task = json.loads(line)
        files = [Path(file).read_bytes() for file in task["files"]] if task["parallel"] == 1 else None
        cpu, started = time.process_time(), time.perf_counter()
        if files is not None:
            made = [make(data) for data in files]
        else:
            with ThreadPoolExecutor(task["parallel"]) as pool:
                made = list(pool.map(lambda file: make(Path(file).read_bytes()), task["files"]))
        answer: dict[str, Any] = {
            "cpu_ms": (time.process_time() - cpu) * 1000,
            "wall_ms": (time.perf_counter() - started) * 1000,
            "rss_mb": int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024,  # type: ignore[index]
            "variants": [],
        }
        for name, kind, width, height, data in made[-1]:
            kept = None
            if task.get("keep"):
                kept = str(Path(task["keep"]) / f"{sys.argv[1]}-{name}.{kind}")
                Path(kept).write_bytes(data)
            answer["variants"].append(
                {"name": name, "format": kind, "width": width, "height": height, "bytes": len(data), "path": kept}
            )
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
