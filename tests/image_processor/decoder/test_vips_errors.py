"""Translating what libvips says of a broken file into a reason."""

import pytest
import pyvips

from image_processor.decoder.vips_errors import lacks_memory, undecodable
from image_processor.verdict import Reason


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("VipsJpeg: premature end of JPEG image", Reason.TRUNCATED),
        ("gifload_buffer: Unexpected end of GIF source data", Reason.TRUNCATED),
        ("vips_tracked: out of memory -- size == 30MB", Reason.OUT_OF_MEMORY),
        ("tiff2vips: Old-style JPEG compression support is not configured", Reason.UNSUPPORTED_FORMAT),
        ("heif: Unsupported feature: Unsupported codec (4.3000)", Reason.UNSUPPORTED_FORMAT),
        ("source: bad seek to 12 source: bad seek to 9 heif: Invalid box size", Reason.UNDECODABLE),
    ],
)
def test_error_of_a_library_becomes_a_reason(words: str, reason: Reason) -> None:
    refusal = undecodable(pyvips.Error(words))
    assert refusal.reason == reason
    assert "bad seek" not in refusal.message


def test_png_that_ends_as_it_should_is_broken_and_not_truncated() -> None:
    error = pyvips.Error("pngload_buffer: libpng read error")
    assert undecodable(error, b"\x89PNG" + b"IDAT" * 9).reason == Reason.TRUNCATED
    assert undecodable(error, b"\x89PNG" + b"IDAT" * 9 + b"IEND\xae\x42\x60\x82").reason == Reason.UNDECODABLE


@pytest.mark.parametrize(
    ("words", "lacking"), [("std::bad_alloc", True), ("GLib: failed to allocate 9 bytes", True), ("bad seek", False)]
)
def test_lack_of_memory_is_recognised(words: str, lacking: bool) -> None:
    assert lacks_memory(words) is lacking


@pytest.mark.parametrize(
    ("few", "many"),
    [
        ("VipsJpeg: premature end of JPEG image", "VipsJpeg: premature end of JPEG image\njpegload_buffer: load error"),
        (
            "gifload_buffer: Invalid frame data",
            "gifload_buffer: Invalid frame data" + "\ngifload_buffer: load error" * 3,
        ),
        ("", "pngload_buffer: load error\npngload_buffer: load error"),
    ],
)
def test_words_do_not_depend_on_how_many_threads_met_the_fault(few: str, many: str) -> None:
    """Every thread that comes to a decoder after it has failed adds a line: the words of one file differed."""
    once, often = (undecodable(pyvips.Error(f"unable to copy to memory\n{words}")) for words in (few, many))
    assert (once.reason, once.message) == (often.reason, often.message)
