"""The law of recipe and limits: generated files follow it, and the schema refuses what Python refuses."""

import itertools
import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from image_processor.recipe import EFFORTS, FORMATS, Limits, Recipe, SettingError, rules
from imagepipe.live import law
from imagepipe.live.types import parse_type


def test_generated_files_are_up_to_date() -> None:
    assert law.main(["--check"]) == 0, "run make generate"


def test_a_stale_file_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    stale = {law.ROOT / "lambda-image/limits.schema.json": "{}"}
    monkeypatch.setattr(law, "generated", lambda: stale)
    assert law.main(["--check"]) == 1
    assert "lambda-image/limits.schema.json" in capsys.readouterr().out


def encodings() -> Iterator[dict[str, Any]]:
    """Encodings at the edges of every range and one beyond."""
    for format_ in (*FORMATS, "gif"):
        edges = {
            "effort": range(-1, 11),
            "lossless": (False, True),
            "quality": (0, 1, 100, 101),
            "quant_table": (-1, 0, 1, 8, 9),
        }
        for name, values in edges.items():
            yield from ({"format": format_, name: value} for value in values)


def recipes() -> Iterator[dict[str, Any]]:
    for encoding in encodings():
        yield {"alpha": [encoding]}
        yield {"variants": [{"width": 640, "formats": [encoding]}]}
    for format_, effort in itertools.product((*EFFORTS, None), range(-1, 12)):
        yield {"animation": {"effort": effort} | ({"format": format_} if format_ else {})}
    for width, height, fit in itertools.product((15, 16, 8192, 8193), (15, 16, None), ("inside", "cover", "contain")):
        yield {"variants": [{"width": width, "height": height, "fit": fit, "formats": [{"format": "jpeg"}]}]}
    for colour in ("#ffffff", "#fffff", "#FFFFFF", "white", "#ffffff0"):
        yield {"background": colour}
    for name in ("", "a", "a" * 32, "a" * 33, "A", "1a", "a-b"):
        yield {"variants": [{"width": 64, "name": name, "formats": [{"format": "jpeg"}]}]}


def limits() -> Iterator[dict[str, Any]]:
    for name, (_, rule) in rules(Limits).items():
        if rule.high:
            yield from ({name: value} for value in (rule.low - 1, rule.low, rule.high, rule.high + 1))
    yield from ({"formats": formats} for formats in ([], ["jpeg"], ["bmp"], ["heic", "bmp"]))


@pytest.mark.parametrize(("settings", "cases"), [(Recipe, [*recipes()]), (Limits, [*limits()])])
def test_schema_and_processor_agree(settings: type[Recipe | Limits], cases: list[dict[str, Any]]) -> None:
    validator = jsonschema.Draft202012Validator(law.schema(settings))
    verdicts = []
    for given in cases:
        try:
            settings.parse(json.dumps(given))
            verdicts.append(True)
        except SettingError:
            verdicts.append(False)
    assert {True, False} == {*verdicts}
    assert [given for given, ok in zip(cases, verdicts, strict=True) if validator.is_valid(given) != ok] == []


def test_types_are_read_as_names() -> None:
    text = """object({
      # a comment, with (brackets
      a = optional(number, 3)
      b = optional(list(object({ c = string, d = optional(bool, false) })), [])
      e = map(string)
    })
    default = {}"""
    closed = {"type": "object", "additionalProperties": False}
    items = closed | {"properties": {"c": {}, "d": {}}}
    assert parse_type(text) == closed | {
        "properties": {
            "a": {},
            "b": {"type": "array", "items": items},
            "e": {"type": "object", "additionalProperties": {}},
        }
    }


def test_a_type_that_is_not_known_is_an_error() -> None:
    with pytest.raises(ValueError, match="tuple is no type"):
        parse_type("tuple([string])")
