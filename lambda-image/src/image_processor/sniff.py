"""Recognises the kind of a file by its first bytes, without any decoder."""

import re

from image_processor.recipe import Limits
from image_processor.verdict import Reason, Rejected

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
CHOICE = ", ".join(SUPPORTED)

#: Image formats that are recognised only to be refused by name. No pattern has a repetition within a repetition, which
#: a hostile file could keep busy.
_UNSUPPORTED: tuple[tuple[str, re.Pattern[bytes]], ...] = tuple(
    (name, re.compile(pattern, re.DOTALL | re.IGNORECASE if name == "SVG" else re.DOTALL))
    for name, pattern in (
        # Camera raw inside a TIFF is recognised by decoder/gate.py.
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
    """Return the format by the first bytes, whatever name or content type the object has.

    Raises:
        Rejected: EMPTY, UNSUPPORTED_FORMAT (with the format's name) or NOT_AN_IMAGE.
    """
    if not data:
        raise Rejected(Reason.EMPTY, "the object has no bytes")
    start = data[:1024]
    for name, signature in _UNSUPPORTED:
        if signature.match(start):
            raise Rejected(Reason.UNSUPPORTED_FORMAT, f"{name} is not supported; {CHOICE} are")
    for name, signature in _SIGNATURES:
        if signature.match(start):
            return _heif_kind(data, name) if name in _ITEMS else name
    raise Rejected(Reason.NOT_AN_IMAGE, "the bytes are of no known image format")


#: AVIF and HEIC share a container whose brand may name either or neither. The types of the items in it decide.
_ITEMS = {"avif": (b"av01",), "heic": (b"hvc1", b"hev1")}
_ITEMS_WITHIN = 64 * 1024


def _heif_kind(data: bytes, by_brand: str) -> str:
    start = data[:_ITEMS_WITHIN]
    kinds = [name for name, items in _ITEMS.items() if any(item in start for item in items)]
    return kinds[0] if len(kinds) == 1 else by_brand


def is_lossy(data: bytes, name: str) -> bool:
    """Return whether a lossy encoder wrote a file of that format. AVIF and HEIC are assumed to be lossy."""
    return name in {"jpeg", "avif", "heic"} or (name == "webp" and b"VP8L" not in data[:_ITEMS_WITHIN])


def readable(data: bytes) -> bytes:
    """Return the same file under a brand that libvips knows. libvips does not know avis, msf1 and miaf."""
    if data[4:8] != b"ftyp" or data[8:12] == b"avif" or data[8:11] in {b"hei", b"hev"}:
        return data
    kind = b"avif" if sniff(data) == "avif" else b"heic"
    return data[:8] + kind + data[12:]


def judge_size(size: int, limits: Limits) -> None:
    """Check the number of bytes, which S3 reports before anything is read.

    Raises:
        Rejected: EMPTY or TOO_LARGE_BYTES.
    """
    if size == 0:
        raise Rejected(Reason.EMPTY, "the object has no bytes")
    if size > limits.max_bytes:
        raise Rejected(Reason.TOO_LARGE_BYTES, f"{size:,} bytes are more than the limit of {limits.max_bytes:,}")


def judge_format(name: str, limits: Limits) -> None:
    """Check that a format is on the allow list.

    Raises:
        Rejected: FORMAT_OFF.
    """
    if name not in limits.formats:
        allowed = ", ".join(limits.formats)
        raise Rejected(Reason.FORMAT_OFF, f"{name} is switched off here; Limits.formats allows {allowed}")
