"""Recipe and limits are data: every value has a range, and what is wrong is said by name."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from image_processor.recipe import Encoding, Limits, Recipe, SettingError, VariantSpec, ladder, verdict_version

SCHEMA = json.loads((Path(__file__).parents[2] / "lambda-image/recipe.schema.json").read_text())
JPEG = {"format": "jpeg", "quality": 80}

VALID: list[dict[str, Any]] = [
    {},
    {"background": "#00ff7f", "wide_gamut": True, "partial": True},
    {"variants": [{"width": 100, "formats": [JPEG]}]},
    {"variants": [{"width": 100, "height": 50, "fit": "cover", "crop": "focal", "name": "card", "formats": [JPEG]}]},
    {"variants": [{"width": 100, "height": 50, "fit": "contain", "formats": [{"format": "webp", "effort": 6}, JPEG]}]},
    {"graphic": [], "alpha": [{"format": "png"}]},
    {"animation": {"format": "gif", "max_frames": 0}},
]
INVALID: list[tuple[dict[str, Any], str]] = [
    ({"variants": []}, "Recipe.variants must be a list of 1 to 32"),
    ({"variants": 640}, "Recipe.variants must be a list"),
    (
        {"variants": [{"width": 8, "formats": [JPEG]}]},
        "VariantSpec.width must be a whole number from 16 to 8192, not 8",
    ),
    ({"variants": [{"width": 100.5, "formats": [JPEG]}]}, "must be a whole number"),
    ({"variants": [{"formats": [JPEG]}]}, r"Recipe.variants\[0\] needs width"),
    ({"variants": [{"width": 100}]}, r"Recipe.variants\[0\] needs formats"),
    ({"variants": [{"width": 100, "formats": []}]}, "VariantSpec.formats must be a list of at least 1"),
    ({"variants": [{"width": 100, "formats": [JPEG], "fit": "cover"}]}, "cover needs a height"),
    ({"variants": [{"width": 100, "height": 100, "formats": [JPEG], "fit": "fill"}]}, "one of contain, cover, inside"),
    ({"variants": [{"width": 100, "height": 100, "formats": [JPEG], "crop": "top"}]}, "attention, centre, focal"),
    ({"variants": [{"width": 100, "formats": [JPEG], "name": "no/slash"}]}, "letters a-z and digits"),
    ({"variants": [{"width": 100, "formats": [{"format": "bmp"}]}]}, "one of avif, jpeg, png, webp, not 'bmp'"),
    ({"variants": [{"width": 100, "formats": [{"format": "jpeg", "quality": 0}]}]}, "Encoding.quality"),
    ({"variants": [{"width": 100, "formats": [{"format": "webp", "effort": 7}]}]}, "Encoding.effort"),
    ({"variants": [{"width": 100, "formats": [{"format": "jpeg", "effort": 2}]}]}, "Encoding.effort"),
    ({"variants": [{"width": 100, "formats": [{"format": "jpeg", "lossless": True}]}]}, "jpeg cannot be"),
    ({"variants": [{"width": 100, "formats": [{"format": "webp", "quant_table": 3}]}]}, "Encoding.quant_table"),
    ({"animation": {"format": "avif"}}, "one of gif, webp"),
    ({"partial": 1}, "true or false"),
    ({"background": "white"}, "a colour like #ffffff"),
    ({"varients": []}, "Recipe has no varients; it has alpha, animation, background"),
]


@pytest.mark.parametrize("text", [None, "", "{}"])
def test_nothing_given_is_the_default(text: str | None) -> None:
    assert Recipe.parse(text) == Recipe()


def test_given_fields_replace_the_defaults() -> None:
    recipe = Recipe.parse(json.dumps(VALID[3]))
    assert recipe.variants == (VariantSpec(100, (Encoding("jpeg", 80),), 50, "cover", "focal", "card"),)
    assert recipe.graphic == Recipe().graphic


def test_null_is_a_field_that_is_not_given() -> None:
    """Terraform writes optional attributes that are not set as nulls."""
    text = (
        '{"variants": [{"width": 64, "height": null, "name": null, "formats": [{"format": "jpeg", "effort": null}]}]}'
    )
    assert Recipe.parse(text).variants == (VariantSpec(64, (Encoding("jpeg"),)),)


def test_a_recipe_written_out_is_read_back_as_itself() -> None:
    assert Recipe.parse(json.dumps(asdict(Recipe()))) == Recipe()


def test_variant_without_a_name_is_named_by_its_size() -> None:
    assert [VariantSpec(64, (Encoding("jpeg"),), height).name for height in (None, 48)] == ["w64", "w64h48"]


def test_default_is_the_ladder_and_a_square_thumbnail_each_with_a_fallback_that_everything_reads() -> None:
    variants = Recipe().variants
    assert [variant.width for variant in variants] == [256, 640, 320, 1280, 1920]
    assert (variants[2].name, variants[2].height, variants[2].crop) == ("thumbnail", 320, "attention")
    assert {variant.formats[-1].format for variant in variants} == {"jpeg"}
    assert {Recipe().graphic[-1].format, Recipe().alpha[-1].format} == {"png"}


def test_two_variants_of_the_same_name_are_refused() -> None:
    with pytest.raises(SettingError, match="w64 is there twice"):
        Recipe(variants=ladder(64, 64, thumbnail=32))


@pytest.mark.parametrize(("given", "message"), INVALID)
def test_recipe_that_cannot_be_meant_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        Recipe.parse(json.dumps(given))


@pytest.mark.parametrize("given", VALID)
def test_what_the_schema_accepts_is_read(given: dict[str, Any]) -> None:
    jsonschema.validate(given, SCHEMA)
    Recipe.parse(json.dumps(given))


@pytest.mark.parametrize("given", [given for given, _ in INVALID])
def test_what_is_refused_the_schema_refuses_too(given: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(given, SCHEMA)


def test_schema_states_the_defaults() -> None:
    jsonschema.validate(json.loads(json.dumps(asdict(Recipe()))) | {"variants": VALID[2]["variants"]}, SCHEMA)
    stated = {name: field["default"] for name, field in SCHEMA["properties"].items() if "default" in field}
    defaults = json.loads(json.dumps(asdict(Recipe())))
    assert stated == {name: defaults[name] for name in stated}
    assert set(SCHEMA["properties"]) == set(defaults) | {"$schema"}


@pytest.mark.parametrize("text", ["[]", "nonsense", '"text"'])
def test_what_is_no_json_object_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match="Limits"):
        Limits.parse(text)


@pytest.mark.parametrize("field", ["max_bytes", "max_pixels", "max_progressive_pixels", "max_side"])
def test_limits_are_positive(field: str) -> None:
    with pytest.raises(SettingError, match=f"Limits.{field}"):
        Limits.parse(json.dumps({field: 0}))


def test_version_changes_with_what_is_made_and_with_nothing_else() -> None:
    assert Recipe.parse("{}").version == Recipe().version
    assert Recipe(partial=True).version != Recipe().version


def test_limits_of_the_process_make_no_other_verdict() -> None:
    """Otherwise switching them would have every image made again."""
    other = Limits(images_per_worker=1, require_confinement=True)
    assert verdict_version(Recipe(), other, "") == verdict_version(Recipe(), Limits(), "")
    assert verdict_version(Recipe(), Limits(max_seconds=9), "") != verdict_version(Recipe(), Limits(), "")
