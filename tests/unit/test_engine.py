"""Pictures in, pictures out; judged by another library than the one that made them."""

import base64
import io

import pytest
import pyvips
from image_processor import engine, facts, gate, light
from image_processor.engine import Rendition, Variant
from image_processor.gate import Reason, Rejected
from image_processor.recipe import Limits, Recipe
from imagepipe import samples
from PIL import Image

RECIPE = Recipe(widths=(64, 160), thumbnail_size=48)
PICTURE = samples.landscape(200, 150, 1)


def render(data: bytes, recipe: Recipe = RECIPE) -> Rendition:
    return engine.render(bytes(data), gate.inspect(bytes(data), Limits()), recipe)


def opened(variant: Variant) -> Image.Image:
    image = Image.open(io.BytesIO(variant.data))
    image.load()
    return image


def by_name(rendition: Rendition) -> dict[str, Image.Image]:
    return {variant.name: opened(variant) for variant in rendition.variants}


def with_orientation(image: pyvips.Image, orientation: int) -> bytes:
    tagged = image.copy()
    tagged.set_type(pyvips.GValue.gint_type, "orientation", orientation)
    return bytes(tagged.jpegsave_buffer(Q=95))


def difference(a: Image.Image, b: Image.Image) -> float:
    """Mean absolute difference of two pictures of the same size, 0 to 255."""
    pixels = [list(image.convert("RGB").tobytes()) for image in (a, b)]
    return sum(abs(x - y) for x, y in zip(*pixels, strict=True)) / len(pixels[0])


def test_every_width_comes_in_a_modern_format_and_a_fallback() -> None:
    images = by_name(render(PICTURE.jpegsave_buffer()))
    sizes = {name: (image.format, image.size) for name, image in images.items()}
    assert sizes == {
        "w160-avif": ("AVIF", (160, 120)),
        "w160-jpeg": ("JPEG", (160, 120)),
        "w64-avif": ("AVIF", (64, 48)),
        "w64-jpeg": ("JPEG", (64, 48)),
        "thumbnail-avif": ("AVIF", (48, 48)),
        "thumbnail-jpeg": ("JPEG", (48, 48)),
    }


def test_variants_say_of_themselves_what_they_are() -> None:
    for variant in render(PICTURE.jpegsave_buffer()).variants:
        image = opened(variant)
        assert (image.format or "").lower() == variant.format
        assert image.size == (variant.width, variant.height)
        assert variant.content_type == f"image/{variant.format}"
        assert variant.file_name.startswith(f"{variant.name}.")


@pytest.mark.parametrize(
    ("width", "widths"),
    [(200, {160, 64, 48}), (160, {160, 64, 48}), (100, {100, 64, 48}), (64, {64, 48}), (40, {40, 30})],
)
def test_nothing_is_enlarged_and_the_top_rung_is_the_source_itself(width: int, widths: set[int]) -> None:
    picture = samples.landscape(width, width * 3 // 4, 1)
    assert {variant.width for variant in render(picture.pngsave_buffer()).variants} == widths


def test_source_as_wide_as_no_rung_takes_the_name_of_the_rung_above() -> None:
    variants = {
        variant.name: variant.width for variant in render(samples.landscape(100, 75, 1).pngsave_buffer()).variants
    }
    assert variants["w160-avif"] == 100


def test_one_pixel_is_an_image() -> None:
    images = by_name(render(samples.landscape(64, 64, 1).crop(0, 0, 1, 1).pngsave_buffer()))
    assert {image.size for image in images.values()} == {(1, 1)}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_comes_out_upright(orientation: int) -> None:
    """Turned and mirrored as a camera may store it, the picture comes out as it was seen."""
    undo = {
        1: lambda i: i,
        2: lambda i: i.fliphor(),
        3: lambda i: i.rot180(),
        4: lambda i: i.flipver(),
        5: lambda i: i.rot90().fliphor(),
        6: lambda i: i.rot270(),
        7: lambda i: i.rot270().fliphor(),
        8: lambda i: i.rot90(),
    }
    rendition = render(with_orientation(undo[orientation](PICTURE), orientation))
    assert (rendition.width, rendition.height) == (200, 150)
    seen = by_name(rendition)["w160-jpeg"]
    reference = by_name(render(PICTURE.jpegsave_buffer(Q=95)))["w160-jpeg"]
    assert seen.size == (160, 120)
    assert difference(seen, reference) < 4


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("grey", PICTURE.colourspace("b-w").jpegsave_buffer()),
        ("cmyk", PICTURE.colourspace("cmyk").jpegsave_buffer(Q=95)),
        ("16-bit", PICTURE.colourspace("rgb16").pngsave_buffer()),
        ("palette", PICTURE.pngsave_buffer(palette=True)),
        ("progressive", PICTURE.jpegsave_buffer(interlace=True)),
        ("tiff", PICTURE.tiffsave_buffer()),
        ("webp", PICTURE.webpsave_buffer(lossless=True, effort=0)),
    ],
)
def test_everything_comes_out_as_8_bit_srgb(name: str, data: bytes) -> None:
    image = by_name(render(data))["w160-jpeg"]
    assert image.mode == "RGB"
    source = PICTURE.colourspace("b-w").colourspace("srgb") if name == "grey" else PICTURE
    reference = Image.frombytes("RGB", (200, 150), source.write_to_memory()).resize(
        (160, 120), Image.Resampling.LANCZOS
    )
    assert difference(image, reference) < (16 if name == "cmyk" else 8)


