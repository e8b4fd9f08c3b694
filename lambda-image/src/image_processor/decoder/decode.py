"""Decodes bytes once, to an upright picture in 8-bit sRGB no larger than the largest variant needs."""

import re
import struct
from dataclasses import dataclass

import pyvips

from image_processor.decoder import light
from image_processor.decoder.vips_errors import undecodable
from image_processor.recipe import Recipe
from image_processor.verdict import Header, Reason

#: The JPEG decoder halves a picture for free, but coarsely and in gamma light. It may do so only where this factor is
#: left for Lanczos.
_LEFT_FOR_LANCZOS = 2

#: Rows decoded at a time in the search for the end of a truncated image.
_STRIP = 16


@dataclass(frozen=True)
class Decoded:
    """A picture in memory, the share of its rows that the file has (0 to 1), and notes on ignored faults."""

    picture: pyvips.Image
    share: float
    notes: tuple[str, ...]
    wide_gamut: bool


def decode(data: bytes, header: Header, size: tuple[int, int], recipe: Recipe) -> Decoded:
    """Decode the first frame to an upright size in pixels, at most the source's own.

    Raises:
        Rejected: TRUNCATED, unless the recipe accepts partial images and some rows are there.
        pyvips.Error: any other fault of the bytes.
    """
    try:
        return _decode(data, header, size, recipe, 1.0)
    except pyvips.Error as error:
        if not recipe.partial or undecodable(error, data).reason != Reason.TRUNCATED:
            raise
        share = _share(data)
        if not share:
            raise
        return _decode(data, header, size, recipe, share)


def frames(data: bytes, height: int) -> pyvips.Image:
    """Return all frames of a height in pixels, one below the other, in memory in 8-bit sRGB, with delays and loop."""
    strip, _ = _to_srgb(pyvips.Image.new_from_buffer(data, "", n=-1, fail_on="truncated"), False, [])
    strip = strip.copy_memory()
    if strip.height % height:
        raise pyvips.Error(f"frames of {height} rows do not make up a strip of {strip.height}")
    return strip


def first_frame(strip: pyvips.Image, height: int, size: tuple[int, int]) -> Decoded:
    """Return the first frame of a strip as a still, at a size in pixels."""
    first = light.resize(strip.crop(0, 0, strip.width, height), *size).copy_memory()
    return Decoded(_visible(first), 1.0, (), False)


def _visible(picture: pyvips.Image) -> pyvips.Image:
    """Drop an alpha channel that hides nothing."""
    return picture[:3] if picture.hasalpha() and picture[picture.bands - 1].min() == 255 else picture


def _decode(data: bytes, header: Header, size: tuple[int, int], recipe: Recipe, share: float) -> Decoded:
    width, height = size[:: -1 if header.orientation >= 5 else 1]
    image = _load(data, header, width, share)
    notes: list[str] = []
    if image.hasalpha():
        # Colours must be linear before they are premultiplied, and premultiplied before they are averaged.
        image, wide = _to_srgb(image, recipe.wide_gamut, notes)
        image = light.resize(image, width, height) if width < image.width else image
    else:
        image = light.scale(image, width, height)
        image, wide = _to_srgb(image, recipe.wide_gamut, notes)
    picture = image.copy_memory()
    if header.format == "tiff" and picture.hasalpha() and not picture[picture.bands - 1].max():
        # libtiff's fall-back for kinds that libvips does not read fails silently and leaves an empty picture.
        raise pyvips.Error("tiff: the picture is empty, its kind of compression is not supported")
    if header.orientation > 1:
        picture = picture.autorot().copy_memory()
    return Decoded(_visible(picture), share, tuple(notes), wide)


def _load(data: bytes, header: Header, width: int, share: float) -> pyvips.Image:
    options: dict[str, object] = {"access": "sequential", "fail_on": "truncated" if share == 1 else "none"}
    if header.format == "jpeg":
        left = header.width / max(width, 1) / _LEFT_FOR_LANCZOS
        options["shrink"] = next(shrink for shrink in (8, 4, 2, 1) if shrink <= max(left, 1))
    image = pyvips.Image.new_from_buffer(data, "", **options)
    if header.format == "tiff" and image.hasalpha() and _extra_sample(data) == 0:
        return image.extract_band(0, n=image.bands - 1)
    return image


def _extra_sample(data: bytes) -> int | None:
    """Return the kind of a TIFF's one extra sample: 0 unspecified (a saved selection), 1 and 2 alpha.

    libvips takes all of them for alpha. Source: TIFF 6.0, sections 2 and 18; BigTIFF has wider fields.
    """
    order = "<" if data[:2] == b"II" else ">"
    first, count, entry, length = ("Q", "Q", 20, 12) if data[2:4] in (b"+\0", b"\0+") else ("I", "H", 12, 8)
    try:
        (at,) = struct.unpack_from(order + first, data, struct.calcsize(first))
        (entries,) = struct.unpack_from(order + count, data, at)
        start = at + struct.calcsize(order + count)
        for place in range(start, start + entry * min(entries, 4096), entry):
            tag, _, values = struct.unpack_from(order + "HH" + first, data, place)
            if tag == 338 and values == 1:
                return int(struct.unpack_from(order + "H", data, place + length)[0])
    except struct.error:
        pass
    return None


def _share(data: bytes) -> float:
    """Measure the share of the height that decodes before bytes are missing: 0 to 1, in steps of a few rows."""
    image = pyvips.Image.new_from_buffer(data, "", access="sequential", fail_on="truncated")
    row = 0
    try:
        region = pyvips.Region.new(image)
        for row in range(0, image.height, _STRIP):
            region.fetch(0, row, image.width, min(_STRIP, image.height - row))
    except pyvips.Error:
        pass
    return float(row / image.height)


def _to_srgb(image: pyvips.Image, keep_wide: bool, notes: list[str]) -> tuple[pyvips.Image, bool]:
    """Convert to 8-bit sRGB, or to Display P3 with `keep_wide`; also return whether it is Display P3.

    Relative colorimetric with black-point compensation, as viewers do it. CMYK without a profile goes through libvips'
    own generic profile.
    """
    profile = bytes(image.get("icc-profile-data")) if "icc-profile-data" in image.get_fields() else b""
    cmyk = image.interpretation == "cmyk"
    if cmyk or (profile and not _is_srgb(profile)):
        target = "p3" if keep_wide and profile and not cmyk and image.bands >= 3 else "srgb"
        options = {"intent": "relative", "black_point_compensation": True, "depth": 8}
        if cmyk:
            options["input_profile"] = "cmyk"
        try:
            return _as_srgb(image.icc_transform(target, embedded=bool(profile), **options)), target == "p3"
        except pyvips.Error as error:
            notes.append("profile ignored: " + " ".join(str(error).split())[:100])
    if cmyk:
        image = image.copy()
        image.remove("icc-profile-data")
        return _as_srgb(image.icc_transform("srgb", input_profile="cmyk", depth=8)), False
    return _as_srgb(image), False


def _as_srgb(image: pyvips.Image) -> pyvips.Image:
    if image.interpretation != "srgb":
        image = image.colourspace("srgb")
    elif image.bands < 3:
        image = image.copy(interpretation="b-w").colourspace("srgb")
    return image if image.format == "uchar" else image.cast("uchar")


def _is_srgb(profile: bytes) -> bool:
    """Recognise sRGB by the description: most cameras attach one, and a conversion would cost much for nothing."""
    text = profile.replace(b"\0", b"")
    return re.search(rb"sRGB(?: IEC61966-2[.-]1| built-in|2014| Profile)", text) is not None
