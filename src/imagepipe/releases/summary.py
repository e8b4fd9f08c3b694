"""Plans as Markdown for a pull request: dangers first, then the counts, then every change, folded away.

It is made of plans as JSON, never of Terraform's output, so that values marked sensitive stay hidden.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from rich.table import Table

from imagepipe.releases.aliases import Canary
from imagepipe.releases.policies import STATEFUL, Violation, statements
from imagepipe.terragrunt import drift
from imagepipe.terragrunt.drift import Difference

#: Characters of a comment. GitHub takes 65,536.
LIMIT = 60_000

_COUNTED = ("create", "change", "destroy", "replace")
_SIGNS = {"create": "+", "change": "~", "destroy": "−", "replace": "±"}

#: Attributes of resources that hold policy documents.
_POLICIES = ("assume_role_policy", "policy")


@dataclass(frozen=True)
class Planned:
    """The plan of one environment, judged."""

    environment: str
    commit: str
    plans: dict[str, dict[str, Any]]  # by unit, like compute
    violations: list[Violation]
    #: Units that are planned again once the others are applied, and why.
    later: dict[str, str] = field(default_factory=dict)
    #: Units whose folder is gone while what they deployed is still there.
    orphans: tuple[str, ...] = ()
    #: The share of the calls that new versions get first; None: all calls at once.
    canary: Canary | None = None
    #: Functions that an apply which died has changed without publishing a version.
    unpublished: tuple[str, ...] = ()

    @property
    def differences(self) -> list[Difference]:
        """Every resource that the plans touch."""
        return [change for unit, plan in sorted(self.plans.items()) for change in drift.differences(unit, plan)]

    @property
    def changes_outputs(self) -> bool:
        """Return whether a plan changes an output."""
        return any(drift.changes_outputs(plan) for plan in self.plans.values())


def counts(differences: Iterable[Difference]) -> dict[str, int]:
    """Return the number of resources by action: create, change, destroy, replace."""
    result = dict.fromkeys(_COUNTED, 0)
    for difference in differences:
        result[difference.action] += 1
    return result


def dangers(planned: Planned) -> list[str]:
    """Return what a reviewer must see first: stored data that would be lost, and permissions that would grow."""
    result: list[str] = []
    granted: list[str] = []
    for unit, plan in sorted(planned.plans.items()):
        for change in plan.get("resource_changes", []):
            action = drift.VERBS.get(tuple(change["change"]["actions"]))
            if change["type"] in STATEFUL and action in {"destroy", "replace"}:
                result.append(f"**{action}s** `{unit}` `{change['address']}`: what it holds is lost")
            if action == "create":
                granted += [f"`{unit}` `{change['address']}`" for _ in _widened(change)]
            else:
                result += [f"**IAM widened** in `{unit}` `{change['address']}`: {words}" for words in _widened(change)]
    return [*result, f"**new rights**: {', '.join(granted)}"] if granted else result


def _widened(change: dict[str, Any]) -> Iterator[str]:
    """Yield permissions that policies would grant and do not grant now."""
    before, after = (change["change"].get(side) or {} for side in ("before", "after"))
    for name in _POLICIES:
        old, new = (_grants(side.get(name)) for side in (before, after))
        if gained := sorted(new["Allow"] - old["Allow"]):
            yield "allows " + _listed(gained)
        if after and (freed := sorted(old["Deny"] - new["Deny"])) and (after.get(name) is not None):
            yield "no longer denies " + _listed(freed)


def _grants(document: Any) -> dict[str, set[str]]:
    """Return every action on every resource for every principal, in words, by effect."""
    grants: dict[str, set[str]] = {"Allow": set(), "Deny": set()}
    for statement in statements(document):
        who = f" to {drift.text(statement['Principal'])}" if "Principal" in statement else ""
        when = f" if {drift.text(statement['Condition'])}" if "Condition" in statement else ""
        for action in statement.get("Action", [f"all but {drift.text(statement.get('NotAction'))}"]):
            for resource in statement.get("Resource", [""]):
                grants[statement["Effect"]].add(f"{action}{f' on {resource}' if resource else ''}{who}{when}")
    return grants


def _listed(words: list[str], most: int = 6) -> str:
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(f"`{word}`" for word in words[:most]) + more


def table(environment: str, plans: dict[str, dict[str, Any]], later: dict[str, str]) -> Table:
    """Count what the plan of each unit would do, for a terminal.

    Args:
        plans: by unit, as JSON.
        later: units that are planned again once the others are applied, and why.
    """
    result = Table(title=f"plan of {environment}", title_justify="left")
    for heading in ("unit", "add", "change", "destroy", "replace", ""):
        result.add_column(heading, justify="left" if heading in {"unit", ""} else "right")
    total = dict.fromkeys(_COUNTED, 0)
    for unit, plan in sorted(plans.items()):
        own = counts(drift.differences(unit, plan))
        total = {verb: total[verb] + own[verb] for verb in _COUNTED}
        reason = f"later: {later[unit]}" if unit in later else ""
        result.add_row(unit, *(str(own[verb] or "·") for verb in _COUNTED), reason)
    result.add_section()
    result.add_row("total", *map(str, total.values()), "")
    return result


def markdown(planned: Planned) -> str:
    """Return the summary in at most LIMIT characters. What does not fit is cut from its end, which says so."""
    name = planned.environment
    head = f"<!-- plan:{name} -->\n## Plan of `{name}` at `{planned.commit[:12]}`\n\n{overview(planned)}"
    ending = "\n</details>\n\n… and more than fits here: `make plan` shows all of it.\n"
    return limited((*head.split("\n"), *_details(planned.differences)), ending)


def overview(planned: Planned) -> str:
    """Return refusals, dangers and counts, without the details."""
    differences = planned.differences
    lines: list[str] = []
    if planned.orphans:
        lines += [f"> [!CAUTION]\n> No folder, but still deployed: {_listed(sorted(planned.orphans))}", ""]
    if planned.unpublished:
        functions = _listed(list(planned.unpublished))
        lines += [f"> [!CAUTION]\n> Changed by an apply that died, not in use: {functions}", ""]
    if planned.violations:
        lines += ["### Refused", ""]
        lines += [f"- **{v.rule}** `{v.unit}` `{v.address}`: {v.why}; {v.remedy}" for v in planned.violations] + [""]
    if first := dangers(planned):
        lines += ["### Look at this first", "", *[f"- {danger}" for danger in first], ""]
    if differences:
        lines += _table(planned, differences)
    elif planned.changes_outputs:
        lines += ["Only outputs change.", ""]
    else:
        lines += ["Nothing changes.", ""]
    if planned.canary:
        share, watched = planned.canary.percent, planned.canary.functions
        lines += [f"**{planned.environment}: {share} % first**, watched: new versions of {watched}.", ""]
    if planned.later:
        lines += ["Planned again after these are applied:", ""]
        lines += [f"- `{unit}`: {why}" for unit, why in sorted(planned.later.items())] + [""]
    return "\n".join(lines)


def _table(planned: Planned, differences: list[Difference]) -> list[str]:
    lines = ["| unit | add | change | destroy | replace |", "|---|---:|---:|---:|---:|"]
    for unit in sorted(planned.plans):
        own = counts(difference for difference in differences if difference.unit == unit)
        lines.append(f"| {unit} | " + " | ".join(str(own[verb] or "·") for verb in _COUNTED) + " |")
    total = counts(differences)
    lines.append("| **total** | " + " | ".join(f"**{total[verb]}**" for verb in _COUNTED) + " |")
    return [*lines, ""]


def _details(differences: list[Difference]) -> Iterator[str]:
    """Yield each unit's changes, folded away, with the attributes that differ."""
    for unit in sorted({difference.unit for difference in differences}):
        yield f"\n<details><summary>{unit}</summary>\n"
        for change in (difference for difference in differences if difference.unit == unit):
            yield f"- `{_SIGNS[change.action]} {change.address}`{', changed by hand' if change.by_hand else ''}"
            for attribute in change.attributes:
                values = (drift.text(value) for value in (attribute.deployed, attribute.wanted))
                yield f"  - `{attribute.name}`: " + " → ".join(f"`{value}`" for value in values)
        yield "\n</details>"


def limited(lines: Iterable[str], ending: str) -> str:
    """Return as many whole lines as fit into LIMIT characters, and the ending if some do not fit."""
    kept: list[str] = []
    left = LIMIT - len(ending)
    for line in lines:
        left -= len(line) + 1
        if left < 0:
            return "\n".join(kept) + ending
        kept.append(line)
    return "\n".join(kept) + "\n"


def as_json(planned: Planned) -> str:
    """Return the summary for programs."""
    return json.dumps(
        {
            "environment": planned.environment,
            "commit": planned.commit,
            "counts": counts(planned.differences),
            "dangers": dangers(planned),
            "violations": [vars(violation) for violation in planned.violations],
            "later": planned.later,
            "orphans": list(planned.orphans),
            "unpublished": list(planned.unpublished),
            "canary": planned.canary.model_dump() if planned.canary else None,
        },
        indent=2,
    )