def test_wide_gamut_profile_is_converted_and_not_carried_along() -> None:
    wide = PICTURE.icc_transform("p3", input_profile="srgb")
    image = by_name(render(wide.jpegsave_buffer(Q=95, profile="p3")))["w160-jpeg"]
    reference = Image.frombytes("RGB", (200, 150), PICTURE.write_to_memory()).resize(
        (160, 120), Image.Resampling.LANCZOS
    )
    assert "icc_profile" not in image.info
    assert difference(image, reference) < 8


def test_fine_lines_keep_their_brightness() -> None:
    """Black and white lines give off half the light of white, 188 in sRGB; their values average to 128."""
    lines = (pyvips.Image.xyz(640, 480)[0] % 2 * 255).cast("uchar")
    picture = lines.bandjoin([lines, lines]).copy(interpretation="srgb")
    for name in ("w160-jpeg", "w64-jpeg", "thumbnail-jpeg"):
        image = by_name(render(picture.pngsave_buffer()))[name].convert("L")
        values = image.tobytes()
        assert abs(sum(values) / len(values) - 188) < 3, name


@pytest.mark.parametrize("value", [0, 1, 16, 64, 128, 200, 254, 255])
def test_plain_colours_come_through_linear_light_unchanged(value: int) -> None:
    plain = (pyvips.Image.black(300, 200, bands=3) + value).cast("uchar").copy(interpretation="srgb")
    shrunk = light.to_srgb(light.shrink(light.from_srgb(plain), 64))
    assert (shrunk.min(), shrunk.max()) == (value, value)


def test_alpha_is_kept_and_falls_back_to_png() -> None:
    rendition = render(samples.logo(100).pngsave_buffer())
    assert {variant.format for variant in rendition.variants} == {"avif", "png"}
    image = by_name(rendition)["w160-png"]
    assert image.mode == "RGBA"
    assert image.getpixel((0, 0))[3] == 0  # type: ignore[index]
    assert image.getpixel((50, 50))[3] == 255  # type: ignore[index]


def test_edges_of_alpha_do_not_darken() -> None:
    """Colour under full transparency must not bleed into the edge when the picture shrinks."""
    white = pyvips.Image.black(200, 200, bands=3).copy(interpretation="srgb") + 255
    half = (pyvips.Image.xyz(200, 200)[0] < 101).ifthenelse(white.cast("uchar"), [0, 0, 0])
    alpha = (pyvips.Image.xyz(200, 200)[0] < 101).ifthenelse(255, 0).cast("uchar")
    image = by_name(render(half.bandjoin(alpha).copy(interpretation="srgb").pngsave_buffer()))["w64-png"]
    visible = [image.getpixel((x, 30)) for x in range(64)]
    assert all(min(pixel[:3]) > 200 for pixel in visible if pixel[3] > 30)  # type: ignore[index,operator]


