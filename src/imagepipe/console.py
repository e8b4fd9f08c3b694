"""How the command line talks: results to standard output, everything about the way there to standard error."""

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

#: Results. Wide enough for a table when the output is a file or a pipe.
console = Console(width=None if Console().is_terminal else 160)
stderr = Console(stderr=True)


def say(message: str) -> None:
    stderr.print(f"[dim]›[/] {message}", highlight=False, soft_wrap=True)


def progress() -> Progress:
    return Progress(
        TextColumn("{task.description:>10}"), BarColumn(40), MofNCompleteColumn(), TimeElapsedColumn(), console=stderr
    )


def literal(text: str) -> str:
    """Text of others, keys above all, for a table: no markup, and nothing that a terminal would obey.

    What has no glyph (control characters, marks that turn the direction) is shown by its escape.
    """
    shown = (sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)
    return escape("".join(shown))


def human_bytes(count: int) -> str:
    """Decimal units, as storage is sold and billed."""
    size = float(count)
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
