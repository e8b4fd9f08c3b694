import pytest
from rich.console import Console

from imagepipe.console import literal


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
