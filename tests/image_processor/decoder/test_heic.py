"""HEIC as phones write it, through the process that decodes."""

import io

import pytest
import pyvips
from PIL import Image
from seeds import HEIC, HEIC_10_BIT_P3, HEIC_TURNED

from image_processor.decoder import heic
from image_processor.decoder.sandbox import Sandbox
from image_processor.recipe import Encoding, Limits, Recipe, VariantSpec
from image_processor.rendition import Rendition
from image_processor.verdict import Reason, Rejected

RECIPE = Recipe(variants=(VariantSpec(64, (Encoding("png"),)),), graphic=())


def near(image: Image.Image, place: tuple[int, int], colour: tuple[int, int, int]) -> bool:
    pixel = image.convert("RGB").getpixel(place)
    assert isinstance(pixel, tuple)
    return all(abs(one - other) < 30 for one, other in zip(pixel, colour, strict=True))


def picture(rendition: Rendition) -> Image.Image:
    return Image.open(io.BytesIO(rendition.variants[0].data))


def test_heic_is_decoded_in_a_process_that_has_its_decoder(sandbox: Sandbox) -> None:
    rendered = sandbox.render(HEIC, RECIPE)
    header, rendition = rendered.header, rendered.rendition
    assert (header.format, rendition.width, rendition.height) == ("heic", 64, 48)
    assert picture(rendition).size == (64, 48)


def test_turned_heic_is_turned_once(sandbox: Sandbox) -> None:
    """The container says it by irot, EXIF again: a quarter clockwise, what was left is above."""
    rendition = sandbox.render(HEIC_TURNED, RECIPE).rendition
    assert (rendition.width, rendition.height) == (48, 64)
    image = picture(rendition)
    assert near(image, (40, 8), (255, 0, 0))
    assert near(image, (8, 8), (0, 255, 0))
    assert near(image, (24, 56), (0, 0, 255))
    assert rendition.exif["make"] == "Phone"


def test_primaries_without_a_profile_are_converted_and_ten_bits_are_read(sandbox: Sandbox) -> None:
    """Red of Display P3 lies outside of sRGB; so does its green, and clips to no red at all."""
    image = picture(sandbox.render(HEIC_10_BIT_P3, RECIPE).rendition)
    assert near(image, (8, 8), (255, 0, 0))
    assert near(image, (8, 40), (0, 255, 0))


@pytest.mark.parametrize(
    ("before", "after", "kept"), [(b"", b"\0\0", True), (b"\0\0\2\1", b"", False)], ids=["too long", "broken"]
)
def test_profile_that_png_does_not_take_costs_no_picture(before: bytes, after: bytes, kept: bool) -> None:
    profile = bytes(pyvips.Operation.call("profile_load", "srgb"))
    image = pyvips.Image.black(64, 48, bands=3).copy(interpretation="srgb")
    image.set_type(pyvips.GValue.blob_type, "icc-profile-data", before + profile[len(before) :] + after)
    outcome = pyvips.Image.new_from_buffer(heic._as_png(image), "")
    assert ("icc-profile-data" in outcome.get_fields()) == kept


def test_broken_heic_has_a_reason(sandbox: Sandbox) -> None:
    with pytest.raises(Rejected) as raised:
        sandbox.render(HEIC[:-200], RECIPE)
    assert raised.value.reason in {Reason.TRUNCATED, Reason.UNDECODABLE}


def test_heic_can_be_switched_off_and_the_reason_says_so() -> None:
    formats = tuple(name for name in Limits().formats if name != "heic")
    with Sandbox(Limits(formats=formats)) as box, pytest.raises(Rejected, match="heic is switched off here") as raised:
        box.render(HEIC, RECIPE)
    assert raised.value.reason == Reason.FORMAT_OFF
