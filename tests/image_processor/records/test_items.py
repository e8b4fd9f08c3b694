"""Records as DynamoDB writes them."""

from datetime import UTC, datetime
from typing import Any

import pytest
from boto3.dynamodb.types import TypeSerializer
from hypothesis import given
from hypothesis import strategies as st

from image_processor.records.items import from_item, to_item

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.text()
    | st.integers(-(10**15), 10**15)
    | st.floats(allow_nan=False, allow_infinity=False, min_value=-1e9, max_value=1e9),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(min_size=1), inner),
    max_leaves=20,
)
RECORDS = st.dictionaries(st.text(min_size=1), VALUES)


@given(RECORDS)
def test_what_is_stored_comes_back(record: dict[str, Any]) -> None:
    assert from_item(to_item(record)) == record


@given(st.recursive(st.none() | st.booleans() | st.text() | st.integers(), st.lists))
def test_stored_as_boto3_stores_it(value: Any) -> None:
    assert to_item({"value": value})["value"] == TypeSerializer().serialize(value)


@pytest.mark.parametrize(("text", "number"), [("12", 12), ("1.5", 1.5), ("-0.25", -0.25), ("1E+3", 1000.0)])
def test_numbers_come_back_as_they_were(text: str, number: float) -> None:
    value = from_item({"value": {"N": text}})["value"]
    assert value == number
    assert isinstance(value, type(number))


def test_what_json_has_not_is_refused() -> None:
    with pytest.raises(TypeError, match="datetime"):
        to_item({"value": datetime.now(UTC)})
    with pytest.raises(TypeError, match="SS"):
        from_item({"value": {"SS": ["a"]}})
