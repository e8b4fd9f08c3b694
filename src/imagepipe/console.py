"""Output of the command line: results to standard output, everything else to standard error."""

from datetime import UTC, datetime, timedelta

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

#: Results. Wide enough for a table when the output is a file or a pipe.
console = Console(width=None if Console().is_terminal else 160)
stderr = Console(stderr=True)


def say(message: str) -> None:
    """Print one line about what is going on, to standard error."""
    stderr.print(f"[dim]›[/] {message}", highlight=False, soft_wrap=True)


def progress() -> Progress:
    """Return a progress bar on standard error."""
    return Progress(
        TextColumn("{task.description:>10}"), BarColumn(40), MofNCompleteColumn(), TimeElapsedColumn(), console=stderr
    )


def literal(text: str) -> str:
    """Escape text from outside, such as an object's key, for a table.

    Markup is not interpreted. Characters without a glyph (control characters, marks that turn the writing direction)
    are shown by their escape, because a terminal would obey them. `image_processor.tool` has the same line of code: the
    container image does not hold this package.
    """
    shown = (sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)
    return escape("".join(shown))


def human_bytes(count: int) -> str:
    """Format a number of bytes in decimal units, as storage is sold and billed: 1.5 MB."""
    size = float(count)
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"


def time_in_words(span: timedelta) -> str:
    """Format a length of time in one unit, rounded down: 45 seconds, 119 minutes, 2 hours."""
    seconds = max(0, int(span.total_seconds()))
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} seconds"


def time_ago(moment: datetime) -> str:
    """Format how long ago a moment was: 3 hours ago."""
    return f"{time_in_words(datetime.now(UTC) - moment)} ago"
