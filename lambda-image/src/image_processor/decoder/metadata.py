"""Reads the metadata of a file: facts for the record, and the rights that the variants keep.

Variants keep copyright, creator and credit, and nothing else. The record has no serial numbers, and the place where the
picture was taken only if the recipe asks for it.
"""

import html
import re
from typing import Any

import pyvips

from image_processor.rendition import RIGHT, TEXT

Facts = dict[str, Any]

#: EXIF fields about how a picture was taken, not where or by whom. Serial numbers would identify an owner.
_EXIF = {
    "make": "exif-ifd0-Make",
    "model": "exif-ifd0-Model",
    "lens": "exif-ifd2-LensModel",
    "exposure_seconds": "exif-ifd2-ExposureTime",
    "aperture": "exif-ifd2-FNumber",
    "iso": "exif-ifd2-ISOSpeedRatings",
    "focal_length_mm": "exif-ifd2-FocalLength",
}
_NUMBERS = {"exposure_seconds", "aperture", "iso", "focal_length_mm"}

#: Place of a right: EXIF field; IPTC-IIM dataset of record 2; XMP property.
_RIGHTS = {
    "copyright": ("exif-ifd0-Copyright", 116, "dc:rights"),
    "creator": ("exif-ifd0-Artist", 80, "dc:creator"),
    "credit": (None, 110, "photoshop:Credit"),
}

#: Bytes of an XMP packet that are searched: editing histories can take megabytes.
_XMP_BYTES = 256 * 1024


def read(image: pyvips.Image, gps: bool = False) -> Facts:
    """Return facts about the shot by name, without those missing or unreadable.

    `taken_at` is ISO 8601, with the offset from UTC if the camera wrote one. The place is read only with `gps`.
    """
    present = set(image.get_fields())
    facts: Facts = {}
    for name, field in _EXIF.items():
        raw = _exif(image, present, field)
        value = _number(raw) if name in _NUMBERS else raw[:TEXT]
        if value not in (None, ""):
            facts[name] = value
    if taken := _time(image, present):
        facts["taken_at"] = taken
    if gps and (place := _place(image, present)):
        facts["gps"] = place
    if "gainmap-data" in present or b"hdrgm:Version" in _xmp(image, present) or b"HDRGainMap" in _xmp(image, present):
        facts["gain_map"] = True
    if "delay" in present and "n-pages" in present and image.get("n-pages") > 1:
        facts["duration_ms"] = sum(image.get("delay"))
        facts["loop"] = int(image.get("loop")) if "loop" in present else 0
    return facts | rights(image)


def rights(image: pyvips.Image) -> dict[str, str]:
    """Return copyright, creator and credit, as far as EXIF, IPTC or XMP have them."""
    present = set(image.get_fields())
    xmp, iptc = _xmp(image, present), bytes(image.get("iptc-data")) if "iptc-data" in present else b""
    facts = {}
    for name, (field, dataset, prop) in _RIGHTS.items():
        # EXIF comes last, as it has no letters beyond ASCII.
        text = _from_xmp(xmp, prop) or _from_iptc(iptc, dataset) or (_exif(image, present, field) if field else "")
        text = "".join(sign for sign in text if sign.isprintable()).strip()
        if text:
            facts[name] = text[:RIGHT]
    return facts


def attach(picture: pyvips.Image, held: dict[str, str]) -> pyvips.Image:
    """Return the picture with these rights in EXIF and XMP and no other metadata. Derived pictures inherit them."""
    picture = picture.copy()
    for name in picture.get_fields():
        if name.startswith("exif-") or name in {"iptc-data", "xmp-data", "photoshop-data"}:
            picture.remove(name)
    if not held:
        return picture
    for name, text in held.items():
        if field := _RIGHTS[name][0]:
            # libvips drops the last bracket before it writes, whatever it is.
            ending = " (text, ASCII, 1 components, 1 bytes)"
            picture.set_type(pyvips.GValue.gstr_type, field, text + ending)
    picture.set_type(pyvips.GValue.blob_type, "xmp-data", _packet(held))
    return picture


def kept(picture: pyvips.Image) -> list[str]:
    """Return libvips' names of the metadata that an encoder keeps of a picture that went through `attach`."""
    return ["exif", "xmp"] if picture.get_typeof("xmp-data") else []


