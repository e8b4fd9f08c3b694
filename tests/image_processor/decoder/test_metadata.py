"""What is recorded of a shot, and what the variants carry on."""

import io

import pytest
import pyvips
from PIL import Image

from image_processor.decoder import engine, gate, metadata
from image_processor.recipe import Encoding, Limits, Recipe, VariantSpec
from image_processor.rendition import Rendition
from imagepipe.images import samples

SHOT = {
    "ifd0-Make": "Camera",
    "ifd0-Copyright": "(c) Somebody (all rights)",
    "ifd0-Artist": "Somebody",
    "ifd2-LensModel": "35mm F1.8",
    "ifd2-DateTimeOriginal": "2024:05:06 07:08:09",
    "ifd2-OffsetTimeOriginal": "+02:00",
    "ifd2-ExposureTime": "1/125",
    "ifd2-BodySerialNumber": "SERIAL42",
    "ifd3-GPSLatitude": "52/1 30/1 0/1",
    "ifd3-GPSLatitudeRef": "N",
    "ifd3-GPSLongitude": "13/1 24/1 36/1",
    "ifd3-GPSLongitudeRef": "W",
    "ifd3-GPSAltitude": "34/1",
}
#: As libvips shows EXIF: the value again, its type and its size.
TAIL = " (text, ASCII, 1 components, 1 bytes)"
FORMATS = ("avif", "webp", "png", "jpeg")
RECIPE = Recipe(
    variants=tuple(
        VariantSpec(width, (Encoding(name, 50),)) for width, name in zip((64, 72, 80, 88), FORMATS, strict=True)
    )
)


def shot(**more: bytes) -> bytes:
    picture = samples.landscape(120, 80, 1).copy_memory().copy()
    for name, value in SHOT.items():
        picture.set_type(pyvips.GValue.gstr_type, f"exif-{name}", value + TAIL)
    for name, blob in more.items():
        picture.set_type(pyvips.GValue.blob_type, f"{name}-data", blob)
    return bytes(picture.jpegsave_buffer())


def render(data: bytes, recipe: Recipe = RECIPE) -> Rendition:
    return engine.render(data, gate.inspect(data, Limits()), recipe)


def test_shot_is_recorded_with_its_time_as_iso_8601() -> None:
    exif = render(shot()).exif
    assert exif["make"] == "Camera"
    assert exif["lens"] == "35mm F1.8"
    assert exif["exposure_seconds"] == 0.008
    assert exif["taken_at"] == "2024-05-06T07:08:09+02:00"
    assert "SERIAL42" not in str(exif)


def test_place_is_recorded_only_if_the_recipe_asks() -> None:
    assert "gps" not in render(shot()).exif
    gps = render(shot(), Recipe(variants=RECIPE.variants, gps=True)).exif["gps"]
    assert gps == {"latitude": 52.5, "longitude": -13.41, "altitude_m": 34}


@pytest.mark.parametrize("index", range(4), ids=FORMATS)
def test_variants_keep_the_rights_and_nothing_else(index: int) -> None:
    data = next(variant.data for variant in render(shot()).variants if variant.format == FORMATS[index])
    picture = pyvips.Image.new_from_buffer(data, "")
    assert metadata.rights(picture) == {"copyright": SHOT["ifd0-Copyright"], "creator": "Somebody"}
    assert not metadata.read(picture, gps=True).keys() - {"copyright", "creator"}
    for secret in (b"SERIAL42", b"GPS", b"Camera", b"35mm"):
        assert secret not in data
    exif = Image.open(io.BytesIO(data)).getexif()
    assert exif[0x8298] == SHOT["ifd0-Copyright"]


def test_variants_of_an_image_without_rights_have_no_metadata() -> None:
    for variant in render(bytes(samples.landscape(120, 80, 1).jpegsave_buffer())).variants:
        fields = pyvips.Image.new_from_buffer(variant.data, "").get_fields()
        assert not [name for name in fields if name.startswith("exif") or name.endswith("-data")]


def test_rights_come_from_xmp_and_iptc_too() -> None:
    xmp = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description photoshop:Credit="Agency &amp; Co">
      <dc:rights><rdf:Alt><rdf:li xml:lang="x-default">© Jemand</rdf:li></rdf:Alt></dc:rights>
      <dc:creator><rdf:Seq><rdf:li>Jürgen</rdf:li></rdf:Seq></dc:creator>
    </rdf:Description></rdf:RDF></x:xmpmeta>""".encode()
    rendition = render(shot(xmp=xmp))
    wanted = {"copyright": "© Jemand", "creator": "Jürgen", "credit": "Agency & Co"}
    assert {name: rendition.exif[name] for name in wanted} == wanted
    for variant in rendition.variants:
        assert metadata.rights(pyvips.Image.new_from_buffer(variant.data, "")) == wanted
    iptc = b"\x1c\x02\x6e\x00\x06Agency" + b"\x1c\x02\x74\x00\x03\xa9 X"
    picture = samples.landscape(60, 40, 1).copy()
    picture.set_type(pyvips.GValue.blob_type, "iptc-data", iptc)
    assert metadata.rights(picture) == {"copyright": "© X", "credit": "Agency"}


@pytest.mark.parametrize("value", ["", "0000:00:00 00:00:00", "yesterday", "2024:05"])
def test_time_that_is_none_is_left_out(value: str) -> None:
    picture = samples.landscape(60, 40, 1).copy()
    picture.set_type(
        pyvips.GValue.gstr_type, "exif-ifd2-DateTimeOriginal", f"{value} (x, ASCII, 1 components, 1 bytes)"
    )
    assert "taken_at" not in metadata.read(picture)


@pytest.mark.parametrize("value", ["1/0", "-1/2", "x", "", "9" * 400])
def test_number_that_is_none_is_left_out(value: str) -> None:
    picture = samples.landscape(60, 40, 1).copy()
    picture.set_type(pyvips.GValue.gstr_type, "exif-ifd2-FNumber", value + TAIL)
    assert metadata.read(picture) == {}


def test_letters_that_are_no_text_are_no_error() -> None:
    data = shot().replace(b"Camera", b"C\xe4m\xff\xfe\xfa")
    assert render(data).width == 120


def test_gain_map_and_animation_are_recorded() -> None:
    assert render(shot(xmp=b'<rdf:Description hdrgm:Version="1.0"/>')).exif["gain_map"] is True
    frames = pyvips.Image.arrayjoin([samples.landscape(60, 40, seed) for seed in (1, 2)], across=1).copy()
    frames.set_type(pyvips.GValue.gint_type, "page-height", 40)
    frames.set_type(pyvips.GValue.array_int_type, "delay", [40, 60])
    exif = render(bytes(frames.webpsave_buffer())).exif
    assert (exif["duration_ms"], exif["loop"]) == (100, 0)
