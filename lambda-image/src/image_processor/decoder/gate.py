"""Judges a file by its header before any pixel is decoded."""

import pyvips

from image_processor.decoder.vips_errors import undecodable
from image_processor.recipe import DECODER_MB, Limits
from image_processor.sniff import CHOICE, judge_format, judge_size, readable, sniff
from image_processor.verdict import Header, Reason, Rejected


def inspect(data: bytes, limits: Limits) -> Header:
    """Read and judge the header; decode no pixel.

    Raises:
        Rejected: not a supported image, more than the limits allow, or a header that makes no sense.
    """
    # Loaders that are not fuzz-tested stay off, whatever the bytes claim to be. The image sets the variable as well.
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


#: Below this many pixels the decompression-bomb check is skipped: blank pages compress that well and are harmless.
_HARMLESS_PIXELS = 25_000_000


def judge_header(header: Header, size: int, limits: Limits) -> None:
    """Check sides, frames, pixels, and pixels per byte of a file of `size` bytes.

    Raises:
        Rejected: TOO_MANY_PIXELS, TOO_MANY_FRAMES or BOMB.
    """
    if max(header.width, header.height) > limits.max_side:
        shape = f"{header.width} × {header.height}"
        raise Rejected(
            Reason.TOO_MANY_PIXELS, f"{shape} pixels: a side is longer than the limit of {limits.max_side:,}"
        )
    # Only the first page of a TIFF and the first picture of a HEIC are read; the others cost nothing.
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


def _judge_page(image: pyvips.Image, data: bytes, subordinate: int) -> None:
    """Refuse camera raw in a TIFF (DNG, NEF, …): its page is a preview, and a subordinate picture is larger.

    The subordinate pictures of a pyramid are smaller than the page.

    Raises:
        Rejected: UNSUPPORTED_FORMAT.
    """
    for index in range(min(subordinate, 8)):
        try:
            larger = pyvips.Image.tiffload_buffer(data, subifd=index).width > image.width
        except pyvips.Error:
            larger = True  # sensor data, which nothing here can read
        if larger:
            text = f"the TIFF's page is only a preview: camera raw is not supported; {CHOICE} are"
            raise Rejected(Reason.UNSUPPORTED_FORMAT, text)


def _judge_metadata(image: pyvips.Image, fields: set[str], limits: Limits) -> None:
    blobs = [name for name in fields if name.endswith("-data")]
    if (size := sum(len(image.get(name)) for name in blobs)) > limits.max_metadata_bytes:
        text = f"{size:,} bytes of {', '.join(sorted(blobs))} are more than the limit of {limits.max_metadata_bytes:,}"
        raise Rejected(Reason.METADATA_TOO_LARGE, text)


_BASE_BYTES = DECODER_MB * 1_000_000


def estimate_memory(header: Header, image: pyvips.Image) -> int:
    """Estimate the bytes of memory that decoding takes at worst, by how each decoder of libvips works."""
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
    """Return the bytes that parallel encoders may take together. By then the decoder has freed its own."""
    return max(0, limits.max_memory_mb * 1_000_000 - _BASE_BYTES)


def judge_memory(needed: int, limits: Limits) -> None:
    """Check an estimate in bytes against the limit.

    Raises:
        Rejected: TOO_MUCH_MEMORY.
    """
    if needed > limits.max_memory_mb * 1_000_000:
        text = f"decoding takes {needed // 1_000_000:,} MB, more than the limit of {limits.max_memory_mb:,}"
        raise Rejected(Reason.TOO_MUCH_MEMORY, text)
