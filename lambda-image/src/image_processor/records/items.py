"""Converts records to DynamoDB's attribute values and back.

boto3's own (de)serialiser would do, but importing it imports boto3, which nothing else here needs: a third of a second
of every cold start. Format: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_AttributeValue.html
"""

from collections.abc import Mapping
from typing import Any

Record = dict[str, Any]
#: One attribute value: {"S": "text"}, {"N": "1.5"}, {"M": {…}} …
Attribute = dict[str, Any]


def to_item(record: Record) -> dict[str, Attribute]:
    """Convert a record; see `to_attribute`."""
    return {name: to_attribute(value) for name, value in record.items()}


def from_item(item: Mapping[str, Any]) -> Record:
    """Convert an item back; see `from_attribute`."""
    return {name: from_attribute(value) for name, value in item.items()}


def to_attribute(value: Any) -> Attribute:
    """Convert a JSON value: text, number, boolean, null, list or object.

    Raises:
        TypeError: any other type.
    """
    match value:
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": value}
        case str():
            return {"S": str(value)}  # of an enumeration, the text
        case int() | float():
            return {"N": repr(value)}
        case dict():
            return {"M": to_item(value)}
        case list() | tuple():
            return {"L": [to_attribute(element) for element in value]}
    raise TypeError(f"DynamoDB has no type for {type(value).__name__}")


def from_attribute(attribute: Attribute) -> Any:
    """Convert an attribute value back.

    Raises:
        TypeError: a type that no record has, such as a set.
    """
    ((kind, value),) = attribute.items()
    match kind:
        case "NULL":
            return None
        case "BOOL" | "S":
            return value
        case "N":
            return int(value) if value.lstrip("-").isdigit() else float(value)
        case "M":
            return from_item(value)
        case "L":
            return [from_attribute(element) for element in value]
    raise TypeError(f"records hold no DynamoDB attributes of type {kind}")
