"""Recipe and limits are data: every value has a range, and what is wrong is said by name."""

import json

import pytest
from image_processor.recipe import Limits, Recipe, SettingError


@pytest.mark.parametrize("text", [None, "", "{}"])
def test_nothing_given_is_the_default(text: str | None) -> None:
    assert Recipe.parse(text) == Recipe()


def test_given_fields_replace_the_defaults() -> None:
    recipe = Recipe.parse('{"widths": [100, 200], "modern_format": "webp"}')
    assert recipe.widths == (100, 200)
    assert recipe.modern_format == "webp"
    assert recipe.fallback_quality == Recipe().fallback_quality


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"widths": []}, "at least one width"),
        ({"widths": [640, 256]}, "must ascend"),
        ({"widths": [256, 256]}, "must ascend"),
        ({"widths": [8]}, "Recipe.widths must be a whole number from 16 to 8192, not 8"),
        ({"widths": [100.5]}, "must be a whole number"),
        ({"widths": 640}, "must be a list"),
        ({"thumbnail_size": 4}, "Recipe.thumbnail_size"),
        ({"modern_quality": 0}, "Recipe.modern_quality"),
        ({"fallback_quality": True}, "Recipe.fallback_quality"),
        ({"modern_format": "gif"}, "one of avif, webp"),
        ({"background": "white"}, "a colour like #ffffff"),
        ({"wdths": [640]}, "Recipe has no wdths; it has background"),
    ],
)
def test_recipe_that_cannot_be_meant_is_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        Recipe.parse(json.dumps(given))


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
    assert Recipe(modern_quality=61).version != Recipe().version
