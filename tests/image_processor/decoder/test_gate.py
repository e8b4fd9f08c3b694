"""Judging a header: which files may be decoded, and the reason given for the rest."""

import struct
import zlib

import pytest

from image_processor.decoder import gate
from image_processor.recipe import Limits
from image_processor.verdict import Reason, Rejected
from imagepipe.images import samples

PICTURE = samples.landscape(120, 80, 1)


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims to be huge and holds nothing: a decompression bomb's first bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")
    )


def refusal(data: bytes, limits: Limits | None = None) -> Reason:
    with pytest.raises(Rejected) as raised:
        gate.inspect(data, limits or Limits())
    assert raised.value.message
    return raised.value.reason


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("jpeg", PICTURE.jpegsave_buffer()),
        ("png", PICTURE.pngsave_buffer()),
        ("gif", PICTURE.gifsave_buffer()),
        ("webp", PICTURE.webpsave_buffer(effort=0)),
        ("tiff", PICTURE.tiffsave_buffer()),
        ("tiff", PICTURE.tiffsave_buffer(bigtiff=True)),
        ("avif", PICTURE.heifsave_buffer(compression="av1", effort=0)),
    ],
)
def test_header_is_read_whatever_the_format(name: str, data: bytes) -> None:
    header = gate.inspect(data, Limits())
    assert (header.format, header.width, header.height, header.frames) == (name, 120, 80, 1)


@pytest.mark.parametrize(
    "data",
    [
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
        b"\xff\xd8\xff\xe0 and then nothing of use",
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a",
    ],
)
def test_header_that_is_broken_is_refused(data: bytes) -> None:
    assert refusal(data) in {Reason.UNDECODABLE, Reason.TRUNCATED}


def test_file_is_sniffed_before_its_header_is_read() -> None:
    assert refusal(b"") == Reason.EMPTY
    assert refusal(b"Dear all,") == Reason.NOT_AN_IMAGE
    assert refusal(b"8BPS\0\x01") == Reason.UNSUPPORTED_FORMAT


def directory(at: int, width: int, height: int, pixels: int, tags: dict[int, int], following: bytes = b"") -> bytes:
    """An image file directory of a TIFF that lies at that offset: 8-bit grey, and its pixels at another."""
    fields = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: pixels, 277: 1, 278: height, 279: width * height}
    entries = sorted((fields | tags).items())
    packed = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    return struct.pack("<H", len(entries)) + packed + bytes(4) + following


def test_preview_of_a_camera_raw_is_not_taken_for_the_picture() -> None:
    """As DNG and NEF have it: a page that is a thumbnail, and what was shot in a subordinate directory."""
    for kind in (1, 32803):  # grey, and a colour filter array, which nothing here can read
        raw = directory(300, 400, 300, 600, {262: kind})
        data = b"II*\0\x08\0\0\0" + directory(8, 40, 30, 600, {254: 1, 330: 300})
        data = data.ljust(300, b"\0") + raw
        with pytest.raises(Rejected, match="camera raw") as raised:
            gate.inspect(data.ljust(600 + 400 * 300, b"\0"), Limits())
        assert raised.value.reason == Reason.UNSUPPORTED_FORMAT


def test_pyramid_in_a_tiff_is_a_picture() -> None:
    data = bytes(PICTURE.tiffsave_buffer(pyramid=True, subifd=True, tile=True, tile_width=32, tile_height=32))
    assert gate.inspect(data, Limits()).width == 120


@pytest.mark.parametrize(("width", "height"), [(20_000, 20_000), (29_000, 4_000)])
def test_decompression_bomb_is_refused_by_its_header(width: int, height: int) -> None:
    assert refusal(png_header(width, height)) == Reason.TOO_MANY_PIXELS


def test_side_has_a_limit_of_its_own() -> None:
    assert refusal(png_header(31_000, 2)) == Reason.TOO_MANY_PIXELS


def test_frames_count_as_pixels() -> None:
    strip = PICTURE.replicate(1, 5).copy()
    strip.set_type(samples.pyvips.GValue.gint_type, "page-height", 80)
    # A frame that equals the one before is merged by the encoder, so every frame is shifted.
    frames = samples.pyvips.Image.arrayjoin([PICTURE.wrap(x=-9 * n, y=0) for n in range(5)], across=1).copy()
    frames.set_type(samples.pyvips.GValue.gint_type, "page-height", 80)
    data = bytes(frames.gifsave_buffer())
    assert gate.inspect(data, Limits()).frames == 5
    assert refusal(data, Limits(max_pixels=120 * 80 * 4)) == Reason.TOO_MANY_PIXELS


