"""May it be decoded? The bytes decide what a file is, and its header is judged before its pixels."""

import re
from dataclasses import dataclass
from enum import StrEnum

import pyvips

from image_processor.recipe import Limits

# Loaders that are not fuzz-tested stay shut, whatever the bytes claim to be. The image sets the variable as well.
pyvips.block_untrusted_set(True)


class Reason(StrEnum):
    """Why an image will never be processed, or was given up."""

    EMPTY = "EMPTY"
    NOT_AN_IMAGE = "NOT_AN_IMAGE"
    UNSUPPORTED_FORMAT = "UNSUPPORTED_FORMAT"
    TOO_LARGE_BYTES = "TOO_LARGE_BYTES"
    TOO_MANY_PIXELS = "TOO_MANY_PIXELS"
    TRUNCATED = "TRUNCATED"
    UNDECODABLE = "UNDECODABLE"
    OBJECT_GONE = "OBJECT_GONE"
    PROCESSING_FAILED = "PROCESSING_FAILED"


class Rejected(Exception):
    """Permanent: another try would end the same way."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason, self.message = reason, message


@dataclass(frozen=True)
class Header:
    """What the first bytes say. Width and height are in pixels, of one frame, before any rotation."""

    format: str
    width: int
    height: int
    frames: int
    orientation: int  # EXIF, 1 to 8
    colour_space: str  # libvips' name: srgb, cmyk, b-w, rgb16 …
    progressive: bool


_SIGNATURES: tuple[tuple[str, re.Pattern[bytes]], ...] = (
    ("jpeg", re.compile(rb"\xff\xd8\xff")),
    ("png", re.compile(rb"\x89PNG\r\n\x1a\n")),
    ("gif", re.compile(rb"GIF8[79]a")),
    ("webp", re.compile(rb"RIFF....WEBP", re.DOTALL)),
    ("tiff", re.compile(rb"II\*\x00|MM\x00\*|II\+\x00|MM\x00\+")),
    ("avif", re.compile(rb"....ftyp(?:avif|avis)|....ftypmif1.{0,32}avif", re.DOTALL)),
)
SUPPORTED = tuple(name for name, _ in _SIGNATURES)

#: Images all the same, and named when they are refused.
_UNSUPPORTED: tuple[tuple[str, re.Pattern[bytes]], ...] = (
    ("HEIC", re.compile(rb"....ftyp(?:hei[cfmsx]|hev[cmx]|mif1|msf1)", re.DOTALL)),
    ("JPEG XL", re.compile(rb"\xff\x0a|\x00\x00\x00\x0cJXL ")),
    ("JPEG 2000", re.compile(rb"\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51")),
    ("BMP", re.compile(rb"BM.{4}\x00\x00\x00\x00", re.DOTALL)),
    ("Photoshop", re.compile(rb"8BPS")),
    ("ICO", re.compile(rb"\x00\x00\x01\x00[^\x00]\x00?")),
    ("PDF", re.compile(rb"%PDF-")),
    (
        "SVG",
        re.compile(
            rb"\s*(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>)?\s*(?:<!--.*?-->\s*|<!DOCTYPE[^>]*>\s*)*<svg[\s>]", re.DOTALL
        ),
    ),
)


def sniff(data: bytes) -> str:
    """The format by the first bytes, whatever name or content type the object has.

    Raises:
        Rejected: EMPTY, UNSUPPORTED_FORMAT (with the format's name) or NOT_AN_IMAGE.
    """
    if not data:
        raise Rejected(Reason.EMPTY, "the object has no bytes")
    start = data[:1024]
    for name, signature in _SIGNATURES:
        if signature.match(start):
            return name
    for name, signature in _UNSUPPORTED:
        if signature.match(start):
            raise Rejected(Reason.UNSUPPORTED_FORMAT, f"{name} is not supported; {', '.join(SUPPORTED)} are")
    raise Rejected(Reason.NOT_AN_IMAGE, "the bytes are of no known image format")


def judge_size(size: int, limits: Limits) -> None:
    """Judges the number of bytes, which S3 tells before anything is read.

    Raises:
        Rejected: EMPTY or TOO_LARGE_BYTES.
    """
    if size == 0:
        raise Rejected(Reason.EMPTY, "the object has no bytes")
    if size > limits.max_bytes:
        raise Rejected(Reason.TOO_LARGE_BYTES, f"{size:,} bytes are more than the limit of {limits.max_bytes:,}")


def inspect(data: bytes, limits: Limits) -> Header:
    """Reads the header and judges it; no pixel is decoded.

    Raises:
        Rejected: not a supported image, more pixels than the limits allow, or a header that makes no sense.
    """
    judge_size(len(data), limits)
    name = sniff(data)
    try:
        image = pyvips.Image.new_from_buffer(data, "", access="sequential")
    except pyvips.Error as error:
        raise undecodable(error) from None
    fields = set(image.get_fields())

    def number(field: str, default: int) -> int:
        return int(image.get(field)) if field in fields else default

    header = Header(
        format=name,
        width=image.width,
        height=image.height,
        frames=max(number("n-pages", 1), 1),
        orientation=number("orientation", 1),
        colour_space=image.interpretation,
        progressive=number("interlaced", 0) != 0,
    )
    _judge_pixels(header, limits)
    return header


def _judge_pixels(header: Header, limits: Limits) -> None:
    if max(header.width, header.height) > limits.max_side:
        size = f"{header.width} × {header.height}"
        raise Rejected(Reason.TOO_MANY_PIXELS, f"{size} pixels: a side is longer than the limit of {limits.max_side:,}")
    pixels = header.width * header.height * header.frames
    limit = limits.max_pixels
    if header.format == "jpeg" and header.progressive:
        limit = min(limit, limits.max_progressive_pixels)
    if pixels > limit:
        kind = "progressive " if limit < limits.max_pixels else ""
        raise Rejected(Reason.TOO_MANY_PIXELS, f"{pixels:,} {kind}pixels are more than the limit of {limit:,}")


#: How libvips and the libraries below it say that bytes are missing at the end.
_TRUNCATED = re.compile(
    r"premature end|truncat|end of (?:file|stream|image)|unexpected eof|not enough|out of bounds"
    r"|outside of file bounds|unable to parse image|read error",
    re.IGNORECASE,
)


def undecodable(error: pyvips.Error) -> Rejected:
    """What libvips says of broken data, as a reason."""
    words = " ".join(str(error).split())
    truncated = _TRUNCATED.search(words)
    reason = Reason.TRUNCATED if truncated else Reason.UNDECODABLE
    return Rejected(reason, words.removeprefix("unable to call ")[:300])
