"""Tests told as a story: a line when a step begins, and at the end a table of what was shown, and in how many seconds.

A plugin of pytest (`pytest -p story`).
"""

import time
from collections.abc import Iterator

import pytest
from rich.console import Console
from rich.markup import escape
from rich.table import Table

_console = Console(highlight=False, soft_wrap=True)
_seconds: dict[str, float] = {}
_failed: set[str] = set()
_began = time.monotonic()


def _words(test: str) -> str:
    """What a test's name says: "no environment is skipped (dev-prod)" of test_no_environment_is_skipped[dev-prod]."""
    name, _, case = test.removeprefix("test_").partition("[")
    return escape(name.replace("_", " ") + (f" ({case.rstrip(']')})" if case else ""))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    started = time.monotonic()
    _console.print(f"[dim]{started - _began:5.0f} s[/]  {_words(item.name)}")
    try:
        return (yield)
    finally:
        _seconds[item.name] = time.monotonic() - started


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    """No dots between the lines."""
    return ("passed" if report.when == "call" else "", "", "") if report.passed else None


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed:
        name = report.nodeid.rpartition("::")[2]
        _failed.add(name)
        _console.print(f"         [red]this is not so:[/] {_words(name)}")


def pytest_terminal_summary() -> None:
    table = Table(title="the rehearsal", title_justify="left")
    table.add_column("what was shown")
    table.add_column("seconds", justify="right")
    for name, seconds in _seconds.items():
        table.add_row(f"[red]not so: {_words(name)}[/]" if name in _failed else _words(name), f"{seconds:.0f}")
    table.add_section()
    table.add_row("all of it", f"{time.monotonic() - _began:.0f}")
    _console.print(table)
