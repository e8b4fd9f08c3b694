"""The recipe of variants and the limits of input, as data: RECIPE and LIMITS in the environment, defaults here.

This is the one law of both. `make generate` writes from it `lambda-image/recipe.schema.json`,
`lambda-image/limits.schema.json`, and types and validations in `modules/compute/variables-processor.tf`.
A new setting is a new field here, with its `Rule`.
"""

import hashlib
import json
import math
import re
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass, replace
from functools import cache
from typing import Annotated, Any, Self, get_args, get_origin, get_type_hints

#: What is taken in.
SOURCE_FORMATS = ("jpeg", "png", "gif", "webp", "tiff", "avif", "heic")
#: Best effort each encoder offers, in libvips' scale. JPEG: 1 fits its code tables to the picture, for 1 % fewer bytes
#: from 640 pixels up, at twice the CPU.
EFFORTS = {"avif": 9, "webp": 6, "png": 9, "jpeg": 1, "gif": 10}
#: Highest number of a quantisation table; formats that are not here have no choice of tables.
QUANT_TABLES = {"jpeg": 8}
LOSSLESS_FORMATS = ("avif", "png", "webp")
FORMATS = ("avif", "jpeg", "png", "webp")
ANIMATED_FORMATS = ("gif", "webp")
FITS = ("contain", "cover", "inside")
CROPS = ("attention", "centre", "focal")

#: Memory in MB that the handler and the code of the decoding process take.
HANDLER_MB = 300
#: Memory in MB that decoder, ladder and encoders take for any image, however small. Measured: 110 to 190.
DECODER_MB = 200
#: Copies of the file in a function's memory: the handler's own, and the one that the decoding process reads.
COPIES = 2
#: Most time for one image, as a multiple of `max_seconds`: a process that gets hardly any CPU is waited for so long.
PATIENCE = 3
#: Most memory in MB and longest timeout in seconds of a function, and bytes of its environment.
#: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
MOST_MB, MOST_SECONDS, ENVIRONMENT_BYTES = 10_240, 900, 4096
#: Visibility timeout of a queue, as a multiple of the function's timeout. Six times is AWS's advice. Retries wait for
#: shares of the visibility timeout, the first one for a 36th: above 36 it would wait longer than the function may run.
SHORTEST_HIDING, LONGEST_HIDING = 6, 36


class SettingError(ValueError):
    """A setting that cannot be meant; the message names the field and what it must be."""


@dataclass(frozen=True)
class Rule:
    """The rule for a field's values. It stands in the field's annotation, for the processor and for the generator.

    `low` and `high` bound a whole number, or the length of a list; `form` is the pattern in words.
    """

    description: str = ""
    low: int = 0
    high: int | None = None
    choices: tuple[str, ...] = ()
    pattern: str = ""
    form: str = ""

    def check(self, name: str, value: Any) -> None:
        """Raise SettingError unless the value of the field called `name` keeps to the rule."""
        if self.choices and value not in self.choices:
            raise SettingError(f"{name} must be one of {', '.join(self.choices)}, not {value!r}")
        if self.pattern and not (isinstance(value, str) and re.fullmatch(self.pattern, value)):
            raise SettingError(f"{name} must be {self.form}, not {value!r}")
        if self.high is not None:
            _check_whole(name, value, self.low, self.high)

    def check_list(self, name: str, values: Any) -> None:
        """Raise SettingError unless the list of the field called `name` keeps to the rule."""
        most = self.high or 2**31
        if not isinstance(values, tuple) or not self.low <= len(values) <= most:
            size = f"of {self.low} to {most}" if self.high else f"of at least {self.low}"
            raise SettingError(f"{name} must be a list {size}")
        if self.choices and set(values) - set(self.choices):
            raise SettingError(f"{name} must be a list of some of {', '.join(self.choices)}")