def test_progressive_jpeg_has_a_lower_limit() -> None:
    limits = Limits(max_progressive_pixels=120 * 80 - 1)
    assert refusal(PICTURE.jpegsave_buffer(interlace=True), limits) == Reason.TOO_MANY_PIXELS
    assert gate.inspect(PICTURE.jpegsave_buffer(), limits).progressive is False


def test_loaders_that_are_not_fuzzed_are_shut() -> None:
    with pytest.raises(samples.pyvips.Error):
        samples.pyvips.Image.svgload_buffer(b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>').avg()


def test_allow_list_decides_whatever_we_could_decode() -> None:
    assert refusal(PICTURE.jpegsave_buffer(), Limits(formats=("png",))) == Reason.FORMAT_OFF
    assert refusal(PICTURE.heifsave_buffer(compression="av1", effort=0), Limits(formats=("heic",))) == Reason.FORMAT_OFF


def test_few_bytes_do_not_hold_many_pixels_in_earnest() -> None:
    empty = samples.pyvips.Image.black(6000, 5000).pngsave_buffer(compression=9)
    assert refusal(empty, Limits(max_pixels_per_byte=500)) == Reason.BOMB
    small = samples.pyvips.Image.black(3000, 2000).pngsave_buffer(compression=9)
    assert gate.inspect(small, Limits(max_pixels_per_byte=1)).width == 3000, "an empty page is harmless"


def test_frames_have_a_limit_of_their_own() -> None:
    frames = samples.pyvips.Image.arrayjoin([PICTURE.wrap(x=-9 * n, y=0) for n in range(3)], across=1).copy()
    frames.set_type(samples.pyvips.GValue.gint_type, "page-height", 80)
    assert refusal(frames.webpsave_buffer(effort=0), Limits(max_frames=2)) == Reason.TOO_MANY_FRAMES


def test_of_a_tiff_only_the_first_page_counts() -> None:
    pages = samples.pyvips.Image.arrayjoin([PICTURE] * 4, across=1).copy()
    pages.set_type(samples.pyvips.GValue.gint_type, "page-height", 80)
    data = bytes(pages.tiffsave_buffer())
    assert gate.inspect(data, Limits(max_frames=1, max_pixels=120 * 80)).frames == 4


def test_metadata_has_a_limit() -> None:
    tagged = PICTURE.copy()
    tagged.set_type(samples.pyvips.GValue.blob_type, "xmp-data", b"x" * 5000)
    assert refusal(tagged.jpegsave_buffer(), Limits(max_metadata_bytes=4999)) == Reason.METADATA_TOO_LARGE


@pytest.mark.parametrize(
    ("streamed", "whole"),
    [
        (PICTURE.jpegsave_buffer(), PICTURE.jpegsave_buffer(interlace=True)),
        (PICTURE.pngsave_buffer(), PICTURE.pngsave_buffer(interlace=True)),
    ],
    ids=["jpeg", "png"],
)
def test_what_is_held_whole_while_it_is_decoded_takes_more_memory(streamed: bytes, whole: bytes) -> None:
    def needed(data: bytes) -> int:
        header = gate.inspect(bytes(data), Limits())
        return gate.estimate_memory(header, samples.pyvips.Image.new_from_buffer(bytes(data), ""))

    assert needed(whole) > needed(streamed)
    with pytest.raises(Rejected, match="more than the limit of 64") as raised:
        gate.inspect(bytes(whole), Limits(max_memory_mb=64))
    assert raised.value.reason == Reason.TOO_MUCH_MEMORY


@pytest.mark.parametrize("brand", [b"avis", b"msf1", b"miaf"])
def test_brand_that_libvips_does_not_know_is_read_all_the_same(brand: bytes) -> None:
    data = bytes(PICTURE.heifsave_buffer(compression="av1", effort=0))
    renamed = data[:8] + brand + data[12:16] + b"avif" + data[20:]
    assert gate.inspect(renamed, Limits()).format == "avif"


def test_encoders_get_what_the_limit_leaves_beside_the_process_itself() -> None:
    assert gate.memory_for_encoders(Limits(max_memory_mb=100)) == 0
    assert gate.memory_for_encoders(Limits(max_memory_mb=1400)) == 1_200_000_000
