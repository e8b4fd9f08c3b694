"""The engine's results as plain data, which cross from the decoding process to the one that stores them."""

from dataclasses import dataclass
from typing import Any

#: Longest text of EXIF's other fields and of a right (copyright, creator, credit), in characters.
TEXT, RIGHT = 100, 500

_SUFFIXES = {"jpeg": "jpg"}


@dataclass(frozen=True)
class Variant:
    """One encoded picture. Its name is stable and safe in a URL: `w640-avif`, `thumbnail-jpeg`, `w640-animated`.

    Width and height are those of one frame.
    """

    name: str
    format: str
    width: int
    height: int
    data: bytes
    frames: int = 1

    @property
    def content_type(self) -> str:
        """Media type of the file."""
        return f"image/{self.format}"

    @property
    def file_name(self) -> str:
        """Name with the format's extension."""
        return f"{self.name}.{_SUFFIXES.get(self.format, self.format)}"


@dataclass(frozen=True)
class Rendition:
    """Everything made of one image. Width and height are the source's, upright.

    `notes` names ignored faults (a broken profile). `decoded` is the share of the rows that the file has: 1.0 unless
    the recipe accepts truncated images.
    """

    width: int
    height: int
    variants: list[Variant]
    placeholder: str  # ThumbHash, base64
    colour: str  # dominant, #rrggbb
    palette: list[str]  # up to five, the dominant one first
    phash: str  # perceptual hash, 16 hex digits
    blurriness: float  # 0 to 1
    near_black: bool
    near_white: bool
    exif: dict[str, Any]  # as `metadata.read` returns it
    notes: tuple[str, ...] = ()
    decoded: float = 1.0
