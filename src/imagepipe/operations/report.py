"""Differences in a file, counted. There may be millions, and exactly the listed ones are repaired."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from rich.table import Table

from imagepipe.console import literal
from imagepipe.operations.differences import MEANINGS, Finding, Trouble


class Report:
    """A file with one difference per line, as JSON."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.counts: dict[Trouble, int] = {}

    @property
    def count(self) -> int:
        """Return the number of differences."""
        return sum(self.counts.values())

    def write(self, findings: Iterable[Finding]) -> None:
        """Replace the content of the file."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("w") as lines:
            for finding in findings:
                self.counts[finding.trouble] = self.counts.get(finding.trouble, 0) + 1
                lines.write(json.dumps(asdict(finding), default=datetime.isoformat) + "\n")

    def read(self) -> Iterator[Finding]:
        """Read the differences back, in the order in which they were written."""
        with self.file.open() as lines:
            for line in lines:
                fields = json.loads(line)
                trouble, since = Trouble(fields.pop("trouble")), datetime.fromisoformat(fields.pop("since"))
                yield Finding(trouble=trouble, since=since, **fields)

    def table(self, title: str, most_examples: int) -> Table:
        """Return a row per kind of difference: count, examples and what a repair does."""
        examples: dict[Trouble, list[str]] = {}
        for finding in self.read():
            names = examples.setdefault(finding.trouble, [])
            if len(names) < most_examples:
                own = finding.name.startswith(finding.image_id)
                names.append(literal(finding.name) if own else f"{literal(finding.name)} [dim]{finding.image_id}[/]")
        result = Table(title=title, title_justify="left")
        result.add_column("difference", overflow="fold")
        result.add_column("count", justify="right")
        result.add_column("examples", overflow="fold")
        result.add_column("repair", overflow="fold")
        for trouble in filter(self.counts.__contains__, Trouble):
            meaning, repair = MEANINGS[trouble]
            more = self.counts[trouble] - len(examples[trouble])
            shown = "\n".join(examples[trouble]) + (f"\n[dim]and {more} more[/]" if more else "")
            result.add_row(f"{trouble}\n[dim]{meaning}[/]", str(self.counts[trouble]), shown, repair)
        return result
