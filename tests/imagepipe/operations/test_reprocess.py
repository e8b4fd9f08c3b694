"""The journal of a backfill."""

from pathlib import Path

from imagepipe.operations.reprocess import Journal, Progress
from imagepipe.operations.selection import Selection


def test_same_selection_finds_its_journal_again(tmp_path: Path) -> None:
    Journal(tmp_path / "a" / f"{Selection(prefix='x').name}.json").write(Progress("2026#i", 7))
    assert Journal(tmp_path / "a" / f"{Selection(prefix='x').name}.json").read() == ("2026#i", 7)


def test_finished_run_leaves_no_journal(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.json")
    journal.write(Progress("2026#i", 7))
    journal.forget()
    assert journal.read() == ("", 0)