def test_animation_gives_its_first_frame() -> None:
    rendition = render(samples._animation())
    assert (rendition.width, rendition.height) == (320, 240)
    assert by_name(rendition)["w160-avif"].size == (160, 120)


def test_thumbnail_of_a_narrow_picture_is_square_and_not_enlarged() -> None:
    narrow = samples.landscape(30, 300, 1)
    assert by_name(render(narrow.pngsave_buffer()))["thumbnail-jpeg"].size == (30, 30)


def test_no_variant_carries_metadata() -> None:
    data = samples._camera(200, 150, 1).jpegsave_buffer()
    for image in by_name(render(data)).values():
        assert not image.getexif()
        assert "icc_profile" not in image.info


@pytest.mark.parametrize("share", [0.2, 0.5, 0.97])
@pytest.mark.parametrize("suffix", ["jpeg", "png", "webp", "tiff"])
def test_half_a_picture_is_none(suffix: str, share: float) -> None:
    data = bytes(getattr(PICTURE, f"{suffix}save_buffer")())
    with pytest.raises(Rejected) as raised:
        render(data[: int(len(data) * share)])
    assert raised.value.reason in {Reason.TRUNCATED, Reason.UNDECODABLE}


def test_truncated_jpeg_is_called_so() -> None:
    data = bytes(PICTURE.jpegsave_buffer())
    with pytest.raises(Rejected) as raised:
        render(data[: len(data) // 2])
    assert raised.value.reason == Reason.TRUNCATED


def test_same_bytes_give_the_same_bytes() -> None:
    data = PICTURE.jpegsave_buffer()
    assert [v.data for v in render(data).variants] == [v.data for v in render(data).variants]


# --- facts ------------------------------------------------------------------------------------------------------------


def test_exif_tells_of_the_shot_and_never_of_the_place() -> None:
    image = samples._camera(100, 80, 1)
    for field, value in (
        ("exif-ifd2-ExposureTime", "1/125"),
        ("exif-ifd2-FNumber", "28/10"),
        ("exif-ifd3-GPSLatitude", "52/1 30/1 0/1"),
        ("exif-ifd2-BodySerialNumber", "12345"),
        ("exif-ifd0-Artist", "Somebody"),
    ):
        image.set_type(pyvips.GValue.gstr_type, field, value)
    exif = render(image.jpegsave_buffer()).exif
    assert exif == {
        "make": "Sample",
        "model": "Model One",
        "taken_at": "2026:05:02 12:00:00",
        "iso": 200,
        "exposure_seconds": 0.008,
        "aperture": 2.8,
    }


@pytest.mark.parametrize(
    ("colour", "expected"), [([250, 10, 10], "#f80808"), ([10, 250, 10], "#08f808"), ([8, 8, 250], "#0808f8")]
)
def test_dominant_colour_is_the_one_that_fills_the_picture(colour: list[int], expected: str) -> None:
    plain = (pyvips.Image.black(64, 64, bands=3) + colour).cast("uchar").copy(interpretation="srgb")
    assert facts.dominant_colour(plain, [255, 255, 255]) == expected


def test_thumbhash_tells_colours_and_shape_apart() -> None:
    hashes = {facts.thumbhash(samples.landscape(100, 75, seed)) for seed in range(4)}
    assert len(hashes) == 4
    assert all(len(base64.b64decode(each)) <= 25 for each in hashes)


def test_thumbhash_of_a_plain_picture_holds_its_colour() -> None:
    """Bytes 0 to 2 hold the mean lightness in 6 bits: white is all ones, black all zeros."""
    for value, bits in ((255, 63), (0, 0)):
        plain = (pyvips.Image.black(40, 30, bands=3) + value).cast("uchar").copy(interpretation="srgb")
        assert base64.b64decode(facts.thumbhash(plain))[0] & 63 == bits