def _check_whole(name: str, value: Any, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise SettingError(f"{name} must be a whole number from {low} to {high}, not {value!r}")


@cache
def rules(settings: Any) -> dict[str, tuple[Any, Rule]]:
    """Return the type and the rule of every field of a class of settings, in the order of declaration."""
    return {name: _unwrapped(hint) for name, hint in get_type_hints(settings, include_extras=True).items()}


def _unwrapped(hint: Any) -> tuple[Any, Rule]:
    if get_origin(hint) is Annotated:
        kind, rule = get_args(hint)
        return kind, rule
    return hint, Rule()


@dataclass(frozen=True)
class _Settings:
    @classmethod
    def parse(cls, text: str | None) -> Self:
        """Read a JSON object whose fields replace the defaults; None or an empty text is all defaults.

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
        """Build the object from JSON values. A null is a field that is not given, as Terraform writes it."""
        if not isinstance(given, dict):
            raise SettingError(f"{place} must be a JSON object")
        known = {field.name: field for field in fields(cls)}
        if unknown := sorted(set(given) - set(known)):
            raise SettingError(f"{place} has no {', '.join(unknown)}; it has {', '.join(sorted(known))}")
        given = {name: value for name, value in given.items() if value is not None}
        if missing := [n for n, f in known.items() if f.default is MISSING and n not in given]:
            raise SettingError(f"{place} needs {', '.join(missing)}")
        settings: Any = cls
        kinds = rules(settings)
        return cls(**{name: _read(f"{place}.{name}", kinds[name][0], value) for name, value in given.items()})

    def __post_init__(self) -> None:
        settings: Any = type(self)
        for name, (kind, rule) in rules(settings).items():
            place, value = f"{type(self).__name__}.{name}", getattr(self, name)
            if get_origin(kind) is tuple:
                rule.check_list(place, value)
                _check_formats(place, value)
            elif kind is bool:
                if not isinstance(value, bool):
                    raise SettingError(f"{place} must be true or false, not {value!r}")
            elif value is not None:
                rule.check(place, value)


def _check_formats(place: str, values: tuple[Any, ...]) -> None:
    formats = [value.format for value in values if isinstance(value, Encoding)]
    if len(set(formats)) < len(formats):
        raise SettingError(f"{place} must hold each format once")


@dataclass(frozen=True)
class Encoding(_Settings):
    """One way to write a picture. Quality is libvips' Q; effort buys bytes with CPU, as far as the format knows it.

    `quant_table` is JPEG's, by libvips' number: 0 is that of the standard's annex K, 3 Robidoux's, 4 for PSNR-HVS-M.
    At 1920 and equal SSIMULACRA2 3 is smaller than 0 by 7 %, 4 by 13 %, for nothing.
    """

    format: Annotated[str, Rule(choices=FORMATS)]
    quality: Annotated[int, Rule("Quality on libvips' scale Q.", 1, 100)] = 80
    effort: Annotated[int, Rule("CPU spent to save bytes.", 0, max(map(EFFORTS.__getitem__, FORMATS)))] = 0
    lossless: Annotated[bool, Rule("Not for JPEG.")] = False
    quant_table: Annotated[int, Rule("JPEG's quantisation table, by libvips' number.", 0, 8)] = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_whole("Encoding.effort", self.effort, 0, EFFORTS[self.format])
        _check_whole("Encoding.quant_table", self.quant_table, 0, QUANT_TABLES.get(self.format, 0))
        if self.lossless and self.format not in LOSSLESS_FORMATS:
            raise SettingError(f"Encoding.lossless must be false: {self.format} cannot be lossless")


@dataclass(frozen=True)
class Animation(_Settings):
    """How moving pictures are written. A variant of more frames or pixels than this is its poster only; 0 frames: all.

    `max_pixels` counts width × height × frames of one variant.
    """

    format: Annotated[str, Rule(choices=ANIMATED_FORMATS)] = "webp"
    quality: Annotated[int, Rule("Quality on libvips' scale Q.", 1, 100)] = 70
    effort: Annotated[int, Rule("CPU spent to save bytes.", 0, max(map(EFFORTS.__getitem__, ANIMATED_FORMATS)))] = 0
    max_frames: Annotated[int, Rule("Most frames of one variant; 0: any number.", 0, 10_000)] = 300
    max_pixels: Annotated[int, Rule("Most pixels of one variant, width x height x frames.", 1, 2**31)] = 60_000_000

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_whole("Animation.effort", self.effort, 0, EFFORTS[self.format])


@dataclass(frozen=True)
class VariantSpec(_Settings):
    """One size: a width, or a box of width and height.

    In a box, `inside` keeps the whole picture and fits it in, `contain` also fills the rest with the background, and
    `cover` fills the box and crops what sticks out: about the centre, about what draws attention, or about the focal
    point that the uploader named. Formats go from best to fallback: one is kept only where it is smaller than the last.
    """

    width: Annotated[int, Rule("Width in pixels.", 16, 8192)]
    formats: Annotated[tuple[Encoding, ...], Rule("Best to fallback. One is kept only if smaller than the next.", 1)]
    height: Annotated[int | None, Rule("Makes it a box. Without it only the width bounds the picture.", 16, 8192)] = (
        None
    )
    fit: Annotated[
        str, Rule("In a box: whole picture (inside), rest filled (contain), box filled (cover).", choices=FITS)
    ] = "inside"
    crop: Annotated[str, Rule("Centre of what `cover` keeps.", choices=CROPS)] = "centre"
    name: Annotated[
        str,
        Rule(
            "By default made of the size: w640, w400h300.",
            pattern=r"([a-z][a-z0-9]{0,31})?",
            form="up to 32 letters a-z and digits",
        ),
    ] = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.height is None and self.fit != "inside":
            raise SettingError(f"VariantSpec.fit: {self.fit} needs a height")
        if not self.name:
            object.__setattr__(self, "name", f"w{self.width}" + (f"h{self.height}" if self.height else ""))


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

    variants: Annotated[tuple[VariantSpec, ...], Rule("The sizes.", 1, 32)] = (
        *ladder(256, 640, thumbnail=320),
        VariantSpec(1280, _MIDDLE),
        VariantSpec(1920, _LARGE),
    )
    graphic: Annotated[
        tuple[Encoding, ...], Rule("Formats for pictures of few colours; an empty list leaves a variant's own.")
    ] = (Encoding("webp", lossless=True), Encoding("png", effort=3))
    alpha: Annotated[
        tuple[Encoding, ...], Rule("Formats for photographs with transparency; an empty list leaves a variant's own.")
    ] = (Encoding("avif", 62), Encoding("png", effort=3))
    animation: Annotated[
        Animation, Rule("How moving pictures are written. Beyond its budget there is a poster only.")
    ] = Animation()
    background: Annotated[
        str,
        Rule(
            "Colour where a format has no transparency, and around a contained picture.",
            pattern=r"#[0-9a-f]{6}",
            form="a colour like #ffffff",
        ),
    ] = "#ffffff"
    wide_gamut: Annotated[bool, Rule("Keep Display P3 where the source is wider than sRGB.")] = False
    gps: Annotated[bool, Rule("Record where a picture was taken.")] = False
    partial: Annotated[bool, Rule("Accept the part of a truncated image that is there.")] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        names = [variant.name for variant in self.variants]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise SettingError(f"Recipe.variants: {', '.join(twice)} is there twice")

    @property
    def version(self) -> str:
        """Changes with everything that changes what is made: 12 hex digits of the sha256 of the recipe's JSON."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:12]

    @property
    def background_rgb(self) -> list[int]:
        """Background as red, green and blue, 0 to 255."""
        return list(bytes.fromhex(self.background[1:]))


@dataclass(frozen=True)
class Limits(_Settings):
    """The limits above which a file is refused before its pixels are decoded, and those that stop decoding."""

    #: HEIC needs a decoder of HEVC, which patents may cover where you are: leave it out if so.
    formats: Annotated[tuple[str, ...], Rule("Formats that are accepted.", 1, choices=SOURCE_FORMATS)] = SOURCE_FORMATS
    #: 1 lets a decoder that a file took over see and forge no other picture; it costs a start of 0.15 s of CPU.
    images_per_worker: Annotated[
        int, Rule("Images that one decoding process takes before it is replaced.", 1, 10_000)
    ] = 1000
    max_bytes: Annotated[int, Rule("Size of the file in bytes.", 1, 5 * 1024**3)] = 64 * 1024 * 1024
    max_frames: Annotated[int, Rule("Frames or pages.", 1, 100_000)] = 1000
    max_memory_mb: Annotated[
        int, Rule("Address space of the process that decodes, beyond what it starts with, in MiB.", 64, 10_240)
    ] = 1400
    max_metadata_bytes: Annotated[int, Rule("EXIF, XMP, IPTC and colour profile together.", 1, 2**31)] = (
        16 * 1024 * 1024
    )
    max_pixels: Annotated[int, Rule("Width x height x frames.", 1, 2**31)] = 100_000_000
    #: A progressive JPEG is held in memory whole, as coefficients: 100 MP at 4:4:4 take 700 MB, baseline takes 150 MB.
    max_progressive_pixels: Annotated[int, Rule("Width x height of a progressive JPEG.", 1, 2**31)] = 100_000_000
    #: Deflate's best is 1032 bytes from one: 344 pixels of RGB.
    max_pixels_per_byte: Annotated[
        int, Rule("Pixels per byte of the file, above 25 million pixels, which may be empty.", 1, 2**31)
    ] = 2000
    max_seconds: Annotated[int, Rule("Seconds by the clock for one image, start to end.", 1, 900)] = 10
    max_side: Annotated[int, Rule("Longest side in pixels.", 1, 65_535)] = 30_000
    require_confinement: Annotated[bool, Rule("Decode nothing where the decoder cannot be confined.")] = False

    def within(self, memory_mb: int) -> Self:
        """Return the limits of a function of that many MB. The handler and its copy of the file take their part."""
        return replace(self, max_memory_mb=max(64, min(self.max_memory_mb, memory_mb - HANDLER_MB - self.file_mb)))

    @property
    def file_mb(self) -> int:
        """Size of the largest file, in MB rounded up."""
        return math.ceil(self.max_bytes / 1_000_000)


#: Limits that decide how an image is decoded, and nothing about the result.
_NO_VERDICT = ("images_per_worker", "require_confinement")


def verdict_version(recipe: Recipe, limits: Limits, image_digest: str) -> str:
    """Return a version of everything that decides the result for an image: 12 hex digits of a sha256.

    Limits are those of `Limits.within`, as the function has them; the digest stands for decoders and encoders.
    """
    judging = {name: value for name, value in asdict(limits).items() if name not in _NO_VERDICT}
    decisive = {"recipe": recipe.version, "limits": judging, "image": image_digest}
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:12]


def _read(place: str, kind: Any, value: Any) -> Any:
    """Return JSON's value as the type that a field is declared with; plain values are judged by their own class."""
    if get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise SettingError(f"{place} must be a list")
        item = get_args(kind)[0]
        return tuple(_read(f"{place}[{index}]", item, entry) for index, entry in enumerate(value))
    if is_dataclass(kind):
        settings: Any = kind
        return settings._from(place, value)
    return value
