"""Checks the answers of the decoding process: a file may have taken it over, and nothing forged may be stored.

Names, formats and sizes of variants follow from the recipe and the header; facts have a shape and a length. Pictures
themselves cannot be checked without a decoder: their first bytes must be those of their format.
"""

import re
from dataclasses import dataclass, fields
from typing import Any

from image_processor.decoder.process import Faulty
from image_processor.decoder.sizes import sizes
from image_processor.recipe import Limits, Recipe
from image_processor.rendition import RIGHT, TEXT, Rendition, Variant
from image_processor.sniff import sniff
from image_processor.verdict import Header, Reason, Rejected, Usage

Json = dict[str, Any]

#: Reasons that header and pixels can give. The parent judges size and format itself.
_REASONS = frozenset(
    {
        *(Reason.UNSUPPORTED_FORMAT, Reason.TOO_MANY_PIXELS, Reason.TOO_MANY_FRAMES, Reason.METADATA_TOO_LARGE),
        *(Reason.BOMB, Reason.TOO_MUCH_MEMORY, Reason.TRUNCATED, Reason.UNDECODABLE, Reason.OUT_OF_MEMORY),
    }
)
#: Formats that the engine falls back to where a picture fits into none of the recipe's.
_FALLBACKS = {"jpeg", "png"}
#: Texts of EXIF by their longest length, and its numbers; `metadata.read` makes them.
_TEXTS = {"make": TEXT, "model": TEXT, "lens": TEXT, "taken_at": 25}
_RIGHTS = {"copyright": RIGHT, "creator": RIGHT, "credit": RIGHT}
_NUMBERS = {"exposure_seconds", "aperture", "iso", "focal_length_mm", "duration_ms", "loop"}
_PLACE = {"latitude", "longitude", "altitude_m"}
_LARGEST = 2**53
_MOST_NOTES, _LONGEST_NOTE = 10, 200


@dataclass(frozen=True)
class Question:
    """The image's format by its first bytes, and everything else that decides which answers are possible."""

    format: str
    recipe: Recipe
    limits: Limits


def understand(answer: Json, blobs: list[bytes], question: Question) -> tuple[Header, Rendition, Usage]:
    """Return the header of the image, what was made of it, and the peak memory.

    Raises:
        Rejected: the process refuses the image.
        Faulty: the process reports a fault of its own, or the answer cannot be true.
    """
    try:
        usage = Usage(peak_bytes=_whole(answer["peak_bytes"], 0, 2**50))
        header = _header(answer["header"], question.format) if answer["header"] else None
        if answer["status"] == "rejected":
            reason = Reason(answer["reason"])
            _require(reason in _REASONS, f"{reason} is no reason of a decoder's")
            raise Rejected(reason, _line(answer["message"], 300), header, usage)
        if answer["status"] == "ready" and header:
            return header, _rendition(answer["rendition"], blobs, header, question), usage
        message = _line(answer["message"], 1000)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Faulty(f"the decoding process sent a malformed answer: {error!r}"[:300]) from None
    raise Faulty(message, header, usage)


def _header(given: Json, name: str) -> Header:
    header = Header(**given)
    _require(header.format == name, f"the format is {name}")
    for number in (header.width, header.height, header.frames):
        _whole(number, 1, 2**31)
    _whole(header.orientation, 0, 2**16)
    _match(r"[a-z0-9-]{1,20}", header.colour_space)
    _require(type(header.progressive) is bool, "progressive is true or false")
    return header


def _rendition(given: Json, blobs: list[bytes], header: Header, question: Question) -> Rendition:
    recipe, limits = question.recipe, question.limits
    _require(given.keys() == {field.name for field in fields(Rendition)}, "fields of a rendition")
    _require((given["width"], given["height"]) == header.upright, "width and height are the header's")
    _require(max(header.upright) <= limits.max_side, "a side is longer than the limit")
    variants = [Variant(**variant, data=blob) for variant, blob in zip(given["variants"], blobs, strict=True)]
    _check_variants(variants, header, recipe)
    rendition = Rendition(**{**given, "variants": variants, "notes": tuple(given["notes"])})
    _check_facts(rendition, recipe)
    _check_exif(rendition.exif, recipe)
    return rendition


