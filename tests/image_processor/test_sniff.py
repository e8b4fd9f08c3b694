"""Telling what kind of file bytes are, without a decoder."""

import contextlib
import time

import pytest

from image_processor.recipe import Limits
from image_processor.sniff import judge_format, judge_size, readable, sniff
from image_processor.verdict import Reason, Rejected


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
        (b"\xff\x0a\0\0", Reason.UNSUPPORTED_FORMAT),
        (b"8BPS\0\x01", Reason.UNSUPPORTED_FORMAT),
        (b'<!DOCTYPE svg [\n<!ENTITY x "<rect/>">\n]>\n<svg version="1.1">', Reason.UNSUPPORTED_FORMAT),
        (b"<!doctype html><html><body><svg width='9'/></body></html>", Reason.NOT_AN_IMAGE),
        (b"BM and other words that are no picture", Reason.NOT_AN_IMAGE),
    ],
)
def test_bytes_that_are_no_supported_image_are_refused_with_a_reason(data: bytes, reason: Reason) -> None:
    with pytest.raises(Rejected) as raised:
        sniff(data)
    assert raised.value.message
    assert raised.value.reason == reason


def test_supported_formats_are_listed() -> None:
    with pytest.raises(Rejected, match="Photoshop is not supported; jpeg, png, gif"):
        sniff(b"8BPS\0\x01")


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (b"BM\x1a\0\0\0\x1d\0\x27\0\x4a\0\0\0\x0c\0\0\0", "BMP"),
        (b"\0\0\x02\0\x01\0 \0", "ICO"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "PostScript"),
        (b"\x0a\x05\x01\x08\0\0\0\0", "PCX"),
        (b"P6\n# by hand\n64 48\n255\n", "PNM"),
        (b"\x76\x2f\x31\x01\x02\0\0\0", "OpenEXR"),
        (b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n", "Radiance"),
        (b"\0" * 128 + b"DICM", "DICOM"),
        (b"II*\0\x10\0\0\0CR\x02\0", "camera raw"),
        (b"\0\0\0\x18ftypcrx \0\0\0\x01", "camera raw"),
        (b"FUJIFILMCCD-RAW 0201", "camera raw"),
    ],
)
def test_format_that_is_not_supported_is_named(start: bytes, name: str) -> None:
    with pytest.raises(Rejected, match=f"{name} is not supported; jpeg, png") as raised:
        sniff(start + b"\0" * 64)
    assert raised.value.reason == Reason.UNSUPPORTED_FORMAT


@pytest.mark.parametrize("piece", [b"<!---->", b"<?x?>", b"<!doctype ", b"<", b" ", b"\0", b"mif1", b"P1 "])
def test_no_start_keeps_the_sniffer_busy(piece: bytes) -> None:
    """It runs where the credentials are, and nothing stops it there."""
    start, before = piece * 1000, time.process_time()
    for prefix in (b"", b"<?xml", b"....ftypmif1"):
        with contextlib.suppress(Rejected):
            sniff(prefix + start)
    assert time.process_time() - before < 1


def test_number_of_bytes_has_a_limit() -> None:
    with pytest.raises(Rejected) as raised:
        judge_size(1001, Limits(max_bytes=1000))
    assert raised.value.reason == Reason.TOO_LARGE_BYTES
    judge_size(1000, Limits(max_bytes=1000))


def test_no_bytes_are_refused_without_reading() -> None:
    with pytest.raises(Rejected) as raised:
        judge_size(0, Limits())
    assert raised.value.reason == Reason.EMPTY


def test_refusal_of_a_format_names_those_that_are_allowed() -> None:
    judge_format("png", Limits(formats=("png", "gif")))
    with pytest.raises(Rejected, match=r"jpeg is switched off here; Limits\.formats allows png, gif") as raised:
        judge_format("jpeg", Limits(formats=("png", "gif")))
    assert raised.value.reason == Reason.FORMAT_OFF


@pytest.mark.parametrize(
    ("brands", "item", "kind"),
    [
        (b"avif\0\0\0\0mif1", b"av01", "avif"),
        (b"mif1\0\0\0\0mif1", b"av01", "avif"),  # the items decide where the brand is of either
        (b"mif1\0\0\0\0mif1", b"hvc1", "heic"),
        (b"mif1\0\0\0\0avif", b"hvc1", "heic"),
        (b"heic\0\0\0\0mif1", b"av01hvc1", "heic"),  # the brand decides where the items are of both
    ],
)
def test_avif_and_heic_share_a_container(brands: bytes, item: bytes, kind: str) -> None:
    data = b"\0\0\0\x18ftyp" + brands + b"\0\0\0\x40meta" + item
    assert sniff(data) == kind
    assert sniff(readable(data)) == kind
    assert readable(data)[12:] == data[12:]
