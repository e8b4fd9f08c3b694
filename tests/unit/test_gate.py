"""What is let through, and the reason given for the rest."""

import struct
import zlib

import pytest
from image_processor import gate
from image_processor.gate import Reason, Rejected
from image_processor.recipe import Limits
from imagepipe import samples

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
    ("data", "reason"),
    [
        (b"", Reason.EMPTY),
        (b"Dear all,", Reason.NOT_AN_IMAGE),
        (b"<!DOCTYPE html><html><body></body></html>", Reason.NOT_AN_IMAGE),
        (b"\xff\xd8", Reason.NOT_AN_IMAGE),
        (b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', Reason.UNSUPPORTED_FORMAT),
        (b'<?xml version="1.0"?>\n<!-- x -->\n<svg xmlns="http://www.w3.org/2000/svg"/>', Reason.UNSUPPORTED_FORMAT),
        (b"%PDF-1.7 \n", Reason.UNSUPPORTED_FORMAT),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", Reason.UNSUPPORTED_FORMAT),
        (b"\xff\x0a\0\0", Reason.UNSUPPORTED_FORMAT),
        (b"8BPS\0\x01", Reason.UNSUPPORTED_FORMAT),
        (b"\xff\xd8\xff\xe0 and then nothing of use", Reason.UNDECODABLE),
        (b"\x89PNG\r\n\x1a\n", Reason.UNDECODABLE),
        (b"GIF89a", Reason.UNDECODABLE),
    ],
)
def test_what_is_no_image_we_take_is_refused_with_its_reason(data: bytes, reason: Reason) -> None:
    found = refusal(data)
    assert found == reason or {found, reason} == {Reason.UNDECODABLE, Reason.TRUNCATED}


def test_unsupported_format_is_named() -> None:
    with pytest.raises(Rejected, match="HEIC is not supported; jpeg, png, gif"):
        gate.inspect(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", Limits())


def test_size_is_judged_before_anything_is_read() -> None:
    with pytest.raises(Rejected) as raised:
        gate.judge_size(1001, Limits(max_bytes=1000))
    assert raised.value.reason == Reason.TOO_LARGE_BYTES
    gate.judge_size(1000, Limits(max_bytes=1000))


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
