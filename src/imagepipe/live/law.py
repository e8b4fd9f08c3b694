"""Everything that is generated from the law of recipe and limits, and from the variables of the modules.

`make generate` writes it, `make lint` compares it:

- `lambda-image/recipe.schema.json` and `lambda-image/limits.schema.json` from `image_processor/recipe.py`;
- the types of `recipe` and `limits`, and their ranges, in `modules/compute/variables-processor.tf`;
- `live/settings.schema.json`, the names that an env.hcl may set: the variables of the modules that its units pass on
  (a new setting of a module is a new variable there), and the fields that the command reads (a new one of those is a
  new field of `EnvironmentFile` in environments.py).
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin

from image_processor import recipe
from image_processor.recipe import Animation, Encoding, Limits, Recipe, Rule, VariantSpec, rules
from imagepipe.live.environments import ROOT, EnvironmentFile
from imagepipe.live.types import parse_type

_SCHEMA = "https://json-schema.org/draft/2020-12/schema"
_PROCESSOR = ROOT / "modules/compute/variables-processor.tf"

#: A stretch of a file that is generated, between two comments.
_REGION = re.compile(r"(?P<begin>^ *# generated: (?P<name>\w+).*?\n).*?(?P<end>^ *# end of generated\n)", re.M | re.S)


def _formats_up_to(field: str, highest: dict[str, int], formats: tuple[str, ...]) -> list[dict[str, Any]]:
    return [
        {
            "if": {"properties": {"format": {"const": format_}}},
            "then": {"properties": {field: {"maximum": highest.get(format_, 0)}}},
        }
        for format_ in formats
    ]


#: What holds between fields: written in Python as `__post_init__`, here as JSON schema. A test compares the two.
_BETWEEN_FIELDS: dict[type, dict[str, Any]] = {
    Encoding: {
        "allOf": [
            *_formats_up_to("effort", recipe.EFFORTS, recipe.FORMATS),
            *_formats_up_to("quant_table", recipe.QUANT_TABLES, recipe.FORMATS),
            {
                "if": {"properties": {"format": {"enum": list(recipe.LOSSLESS_FORMATS)}}},
                "else": {"properties": {"lossless": {"const": False}}},
            },
        ]
    },
    Animation: {
        "if": {"required": ["format"], "properties": {"format": {"const": "gif"}}},
        "else": {"properties": {"effort": {"maximum": recipe.EFFORTS[Animation.format]}}},
    },
    VariantSpec: {
        "if": {"required": ["height"], "properties": {"height": {"type": "integer"}}},
        "else": {"properties": {"fit": {"const": "inside"}}},
    },
}


def schema(settings: type) -> dict[str, Any]:
    """Return the JSON schema of a class of settings; the classes that it uses stand in `$defs`."""
    used = [kind for kind in (VariantSpec, Encoding, Animation) if settings is Recipe]
    document = _object(settings)
    document["properties"] = {"$schema": {"type": "string"}} | document["properties"]
    head = {"$schema": _SCHEMA, "title": settings.__name__}
    return head | document | ({"$defs": {kind.__name__: _object(kind) for kind in used}} if used else {})


def _object(settings: Any) -> dict[str, Any]:
    defaults = {field.name: field.default for field in fields(settings)}
    required = [name for name, default in defaults.items() if default is MISSING]
    return (
        {"description": str(settings.__doc__).splitlines()[0], "type": "object", "additionalProperties": False}
        | ({"required": required} if required else {})
        | {
            "properties": {
                name: _property(kind, rule, defaults[name]) for name, (kind, rule) in rules(settings).items()
            }
        }
        | _BETWEEN_FIELDS.get(settings, {})
    )


def _property(kind: Any, rule: Rule, default: Any) -> dict[str, Any]:
    words = {"description": rule.description} if rule.description else {}
    if is_dataclass(kind):
        return words | {"$ref": f"#/$defs/{_name(kind)}"}
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]
        items = {"$ref": f"#/$defs/{_name(item)}"} if is_dataclass(item) else {"enum": list(rule.choices)}
        sizes = {"minItems": rule.low or None, "maxItems": rule.high}
        return words | {"type": "array", "items": items} | {key: size for key, size in sizes.items() if size}
    return words | _scalar(kind, rule) | ({} if default in (MISSING, None, "") else {"default": default})


def _scalar(kind: Any, rule: Rule) -> dict[str, Any]:
    if rule.choices:
        return {"enum": list(rule.choices)}
    if rule.pattern:
        return {"type": "string", "pattern": f"^{rule.pattern}$"}
    if kind is bool:
        return {"type": "boolean"}
    nullable: Any = "integer" if kind is int else ["integer", "null"]
    return {"type": nullable, "minimum": rule.low, "maximum": rule.high}


def _name(kind: Any) -> str:
    return str(kind.__name__)


def terraform_type(settings: Any) -> str:
    """Return the type of a class of settings as Terraform writes it; `terraform fmt` makes it pretty.

    No attribute has a default there: what is not set is left out, so that the defaults of recipe.py stay the only ones.
    """
    required = {field.name for field in fields(settings) if field.default is MISSING}
    attributes = [
        f"{name} = {kind_in_terraform if name in required else f'optional({kind_in_terraform})'}"
        for name, (kind, _) in sorted(rules(settings).items())
        for kind_in_terraform in [_type_name(kind)]
    ]
    return "object({\n" + "\n".join(attributes) + "\n})"


def _type_name(kind: Any) -> str:
    if is_dataclass(kind):
        return terraform_type(kind)
    if get_origin(kind) is tuple:
        return f"list({_type_name(get_args(kind)[0])})"
    return {bool: "bool", str: "string"}.get(kind, "number")


def terraform_law() -> str:
    """Return the ranges, choices and patterns of all settings as a Terraform object, for validations to read."""
    classes = {"animation": Animation, "encoding": Encoding, "limits": Limits, "recipe": Recipe, "variant": VariantSpec}
    law: dict[str, Any] = {
        name: {
            "choices": {field: list(rule.choices) for field, (_, rule) in sorted(rules(kind).items()) if rule.choices},
            "forms": {field: rule.form for field, (_, rule) in sorted(rules(kind).items()) if rule.form},
            "patterns": {
                field: f"^{rule.pattern}$" for field, (_, rule) in sorted(rules(kind).items()) if rule.pattern
            },
            "ranges": {field: [rule.low, rule.high] for field, (_, rule) in sorted(rules(kind).items()) if rule.high},
        }
        for name, kind in classes.items()
    }
    law["encoding"]["efforts"] = {format_: recipe.EFFORTS[format_] for format_ in sorted(recipe.FORMATS)}
    law["encoding"]["lossless_formats"] = list(recipe.LOSSLESS_FORMATS)
    law["encoding"]["quant_tables"] = recipe.QUANT_TABLES
    law["animation"]["efforts"] = {format_: recipe.EFFORTS[format_] for format_ in sorted(recipe.ANIMATED_FORMATS)}
    law["animation"]["default_format"] = Animation.format
    default = Limits()
    law["limits"]["defaults"] = {name: getattr(default, name) for name in ("max_bytes", "max_memory_mb", "max_seconds")}
    law["function"] = {
        "copies": recipe.COPIES,
        "decoder_mb": recipe.DECODER_MB,
        "environment_bytes": recipe.ENVIRONMENT_BYTES,
        "handler_mb": recipe.HANDLER_MB,
        "hiding": [recipe.SHORTEST_HIDING, recipe.LONGEST_HIDING],
        "patience": recipe.PATIENCE,
    }
    return f"processor_law = {_hcl(law)}"


def _hcl(value: Any) -> str:
    if isinstance(value, dict):
        lines = "\n".join(f"{key} = {_hcl(item)}" for key, item in value.items() if item != {})
        return f"{{\n{lines}\n}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_hcl, value))}]"
    return json.dumps(value)


def settings_schema() -> dict[str, Any]:
    """Return the JSON schema of the names in an env.hcl. Values are judged by the modules and by the command."""
    read_by_the_command = EnvironmentFile.model_json_schema()
    names = {name: _names(field, read_by_the_command) for name, field in read_by_the_command["properties"].items()}
    return {
        "$schema": _SCHEMA,
        "description": "Names that an env.hcl may set. Generated by make generate: src/imagepipe/live/law.py says how.",
        **_closed(dict(sorted((names | dict(_sections())).items()))),
    }


def _names(field: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    """Return the names below one field of the command's model."""
    for alternative in field.get("anyOf", [field]):
        if "$ref" in alternative:
            model = document["$defs"][alternative["$ref"].rpartition("/")[2]]
            return _closed({name: _names(below, document) for name, below in model.get("properties", {}).items()})
    return {}


