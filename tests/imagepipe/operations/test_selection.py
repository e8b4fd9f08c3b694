"""Which images a selection takes, and times as people type them."""

from datetime import UTC, datetime, timedelta

import pytest

from imagepipe.errors import PipelineError
from imagepipe.operations.selection import Selection, duration, moment

from .conftest import record


@pytest.mark.parametrize(
    ("selection", "taken"),
    [
        (Selection(), True),
        (Selection(prefix="a+b/"), True),
        (Selection(prefix="b/"), False),
        (Selection(recipe="r1"), True),
        (Selection(recipe="r2"), False),
        (Selection(not_recipe="r1"), False),
        (Selection(not_recipe="r2"), True),
        (Selection(statuses=("REJECTED",)), False),
        (Selection(reason="TRUNCATED"), False),
    ],
)
def test_selection_takes_what_it_names(selection: Selection, taken: bool) -> None:
    assert selection.takes(record()) is taken


def test_selections_that_differ_have_journals_that_differ() -> None:
    selections = [
        Selection(),
        Selection(prefix="a"),
        Selection(recipe="a"),
        Selection(since="2h"),
        Selection(until="2h"),
    ]
    assert len({one.name for one in selections}) == len(selections)


def test_times_are_read_as_people_type_them() -> None:
    assert moment("2026-01-31") == datetime(2026, 1, 31, tzinfo=UTC)
    assert moment("2026-01-31T04:30+01:00") == datetime(2026, 1, 31, 3, 30, tzinfo=UTC)
    assert abs(datetime.now(UTC) - moment("2h") - timedelta(hours=2)) < timedelta(minutes=1)
    assert duration("15m") == timedelta(minutes=15)


@pytest.mark.parametrize("text", ["99999999999d", "999999d", "9" * 5000 + "s"])
def test_time_that_leaves_the_calendar_is_an_error_and_no_stack_trace(text: str) -> None:
    for read in (duration, moment):
        with pytest.raises(PipelineError, match="longer than 100 years: write a shorter time, like 7d"):
            read(text)


@pytest.mark.parametrize("text", ["", "yesterday", "5 min", "-2h", "0001-01-01T00:00+14:00", "٣h"])
def test_anything_else_is_an_error_that_shows_how_to_write_a_time(text: str) -> None:
    with pytest.raises(PipelineError, match="2h"):
        moment(text)
