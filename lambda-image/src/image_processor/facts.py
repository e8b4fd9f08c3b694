"""What can be told of a picture besides its variants: placeholder, colour, and what the camera wrote that is safe."""

import base64
import math
import re

import pyvips

#: EXIF fields that say how a picture was taken, and nothing of where or by whom; serial numbers identify their owner.
_EXIF = {
    "make": "exif-ifd0-Make",
    "model": "exif-ifd0-Model",
    "lens": "exif-ifd2-LensModel",
    "taken_at": "exif-ifd2-DateTimeOriginal",
    "exposure_seconds": "exif-ifd2-ExposureTime",
    "aperture": "exif-ifd2-FNumber",
    "iso": "exif-ifd2-ISOSpeedRatings",
    "focal_length_mm": "exif-ifd2-FocalLength",
}
_NUMBERS = {"exposure_seconds", "aperture", "iso", "focal_length_mm"}

#: Longest side of what a ThumbHash is computed from. The hash holds at most 7 × 7 frequencies, so 32 samples do.
_HASH_SIDE = 32


def safe_exif(image: pyvips.Image) -> dict[str, str | int | float]:
    """Facts of the shot by name; what is missing or unreadable is left out."""
    present = set(image.get_fields())
    found: dict[str, str | int | float] = {}
    for name, field in _EXIF.items():
        if field not in present:
            continue
        # libvips gives `<raw value> (<for people>, <type>, <n> components, <n> bytes)`
        raw = str(image.get(field)).rsplit(" (", 1)[0].strip().strip("\0")
        value = _number(raw) if name in _NUMBERS else raw[:100]
        if value not in (None, ""):
            found[name] = value
    return found


def _number(raw: str) -> int | float | None:
    if not (match := re.fullmatch(r"(\d+)(?:/(\d+))?", raw)):
        return None
    numerator, denominator = int(match[1]), int(match[2] or 1)
    if not denominator:
        return None
    value = numerator / denominator
    return int(value) if value.is_integer() else round(value, 6)


def dominant_colour(picture: pyvips.Image, background: list[int]) -> str:
    """The centre of the fullest of 16³ boxes of the sRGB cube, as #rrggbb; transparency counts as the background."""
    flat = picture.flatten(background=background) if picture.hasalpha() else picture
    box = 256 // 16
    _, red, green, blue = _fullest_box(flat)
    return "#" + "".join(f"{index * box + box // 2:02x}" for index in (red, green, blue))


def _fullest_box(picture: pyvips.Image) -> tuple[int, int, int, int]:
    histogram = picture.hist_find_ndim(bins=16)  # 16 × 16 pixels of 16 bands: red → x, green → y, blue → band
    best = (-1, 0, 0, 0)
    for blue in range(16):
        count, place = histogram[blue].max(x=True, y=True)
        best = max(best, (int(count), int(place["x"]), int(place["y"]), blue), key=lambda each: each[0])
    return best


def thumbhash(picture: pyvips.Image) -> str:
    """A 25-byte placeholder of colours, shape and alpha, base64. Algorithm: Evan Wallace's ThumbHash, as published."""
    small = picture.thumbnail_image(_HASH_SIDE, height=_HASH_SIDE, size="down").colourspace("srgb")
    alpha = small.hasalpha()
    width, height = small.width, small.height
    pixels = (small if alpha else small.addalpha()).cast("uchar").write_to_memory()
    count = width * height
    rgba = [[value / 255 for value in pixels[4 * i : 4 * i + 4]] for i in range(count)]

    opacity = sum(pixel[3] for pixel in rgba)
    transparent = opacity < count
    average = [sum(pixel[band] * pixel[3] for pixel in rgba) / opacity if opacity else 0.0 for band in range(3)]
    lightness, yellow_blue, red_green, alphas = [], [], [], []
    for red, green, blue, a in rgba:
        # Transparent parts take the average colour, so that they add no contrast.
        r, g, b = (average[i] * (1 - a) + value * a for i, value in enumerate((red, green, blue)))
        lightness.append((r + g + b) / 3)
        yellow_blue.append((r + g) / 2 - b)
        red_green.append(r - g)
        alphas.append(a)

    limit = 5 if transparent else 7
    longest = max(width, height)
    l_x, l_y = (max(1, _round(limit * side / longest)) for side in (width, height))
    l_dc, l_ac, l_scale = _frequencies(lightness, width, height, max(3, l_x), max(3, l_y))
    p_dc, p_ac, p_scale = _frequencies(yellow_blue, width, height, 3, 3)
    q_dc, q_ac, q_scale = _frequencies(red_green, width, height, 3, 3)

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
    channels = [l_ac, p_ac, q_ac]
    if transparent:
        a_dc, a_ac, a_scale = _frequencies(alphas, width, height, 5, 5)
        result.append(_round(15 * a_dc) | _round(15 * a_scale) << 4)
        channels.append(a_ac)
    nibbles = [_round(15 * value) for channel in channels for value in channel]
    for low, high in zip(nibbles[::2], [*nibbles[1::2], 0][: len(nibbles[::2])], strict=True):
        result.append(low | high << 4)
    return base64.b64encode(result).decode()


def _frequencies(channel: list[float], width: int, height: int, nx: int, ny: int) -> tuple[float, list[float], float]:
    """Discrete cosine transform: the constant, the other terms scaled to 0…1, and their scale."""
    dc, ac, scale = 0.0, [], 0.0
    cosines_x = [[math.cos(math.pi / width * cx * (x + 0.5)) for x in range(width)] for cx in range(nx)]
    cosines_y = [[math.cos(math.pi / height * cy * (y + 0.5)) for y in range(height)] for cy in range(ny)]
    for cy in range(ny):
        cx = 0
        while cx * ny < nx * (ny - cy):
            total = sum(
                cosines_y[cy][y] * sum(map(_product, cosines_x[cx], channel[y * width : (y + 1) * width]))
                for y in range(height)
            )
            term = total / (width * height)
            if cx or cy:
                ac.append(term)
                scale = max(scale, abs(term))
            else:
                dc = term
            cx += 1
    return dc, [0.5 + 0.5 / scale * term for term in ac] if scale else ac, scale


def _product(a: float, b: float) -> float:
    return a * b


def _round(value: float) -> int:
    """Halves go up, as in the published code, not to even."""
    return math.floor(value + 0.5)
