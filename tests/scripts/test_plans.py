"""Counting what a plan would do."""

import io
import json
from pathlib import Path

from imagepipe import plans
from rich.console import Console


def write(directory: Path, unit: str, *changes: list[str]) -> None:
    (directory / unit).mkdir(parents=True)
    document = {
        "resource_changes": [{"address": f"a.{n}", "change": {"actions": list(c)}} for n, c in enumerate(changes)]
    }
    (directory / unit / "tfplan.json").write_text(json.dumps(document))


def test_actions_are_counted_per_unit(tmp_path: Path) -> None:
    write(tmp_path, "storage", ["create"], ["create"], ["no-op"], ["read"])
    write(tmp_path, "compute", ["update"], ["delete"])
    write(tmp_path, "api", ["no-op"])
    assert plans.read(tmp_path) == [
        plans.UnitPlan("api", 0, 0, 0),
        plans.UnitPlan("compute", 0, 1, 1),
        plans.UnitPlan("storage", 2, 0, 0),
    ]


def test_replacement_counts_as_one_added_and_one_destroyed(tmp_path: Path) -> None:
    write(tmp_path, "storage", ["delete", "create"], ["create", "delete"])
    assert plans.read(tmp_path) == [plans.UnitPlan("storage", 2, 0, 2)]


def test_table_has_a_row_per_unit_and_a_total() -> None:
    output = Console(file=io.StringIO(), width=80)
    output.print(plans.table([plans.UnitPlan("storage", 2, 0, 1), plans.UnitPlan("api", 1, 3, 0)], "plan of dev"))
    rows = [line.replace("│", " ").split() for line in output.file.getvalue().splitlines()]  # type: ignore[attr-defined]
    assert ["storage", "2", "·", "1"] in rows
    assert ["total", "3", "3", "1"] in rows
