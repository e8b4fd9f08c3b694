"""Pictures in, pictures out; judged by another library than the one that made them."""

import io
import struct
import threading
from dataclasses import replace
from typing import Any

import pytest
import pyvips
from PIL import Image, ImageCms, ImageOps

from image_processor.decoder import encode, engine, gate, light
from image_processor.decoder.engine import Rendition, Variant
from image_processor.recipe import Animation, Encoding, Limits, Recipe, VariantSpec, ladder
from image_processor.verdict import Reason, Rejected
from imagepipe.images import samples

#: Qualities so far apart that the modern format is the smaller one even at these sizes.
FORMATS = (Encoding("avif", 40), Encoding("jpeg", 85))
RECIPE = Recipe(variants=ladder(64, 160, thumbnail=48, formats=FORMATS))
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


def strip(frames: int) -> pyvips.Image:
    """An animation as libvips holds it: frames of 200 × 150 pixels, one below the other."""
    pictures = [PICTURE.wrap(x=-20 * step, y=0) for step in range(frames)]
    joined = pyvips.Image.arrayjoin(pictures, across=1).copy()
    joined.set_type(pyvips.GValue.gint_type, "page-height", 150)
    return joined


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
        image = by_name(render(picture.pngsave_buffer(), replace(RECIPE, graphic=())))[name].convert("L")
        values = image.tobytes()
        assert abs(sum(values) / len(values) - 188) < 3, name


@pytest.mark.parametrize("value", [0, 1, 16, 64, 128, 200, 254, 255])
def test_plain_colours_come_through_linear_light_unchanged(value: int) -> None:
    plain = (pyvips.Image.black(300, 200, bands=3) + value).cast("uchar").copy(interpretation="srgb")
    shrunk = light.resize(plain, 64, 43)
    assert (shrunk.min(), shrunk.max()) == (value, value)


def test_alpha_is_kept_and_falls_back_to_png() -> None:
    rendition = render(samples.logo(100).pngsave_buffer())
    assert {variant.name for variant in rendition.variants} >= {"w160-png", "w64-png", "thumbnail-png"}
    assert not [variant for variant in rendition.variants if variant.format == "jpeg"]
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
    rendition = render(strip(3).gifsave_buffer())
    assert (rendition.width, rendition.height) == (200, 150)
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


