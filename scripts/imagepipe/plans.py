"""What a plan would do, counted per unit from Terraform's plan JSON."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

#: A resource change holds a list of these; a replacement counts as both of its halves, as Terraform counts it.
_COUNTED = ("create", "update", "delete")


@dataclass(frozen=True)
class UnitPlan:
    unit: str
    add: int
    change: int
    destroy: int

    @property
    def empty(self) -> bool:
        return not (self.add or self.change or self.destroy)


def read(directory: Path) -> list[UnitPlan]:
    """Reads <directory>/**/tfplan.json as `terragrunt run --all --json-out-dir` writes them."""
    plans = []
    for file in sorted(directory.rglob("tfplan.json")):
        document = json.loads(file.read_text())
        counts = Counter(
            action for change in document.get("resource_changes", []) for action in change["change"]["actions"]
        )
        add, change, destroy = (counts[action] for action in _COUNTED)
        plans.append(UnitPlan(str(file.parent.relative_to(directory)), add, change, destroy))
    return plans


def table(plans: list[UnitPlan], title: str) -> Table:
    result = Table(title=title, title_justify="left")
    result.add_column("unit")
    for heading in ("add", "change", "destroy"):
        result.add_column(heading, justify="right")
    for plan in plans:
        result.add_row(plan.unit, *(str(count) if count else "·" for count in (plan.add, plan.change, plan.destroy)))
    result.add_section()
    totals = (sum(getattr(plan, field) for plan in plans) for field in ("add", "change", "destroy"))
    result.add_row("total", *map(str, totals))
    return result
