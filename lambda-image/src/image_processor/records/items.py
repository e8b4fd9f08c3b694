"""Records as DynamoDB writes them, and back.

boto3's own (de)serialiser would do, but importing it imports boto3, which nothing else here needs: a third of a second
of every cold start. Format: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_AttributeValue.html
"""

from collections.abc import Mapping
from typing import Any

Record = dict[str, Any]
#: One attribute value: {"S": "text"}, {"N": "1.5"}, {"M": {…}} …
Attribute = dict[str, Any]


def to_item(record: Record) -> dict[str, Attribute]:
    return {name: to_attribute(value) for name, value in record.items()}


def from_item(item: Mapping[str, Any]) -> Record:
    return {name: from_attribute(value) for name, value in item.items()}


def to_attribute(value: Any) -> Attribute:
    """Of what JSON has: text, numbers, booleans, null, lists and objects.

    Raises:
        TypeError: anything else, before it is stored as something that it is not.
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
            return {"L": [to_attribute(each) for each in value]}
    raise TypeError(f"DynamoDB has no type for {type(value).__name__}")


def from_attribute(attribute: Attribute) -> Any:
    """Raises TypeError for a type that no record of ours has, such as a set."""
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
            return [from_attribute(each) for each in value]
    raise TypeError(f"records hold no DynamoDB attributes of type {kind}")