def test_png_whose_middle_is_broken_is_not_called_truncated() -> None:
    data = bytearray(PICTURE.pngsave_buffer())
    for end, reason in ((len(data), Reason.UNDECODABLE), (len(data) // 2, Reason.TRUNCATED)):
        data[len(data) // 3] ^= 1
        with pytest.raises(Rejected) as raised:
            render(bytes(data[:end]))
        assert raised.value.reason == reason


def test_tiff_of_which_nothing_can_be_read_is_no_transparent_picture() -> None:
    """Tiles in old-style JPEG: libtiff gives up on them, and libvips shows what was there before, nothing."""
    fields = {256: 64, 257: 64, 258: 8, 259: 6, 262: 6, 277: 3, 284: 1, 322: 64, 323: 64, 324: 300, 325: 100}
    fields |= {258: 250}
    packed = b"".join(
        struct.pack("<HHII", tag, 3 if tag == 258 else 4, 3 if tag == 258 else 1, value)
        for tag, value in sorted(fields.items())
    )
    data = b"II*\0\x08\0\0\0" + struct.pack("<H", len(fields)) + packed + bytes(4)
    data = data.ljust(250, b"\0") + struct.pack("<HHH", 8, 8, 8)
    with pytest.raises(Rejected) as raised:
        render(data.ljust(400, b"\x55"))
    assert raised.value.reason == Reason.UNSUPPORTED_FORMAT


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
        "taken_at": "2026-05-02T12:00:00",
        "iso": 200,
        "exposure_seconds": 0.008,
        "aperture": 2.8,
        "creator": "Somebody",
    }


# --- sizes ------------------------------------------------------------------------------------------------------------


def boxed(**fields: Any) -> Recipe:
    return Recipe(variants=(VariantSpec(80, (Encoding("png"),), 80, name="box", **fields),), graphic=(), alpha=())


@pytest.mark.parametrize(("fit", "size"), [("inside", (80, 60)), ("contain", (80, 80)), ("cover", (80, 80))])
def test_box_is_fitted_into_padded_or_filled(fit: str, size: tuple[int, int]) -> None:
    assert by_name(render(PICTURE.pngsave_buffer(), boxed(fit=fit)))["box-png"].size == size


def test_contained_picture_lies_on_the_background() -> None:
    recipe = replace(boxed(fit="contain"), background="#ff0000")
    image = by_name(render(PICTURE.pngsave_buffer(), recipe))["box-png"]
    assert image.getpixel((40, 2)) == (255, 0, 0)
    assert image.getpixel((40, 40)) != (255, 0, 0)


@pytest.mark.parametrize(("point", "band"), [(None, 1), ((0.0, 0.5), 0), ((1.0, 0.5), 2), ((0.5, 0.0), 1)])
def test_crop_follows_the_focal_point_and_else_the_centre(point: tuple[float, float] | None, band: int) -> None:
    """Three stripes, red, green and blue: the square cut out is mostly of the stripe that the point is on."""
    x = pyvips.Image.xyz(300, 100)[0]
    stripes = [((x >= 100 * i) & (x < 100 * (i + 1))).ifthenelse(255, 0).cast("uchar") for i in range(3)]
    data = bytes(stripes[0].bandjoin(stripes[1:]).copy(interpretation="srgb").pngsave_buffer())
    header = gate.inspect(data, Limits())
    made = engine.render(data, header, boxed(fit="cover", crop="focal"), focal_point=point)
    image = opened(made.variants[0]).convert("RGB")
    means = [sum(image.getchannel(i).tobytes()) for i in range(3)]
    assert means.index(max(means)) == band


def test_box_is_not_enlarged_and_keeps_its_shape() -> None:
    small = samples.landscape(40, 60, 1)
    assert by_name(render(small.pngsave_buffer(), boxed(fit="cover")))["box-png"].size == (40, 40)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_moves_pixels_and_changes_none(orientation: int) -> None:
    """Where nothing is scaled, every pixel is the source's, and sits where Pillow would show it."""
    tagged = PICTURE.copy()
    tagged.set_type(pyvips.GValue.gint_type, "orientation", orientation)
    recipe = Recipe(variants=(VariantSpec(512, (Encoding("png"),)),))
    for data in (tagged.pngsave_buffer(), tagged.tiffsave_buffer(), tagged.webpsave_buffer(lossless=True)):
        seen = by_name(render(data, recipe))["w512-png"]
        assert seen.tobytes() == ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB").tobytes()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_avif_is_turned_once(orientation: int) -> None:
    """Its container says how (irot, imir), and its EXIF may say it again."""
    tagged = PICTURE.copy()
    tagged.set_type(pyvips.GValue.gint_type, "orientation", orientation)
    data = bytes(tagged.heifsave_buffer(compression="av1", Q=95, effort=0))
    seen = by_name(render(data, Recipe(variants=(VariantSpec(512, (Encoding("png"),)),))))["w512-png"]
    assert difference(seen, ImageOps.exif_transpose(Image.open(io.BytesIO(data)))) < 1


# --- formats ----------------------------------------------------------------------------------------------------------


def test_modern_format_that_is_larger_than_the_fallback_is_not_kept() -> None:
    formats = (Encoding("webp", 100, lossless=True), Encoding("jpeg", 20))
    rendition = render(PICTURE.pngsave_buffer(), Recipe(variants=(VariantSpec(160, formats),)))
    assert [variant.name for variant in rendition.variants] == ["w160-jpeg"]


def test_variant_that_is_larger_than_the_source_at_its_size_is_not_kept() -> None:
    source = PICTURE.jpegsave_buffer(Q=5)
    formats = (Encoding("webp", 95), Encoding("jpeg", 100))
    names = {variant.name for variant in render(source, Recipe((VariantSpec(200, formats),), graphic=())).variants}
    assert names == {"w200-jpeg"}  # larger too, but without it nothing would be left
    names = {variant.name for variant in render(source, Recipe((VariantSpec(160, formats),), graphic=())).variants}
    assert names == {"w160-webp", "w160-jpeg"}


def test_few_colours_are_written_losslessly() -> None:
    tiles = (pyvips.Image.xyz(400, 300)[0] // 50 * 30).cast("uchar")
    picture = tiles.bandjoin([255 - tiles, tiles]).cast("uchar").copy(interpretation="srgb")
    image = by_name(render(picture.pngsave_buffer(), Recipe(variants=ladder(400, thumbnail=48))))["w400-webp"]
    assert image.convert("RGB").tobytes() == bytes(picture.write_to_memory())


def test_colours_of_a_small_palette_are_kept_however_they_are_strewn() -> None:
    x, y = (pyvips.Image.xyz(120, 90)[band] for band in (0, 1))
    strewn = (
        ((x * 7 + y * 5) % 3 * 100)
        .cast("uchar")
        .bandjoin([((x + y) % 3 * 90).cast("uchar"), (y % 2 * 200).cast("uchar")])
    )
    strewn = strewn.copy(interpretation="srgb")
    data = strewn.pngsave_buffer(palette=True, bitdepth=4)
    image = by_name(render(data, Recipe(variants=ladder(160, thumbnail=48))))["w160-webp"]
    assert image.convert("RGB").tobytes() == Image.open(io.BytesIO(data)).convert("RGB").tobytes()


def test_icon_is_written_losslessly() -> None:
    icon = samples.landscape(32, 32, 1)
    images = by_name(render(icon.pngsave_buffer(), Recipe(variants=ladder(64, thumbnail=48))))
    assert images["w64-png"].convert("RGB").tobytes() == bytes(icon.write_to_memory())


@pytest.mark.parametrize("bigtiff", [False, True])
def test_mask_that_was_saved_along_with_a_tiff_hides_nothing(bigtiff: bool) -> None:
    """One extra sample may be alpha, or, by its tag, anything: Photoshop saves selections like that."""
    mask = (pyvips.Image.xyz(200, 150)[0] > 100).ifthenelse(255, 0).cast("uchar")
    data = bytes(PICTURE.bandjoin(mask).copy(interpretation="srgb").tiffsave_buffer(bigtiff=bigtiff))
    assert {variant.format for variant in render(data).variants} == {"avif", "png"}
    entry = b"\x52\x01\x03\x00" + (1).to_bytes(8 if bigtiff else 4, "little")
    assert data.count(entry) == 1
    at = data.index(entry) + len(entry)
    image = by_name(render(data[:at] + b"\0\0" + data[at + 2 :]))["w160-jpeg"]
    assert difference(image, by_name(render(PICTURE.tiffsave_buffer()))["w160-jpeg"]) < 1


def test_cut_out_photograph_is_no_graphic() -> None:
    """However much around it is transparent."""
    around = PICTURE.bandjoin(255).copy(interpretation="srgb").embed(200, 150, 800, 600).pngsave_buffer()
    assert "w160-avif" in by_name(render(around, Recipe(variants=ladder(160, 400, thumbnail=48))))


@pytest.mark.parametrize("suffix", ["webp", "heif"])
def test_photograph_that_a_lossy_encoder_has_smoothed_is_no_graphic(suffix: str) -> None:
    """Large parts of it are of one colour to the last bit, and lossless formats would make more of it than it was."""
    x, y = (pyvips.Image.xyz(800, 600)[band] for band in (0, 1))
    smooth = (x / 60 + y / 200 + 90).cast("uchar").bandjoin([(x / 80 + 60).cast("uchar"), (y / 90 + 50).cast("uchar")])
    smooth = smooth.copy(interpretation="srgb")
    options = {"compression": "av1"} if suffix == "heif" else {}
    lossy = getattr(smooth, f"{suffix}save_buffer")(effort=0, **options)
    recipe = Recipe(variants=ladder(400, thumbnail=48))
    assert {variant.format for variant in render(lossy, recipe).variants} <= {"avif", "jpeg"}
    assert {variant.format for variant in render(smooth.pngsave_buffer(), recipe).variants} & {"webp", "png"}


def test_photograph_with_alpha_takes_the_formats_for_alpha() -> None:
    alpha = (pyvips.Image.xyz(200, 150)[0] + 40).cast("uchar")
    formats = {variant.format for variant in render(PICTURE.bandjoin(alpha).pngsave_buffer()).variants}
    assert formats == {"avif", "png"}


def test_alpha_that_hides_nothing_is_dropped() -> None:
    rendition = render(PICTURE.bandjoin(255).pngsave_buffer())
    assert {variant.format for variant in rendition.variants} == {"avif", "jpeg"}


def test_format_without_alpha_shows_the_background() -> None:
    clear = PICTURE.bandjoin((pyvips.Image.xyz(200, 150)[0] > 100).ifthenelse(255, 0).cast("uchar"))
    recipe = replace(RECIPE, alpha=(), graphic=(), background="#00ff00")
    image = by_name(render(clear.pngsave_buffer(), recipe))["w160-jpeg"]
    red, green, blue = image.getpixel((10, 60))  # type: ignore[misc]
    assert red < 12
    assert green > 243
    assert blue < 12


# --- colour -----------------------------------------------------------------------------------------------------------


def test_wide_gamut_is_kept_where_the_recipe_says_so() -> None:
    wide = PICTURE.icc_transform("p3", input_profile="srgb").jpegsave_buffer(Q=95, profile="p3")
    image = by_name(render(wide, replace(RECIPE, wide_gamut=True)))["w160-jpeg"]
    profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
    assert "P3" in ImageCms.getProfileDescription(profile)
    plain = by_name(render(PICTURE.jpegsave_buffer(Q=95), replace(RECIPE, wide_gamut=True)))["w160-jpeg"]
    assert "icc_profile" not in plain.info


def test_broken_profile_is_ignored_with_a_note() -> None:
    broken = PICTURE.copy()
    broken.set_type(pyvips.GValue.blob_type, "icc-profile-data", b"no profile at all" * 20)
    rendition = render(broken.pngsave_buffer(keep="all"))
    assert difference(by_name(rendition)["w160-jpeg"], by_name(render(PICTURE.pngsave_buffer()))["w160-jpeg"]) < 1


@pytest.mark.parametrize("profiled", [True, False])
def test_black_of_cmyk_is_black(profiled: bool) -> None:
    """With black-point compensation the darkest ink is the darkest light; without, it would be 33, 33, 44."""
    ink = (pyvips.Image.black(200, 150, bands=4) + 255).cast("uchar").copy(interpretation="cmyk")
    options = {"profile": "cmyk"} if profiled else {"keep": "none"}
    rendition = render(ink.jpegsave_buffer(Q=95, **options), replace(RECIPE, graphic=()))
    assert sum(by_name(rendition)["w160-jpeg"].getpixel((80, 60))) < 30  # type: ignore[arg-type]


# --- animations -------------------------------------------------------------------------------------------------------


def test_animation_stays_one_with_its_frames_and_delays() -> None:
    frames = strip(3)
    frames.set_type(pyvips.GValue.array_int_type, "delay", [100, 200, 300])
    for data in (frames.gifsave_buffer(), frames.webpsave_buffer()):
        rendition = render(data, replace(RECIPE, animation=Animation(quality=40)))
        moving = {variant.name: variant for variant in rendition.variants if variant.frames > 1}
        assert set(moving) == {"w160-animated", "w64-animated"}
        assert (moving["w160-animated"].width, moving["w160-animated"].height) == (160, 120)
        image = opened(moving["w160-animated"])
        assert getattr(image, "n_frames", 1) == 3
        loaded = pyvips.Image.new_from_buffer(moving["w160-animated"].data, "", n=-1)
        assert loaded.get("delay") == [100, 200, 300]
        assert by_name(rendition)["thumbnail-jpeg"].size == (48, 48)


@pytest.mark.parametrize("budget", [{"max_frames": 2}, {"max_pixels": 1000}])
def test_animation_beyond_its_budget_gives_its_poster(budget: dict[str, int]) -> None:
    rendition = render(strip(3).gifsave_buffer(), replace(RECIPE, animation=Animation(**budget)))
    assert rendition.variants
    assert not [variant for variant in rendition.variants if variant.frames > 1]


# --- truncated --------------------------------------------------------------------------------------------------------


def test_part_of_an_image_is_taken_where_the_recipe_says_so() -> None:
    whole = samples.landscape(800, 600, 1).jpegsave_buffer(Q=90)
    rendition = render(whole[: len(whole) // 2], replace(RECIPE, partial=True))
    assert 0.2 < rendition.decoded < 0.8
    assert by_name(rendition)["w160-jpeg"].size == (160, 120)
    assert render(whole, replace(RECIPE, partial=True)).decoded == 1.0


# --- threads ----------------------------------------------------------------------------------------------------------


def jobs_of_three_sizes() -> list[encode.Job]:
    picture = samples.landscape(100, 100, 1)
    return [
        encode.Job("a", picture.crop(0, 0, 10, 10), Encoding("jpeg")),
        encode.Job("b", picture, Encoding("avif")),
        encode.Job("c", picture, Encoding("jpeg")),
    ]


def test_dearest_starts_first(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []

    def save(picture: pyvips.Image, how: Encoding, *_: object) -> bytes:
        started.append(f"{how.format}{picture.width}")
        return b"."

    monkeypatch.setattr(encode, "save", save)
    encode.encode(jobs_of_three_sizes(), RECIPE, False, threads=1, memory=10**9)
    assert started == ["avif100", "jpeg100", "jpeg10"]


def test_encoders_run_side_by_side_as_far_as_memory_holds_them(monkeypatch: pytest.MonkeyPatch) -> None:
    meeting = threading.Barrier(2)

    def save(*_: object) -> bytes:
        meeting.wait(timeout)
        return b"."

    monkeypatch.setattr(encode, "save", save)
    two, timeout = jobs_of_three_sizes()[1:], 30.0  # seconds; long, so that a busy machine fails nothing
    encode.encode(two, RECIPE, False, threads=2, memory=10**9)
    timeout = 0.1
    with pytest.raises(threading.BrokenBarrierError):
        encode.encode(two, RECIPE, False, threads=2, memory=two[0].memory)


def test_page_too_long_for_webp_comes_without_it() -> None:
    page = pyvips.Image.black(64, 17_000, bands=3).copy(interpretation="srgb")
    data = bytes(page.pngsave_buffer(compression=1))
    rendition = engine.render(data, gate.inspect(data, Limits()), Recipe(variants=ladder(64, thumbnail=32)))
    assert {variant.format for variant in rendition.variants if variant.height == 17_000} == {"png"}
