"""Words that every room may use: why an image is refused, what its header says, what processing it cost."""

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why an image is refused, or was given up."""

    # judged by the bytes
    EMPTY = "EMPTY"
    NOT_AN_IMAGE = "NOT_AN_IMAGE"
    UNSUPPORTED_FORMAT = "UNSUPPORTED_FORMAT"
    #: Supported, but not on the allow list Limits.formats.
    FORMAT_OFF = "FORMAT_OFF"
    TOO_LARGE_BYTES = "TOO_LARGE_BYTES"
    # judged by the header
    TOO_MANY_PIXELS = "TOO_MANY_PIXELS"
    TOO_MANY_FRAMES = "TOO_MANY_FRAMES"
    METADATA_TOO_LARGE = "METADATA_TOO_LARGE"
    #: Far more pixels per byte than a real picture has: a decompression bomb.
    BOMB = "BOMB"
    #: Decoding would take more memory than the function has, by an estimate from the header.
    TOO_MUCH_MEMORY = "TOO_MUCH_MEMORY"
    # judged by decoding
    TRUNCATED = "TRUNCATED"
    UNDECODABLE = "UNDECODABLE"
    #: Decoding took more memory than the function has.
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    TOO_SLOW = "TOO_SLOW"
    #: The file kills or hangs the process that decodes it, a fresh process too.
    DECODER_CRASHED = "DECODER_CRASHED"
    # no fault of the picture
    #: Only on the command line: no permission, or no regular file.
    UNREADABLE = "UNREADABLE"
    OBJECT_GONE = "OBJECT_GONE"
    #: S3 refuses to give out the object: archived, or encrypted under a key that the function does not have.
    UNREADABLE_OBJECT = "UNREADABLE_OBJECT"
    PROCESSING_FAILED = "PROCESSING_FAILED"
    PROCESS_KILLED = "PROCESS_KILLED"


@dataclass(frozen=True)
class Header:
    """Facts from the first bytes of a file. Width and height are those of one frame in pixels, before any rotation."""

    format: str
    width: int
    height: int
    frames: int
    orientation: int  # EXIF, 1 to 8
    colour_space: str  # libvips' name: srgb, cmyk, b-w, rgb16 …
    progressive: bool

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height after the rotation that the orientation asks for."""
        return (self.height, self.width) if self.orientation >= 5 else (self.width, self.height)


@dataclass(frozen=True)
class Usage:
    """Cost of processing one image: wall-clock seconds, and peak resident memory of the decoder in bytes."""

    seconds: float = 0.0
    peak_bytes: int = 0


class Rejected(Exception):
    """A permanent refusal: another try would end the same way.

    `header` is set once the header was read, `usage` once the decoder was involved.
    """

    def __init__(self, reason: Reason, message: str, header: Header | None = None, usage: Usage | None = None) -> None:
        super().__init__(message)
        self.reason, self.message, self.header, self.usage = reason, message, header, usage or Usage()
