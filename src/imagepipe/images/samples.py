"""Generates photo-like sample images in common formats, so that no pictures with rights need to be shipped."""

import math
from collections.abc import Callable
from pathlib import Path

import pyvips

from imagepipe.files import write_atomically


def make(folder: Path) -> list[Path]:
    """Write the missing ones of 14 samples into a folder, and return all of them. Two of them are broken."""
    folder.mkdir(parents=True, exist_ok=True)
    return [_write(folder / name, maker) for name, maker in _SAMPLES.items()]


def landscape(width: int, height: int, seed: int) -> pyvips.Image:
    """Draw a hazy sky over rows of hills, in sRGB: smooth gradients, fine texture and hard edges, like a photograph."""
    x, y = (pyvips.Image.xyz(width, height)[band].cast("float") for band in (0, 1))
    hue = seed * 0.7
    horizon = y / height
    bands = [
        horizon * (90 * math.sin(hue + phase) + 40) + 150 + 60 * math.cos(hue + phase) for phase in (0.0, 1.1, 2.3)
    ]
    image = bands[0].bandjoin(bands[1:])
    sun_x, sun_y, radius = width * (0.25 + 0.1 * (seed % 5)), height * 0.3, width * 0.05
    distance = ((x - sun_x) ** 2 + (y - sun_y) ** 2) ** 0.5
    glow = (distance * (-1 / (radius * 3))).exp() * 180
    image = (distance < radius).ifthenelse([255, 250, 225], image + glow.bandjoin([glow * 0.85, glow * 0.5]))
    for row in range(5):
        crest = height * (0.45 + 0.11 * row)
        swing = height * 0.05 * (1 + row % 2)
        wave = (x * (360 * (1.5 + row * 0.8) / width) + seed * 47 + row * 90).sin() * swing
        rough = pyvips.Image.perlin(width, 1, cell_size=max(width // (30 + 20 * row), 2), seed=seed * 10 + row)
        below = y > wave + rough.embed(0, 0, width, height, extend="copy") * (height * 0.03) + crest
        shade = 0.75 - 0.13 * row
        colour = [shade * (90 + 60 * math.sin(hue + phase + row)) + 20 for phase in (0.4, 1.9, 3.6)]
        texture = pyvips.Image.gaussnoise(width, height, mean=0, sigma=9 + 4 * row, seed=seed + row)
        image = below.ifthenelse(texture.bandjoin([texture, texture * 0.8]) + colour, image)
    grain = pyvips.Image.gaussnoise(width, height, mean=0, sigma=2.5, seed=seed)
    return (image + grain).cast("uchar").copy(interpretation="srgb")


def logo(size: int) -> pyvips.Image:
    """Draw rings on transparency: few colours, hard edges, an alpha channel."""
    x, y = (pyvips.Image.xyz(size, size)[band].cast("float") - size / 2 for band in (0, 1))
    distance = (x**2 + y**2) ** 0.5 / (size / 2)
    ring = ((distance * 5).floor() % 2) == 0
    colour = ring.ifthenelse([230, 57, 70], [29, 53, 87])
    alpha = ((1 - distance) * size / 2 * 255).cast("uchar")  # the edge fades over a pixel
    return colour.cast("uchar").copy(interpretation="srgb").bandjoin(alpha)


def _camera(width: int, height: int, seed: int, *, held_upright: bool = False) -> pyvips.Image:
    """Draw a landscape with a camera's metadata. Held upright, the pixels lie on their side, as cameras store them."""
    image = landscape(width, height, seed)
    image = (image.rot270() if held_upright else image).copy()
    image.set_type(pyvips.GValue.gint_type, "orientation", 6 if held_upright else 1)
    for field, value in (
        ("exif-ifd0-Make", "Sample"),
        ("exif-ifd0-Model", "Model One"),
        ("exif-ifd2-DateTimeOriginal", f"2026:05:{seed + 1:02d} 12:00:00"),
        ("exif-ifd2-ISOSpeedRatings", "200"),
    ):
        image.set_type(pyvips.GValue.gstr_type, field, value)
    return image


def _animation() -> bytes:
    frames = [landscape(320, 240, 3).wrap(x=-20 * step, y=0) for step in range(6)]
    strip = pyvips.Image.arrayjoin(frames, across=1).copy()
    strip.set_type(pyvips.GValue.gint_type, "page-height", 240)
    return bytes(strip.gifsave_buffer())


_SAMPLES = {
    "photos/morning.jpg": lambda: _camera(4000, 3000, 1).jpegsave_buffer(Q=90),
    "photos/portrait of a hill.jpg": lambda: _camera(2000, 3000, 2, held_upright=True).jpegsave_buffer(Q=88),
    "photos/progressive+noon.jpg": lambda: _camera(2400, 1600, 4).jpegsave_buffer(Q=85, interlace=True),
    "photos/grey.jpg": lambda: landscape(1600, 1200, 5).colourspace("b-w").jpegsave_buffer(Q=85),
    "photos/print-cmyk.jpg": lambda: landscape(1500, 1000, 6).colourspace("cmyk").jpegsave_buffer(Q=90),
    "photos/été.webp": lambda: landscape(2048, 1365, 7).webpsave_buffer(Q=85, effort=1),
    "photos/modern.avif": lambda: landscape(1600, 1067, 8).heifsave_buffer(Q=60, effort=0, compression="av1"),
    "photos/scan.tiff": lambda: landscape(1800, 1200, 9).tiffsave_buffer(compression="deflate"),
    "screens/screenshot.png": lambda: landscape(1440, 900, 10).pngsave_buffer(compression=3),
    "screens/small icon.png": lambda: logo(128).pngsave_buffer(),
    "logos/logo.png": lambda: logo(900).pngsave_buffer(),
    "logos/moving.gif": _animation,
    "broken/letter.jpg": lambda: b"Dear all,\nthis is a letter and no picture.\n",
    "broken/half.jpg": lambda: bytes(landscape(1200, 800, 11).jpegsave_buffer(Q=85))[:20_000],
}


def _write(file: Path, maker: Callable[[], bytes]) -> Path:
    if not file.exists():
        write_atomically(file, maker())
    return file
