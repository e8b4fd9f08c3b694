"""Computes facts from a small copy: placeholder, dominant colours, perceptual hash, whether it is blank."""

import base64
import math
from array import array
from collections.abc import Sequence
from functools import cache
from operator import mul
from typing import Any

import pyvips

#: Longest side of the small copy, in pixels. A ThumbHash holds at most 7 × 7 frequencies, so 32 samples suffice.
_SIDE = 32

#: Approximate longest side, in pixels, of the picture whose sharpness is measured: a size that screens show.
_SHARP_SIDE = 640

#: The variance of the Laplacian below which a photograph is customarily taken for blurred (Pech-Pacheco et al., 2000).
_BLURRED = 100

#: Share of pixels, and distance from 0 or 255, that make a picture nearly black or white.
_NEARLY, _MARGIN = 0.98, 16

_PALETTE = 5


def look(pictures: Sequence[pyvips.Image], background: list[int]) -> dict[str, Any]:
    """Return facts by the names of the fields of a Rendition, from 8-bit sRGB pictures of one subject in any sizes.

    `placeholder` is a ThumbHash in base64; `palette` has up to five colours, of which `colour` is the first;
    `phash` has 64 bits: of near-duplicates, few differ. `blurriness` goes from 0 to 1, and a photograph is customarily
    taken for blurred from 0.5. Transparency counts as the background.
    """
    smallest = min(pictures, key=lambda picture: picture.width * picture.height)
    near = min(pictures, key=lambda picture: abs(math.log(max(picture.width, picture.height) / _SHARP_SIDE)))
    small = smallest.thumbnail_image(_SIDE, height=_SIDE, size="down").copy_memory()
    flat = small.flatten(background=background) if small.hasalpha() else small
    grey = flat.colourspace("b-w").copy_memory()
    values = bytes(grey.write_to_memory())
    palette = _palette(bytes(flat.write_to_memory()))
    return {
        "placeholder": thumbhash(small),
        "colour": palette[0],
        "palette": palette,
        "phash": _phash(grey),
        "blurriness": _blurriness(near.flatten(background=background) if near.hasalpha() else near),
        "near_black": sum(value < _MARGIN for value in values) >= _NEARLY * len(values),
        "near_white": sum(value > 255 - _MARGIN for value in values) >= _NEARLY * len(values),
    }


def _palette(rgb: bytes) -> list[str]:
    """Choose the fullest of 16³ boxes of the sRGB cube; then the fullest and farthest from those chosen."""
    boxes: dict[int, list[int]] = {}
    for red, green, blue in zip(rgb[::3], rgb[1::3], rgb[2::3], strict=True):
        box = boxes.setdefault((red & 240) << 4 | green & 240 | blue >> 4, [0, 0, 0, 0])
        box[0] += 1
        box[1] += red
        box[2] += green
        box[3] += blue
    colours = [(count, red / count, green / count, blue / count) for count, red, green, blue in boxes.values()]
    chosen: list[tuple[int, float, float, float]] = []
    far = [1.0] * len(colours)
    while len(chosen) < min(_PALETTE, len(colours)):
        index = max(range(len(colours)), key=lambda place: colours[place][0] * far[place])
        if not far[index]:
            break
        _, r, g, b = colours[index]
        squares = [(red - r) ** 2 + (green - g) ** 2 + (blue - b) ** 2 for _, red, green, blue in colours]
        far = squares if not chosen else list(map(min, far, squares))
        chosen.append(colours[index])
    return [f"#{round(red):02x}{round(green):02x}{round(blue):02x}" for _, red, green, blue in chosen]


def _blurriness(picture: pyvips.Image) -> float:
    if min(picture.width, picture.height) < 3:
        return 0.0
    # Green carries most of the light, and taking it costs nothing. A quarter of the edges, about grey, fits in 8 bits,
    # for which libvips has vector code.
    laplacian = pyvips.Image.new_from_list([[0, 1, 0], [1, -4, 1], [0, 1, 0]], scale=4, offset=128)
    edges = 4 * float(picture[1].conv(laplacian, precision="integer").deviate())
    return round(_BLURRED / (_BLURRED + edges**2), 3)


