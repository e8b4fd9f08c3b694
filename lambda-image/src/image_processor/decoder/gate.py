"""May it be decoded? The bytes decide what a file is, and its header is judged before its pixels."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from image_processor.recipe import Limits

if TYPE_CHECKING:
    import pyvips


class Reason(StrEnum):
    """Why an image will never be processed, or was given up."""

    # judged by the bytes
    EMPTY = "EMPTY"
    NOT_AN_IMAGE = "NOT_AN_IMAGE"
    UNSUPPORTED_FORMAT = "UNSUPPORTED_FORMAT"
    #: We could, but the allow list (Limits.formats) says no.
    FORMAT_OFF = "FORMAT_OFF"
    TOO_LARGE_BYTES = "TOO_LARGE_BYTES"
    # judged by the header
    TOO_MANY_PIXELS = "TOO_MANY_PIXELS"
    TOO_MANY_FRAMES = "TOO_MANY_FRAMES"
    METADATA_TOO_LARGE = "METADATA_TOO_LARGE"
    #: Far more pixels than so few bytes hold in earnest: a decompression bomb.
    BOMB = "BOMB"
    #: Would take more memory than the function has: estimated from the header …
    TOO_MUCH_MEMORY = "TOO_MUCH_MEMORY"
    # judged by decoding
    TRUNCATED = "TRUNCATED"
    UNDECODABLE = "UNDECODABLE"
    #: … or found out.
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    TOO_SLOW = "TOO_SLOW"
    #: The file kills the process that decodes it, a fresh one too.
    DECODER_CRASHED = "DECODER_CRASHED"
    # not of the image
    #: The command line's: no permission, no file.
    UNREADABLE = "UNREADABLE"
    OBJECT_GONE = "OBJECT_GONE"
    PROCESSING_FAILED = "PROCESSING_FAILED"
    PROCESS_KILLED = "PROCESS_KILLED"


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
    ("avif", re.compile(rb"....ftyp(?:avi[fs]|(?:mif1|msf1|miaf).{4}(?:.{4}){0,12}avi[fs])", re.DOTALL)),
    # The same box with HEVC inside: heic and heix of phones, mif1 of old ones; hevc and hevx are sequences.
    ("heic", re.compile(rb"....ftyp(?:hei[cxms]|hev[cxms]|mif1|msf1|miaf)", re.DOTALL)),
)
SUPPORTED = tuple(name for name, _ in _SIGNATURES)
_CHOICE = ", ".join(SUPPORTED)

#: Images all the same, and named when they are refused. Patterns that a hostile start cannot keep busy: no repetition
#: within a repetition.
_UNSUPPORTED: tuple[tuple[str, re.Pattern[bytes]], ...] = tuple(
    (name, re.compile(pattern, re.DOTALL | re.IGNORECASE if name == "SVG" else re.DOTALL))
    for name, pattern in (
        # Raw ones that lie in a TIFF are told by `_judge_page`.
        ("camera raw", rb"II\x1a\0{3}HEAPCCDR|FUJIFILMCCD-RAW|FOVb|IIU\0|IIR[OS]|MMOR|\0MRM|....ftypcrx |II\*\0....CR"),
        ("JPEG XL", rb"\xff\x0a|\0\0\0\x0cJXL "),
        ("JPEG 2000", rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51"),
        ("JPEG XR", rb"II\xbc"),
        ("BMP", rb"BM.{12}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\0\0\0"),
        ("Photoshop", rb"8BPS"),
        ("ICO", rb"\0\0[\x01\x02]\0[^\0]\0"),
        ("PDF", rb"%PDF-"),
        ("PostScript", rb"%!PS|\xc5\xd0\xd3\xc6"),
        ("PCX", rb"\x0a[\0-\x05]\x01[\x01\x02\x04\x08]"),
        ("PNM", rb"P[1-7]\s+[\d#]|P7\nWIDTH|P[Ff]\n"),
        ("OpenEXR", rb"\x76\x2f\x31\x01"),
        ("Radiance", rb"#\?RADIANCE|#\?RGBE"),
        ("FITS", rb"SIMPLE  ="),
        ("DICOM", rb".{128}DICM"),
        ("DDS", rb"DDS \x7c"),
        ("QOI", rb"qoif"),
        ("GIMP", rb"gimp xcf"),
        ("SGI", rb"\x01\xda[\0\x01][\x01\x02]"),
        ("DjVu", rb"AT&TFORM"),
        ("MNG", rb"[\x8a\x8b][MJ]NG\r\n"),
        ("SVG", rb"(?:\xef\xbb\xbf)?\s*(?!<(?:!doctype\s+)?html)(?=<).*?<(?:!doctype\s+)?(?:svg:)?svg[\s>]"),
    )
)


def sniff(data: bytes) -> str:
    """The format by the first bytes, whatever name or content type the object has.

    Raises:
        Rejected: EMPTY, UNSUPPORTED_FORMAT (with the format's name) or NOT_AN_IMAGE.
    """
    if not data:
        raise Rejected(Reason.EMPTY, "the object has no bytes")
    start = data[:1024]
    for name, signature in _UNSUPPORTED:
        if signature.match(start):
            raise Rejected(Reason.UNSUPPORTED_FORMAT, f"{name} is not supported; {_CHOICE} are")
    for name, signature in _SIGNATURES:
        if signature.match(start):
            return _heif_kind(data, name) if name in _ITEMS else name
    raise Rejected(Reason.NOT_AN_IMAGE, "the bytes are of no known image format")


#: AVIF and HEIC share a container, and its brand may be of either or of neither: the types of its items tell.
_ITEMS = {"avif": (b"av01",), "heic": (b"hvc1", b"hev1")}
_ITEMS_WITHIN = 64 * 1024


def _heif_kind(data: bytes, by_brand: str) -> str:
    start = data[:_ITEMS_WITHIN]
    found = [name for name, items in _ITEMS.items() if any(item in start for item in items)]
    return found[0] if len(found) == 1 else by_brand


def is_lossy(data: bytes, name: str) -> bool:
    """Whether a file of that format has been through a lossy encoder; of AVIF it is taken for granted."""
    return name in {"jpeg", "avif", "heic"} or (name == "webp" and b"VP8L" not in data[:_ITEMS_WITHIN])


def readable(data: bytes) -> bytes:
    """The same image under a brand that libvips knows, as it looks no further. It knows no avis, msf1 or miaf."""
    if data[4:8] != b"ftyp" or data[8:12] == b"avif" or data[8:11] in {b"hei", b"hev"}:
        return data
    kind = b"avif" if sniff(data) == "avif" else b"heic"
    return data[:8] + kind + data[12:]


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
        Rejected: not a supported image, more than the limits allow, or a header that makes no sense.
    """
    # Not at the top: the process that holds the credentials sniffs and judges sizes, and never loads a decoder.
    import pyvips

    # Loaders that are not fuzz-tested stay shut, whatever the bytes claim to be. The image sets the variable as well.
    pyvips.block_untrusted_set(True)
    judge_size(len(data), limits)
    name = sniff(data)
    judge_format(name, limits)
    try:
        image = pyvips.Image.new_from_buffer(readable(data), "", access="sequential")
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
        judge_header(header, len(data), limits)
        _judge_page(image, data, number("n-subifds", 0))
        _judge_metadata(image, fields, limits)
        judge_memory(estimate_memory(header, image), limits)
    except pyvips.Error as error:
        raise undecodable(error, data) from None
    return header


#: Up to here an image is decoded however few its bytes: an empty page is a bomb to look at, and harms nobody.
_HARMLESS_PIXELS = 25_000_000


def judge_format(name: str, limits: Limits) -> None:
    """Raises:
    Rejected: FORMAT_OFF.
    """
    if name not in limits.formats:
        allowed = ", ".join(limits.formats)
        raise Rejected(Reason.FORMAT_OFF, f"{name} is switched off here; Limits.formats allows {allowed}")


def judge_header(header: Header, size: int, limits: Limits) -> None:
    """Judges sides, frames, pixels, and pixels per byte of a file of that many bytes.

    Raises:
        Rejected: TOO_MANY_PIXELS, TOO_MANY_FRAMES or BOMB.
    """
    if max(header.width, header.height) > limits.max_side:
        shape = f"{header.width} × {header.height}"
        raise Rejected(
            Reason.TOO_MANY_PIXELS, f"{shape} pixels: a side is longer than the limit of {limits.max_side:,}"
        )
    # Of a TIFF only the first page is read: how many follow costs nothing.
    frames = 1 if header.format in {"tiff", "heic"} else header.frames
    if frames > limits.max_frames:
        raise Rejected(Reason.TOO_MANY_FRAMES, f"{frames:,} frames are more than the limit of {limits.max_frames:,}")
    pixels = header.width * header.height * frames
    limit = limits.max_pixels
    if header.format == "jpeg" and header.progressive:
        limit = min(limit, limits.max_progressive_pixels)
    if pixels > limit:
        kind = "progressive " if limit < limits.max_pixels else ""
        raise Rejected(Reason.TOO_MANY_PIXELS, f"{pixels:,} {kind}pixels are more than the limit of {limit:,}")
    if pixels > max(_HARMLESS_PIXELS, size * limits.max_pixels_per_byte):
        ratio = pixels // size
        text = f"{ratio:,} pixels in a byte are more than the limit of {limits.max_pixels_per_byte:,}"
        raise Rejected(Reason.BOMB, text)


def _judge_page(image: "pyvips.Image", data: bytes, subordinate: int) -> None:
    """Camera raw in a TIFF (DNG, NEF, …) shows a small preview; what it is of lies in a subordinate picture.

    Those of a pyramid are smaller than the page. Raises UNSUPPORTED_FORMAT.
    """
    import pyvips

    for index in range(min(subordinate, 8)):
        try:
            larger = pyvips.Image.tiffload_buffer(data, subifd=index).width > image.width
        except pyvips.Error:
            larger = True  # sensor data, which nothing here can read
        if larger:
            text = f"the TIFF's page is a preview of what it holds: camera raw is not supported; {_CHOICE} are"
            raise Rejected(Reason.UNSUPPORTED_FORMAT, text)


def _judge_metadata(image: "pyvips.Image", fields: set[str], limits: Limits) -> None:
    blobs = [name for name in fields if name.endswith("-data")]
    if (size := sum(len(image.get(name)) for name in blobs)) > limits.max_metadata_bytes:
        text = f"{size:,} bytes of {', '.join(sorted(blobs))} are more than the limit of {limits.max_metadata_bytes:,}"
        raise Rejected(Reason.METADATA_TOO_LARGE, text)


#: Decoder, ladder and encoders of any image, before its own size counts. Measured: 110 to 190 MB.
_BASE_BYTES = 200_000_000


def estimate_memory(header: Header, image: "pyvips.Image") -> int:
    """Bytes of memory that decoding takes at its worst, by how each decoder of libvips works."""
    pixels, bands = header.width * header.height, int(image.bands)
    sample = {"uchar": 1, "char": 1, "ushort": 2, "short": 2}.get(image.format, 4)
    picture = pixels * bands * sample
    if header.format == "jpeg":
        # Scan lines pass through; a progressive one is held whole, as 16-bit coefficients.
        return _BASE_BYTES + (2 * pixels * bands if header.progressive else 0)
    if header.format == "png":
        return _BASE_BYTES + (picture if header.progressive else 0)
    if header.format == "tiff":
        return _BASE_BYTES + 2 * picture  # one strip may be all there is
    if header.format == "gif":
        return _BASE_BYTES + 3 * 4 * pixels  # the canvas, the one before, and the frame
    if header.format == "webp":
        return _BASE_BYTES + 4 * 4 * pixels
    return _BASE_BYTES + 4 * picture  # AVIF, HEIC: planes of the decoder, their conversion, the copy


def memory_for_encoders(limits: Limits) -> int:
    """Bytes that encoders side by side may take together: by then the decoder has given its own back."""
    return max(0, limits.max_memory_mb * 1_000_000 - _BASE_BYTES)


def judge_memory(needed: int, limits: Limits) -> None:
    """Raises:
    Rejected: TOO_MUCH_MEMORY.
    """
    if needed > limits.max_memory_mb * 1_000_000:
        text = f"decoding takes {needed // 1_000_000:,} MB, more than the limit of {limits.max_memory_mb:,}"
        raise Rejected(Reason.TOO_MUCH_MEMORY, text)


#: How libvips and the libraries below it say that bytes are missing at the end.
_TRUNCATED = re.compile(
    r"premature end|truncat|end of (?:file|stream|image|gif source)|unexpected eof|not enough|out of bounds"
    r"|outside of file bounds|unable to parse image|read error",
    re.IGNORECASE,
)


#: A format within the format that is not built in: old-style JPEG or LERC in a TIFF, JPEG 2000 in a HEIF.
_UNSUPPORTED_KIND = re.compile(r"unsupported (?:feature|codec)|not configured|not supported", re.IGNORECASE)

#: What libvips' source says on its way through every HEIF that is not whole.
_NOISE = re.compile(r"(?:source: )+bad seek to \d+ ?")

_NO_MEMORY = re.compile(
    r"out of memory|unable to allocate|failed to allocate|bad_alloc|cannot allocate|thread creation failed"
    r"|wbuffer_write: write failed",
    re.IGNORECASE,
)


#: What libpng says of missing bytes and of broken ones alike; what ends as a PNG does misses none.
_PNG_ERROR, _PNG_END = "libpng read error", re.compile(rb"IEND.{4}\Z", re.DOTALL)


def undecodable(error: Exception, data: bytes = b"") -> Rejected:
    """What libvips says of broken data, as a reason."""
    words = _NOISE.sub("", " ".join(str(error).split()))
    if re.fullmatch(r"\w*|unable to copy to memory", words):
        words = "the data is broken, and its decoder does not say where"
    reason = Reason.UNDECODABLE
    # An encoder that fails on a picture that was decoded got no memory; most do not say so.
    if lacks_memory(words) or re.match(r"(?:unable to call )?\w+save_buffer", words):
        reason = Reason.OUT_OF_MEMORY
    elif _TRUNCATED.search(words) and not (_PNG_ERROR in words and _PNG_END.search(data[-8:])):
        reason = Reason.TRUNCATED
    elif _UNSUPPORTED_KIND.search(words):
        reason = Reason.UNSUPPORTED_FORMAT
    return Rejected(reason, words.removeprefix("unable to call ")[:300])


def lacks_memory(words: str) -> bool:
    """Whether a library's last words are that it got no memory."""
    return bool(_NO_MEMORY.search(words))
