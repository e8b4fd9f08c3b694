"""What a terminal is shown: names from outside, sizes and times."""

from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from imagepipe.console import human_bytes, literal, time_ago, time_in_words


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("[bold]plain é日本 😀.jpg", "[bold]plain é日本 😀.jpg"),
        ("two\r\nlines.jpg", "two\\r\\nlines.jpg"),
        ("\x1b]0;title\x07\x1b[2J\x9b2J.jpg", "\\x1b]0;title\\x07\\x1b[2J\\x9b2J.jpg"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("trailing backslash\\", "trailing backslash\\"),
    ],
)
def test_nothing_in_a_key_is_obeyed(text: str, shown: str) -> None:
    console = Console(width=100, force_terminal=True, color_system=None)
    with console.capture() as capture:
        console.print(f"[bold]{literal(text)}[/]", highlight=False)
    assert capture.get() == f"{shown}\n"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "0 seconds"),
        (119.9, "119 seconds"),
        (120, "2 minutes"),
        (2 * 3600 - 1, "119 minutes"),
        (2 * 3600, "2 hours"),
        (36 * 3600, "36 hours"),
        (10 * 86_400 + 5, "10 days"),
    ],
)
def test_a_time_is_said_in_one_unit_rounded_down(seconds: float, words: str) -> None:
    assert time_in_words(timedelta(seconds=seconds)) == words


def test_a_moment_is_said_as_how_long_ago_it_was() -> None:
    assert time_ago(datetime.now(UTC) - timedelta(minutes=30, seconds=20)) == "30 minutes ago"


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 KB"), (99_960, "100.0 KB"), (250e6, "250 MB")]
)
def test_sizes_are_decimal(count: int, text: str) -> None:
    assert human_bytes(count) == text
