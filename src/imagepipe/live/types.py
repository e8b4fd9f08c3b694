"""Types of Terraform's variables, read as the names that a value may hold."""

import re
from typing import Any

_TOKEN = re.compile(r'\s*(?:#[^\n]*\s*)*("(?:[^"\\]|\\.)*"|[\w.-]+|[(){}\[\],=])')


def parse_type(text: str) -> dict[str, Any]:
    """Return the JSON schema of the names in a type expression: objects are closed, lists have items, else `{}`.

    Raises:
        ValueError: the text is no type expression.
    """
    kind, _ = _type(_TOKEN.findall(text), 0)
    return kind


def _type(tokens: list[str], at: int) -> tuple[dict[str, Any], int]:
    """Return a type and the place after it."""
    name, at = tokens[at], at + 1
    if name == "object":
        return _object(tokens, at + 2)
    if name == "optional":
        kind, at = _type(tokens, at + 1)
        return kind, _closing(tokens, at)
    if name in ("list", "set"):
        kind, at = _type(tokens, at + 1)
        return {"type": "array", "items": kind}, at + 1
    if name == "map":
        kind, at = _type(tokens, at + 1)
        return {"type": "object", "additionalProperties": kind}, at + 1
    if name in ("any", "bool", "number", "string"):
        return {}, at
    raise ValueError(f"{name} is no type of Terraform's that imagepipe.live.types knows: teach it there")


def _object(tokens: list[str], at: int) -> tuple[dict[str, Any], int]:
    """Return the type of an object whose first attribute is at the place, and the place after its `})`."""
    properties = {}
    while tokens[at] != "}":
        name = tokens[at]
        properties[name], at = _type(tokens, at + 2)
        at += tokens[at] == ","
    return {"type": "object", "additionalProperties": False, "properties": properties}, at + 2


def _closing(tokens: list[str], at: int) -> int:
    """Return the place after the parenthesis that closes `optional(`, past a default."""
    depth = 1
    while depth:
        depth += {"(": 1, ")": -1}.get(tokens[at], 0)
        at += 1
    return at
