"""What a plan would do, counted per unit from Terraform's own summary lines as Terragrunt hands them on.

Plan files as JSON would tell more, but reading one starts the provider again, which takes a third of a plan's time.
"""

import re
from dataclasses import dataclass

from rich.table import Table

from imagepipe.errors import PipelineError

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_UNIT = re.compile(r"\[(?P<unit>[\w./-]+)\]\s+\S*terraform: (?P<text>.*)")
_COUNTS = re.compile(r"^Plan: .*?(\d+) to add, (\d+) to change, (\d+) to destroy")
#: Nothing to do to any resource; outputs may change all the same.
_NO_RESOURCES = re.compile(r"^(No changes\.|Changes to Outputs:)")


@dataclass(frozen=True)
class UnitPlan:
    """How many resources a unit's plan adds, changes and destroys; a replacement is one added and one destroyed."""

    unit: str
    add: int
    change: int
    destroy: int


class Counter:
    """Listens to Terragrunt and keeps each unit's counts."""

    def __init__(self) -> None:
        self._found: dict[str, UnitPlan] = {}

    def listen(self, line: str) -> None:
        if not (match := _UNIT.search(_ANSI.sub("", line))):
            return
        unit, text = match["unit"], match["text"].strip()
        if counts := _COUNTS.match(text):
            self._found[unit] = UnitPlan(unit, *map(int, counts.groups()))
        elif _NO_RESOURCES.match(text):
            self._found.setdefault(unit, UnitPlan(unit, 0, 0, 0))

    def plans(self, units: list[str]) -> list[UnitPlan]:
        """The counts of these units.

        Raises:
            PipelineError: a unit whose plan did not say; guessing that nothing changes would be the worst answer.
        """
        if missing := [unit for unit in units if unit not in self._found]:
            raise PipelineError(f"the plan of {', '.join(missing)} ended without Terraform's summary")
        return [self._found[unit] for unit in units]


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
