"""What is made of an image and what is refused, as data: RECIPE and LIMITS in the environment, defaults here.

The recipe's form is published as `lambda-image/recipe.schema.json`.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass, replace
from typing import Any, Self, get_args, get_origin, get_type_hints

#: What is taken in.
SOURCE_FORMATS = ("jpeg", "png", "gif", "webp", "tiff", "avif", "heic")
#: Best effort each encoder offers, in libvips' scale. JPEG: 1 fits its code tables to the picture, for 1 % fewer bytes
#: from 640 pixels up, at twice the CPU.
EFFORTS = {"avif": 9, "webp": 6, "png": 9, "jpeg": 1, "gif": 10}
FORMATS = ("avif", "jpeg", "png", "webp")
ANIMATED_FORMATS = ("gif", "webp")
FITS = ("contain", "cover", "inside")
CROPS = ("attention", "centre", "focal")


class SettingError(ValueError):
    """A setting that cannot be meant; the message names the field and what it must be."""


def _check_whole(name: str, value: Any, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise SettingError(f"{name} must be a whole number from {low} to {high}, not {value!r}")


def _check_formats(name: str, formats: Any) -> None:
    if not isinstance(formats, tuple) or not formats:
        raise SettingError(f"{name} must be a list of at least one format")
    kinds = [each.format for each in formats]
    if len(set(kinds)) < len(kinds):
        raise SettingError(f"{name} must hold each format once")


@dataclass(frozen=True)
class _Settings:
    @classmethod
    def parse(cls, text: str | None) -> Self:
        """Reads a JSON object whose fields replace the defaults; nothing or an empty text is all defaults.

        Raises:
            SettingError: no JSON object, an unknown field, or a value out of range.
        """
        if not text:
            return cls()
        try:
            given = json.loads(text)
        except ValueError as error:
            raise SettingError(f"{cls.__name__} is not JSON: {error}") from None
        return cls._from(cls.__name__, given)

    @classmethod
    def _from(cls, place: str, given: Any) -> Self:
        """Builds the object from JSON values. A null is a field that is not given, as Terraform writes it."""
        if not isinstance(given, dict):
            raise SettingError(f"{place} must be a JSON object")
        known = {field.name: field for field in fields(cls)}
        if unknown := sorted(set(given) - set(known)):
            raise SettingError(f"{place} has no {', '.join(unknown)}; it has {', '.join(sorted(known))}")
        given = {name: value for name, value in given.items() if value is not None}
        if missing := [n for n, f in known.items() if f.default is MISSING and n not in given]:
            raise SettingError(f"{place} needs {', '.join(missing)}")
        types = get_type_hints(cls)
        return cls(**{name: _read(f"{place}.{name}", types[name], value) for name, value in given.items()})

    def _whole(self, name: str, low: int, high: int) -> None:
        _check_whole(f"{type(self).__name__}.{name}", getattr(self, name), low, high)

    def _flag(self, name: str) -> None:
        if not isinstance(getattr(self, name), bool):
            raise SettingError(f"{type(self).__name__}.{name} must be true or false, not {getattr(self, name)!r}")

    def _choice(self, name: str, choices: tuple[str, ...]) -> None:
        if getattr(self, name) not in choices:
            raise SettingError(
                f"{type(self).__name__}.{name} must be one of {', '.join(choices)}, not {getattr(self, name)!r}"
            )


@dataclass(frozen=True)
class Encoding(_Settings):
    """One way to write a picture. Quality is libvips' Q; effort buys bytes with CPU, as far as the format knows it.

    `quant_table` is JPEG's, by libvips' number: 0 is that of the standard's annex K, 3 Robidoux's, 4 for PSNR-HVS-M.
    At 1920 and equal SSIMULACRA2 3 is smaller than 0 by 7 %, 4 by 13 %, for nothing.
    """

    format: str
    quality: int = 80
    effort: int = 0
    lossless: bool = False
    quant_table: int = 0

    def __post_init__(self) -> None:
        self._choice("format", FORMATS)
        self._whole("quality", 1, 100)
        self._whole("effort", 0, EFFORTS[self.format])
        self._flag("lossless")
        self._whole("quant_table", 0, 8 if self.format == "jpeg" else 0)
        if self.lossless and self.format not in ("avif", "webp", "png"):
            raise SettingError(f"Encoding.lossless: {self.format} cannot be")


@dataclass(frozen=True)
class Animation(_Settings):
    """How moving pictures are written. A variant of more frames or pixels than this is its poster only; 0 frames: all.

    `max_pixels` counts width × height × frames of one variant.
    """

    format: str = "webp"
    quality: int = 70
    effort: int = 0
    max_frames: int = 300
    max_pixels: int = 60_000_000

    def __post_init__(self) -> None:
        self._choice("format", ANIMATED_FORMATS)
        self._whole("quality", 1, 100)
        self._whole("effort", 0, EFFORTS[self.format])
        self._whole("max_frames", 0, 10_000)
        self._whole("max_pixels", 1, 2**31)


@dataclass(frozen=True)
class VariantSpec(_Settings):
    """One size: a width, or a box of width and height.

    In a box, `inside` keeps the whole picture and fits it in, `contain` also fills the rest with the background, and
    `cover` fills the box and crops what sticks out: about the centre, about what draws attention, or about the focal
    point that the uploader named. Formats go from best to fallback: one is kept only where it is smaller than the last.
    """

    width: int
    formats: tuple[Encoding, ...]
    height: int | None = None
    fit: str = "inside"
    crop: str = "centre"
    name: str = ""

    def __post_init__(self) -> None:
        self._whole("width", 16, 8192)
        if self.height is not None:
            self._whole("height", 16, 8192)
        self._choice("fit", FITS)
        self._choice("crop", CROPS)
        if self.height is None and self.fit != "inside":
            raise SettingError(f"VariantSpec.fit: {self.fit} needs a height")
        if not isinstance(self.name, str) or not re.fullmatch(r"|[a-z][a-z0-9]{0,31}", self.name):
            raise SettingError(f"VariantSpec.name must be up to 32 letters a-z and digits, not {self.name!r}")
        if not self.name:
            object.__setattr__(self, "name", f"w{self.width}" + (f"h{self.height}" if self.height else ""))
        _check_formats("VariantSpec.formats", self.formats)


#: Chosen on the frontier that `make bench-frontier` draws. From 1280 up AVIF and WebP cost six to ten times JPEG's CPU
#: for a fifth fewer bytes at best; below, AVIF's quarter is nearly free.
_LARGE = (Encoding("jpeg", 76, quant_table=4),)
_MIDDLE = (Encoding("jpeg", 72, quant_table=4),)
_SMALL = (Encoding("avif", 60), Encoding("jpeg", 70, quant_table=4))


def ladder(*widths: int, thumbnail: int, formats: tuple[Encoding, ...] = _SMALL) -> tuple[VariantSpec, ...]:
    """Plain widths and a square thumbnail cut out by attention, all in the same formats; sizes in pixels."""
    square = VariantSpec(thumbnail, formats, thumbnail, "cover", "attention", "thumbnail")
    return (*(VariantSpec(width, formats) for width in widths), square)


@dataclass(frozen=True)
class Recipe(_Settings):
    """The ladder of variants, and how each class of content is written.

    A variant's own formats are those of photographs. `graphic` replaces them for few colours (screenshots, logos) and
    `alpha` for photographs with transparency; an empty list does not.
    """

    variants: tuple[VariantSpec, ...] = (
        *ladder(256, 640, thumbnail=320),
        VariantSpec(1280, _MIDDLE),
        VariantSpec(1920, _LARGE),
    )
    graphic: tuple[Encoding, ...] = (Encoding("webp", lossless=True), Encoding("png", effort=3))
    alpha: tuple[Encoding, ...] = (Encoding("avif", 62), Encoding("png", effort=3))
    animation: Animation = Animation()
    background: str = "#ffffff"
    #: Keep Display P3 where the source is wider than sRGB.
    wide_gamut: bool = False
    #: Record where a picture was taken.
    gps: bool = False
    #: Accept what is there of a truncated image.
    partial: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.variants, tuple) or not 1 <= len(self.variants) <= 32:
            raise SettingError("Recipe.variants must be a list of 1 to 32 variants")
        names = [variant.name for variant in self.variants]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise SettingError(f"Recipe.variants: {', '.join(twice)} is there twice")
        for name in ("graphic", "alpha"):
            if getattr(self, name):
                _check_formats(f"Recipe.{name}", getattr(self, name))
        self._flag("gps")
        self._flag("wide_gamut")
        self._flag("partial")
        if not re.fullmatch(r"#[0-9a-f]{6}", str(self.background)):
            raise SettingError("Recipe.background must be a colour like #ffffff")

    @property
    def version(self) -> str:
        """Changes with everything that changes what is made: 12 hex digits of the sha256 of the recipe's JSON."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:12]

    @property
    def background_rgb(self) -> list[int]:
        return list(bytes.fromhex(self.background[1:]))


