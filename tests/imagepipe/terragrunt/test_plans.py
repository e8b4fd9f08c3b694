"""Counting what a plan would do."""

import io

import pytest
from rich.console import Console

from imagepipe.errors import PipelineError
from imagepipe.terragrunt import plans
from imagepipe.terragrunt.plans import Counter, UnitPlan


def counted(*lines: str, units: list[str]) -> list[UnitPlan]:
    counter = Counter()
    for line in lines:
        counter.listen(line)
    return counter.plans(units)


def test_counts_are_taken_from_each_units_summary() -> None:
    assert counted(
        "08:57:25.160 STDOUT [storage] terraform: Plan: 18 to add, 0 to change, 0 to destroy.",
        "08:57:25.161 STDOUT [compute] terraform: Plan: 1 to add, 2 to change, 3 to destroy.",
        "08:57:25.162 STDOUT [api] terraform: No changes. Your infrastructure matches the configuration.",
        "08:57:25.163 INFO   [api] Downloading Terraform configurations",
        units=["api", "compute", "storage"],
    ) == [UnitPlan("api", 0, 0, 0), UnitPlan("compute", 1, 2, 3), UnitPlan("storage", 18, 0, 0)]


def test_colours_do_not_matter() -> None:
    summary = "\x1b[1mPlan:\x1b[0m 2 to add, 1 to change, 0 to destroy."
    line = f"\x1b[90m08:57\x1b[0m STDOUT [storage] \x1b[36mterraform: \x1b[0m{summary}"
    assert counted(line, units=["storage"]) == [UnitPlan("storage", 2, 1, 0)]


def test_imports_and_changed_outputs_are_no_changes_of_resources() -> None:
    assert counted(
        "STDOUT [storage] terraform: Plan: 4 to import, 1 to add, 0 to change, 0 to destroy.",
        "STDOUT [storage] terraform: Changes to Outputs:",
        "STDOUT [api] terraform: Changes to Outputs:",
        units=["storage", "api"],
    ) == [UnitPlan("storage", 1, 0, 0), UnitPlan("api", 0, 0, 0)]


def test_text_inside_a_plan_is_not_taken_for_its_summary() -> None:
    line = 'STDOUT [api] terraform:       + description = "Plan: 9 to add, 9 to change, 9 to destroy."'
    with pytest.raises(PipelineError):
        counted(line, units=["api"])


def test_unit_without_a_summary_is_an_error_and_not_a_zero() -> None:
    with pytest.raises(PipelineError, match="the plan of compute ended without Terraform's summary"):
        counted("STDOUT [api] terraform: No changes.", units=["api", "compute"])


def test_table_has_a_row_per_unit_and_a_total() -> None:
    output = io.StringIO()
    shown = plans.table([UnitPlan("storage", 2, 0, 1), UnitPlan("api", 1, 3, 0)], "plan of dev")
    Console(file=output, width=80).print(shown)
    rows = [line.replace("│", " ").split() for line in output.getvalue().splitlines()]
    assert ["storage", "2", "·", "1"] in rows
    assert ["total", "3", "3", "1"] in rows
