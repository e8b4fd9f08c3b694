"""What is made of an image and what is refused, as data: RECIPE and LIMITS in the environment, defaults here."""

import hashlib
import json
import re
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

#: What browsers of the last years read, and what everything reads.
MODERN_FORMATS = ("avif", "webp")


class SettingError(ValueError):
    """A setting that cannot be meant; the message names the field and what it must be."""


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
        if not isinstance(given, dict):
            raise SettingError(f"{cls.__name__} must be a JSON object")
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(given) - known):
            raise SettingError(f"{cls.__name__} has no {', '.join(unknown)}; it has {', '.join(sorted(known))}")
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in given.items()})

    def _whole(self, name: str, low: int, high: int) -> None:
        _check_whole(f"{type(self).__name__}.{name}", getattr(self, name), low, high)


@dataclass(frozen=True)
class Recipe(_Settings):
    """The ladder of variants: every width in a modern format and in a fallback, and a square thumbnail.

    Qualities are libvips' Q. AVIF at effort 0 beats WebP at its usual effort 4 in CPU and in bytes at equal quality.
    """

    widths: tuple[int, ...] = (256, 640, 1280, 1920)
    thumbnail_size: int = 320
    modern_format: str = "avif"
    modern_quality: int = 62
    fallback_quality: int = 78
    background: str = "#ffffff"

    def __post_init__(self) -> None:
        if not isinstance(self.widths, tuple) or not self.widths:
            raise SettingError("Recipe.widths must be a list of at least one width")
        for width in self.widths:
            _check_whole("Recipe.widths", width, 16, 8192)
        if list(self.widths) != sorted(set(self.widths)):
            raise SettingError("Recipe.widths must ascend, each width once")
        self._whole("thumbnail_size", 16, 2048)
        self._whole("modern_quality", 1, 100)
        self._whole("fallback_quality", 1, 100)
        if self.modern_format not in MODERN_FORMATS:
            raise SettingError(f"Recipe.modern_format must be one of {', '.join(MODERN_FORMATS)}")
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
    """What is refused before its pixels are decoded."""

    max_bytes: int = 64 * 1024 * 1024
    #: width × height × frames
    max_pixels: int = 100_000_000
    #: A progressive JPEG is held in memory whole, as coefficients: 100 MP at 4:4:4 take 3.7 GB, baseline takes 72 MB.
    max_progressive_pixels: int = 24_000_000
    #: Longest side in pixels.
    max_side: int = 30_000

    def __post_init__(self) -> None:
        self._whole("max_bytes", 1, 5 * 1024**3)
        self._whole("max_pixels", 1, 2**31)
        self._whole("max_progressive_pixels", 1, 2**31)
        self._whole("max_side", 1, 65_535)


def _check_whole(name: str, value: Any, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise SettingError(f"{name} must be a whole number from {low} to {high}, not {value!r}")
