"""Small real files of every format and kind, made on the fly: what the fuzzer mutates and what tests decode."""

import base64
from functools import cache

import pyvips

from imagepipe.images import samples

#: 64 × 48 pixels of samples.landscape. Nothing that ships can write HEVC, so these were made with x265 once.
HEIC = base64.b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAX1tZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAACJpbG9jAA"
    "AAAERAAAEAAQAAAAABoQABAAAAAAAAAWMAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAAAA5waXRtAAAAAAABAAAA/WlwcnAA"
    "AADdaXBjbwAAAHZodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQAqQgEBA3AAAAMAkA"
    "AAAwAAAwAeoCCBBZbq5Ka5uAhoMCAAAAMDIAAAAwAhYgABAAZEAcFzwIkAAAATY29scm5jbHgAAQANAAaAAAAAFGlzcGUAAAAAAAAAQAAAAEAA"
    "AAAoY2xhcAAAAEAAAAABAAAAMAAAAAEAAAAAAAAAAv////AAAAACAAAAEHBpeGkAAAAAAwgICAAAABhpcG1hAAAAAAAAAAEAAQWBAgMFhAAAAW"
    "ttZGF0AAABXygBrxmAv4PEoxkrepD4X/vfxHZ+W+JQUsLDHAWkua1K1v13UgzYjQQYi1ql8MQT6u1k4ruUvlol6iSAeqwpAhtp/IKCRUs27DqE"
    "ozw8hBcVxFRE1Fjm8PmFTlTRP51JODxHwkbXjFwFkxQVrBnDldj6Mf4HlpnPHzzD2/kyrtPLx72sXYbidld3YzjVceBRG1d9ilqydRr7mr1A9Z"
    "Wa2VABWXqXX3BK8rJfYfOfGnb23dMgHADhUvvf/Ak0zvJWO6tMdHYb6nEFCOqK8iQw42bs5LUUOTa1bfieoRIlkBJGlJ5ryR4ld0j6dcnvPn1V"
    "1jkQSnTLRTWU92AuHtS3dr5oTUFiZIQbobahfUlV/V5tHtB4GTYd96JxccsGUs8pqHj44FsNRjkDvPaFMIxcEwePGFA+ioKeKRY/KSPqBtc6hD"
    "y3ci3LN0N2PzzhqczuSSDjo8cOK6hrOt1Z+LwvgA=="
)
#: Red, blue to the right, green below; to be turned clockwise by a quarter (irot, and EXIF says it again).
HEIC_TURNED = base64.b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAchtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAADRpbG9jAA"
    "AAAERAAAIAAQAAAAAB7AABAAAAAAAAAJEAAgAAAAACfQABAAAAAAAAADYAAAA4aWluZgAAAAAAAgAAABVpbmZlAgAAAAABAABodmMxAAAAABVp"
    "bmZlAgAAAQACAABFeGlmAAAAAA5waXRtAAAAAAABAAABB2lwcnAAAADmaXBjbwAAAHZodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGE"
    "ABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQAqQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbq5Ka5uAhoMCAAAAMDIAAAAwAhYgABAAZEAcFzwIkA"
    "AAATY29scm5jbHgAAQANAAaAAAAAFGlzcGUAAAAAAAAAQAAAAEAAAAAoY2xhcAAAAEAAAAABAAAAMAAAAAEAAAAAAAAAAv////AAAAACAAAAEH"
    "BpeGkAAAAAAwgICAAAAAlpcm90AwAAABlpcG1hAAAAAAAAAAEAAQaBAgMFhIYAAAAaaXJlZgAAAAAAAAAOY2RzYwACAAEAAQAAAM9tZGF0AAAA"
    "jSgBrwngIzhH/+Cff/3+Gh9pDbxVd+U3lbigC/Ul//CPZT5T4UOgF///pDe8f0ur//7558XretF11r/2ejVor1/mnpN3icvcnX2gdSOOBICz8c"
    "x1D5zdJHnHLVQHWkzlUsNVz8j/UCuiVlHeYyMGfXchkMv3jRFEQJJHQW0fTiVAwQMPnh4+flCAIyJAOQAAAAZFeGlmAABNTQAqAAAACAACAQ8A"
    "AgAAAAYAAAAmARIAAwAAAAEABgAAAAAAAFBob25lAA=="
)
#: The same upright, in 10 bits, with primaries of Display P3 by their number (nclx) and no profile.
HEIC_10_BIT_P3 = base64.b64decode(
    "AAAAHGZ0eXBoZWl4AAAAAG1pZjFoZWl4bWlhZgAAAXxtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAACJpbG9jAA"
    "AAAERAAAEAAQAAAAABoAABAAAAAAAAAH8AAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAAAA5waXRtAAAAAAABAAAA/GlwcnAA"
    "AADcaXBjbwAAAHVodmNDAQQIAAAAnbgAAAAAHvAA/P36+gAADwNgAAEAF0ABDAH//wQIAAADAJ24AAADAAAeugJAYQABACpCAQEECAAAAwCduA"
    "AAAwAAHqAggQTZbq5Ka5uGBoCCAAADADIAAAMAAhBiAAEABkQBwXPAiQAAABNjb2xybmNseAAMAA0AAYAAAAAUaXNwZQAAAAAAAABAAAAAQAAA"
    "AChjbGFwAAAAQAAAAAEAAAAwAAAAAQAAAAAAAAAC////8AAAAAIAAAAQcGl4aQAAAAADCgoKAAAAGGlwbWEAAAAAAAAAAQABBYECAwWEAAAAh2"
    "1kYXQAAAB7KAGvCeAjNXl//YT//+gXyHuwn1ykZYGoX7ixb+YXH+98caO996SQ///HFVP/rM9X/5Wq1Z7A/E55oML9ggeYc/byw1Ilp+iPX0IT"
    "BE2AowRbz/8y1+HaA5Qy2vPOUdfM9pLDVzTeE1f/ojBj/fJR/P94PG2hCXuwdlRE"
)