@dataclass(frozen=True)
class Limits(_Settings):
    """What is refused before its pixels are decoded, and where decoding is stopped."""

    #: The allow list. HEIC needs a decoder of HEVC, which patents may cover where you are: leave it out if so.
    formats: tuple[str, ...] = SOURCE_FORMATS
    max_bytes: int = 64 * 1024 * 1024
    max_frames: int = 1000
    #: Address space of the process that decodes, beyond what it starts with.
    max_memory_mb: int = 1400
    #: EXIF, XMP, IPTC and colour profile together.
    max_metadata_bytes: int = 16 * 1024 * 1024
    #: width × height × frames
    max_pixels: int = 100_000_000
    #: A progressive JPEG is held in memory whole, as coefficients: 100 MP at 4:4:4 take 700 MB, baseline takes 150 MB.
    max_progressive_pixels: int = 100_000_000
    #: Above 25 million pixels, which may be empty. Deflate's best is 1032 bytes from one: 344 pixels of RGB.
    max_pixels_per_byte: int = 2000
    #: Seconds by the clock for one image, start to end.
    max_seconds: int = 10
    #: Longest side in pixels.
    max_side: int = 30_000

    def within(self, memory_mb: int) -> Self:
        """The same for a function of that size: what the handler and the decoder's own code take is not to be had."""
        return replace(self, max_memory_mb=max(64, min(self.max_memory_mb, memory_mb - 300)))

    def __post_init__(self) -> None:
        if not isinstance(self.formats, tuple) or not self.formats or set(self.formats) - set(SOURCE_FORMATS):
            raise SettingError(f"Limits.formats must be a list of some of {', '.join(SOURCE_FORMATS)}")
        self._whole("max_bytes", 1, 5 * 1024**3)
        self._whole("max_frames", 1, 100_000)
        self._whole("max_memory_mb", 64, 10_240)
        self._whole("max_metadata_bytes", 1, 2**31)
        self._whole("max_pixels_per_byte", 1, 2**31)
        self._whole("max_seconds", 1, 900)
        self._whole("max_pixels", 1, 2**31)
        self._whole("max_progressive_pixels", 1, 2**31)
        self._whole("max_side", 1, 65_535)


def verdict_version(recipe: Recipe, limits: Limits, image_digest: str) -> str:
    """Changes with everything that decides what becomes of an image: 12 hex digits of a sha256.

    Limits are those of `Limits.within`, as the function has them; the digest stands for decoders and encoders.
    """
    decisive = {"recipe": recipe.version, "limits": asdict(limits), "image": image_digest}
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:12]


def _read(place: str, kind: Any, value: Any) -> Any:
    """JSON's value as the type that a field is declared with; plain values are judged by their own class."""
    if get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise SettingError(f"{place} must be a list")
        return tuple(_read(f"{place}[{index}]", get_args(kind)[0], each) for index, each in enumerate(value))
    for each in _alternatives(kind):
        if isinstance(each, type) and is_dataclass(each) and value is not None:
            assert issubclass(each, _Settings)
            return each._from(place, value)
    return value


def _alternatives(kind: Any) -> Iterator[Any]:
    yield from get_args(kind) or (kind,)
