"""Differences in a file."""

from pathlib import Path

from imagepipe.operations.differences import Finding, Trouble
from imagepipe.operations.report import Report

from .conftest import ID, OLD


def test_report_reads_back_what_was_written(tmp_path: Path) -> None:
    report = Report(tmp_path / "r.jsonl")
    findings = [Finding(Trouble.STUCK, ID, "a", OLD, "body"), Finding(Trouble.ORPHANED_VARIANTS, ID, f"{ID}/r/", OLD)]
    report.write(findings)
    assert list(report.read()) == findings
    assert report.counts == {Trouble.STUCK: 1, Trouble.ORPHANED_VARIANTS: 1}
