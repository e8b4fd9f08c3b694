#!/usr/bin/env python3
"""check_settings.py <schema> <env.hcl> <its locals as JSON>: prints a sentence for every misspelt name, or no line.

Terraform drops an unknown attribute of an object without a word. Terragrunt runs this for every unit before anything
else (live/_units/context.hcl), with any Python 3 and no packages. It judges names; the modules judge values.
"""

import difflib
import json
import sys


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


def main(schema_file, env_file, settings):
    """Print what is wrong with the settings of an env.hcl."""
    with open(schema_file) as file:
        sentences = list(unknown_names(json.load(file), json.loads(settings)))
    for sentence in sentences:
        print(f"{env_file}: {sentence}")


if __name__ == "__main__":
    main(*sys.argv[1:])
