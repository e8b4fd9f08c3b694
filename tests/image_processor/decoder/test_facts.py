"""What is told of a picture that was looked at."""

import base64

import pytest
import pyvips

from image_processor.decoder import facts
from imagepipe.images import samples

WHITE = [255, 255, 255]
PICTURE = samples.landscape(640, 480, 1).copy_memory()


def plain(*colour: int) -> pyvips.Image:
    return (pyvips.Image.black(64, 64, bands=len(colour)) + list(colour)).cast("uchar").copy(interpretation="srgb")


def distance(one: str, other: str) -> int:
    return (int(one, 16) ^ int(other, 16)).bit_count()


@pytest.mark.parametrize("colour", [(250, 10, 10), (10, 250, 10), (8, 8, 250)])
def test_dominant_colour_is_the_one_that_fills_the_picture(colour: tuple[int, int, int]) -> None:
    seen = facts.look([plain(*colour).draw_rect(255, 0, 0, 20, 20, fill=True)], WHITE)
    assert seen["colour"] == "#{:02x}{:02x}{:02x}".format(*colour)


def test_palette_holds_what_there_is_and_the_dominant_colour_first() -> None:
    flag = plain(0, 0, 0).insert(plain(255, 0, 0), 0, 12).insert(plain(255, 204, 0), 0, 24).crop(0, 0, 32, 32)
    seen = facts.look([flag], WHITE)
    assert seen["palette"][0] == seen["colour"]
    assert {"#ff0000", "#000000", "#ffcc00"} <= set(seen["palette"])
    assert facts.look([plain(1, 2, 3)], WHITE)["palette"] == ["#010203"]
    assert len(facts.look([PICTURE], WHITE)["palette"]) == 5


def test_transparency_counts_as_the_background() -> None:
    assert facts.look([plain(255, 0, 0, 0)], [0, 128, 0])["colour"] == "#008000"


def test_hash_of_a_near_duplicate_is_near_and_of_another_picture_far() -> None:
    hashes = [
        facts.look([value], WHITE)["phash"]
        for value in (
            PICTURE,
            pyvips.Image.new_from_buffer(PICTURE.resize(0.4).jpegsave_buffer(Q=40), ""),
            (PICTURE * 0.9 + 10).cast("uchar"),
            samples.landscape(640, 480, 7),
        )
    ]
    assert all(len(value) == 16 for value in hashes)
    assert distance(hashes[0], hashes[1]) <= 6
    assert distance(hashes[0], hashes[2]) <= 6
    assert distance(hashes[0], hashes[3]) > 10


def test_blurred_picture_is_told_from_a_sharp_one() -> None:
    seen = [facts.look([value], WHITE)["blurriness"] for value in (PICTURE, PICTURE.gaussblur(3), plain(9, 9, 9))]
    assert seen == sorted(seen)
    assert seen[0] < 0.5 < seen[1]
    assert seen[2] == 1


@pytest.mark.parametrize(
    ("value", "expected"), [(3, (True, False)), (128, (False, False)), (252, (False, True)), (16, (False, False))]
)
def test_nearly_black_and_nearly_white_are_flagged(value: int, expected: tuple[bool, bool]) -> None:
    seen = facts.look([plain(value, value, value)], WHITE)
    assert (seen["near_black"], seen["near_white"]) == expected


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 500), (500, 1), (2, 3)])
@pytest.mark.parametrize("bands", [3, 4])
def test_smallest_and_thinnest_have_facts_too(width: int, height: int, bands: int) -> None:
    image = (pyvips.Image.black(width, height, bands=bands) + 100).cast("uchar").copy(interpretation="srgb")
    assert len(facts.look([image], WHITE)["phash"]) == 16


def test_thumbhash_tells_colours_and_shape_apart() -> None:
    hashes = {facts.thumbhash(samples.landscape(100, 75, seed)) for seed in range(4)}
    assert len(hashes) == 4
    assert all(len(base64.b64decode(item)) <= 25 for item in hashes)


def test_thumbhash_of_a_plain_picture_holds_its_colour() -> None:
    """Bytes 0 to 2 hold the mean lightness in 6 bits: white is all ones, black all zeros."""
    for value, bits in ((255, 63), (0, 0)):
        plain = (pyvips.Image.black(40, 30, bands=3) + value).cast("uchar").copy(interpretation="srgb")
        assert base64.b64decode(facts.thumbhash(plain))[0] & 63 == bits


def test_thumbhash_of_transparency_says_so() -> None:
    assert base64.b64decode(facts.thumbhash(plain(255, 0, 0, 100)))[2] >> 7 == 1
    assert base64.b64decode(facts.thumbhash(plain(255, 0, 0, 255)))[2] >> 7 == 0