#: Found by fuzzing and made small: libheif quotes a box's type that is no UTF-8, and pyvips cannot read what it says.
UNSPEAKABLE = base64.b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAX1tZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAABAAAAAAAAAAACJpbG9jAA"
    "AAAERAAAEAAQAAAAABoQABAAAAAAAAAWMAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAAAA5waXRtAAAAAAABAAAA/WlwcnAA"
    "AADdaXBjbwAAAHZodmNDAQP//wAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQAqQgEBA3AAAAMAkA"
    "AAAwAAAwAeoCCBBZbq5Ka5uAhoMCAAAAMDIAAAAwAhYgABAAZEAcFzwIkAAAATY29scm5jbHgAAQANAAaAAAAAFGlzcGUAAAAAAAAAQAAAAEAA"
    "AAAoY1AkgwEAAEAAAAABAAAAMAAAAAEAAAAAAAAAAv////AAAAACAAAAEHBpeGkAAAAAAwgICAAAABhpcG1hAAAAAAAAAAEAAQWBhAAAAQ=="
)


@cache
def seeds() -> dict[str, bytes]:
    """Bytes by name; the name starts with the format."""
    picture = samples.landscape(96, 64, 1).copy_memory()
    flat = (picture // 64 * 64).cast("uchar").copy(interpretation="srgb")
    alpha = picture.bandjoin(pyvips.Image.xyz(96, 64)[0] * 2).cast("uchar").copy(interpretation="srgb")
    deep = (picture.cast("ushort") * 257).cast("ushort").copy(interpretation="rgb16")
    cmyk = picture.icc_export(output_profile="cmyk")
    moving = pyvips.Image.arrayjoin([picture.wrap(x=9 * n) for n in range(4)], across=1).copy()
    moving.set_type(pyvips.GValue.gint_type, "page-height", 64)
    moving.set_type(pyvips.GValue.array_int_type, "delay", [40, 60, 80, 100])
    tagged = picture.copy()
    tagged.set_type(pyvips.GValue.gint_type, "orientation", 6)
    for name, value in {"ifd0-Copyright": "someone", "ifd0-Artist": "me", "ifd3-GPSLatitude": "1/1 2/1 3/1"}.items():
        tagged.set_type(pyvips.GValue.gstr_type, f"exif-{name}", f"{value} (x, ASCII, 8 components, 8 bytes)")
    return {
        "jpeg-baseline": picture.jpegsave_buffer(Q=80),
        "jpeg-progressive": picture.jpegsave_buffer(Q=80, interlace=True, subsample_mode="off"),
        "jpeg-grey": picture.colourspace("b-w").jpegsave_buffer(),
        "jpeg-cmyk": cmyk.jpegsave_buffer(),
        "jpeg-exif": tagged.jpegsave_buffer(profile="p3"),
        "png-rgb": picture.pngsave_buffer(compression=9),
        "png-interlaced-16": deep.pngsave_buffer(interlace=True),
        "png-palette": flat.pngsave_buffer(palette=True, bitdepth=4),
        "png-alpha": alpha.pngsave_buffer(),
        "webp-lossy": picture.webpsave_buffer(effort=0),
        "webp-lossless-alpha": alpha.webpsave_buffer(lossless=True, effort=0),
        "webp-animated": moving.webpsave_buffer(effort=0),
        "gif": flat.gifsave_buffer(),
        "gif-animated": moving.gifsave_buffer(effort=1),
        "tiff": picture.tiffsave_buffer(),
        "tiff-lzw-tiled": picture.tiffsave_buffer(compression="lzw", tile=True, tile_width=32, tile_height=32),
        "tiff-jpeg": picture.tiffsave_buffer(compression="jpeg"),
        "tiff-deflate-16-big": deep.tiffsave_buffer(compression="deflate", predictor="horizontal", bigtiff=True),
        "tiff-cmyk": cmyk.tiffsave_buffer(),
        "tiff-fax": (picture.colourspace("b-w") > 128).tiffsave_buffer(compression="ccittfax4", bitdepth=1),
        "avif": picture.heifsave_buffer(compression="av1", effort=0),
        "avif-alpha": alpha.heifsave_buffer(compression="av1", effort=0),
        "avif-10": deep.heifsave_buffer(compression="av1", effort=0, bitdepth=10),
        "heic": HEIC,
        "heic-turned": HEIC_TURNED,
        "heic-10-p3": HEIC_10_BIT_P3,
    }