def _exif(image: pyvips.Image, present: set[str], field: str) -> str:
    if field not in present:
        return ""
    try:
        value = str(image.get(field))
    except UnicodeDecodeError:
        return ""
    # libvips gives `<raw value> (<for people>, <type>, <n> components, <n> bytes)`; of a text, both are the same, and
    # may hold brackets themselves.
    both = re.sub(r", [\w ]+, \d+ components?, \d+ bytes\)\s*$", "", value)
    half = (len(both) - 2) // 2
    raw = both[:half] if both[:half] == both[half + 2 :] else both.split(" (", 1)[0]
    return raw.strip().strip("\0").strip()


def _number(raw: str) -> int | float | None:
    if not (match := re.match(r"(\d{1,15})(?:/(\d{1,15}))?(?:\s|$)", raw)):
        return None
    numerator, denominator = int(match[1]), int(match[2] or 1)
    if not denominator:
        return None
    value = numerator / denominator
    return int(value) if value.is_integer() else round(value, 6)


def _time(image: pyvips.Image, present: set[str]) -> str:
    raw = _exif(image, present, "exif-ifd2-DateTimeOriginal") or _exif(image, present, "exif-ifd2-DateTimeDigitized")
    match = re.match(r"(\d{4})[:\-](\d\d)[:\-](\d\d)[ T](\d\d:\d\d:\d\d)", raw)
    if not match or match[2] == "00":
        return ""
    offset = _exif(image, present, "exif-ifd2-OffsetTimeOriginal")
    return f"{match[1]}-{match[2]}-{match[3]}T{match[4]}" + (offset if re.fullmatch(r"[+-]\d\d:\d\d", offset) else "")


def _place(image: pyvips.Image, present: set[str]) -> Facts:
    """Degrees north and east, metres above the sea."""
    facts: Facts = {}
    for name, field, negative in (("latitude", "GPSLatitude", "S"), ("longitude", "GPSLongitude", "W")):
        parts = [_number(part) for part in _exif(image, present, f"exif-ifd3-{field}").split()[:3]]
        if len(parts) == 3 and None not in parts:
            degrees = sum(float(part or 0) / 60**power for power, part in enumerate(parts))
            sign = -1 if _exif(image, present, f"exif-ifd3-{field}Ref").startswith(negative) else 1
            facts[name] = round(sign * degrees, 6)
    if len(facts) < 2:
        return {}
    if (altitude := _number(_exif(image, present, "exif-ifd3-GPSAltitude"))) is not None:
        below = _exif(image, present, "exif-ifd3-GPSAltitudeRef").startswith(("1", "Below"))
        facts["altitude_m"] = -altitude if below else altitude
    return facts


def _xmp(image: pyvips.Image, present: set[str]) -> bytes:
    return bytes(image.get("xmp-data"))[:_XMP_BYTES] if "xmp-data" in present else b""


def _from_xmp(xmp: bytes, prop: str) -> str:
    """Search by pattern, not with an XML parser: the packet is hostile, and only three properties are needed."""
    name = re.escape(prop.encode())
    for pattern in (
        rb"<" + name + rb">[^<]*<rdf:(?:Alt|Seq|Bag)>[^<]*<rdf:li[^>]*>([^<]*)<",
        rb"<" + name + rb">([^<]+)<",
        rb"\s" + name + rb"\s*=\s*\"([^\"]*)\"",
    ):
        if (match := re.search(pattern, xmp)) and match[1].strip():
            return html.unescape(match[1].decode("utf-8", "replace"))
    return ""


def _from_iptc(iptc: bytes, dataset: int) -> str:
    """Read the first dataset of a number in record 2 (IPTC-IIM 4.2, section 1.5: 1C, record, number, 16-bit length)."""
    place = iptc.find(bytes([0x1C, 2, dataset]))
    if place < 0:
        return ""
    size = int.from_bytes(iptc[place + 3 : place + 5], "big")
    text = iptc[place + 5 : place + 5 + min(size, RIGHT)]
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1")


def _packet(held: dict[str, str]) -> bytes:
    text = {name: html.escape(value) for name, value in held.items()}
    body = ""
    if "copyright" in text:
        body += f'<dc:rights><rdf:Alt><rdf:li xml:lang="x-default">{text["copyright"]}</rdf:li></rdf:Alt></dc:rights>'
    if "creator" in text:
        body += f"<dc:creator><rdf:Seq><rdf:li>{text['creator']}</rdf:li></rdf:Seq></dc:creator>"
    if "credit" in text:
        body += f"<photoshop:Credit>{text['credit']}</photoshop:Credit>"
    names = 'xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"'
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" {names}>{body}</rdf:Description></rdf:RDF></x:xmpmeta>'
    ).encode()
