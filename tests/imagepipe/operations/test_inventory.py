"""Objects, records and folders of variants side by side."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagepipe.operations.inventory import (
    Inventory,
    StoredObject,
    VariantFolder,
    list_folders,
    outer_join,
)

from .conftest import BUCKET, ID, OLD, record, stored_object

keys = st.sets(st.text("abc", min_size=1, max_size=3))


@given(keys, keys)
def test_streams_are_joined_like_sets(left: set[str], right: set[str]) -> None:
    pairs = list(outer_join(sorted(left), sorted(right), str, str))
    assert [one or other for one, other in pairs] == sorted(left | right)
    assert {one for one, other in pairs if one == other} == left & right
    assert {one for one, other in pairs if other is None} == left - right


@pytest.fixture
def inventory(tmp_path: Path) -> Iterator[Inventory]:
    inventory = Inventory(tmp_path / "inventory.sqlite")
    yield inventory
    inventory.close()


def test_inventory_puts_record_beside_object(inventory: Inventory) -> None:
    other = StoredObject("f" * 32, "z", None, "e", 1, OLD)
    inventory.add_objects([other, stored_object()], lambda _: None)
    inventory.add_records([record(), record(image_id="0" * 32)], BUCKET, lambda _: None)
    sides = {(one or two).image_id: (bool(one), bool(two)) for one, two in inventory.side_by_side()}  # type: ignore[union-attr]
    assert sides == {"0" * 32: (True, False), ID: (True, True), "f" * 32: (False, True)}


def test_records_of_another_bucket_are_not_compared(inventory: Inventory) -> None:
    inventory.add_records([record(source={"bucket": "elsewhere", "key": "k"})], BUCKET, lambda _: None)
    assert list(inventory.side_by_side()) == []


def show(*keys: str) -> dict[str, dict[str, str]]:
    return {key: {"key": key} for key in keys}


def folder(name: str, *files: str) -> VariantFolder:
    (only,) = list_folders(FakeBucket(*(name + file for file in files)), BUCKET)
    return only


class FakeBucket:
    """Lists its keys on one page."""

    def __init__(self, *keys: str) -> None:
        self._keys = sorted(keys)

    def get_paginator(self, _: str) -> Any:
        return self

    def paginate(self, **_: str) -> Any:
        return [{"Contents": [{"Key": key, "LastModified": OLD} for key in self._keys]}]


def test_folder_that_is_as_its_record_shows_it_has_the_same_digest(inventory: Inventory) -> None:
    inventory.add_records([record(variants=show(f"{ID}/r1/b", f"{ID}/r1/a"))], BUCKET, lambda _: None)
    ((stored, shown),) = inventory.folders([folder(f"{ID}/r1/", "a", "b")])
    assert stored
    assert shown
    assert stored.digest == shown.digest


@pytest.mark.parametrize("files", [("a",), ("a", "b", "c"), ("a", "c")])
def test_folder_that_is_not_as_its_record_shows_it_has_another_digest(
    inventory: Inventory, files: tuple[str, ...]
) -> None:
    inventory.add_records([record(variants=show(f"{ID}/r1/b", f"{ID}/r1/a"))], BUCKET, lambda _: None)
    ((stored, shown),) = inventory.folders([folder(f"{ID}/r1/", *files)])
    assert stored
    assert shown
    assert stored.digest != shown.digest


def test_folders_of_revisions_with_a_common_beginning_come_in_the_order_of_s3(inventory: Inventory) -> None:
    names = [f"{ID}/{revision}/" for revision in ("1", "10", "1-2", "1.a")]
    inventory.add_records([record(variants=show(*(f"{name}w1.avif" for name in names)))], BUCKET, lambda _: None)
    listed = list_folders(FakeBucket(*(f"{name}w1.avif" for name in names)), BUCKET)
    assert all(stored and shown for stored, shown in inventory.folders(listed))


def test_what_is_in_no_folder_of_an_image_is_nobodys_variant() -> None:
    keys = ("robots.txt", f"{ID}/favicon.ico", f"{ID}/r1/sub/a", "no-image/r1/a", f"{ID}/r1/a")
    assert [one.name for one in list_folders(FakeBucket(*keys), BUCKET)] == [f"{ID}/r1/"]