def _sections() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the sections of an env.hcl that a unit passes to its module, with the variables that it may set there."""
    for unit in sorted((ROOT / "live/_units").glob("*.hcl")):
        for section, given in re.findall(
            r"^inputs = merge\(local\.context\.env\.(\w+), \{\n(.*?)^\}\)", unit.read_text(), re.M | re.S
        ):
            set_by_the_unit = set(re.findall(r"^  (\w+)\s+=", given, re.M))
            variables = module_variables(ROOT / "modules" / unit.stem)
            yield section, _closed({name: kind for name, kind in variables.items() if name not in set_by_the_unit})


def module_variables(module: Path) -> dict[str, dict[str, Any]]:
    """Return the names below every variable of a module, by variable."""
    return {
        name: parse_type(body)
        for file in sorted(module.glob("variables*.tf"))
        for name, body in re.findall(r'^variable "(\w+)" \{\n.*?^  type\s+= (.*?)^\}', file.read_text(), re.M | re.S)
    }


def _closed(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": properties}


def generated() -> dict[Path, str]:
    """Return the text of every generated file, by its path."""
    schemas = {"recipe": Recipe, "limits": Limits}
    return {
        **{ROOT / f"lambda-image/{name}.schema.json": _json(schema(kind)) for name, kind in schemas.items()},
        _PROCESSOR: _with_regions(_PROCESSOR.read_text()),
        ROOT / "live/settings.schema.json": _json(settings_schema()),
    }


def _json(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _with_regions(text: str) -> str:
    parts = {
        "types": f"limits = optional({terraform_type(Limits)})\n\nrecipe = optional({terraform_type(Recipe)})\n",
        "law": f"{terraform_law()}\n",
    }
    text = _REGION.sub(lambda region: f"{region['begin']}{parts[region['name']]}{region['end']}", text)
    finished = subprocess.run(["terraform", "fmt", "-"], input=text, capture_output=True, text=True, check=True)
    return finished.stdout


def main(arguments: list[str]) -> int:
    """Write the generated files. With --check, write none and return 1 if one is out of date."""
    # What env.hcl may set follows from the variables that are generated before it: so these files are written first.
    stale = [file for file, text in generated().items() if not file.exists() or file.read_text() != text]
    for file in stale:
        name = file.relative_to(ROOT)
        if "--check" in arguments:
            print(f"{name} differs from what it is generated from: run make generate")
        else:
            file.write_text(generated()[file])
            print(f"{name} is up to date now")
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
