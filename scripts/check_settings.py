#!/usr/bin/env python3
"""check_settings.py <schema> <env.hcl> <its locals as JSON>: prints a sentence for every wrong name, or no line.

Terraform drops an unknown attribute of an object without a word. Terragrunt runs this for every unit before anything
else (live/_units/context.hcl), with any Python 3 and no packages. It judges names; the modules judge values.
"""

import difflib
import json
import pathlib
import sys

#: Names that begin like those of the state bucket and the lock table, which all environments of an account share.
RESERVED = ("tflock", "tfstate")


def unknown_names(schema, value, path=""):
    """Yield a sentence for every name in the value that the schema does not have."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from unknown_names(schema.get("items", {}), item, f"{path}[{index}]")
    if not isinstance(value, dict):
        return
    known = schema.get("properties", {})
    rest = schema.get("additionalProperties", True)
    for name, item in value.items():
        place = f"{path}.{name}" if path else name
        if name in known:
            yield from unknown_names(known[name], item, place)
        elif rest is False:
            yield f"{place} is no setting: {advice(name, known)}"
        elif isinstance(rest, dict):
            yield from unknown_names(rest, item, place)


def advice(name, known):
    """Return the name that was probably meant, or all of them."""
    similar = difflib.get_close_matches(name, known, 1)
    return f"did you mean {similar[0]}?" if similar else f"use one of {', '.join(sorted(known))}"


def names_alike(name, others):
    """Yield a sentence for every environment whose resources the roles of this one would reach, or the reverse.

    Roles reach what is called <project>-<environment>-*, and so does one environment another: dev and dev-eu.
    """
    if name.startswith(RESERVED):
        yield f"{name} begins like {' or '.join(RESERVED)}, the names of the state: call the environment otherwise"
    for other in others:
        if f"{name}-".startswith(f"{other}-") or f"{other}-".startswith(f"{name}-"):
            yield (
                f"{name} and {other} begin alike, so that the roles of the shorter reach the longer: call one of them "
                "otherwise, like eu-dev for dev-eu"
            )


def main(schema_file, env_file, settings):
    """Print what is wrong with the settings of an env.hcl."""
    values = json.loads(settings)
    with open(schema_file) as file:
        sentences = list(unknown_names(json.load(file), values))
    name = values.get("environment", "")
    folders = pathlib.Path(__file__).resolve().parent.parent.glob("live/*/env.hcl")
    sentences += names_alike(name, sorted({folder.parent.name for folder in folders} - {name}))
    for sentence in sentences:
        print(f"{env_file}: {sentence}")


if __name__ == "__main__":
    main(*sys.argv[1:])