def _phash(grey: pyvips.Image) -> str:
    """16 hex digits: which of the 8 × 8 lowest frequencies of 32 × 32 pixels are above their median.

    The algorithm of Zauner's thesis (2010), as PyPI's ImageHash has it.
    """
    square = grey.resize(_SIDE / grey.width, vscale=_SIDE / grey.height, kernel="linear").cast("uchar")
    terms = _transform(bytes(square.write_to_memory()), _SIDE, _SIDE, 8, 8)
    low = [terms[row][column] for row in range(8) for column in range(8)]
    ordered = sorted(low)
    median = (ordered[31] + ordered[32]) / 2
    return f"{sum((value > median) << (63 - index) for index, value in enumerate(low)):016x}"


def thumbhash(picture: pyvips.Image) -> str:
    """Return a placeholder of 25 bytes in base64: colours, shape and alpha of an already small picture.

    Algorithm: Evan Wallace's ThumbHash, as published.
    """
    width, height = picture.width, picture.height
    light = picture.cast("double") / 255
    transparent = False
    if picture.hasalpha():
        alpha = light[3]
        opacity = alpha.avg()
        transparent = opacity < 1
        average = [(light[band] * alpha).avg() / opacity if opacity else 0.0 for band in range(3)]
        # Transparent parts take the average colour, so that they add no contrast.
        light = light[:3] * alpha + (1 - alpha) * average
        alphas = _doubles(alpha)
    channels = _doubles(light.recomb([[1 / 3, 1 / 3, 1 / 3], [0.5, 0.5, -1], [1, -1, 0]]))

    limit = 5 if transparent else 7
    longest = max(width, height)
    l_x, l_y = (max(1, _round(limit * side / longest)) for side in (width, height))
    l_dc, l_ac, l_scale = _frequencies(channels[0::3], width, height, max(3, l_x), max(3, l_y))
    p_dc, p_ac, p_scale = _frequencies(channels[1::3], width, height, 3, 3)
    q_dc, q_ac, q_scale = _frequencies(channels[2::3], width, height, 3, 3)

    landscape = width > height
    header24 = (
        _round(63 * l_dc)
        | _round(31.5 + 31.5 * p_dc) << 6
        | _round(31.5 + 31.5 * q_dc) << 12
        | _round(31 * l_scale) << 18
        | transparent << 23
    )
    header16 = (l_y if landscape else l_x) | _round(63 * p_scale) << 3 | _round(63 * q_scale) << 9 | landscape << 15
    result = bytearray(header24.to_bytes(3, "little") + header16.to_bytes(2, "little"))
    terms = [*l_ac, *p_ac, *q_ac]
    if transparent:
        a_dc, a_ac, a_scale = _frequencies(alphas, width, height, 5, 5)
        result.append(_round(15 * a_dc) | _round(15 * a_scale) << 4)
        terms += a_ac
    nibbles = [_round(15 * value) for value in terms]
    for low, high in zip(nibbles[::2], [*nibbles[1::2], 0][: len(nibbles[::2])], strict=True):
        result.append(low | high << 4)
    return base64.b64encode(result).decode()


def _doubles(image: pyvips.Image) -> Sequence[float]:
    return array("d", bytes(image.cast("double").write_to_memory()))


def _frequencies(
    channel: Sequence[float], width: int, height: int, nx: int, ny: int
) -> tuple[float, list[float], float]:
    """Return the constant term, the others of the lower left triangle scaled to 0…1, and their scale."""
    terms = _transform(channel, width, height, nx, ny)
    wanted = [terms[cy][cx] for cy in range(ny) for cx in range(nx) if cx * ny < nx * (ny - cy)]
    dc, *ac = (term / (width * height) for term in wanted)
    scale = max(map(abs, ac))
    return dc, [0.5 + 0.5 / scale * term for term in ac] if scale else ac, scale


def _transform(channel: Sequence[float], width: int, height: int, nx: int, ny: int) -> list[list[float]]:
    """Return the nx × ny lowest terms of the discrete cosine transform (II) by row; first along rows, then columns."""
    across = _cosines(width, nx)
    rows = [channel[width * y : width * (y + 1)] for y in range(height)]
    columns = [[sum(map(mul, cosines, row)) for row in rows] for cosines in across]
    return [[sum(map(mul, cosines, column)) for column in columns] for cosines in _cosines(height, ny)]


@cache
def _cosines(size: int, count: int) -> list[list[float]]:
    return [[math.cos(math.pi / size * c * (x + 0.5)) for x in range(size)] for c in range(count)]


def _round(value: float) -> int:
    """Halves go up, as in the published code, not to even."""
    return math.floor(value + 0.5)
