"""Ours and Pillow, each in a process of its own: JSON objects on lines in and out, as in peer_sharp.mjs.

Kinds: `same` (ours, at sharp's formats and settings), `recipe` (the widths of our default recipe), `isolated` (the same
in the confined process), `all` (with the thumbnail), `floor` (the decode, resizes and encodes of `recipe`, and nothing
else), `resize` (decode and resizes alone), `decode`, `lossless` (decode and resizes, kept as PNG), `pillow`.
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
#: Kinds that take the header before the clock starts: reading and judging it is our code's work, not the codecs'.
BARE = ("floor", "resize", "decode", "lossless")
Made = list[tuple[str, str, int, int, bytes]]  # name, format, width, height, bytes


def pillow(data: bytes) -> Made:
    """Make the widths with Pillow; `thumbnail` has the decoder shrink as far as twice the size allows."""
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


class Ours:
    """The engine, or a part of it; the CPU of `processes` counts beside this one's."""

    def __init__(self, kind: str) -> None:
        from image_processor.decoder.sandbox import Sandbox
        from image_processor.recipe import Encoding, Limits, Recipe, VariantSpec

        self._kind, self._limits = kind, Limits(max_bytes=2**31, max_pixels=2**31, max_progressive_pixels=2**31)
        self._recipe = Recipe()
        if kind in ("recipe", "isolated", "floor"):
            self._recipe = Recipe(tuple(spec for spec in self._recipe.variants if spec.width in WIDTHS))
        if kind in ("same", "resize", "decode", "lossless"):
            formats = {width: Encoding("jpeg", 80, 1) if width == 1920 else Encoding("webp", 80, 4) for width in WIDTHS}
            specs = tuple(VariantSpec(width, (formats[width],)) for width in WIDTHS)
            self._recipe = Recipe(specs, graphic=(), alpha=())
        self._box = Sandbox(self._limits, threads=1) if kind == "isolated" else None
        self.processes: list[int] = []
        if self._box:
            self._box.held()
            self.processes = [self._box.process.pid]

    def prepare(self, data: bytes) -> Any:
        from image_processor.decoder import gate

        return (data, gate.inspect(data, self._limits)) if self._kind in BARE else data

    def __call__(self, prepared: Any) -> Made:
        return self._bare(*prepared) if self._kind in BARE else self._render(prepared)

    def _render(self, data: bytes) -> Made:
        from image_processor.decoder import engine, gate, heic

        if self._box:
            made = self._box.render(data, self._recipe).rendition
        else:
            header = gate.inspect(data, self._limits)
            if header.format == "heic":
                data = heic.to_png(data)
            made = engine.render(data, header, self._recipe, threads=1)
        return [(v.name, v.format, v.width, v.height, v.data) for v in made.variants]

    def _bare(self, data: bytes, header: Any) -> Made:
        from image_processor.decoder import decode, encode, ladder, sizes

        width, height = (header.width, header.height)[:: -1 if header.orientation >= 5 else 1]
        wanted = sizes.sizes(width, height, self._recipe)
        if self._kind == "decode":
            decode._load(data, header, sizes.top(width, height, wanted)[0], 1.0).copy_memory()
            return []
        decoded = decode.decode(data, header, sizes.top(width, height, wanted), self._recipe)
        made: Made = []
        for size, picture in ladder.pictures(decoded.picture, wanted, self._recipe, None):
            if self._kind == "floor":
                for encoding in size.spec.formats:
                    encode.save(picture, encoding, self._recipe)
            written = picture.pngsave_buffer(compression=1) if self._kind == "lossless" else b""
            made.append((size.spec.name, "png", picture.width, picture.height, written))
        return made if self._kind == "lossless" else []


def cpu_ms(processes: list[int]) -> float:
    """Return the CPU of this process and others together, in ms. Clock numbers: clock_getcpuclockid(3)."""
    return (time.process_time() + sum(time.clock_gettime(~pid << 3 | 2) for pid in processes)) * 1000


def main() -> None:
    kind = sys.argv[1]
    ours = None if kind == "pillow" else Ours(kind)
    make: Callable[[Any], Made] = ours or pillow
    prepare: Callable[[bytes], Any] = ours.prepare if ours else bytes
    processes = ours.processes if ours else []
    for line in sys.stdin:
        task = json.loads(line)
        files = [prepare(Path(file).read_bytes()) for file in task["files"]] if task["parallel"] == 1 else None
        cpu, started = cpu_ms(processes), time.perf_counter()
        if files is not None:
            made = [make(data) for data in files]
        else:
            with ThreadPoolExecutor(task["parallel"]) as pool:
                made = list(pool.map(lambda file: make(Path(file).read_bytes()), task["files"]))
        answer: dict[str, Any] = {
            "cpu_ms": cpu_ms(processes) - cpu,
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
