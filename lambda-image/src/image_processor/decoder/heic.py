"""Decodes HEIC, as phones write it: HEVC pictures in a HEIF container. The libvips wheel has no HEVC decoder.

`pi-heif` has one: libheif and libde265, both LGPL-3.0, linked dynamically; no encoder, so none of x265's GPL.
Patents on HEVC may need a licence where you are: `Limits.formats` without "heic" keeps this module from being loaded.
"""

from typing import Any

import pyvips

from image_processor.verdict import Reason, Rejected

#: Colour primaries by their number in ITU-T H.273 that have a profile within libvips; others are taken as sRGB.
_PROFILES = {11: "p3", 12: "p3"}


def load_decoder() -> Any:
    """Import the decoder, which takes 120 ms the first time."""
    import pi_heif

    pi_heif.options.DECODE_THREADS = 4
    return pi_heif


def to_png(data: bytes) -> bytes:
    """Return the primary picture as an uncompressed upright PNG with profile and metadata, which the engine can read.

    libheif applies rotation, mirroring and cropping (irot, imir, clap) and joins tiles. Pictures of more than 8 bits
    come as 16.

    Raises:
        Rejected: UNDECODABLE or TRUNCATED.
    """
    pi_heif = load_decoder()
    try:
        file = pi_heif.open_heif(data, convert_hdr_to_8bit=False)
        primary = file[file.primary_index]
        pixels = primary.data
    except (ValueError, SyntaxError, EOFError, RuntimeError, OSError, IndexError) as error:
        words = " ".join(str(error).split())
        reason = Reason.TRUNCATED if "end of file" in words.lower() else Reason.UNDECODABLE
        raise Rejected(reason, f"heif: {words}"[:300]) from None
    bands = len(primary.mode.partition(";")[0].removesuffix("a")) + primary.mode.partition(";")[0].endswith("a")
    sample = 2 if ";16" in primary.mode else 1
    width, height = primary.size
    line = primary.stride // (bands * sample)
    image = pyvips.Image.new_from_memory(pixels, line, height, bands, "ushort" if sample == 2 else "uchar")
    if line != width:
        image = image.crop(0, 0, width, height)
    return _as_png(_described(image, data, primary.info, sample))


def _as_png(image: pyvips.Image) -> bytes:
    """Encode without compression, and without the profile if it is broken: PNG does not take a broken one."""
    if "icc-profile-data" in image.get_fields():
        profile = bytes(image.get("icc-profile-data"))
        # Some phones write more bytes than the profile says it has, in its first four.
        image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile[: int.from_bytes(profile[:4])])
    try:
        return bytes(image.pngsave_buffer(compression=0, filter="none"))
    except pyvips.Error:
        return bytes(image.pngsave_buffer(compression=0, filter="none", keep="exif|xmp|iptc"))


def _described(image: pyvips.Image, data: bytes, info: dict[str, Any], sample: int) -> pyvips.Image:
    """Attach interpretation, profile and metadata. libvips reads all of them from the header but nclx."""
    interpretation = {1: "b-w", 2: "srgb"}[sample]
    if image.bands >= 3:
        interpretation = {1: "srgb", 2: "rgb16"}[sample]
    elif sample == 2:
        interpretation = "grey16"
    image = image.copy(interpretation=interpretation)
    source = pyvips.Image.new_from_buffer(data, "")
    for name in source.get_fields():
        if name.endswith("-data") and name != "heif-thumbnail-data":
            image.set_type(source.get_typeof(name), name, source.get(name))
    # EXIF repeats the rotation of the container, which libheif has already applied.
    image.set_type(pyvips.GValue.gint_type, "orientation", 1)
    primaries = info.get("nclx_profile", {}).get("color_primaries")
    if "icc-profile-data" not in image.get_fields() and primaries in _PROFILES:
        profile = pyvips.Operation.call("profile_load", _PROFILES[primaries])
        image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    return image