def _check_variants(variants: list[Variant], header: Header, recipe: Recipe) -> None:
    """Compare the variants with those that the recipe makes of an image of these sides."""
    still: dict[str, tuple[tuple[int, int], set[str]]] = {}
    moving: dict[str, tuple[int, int]] = {}
    for size in sizes(*header.upright, recipe):
        own = {encoding.format for encoding in (*size.spec.formats, *recipe.graphic, *recipe.alpha)}
        still[size.spec.name] = size.box, own | _FALLBACKS
        if size.spec.height is None and header.frames > 1:
            moving[f"{size.spec.name}-animated"] = (size.width, size.height)
    names = [variant.name for variant in variants]
    _require(len(set(names)) == len(names), "a variant is there twice")
    for variant in variants:
        shape = (variant.width, variant.height)
        if variant.name in moving:
            expected: tuple[object, ...] = (moving[variant.name], recipe.animation.format, header.frames)
        else:
            spec, _, name = variant.name.partition("-")
            box, allowed = still.get(spec, ((0, 0), set()))
            _require(name in allowed, f"{variant.name[:50]!r} is no variant of the recipe")
            expected = (box, name, 1)
        _require((shape, variant.format, variant.frames) == expected, f"{variant.name} is not {expected}")
        _require(_format(variant.data) == variant.format, f"{variant.name} does not begin as {variant.format}")
    made = {name.partition("-")[0] for name in names if not name.endswith("-animated")}
    _require(made == still.keys(), "a size is missing")


def _format(data: bytes) -> str:
    try:
        return sniff(data)
    except Rejected as rejected:
        raise ValueError(rejected.message) from None


def _check_facts(rendition: Rendition, recipe: Recipe) -> None:
    _match(r"[A-Za-z0-9+/=]{1,64}", rendition.placeholder)
    _match(r"[0-9a-f]{16}", rendition.phash)
    for colour in rendition.palette:
        _match(r"#[0-9a-f]{6}", colour)
    _require(1 <= len(rendition.palette) <= 5 and rendition.palette[0] == rendition.colour, "colours of a palette")
    _number(rendition.blurriness, 0, 1)
    _number(rendition.decoded, 0, 1)
    _require(recipe.partial or rendition.decoded == 1, "half a picture")
    _require(type(rendition.near_black) is type(rendition.near_white) is bool, "near_black is true or false")
    _require(len(rendition.notes) <= _MOST_NOTES, "too many notes")
    for note in rendition.notes:
        _text(note, _LONGEST_NOTE)


def _check_exif(exif: Json, recipe: Recipe) -> None:
    for name, value in exif.items():
        if name in _TEXTS | _RIGHTS:
            _text(value, (_TEXTS | _RIGHTS)[name])
        elif name in _NUMBERS:
            _number(value, -_LARGEST, _LARGEST)
        elif name == "gps" and recipe.gps:
            _require(set(value) <= _PLACE, "fields of a place")
            for part in value.values():
                _number(part, -_LARGEST, _LARGEST)
        else:
            _require(name == "gain_map" and value is True, f"{name[:50]!r} is no field of EXIF")


def _require(holds: bool, words: str) -> None:
    if not holds:
        raise ValueError(words)


def _whole(value: Any, low: int, high: int) -> int:
    _require(type(value) is int and low <= value <= high, f"a whole number from {low} to {high}")
    return int(value)


def _number(value: Any, low: float, high: float) -> None:
    _require(type(value) in {int, float} and low <= value <= high, "a number in its range")


def _text(value: Any, longest: int) -> None:
    _require(isinstance(value, str) and len(value) <= longest, f"a text of at most {longest} characters")
    value.encode()  # half a surrogate pair is no text


def _match(pattern: str, value: Any) -> None:
    _require(isinstance(value, str) and bool(re.fullmatch(pattern, value)), f"a text like {pattern}")


def _line(value: Any, longest: int) -> str:
    """Return a message on one line, without control characters."""
    _require(isinstance(value, str), "a message")
    value.encode()
    return "".join(sign if sign.isprintable() else " " for sign in value)[:longest]
