"""Plans as Markdown for a pull request: first what is dangerous, then the counts, then everything, folded away.

It is made of plans as JSON, never of what Terraform prints, so that what is marked sensitive stays hidden.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from rich.table import Table

from imagepipe.releases.canary import Canary
from imagepipe.releases.policies import STATEFUL, Violation, statements
from imagepipe.terragrunt import drift
from imagepipe.terragrunt.drift import Difference

#: GitHub takes 65,536 characters in a comment.
LIMIT = 60_000

_COUNTED = ("create", "change", "destroy", "replace")
_SIGNS = {"create": "+", "change": "~", "destroy": "−", "replace": "±"}

#: Where policies stand in resources.
_POLICIES = ("assume_role_policy", "policy")


@dataclass(frozen=True)
class Planned:
    """What is known of one environment's plan."""

    environment: str
    commit: str
    plans: dict[str, dict[str, Any]]  # by unit, like compute
    violations: list[Violation]
    #: Units that are planned again once the others are applied, and why.
    later: dict[str, str] = field(default_factory=dict)
    #: Units whose folder is gone while what they deployed is still there.
    orphans: tuple[str, ...] = ()
    #: What new versions get at first; None where they get all at once.
    canary: Canary | None = None
    #: Functions that an apply which died has changed, and no version is like them.
    unpublished: tuple[str, ...] = ()

    @property
    def differences(self) -> list[Difference]:
        return [each for unit, plan in sorted(self.plans.items()) for each in drift.differences(unit, plan)]

    @property
    def changes_outputs(self) -> bool:
        return any(_changes_outputs(plan) for plan in self.plans.values())


def _changes_outputs(plan: dict[str, Any]) -> bool:
    return any(change["actions"] != ["no-op"] for change in plan.get("output_changes", {}).values())


def counts(differences: Iterable[Difference]) -> dict[str, int]:
    found = dict.fromkeys(_COUNTED, 0)
    for each in differences:
        found[each.action] += 1
    return found


def dangers(planned: Planned) -> list[str]:
    """What somebody should look at before anything else: stored things that go, rights that grow."""
    found: list[str] = []
    granted: list[str] = []
    for unit, plan in sorted(planned.plans.items()):
        for change in plan.get("resource_changes", []):
            action = drift.VERBS.get(tuple(change["change"]["actions"]))
            if change["type"] in STATEFUL and action in {"destroy", "replace"}:
                found.append(f"**{action}s** `{unit}` `{change['address']}`: what it holds is lost")
            if action == "create":
                granted += [f"`{unit}` `{change['address']}`" for _ in _widened(change)]
            else:
                found += [f"**IAM widened** in `{unit}` `{change['address']}`: {words}" for words in _widened(change)]
    return [*found, f"**new rights**: {', '.join(granted)}"] if granted else found


def _widened(change: dict[str, Any]) -> Iterator[str]:
    """Rights that policies would grant and do not grant now."""
    before, after = (change["change"].get(side) or {} for side in ("before", "after"))
    for name in _POLICIES:
        old, new = (_grants(side.get(name)) for side in (before, after))
        if gained := sorted(new["Allow"] - old["Allow"]):
            yield "allows " + _some(gained)
        if after and (freed := sorted(old["Deny"] - new["Deny"])) and (after.get(name) is not None):
            yield "no longer denies " + _some(freed)


def _grants(document: Any) -> dict[str, set[str]]:
    """Every action on every resource for every principal, as words."""
    found: dict[str, set[str]] = {"Allow": set(), "Deny": set()}
    for each in statements(document):
        who = f" to {drift.text(each['Principal'])}" if "Principal" in each else ""
        when = f" if {drift.text(each['Condition'])}" if "Condition" in each else ""
        for action in each.get("Action", [f"all but {drift.text(each.get('NotAction'))}"]):
            for resource in each.get("Resource", [""]):
                found[each["Effect"]].add(f"{action}{f' on {resource}' if resource else ''}{who}{when}")
    return found


def _some(words: list[str], most: int = 6) -> str:
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(f"`{each}`" for each in words[:most]) + more


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
    """The summary, at most LIMIT characters: details give way first, and it says so."""
    name = planned.environment
    head = f"<!-- plan:{name} -->\n## Plan of `{name}` at `{planned.commit[:12]}`\n\n{overview(planned)}"
    ending = "\n</details>\n\n… and more than fits here: `make plan` shows all of it.\n"
    return limited((*head.split("\n"), *_details(planned.differences)), ending)


def overview(planned: Planned) -> str:
    """Refusals, dangers and counts, without the details."""
    differences = planned.differences
    lines: list[str] = []
    if planned.orphans:
        lines += [f"> [!CAUTION]\n> No folder, but still deployed: {_some(sorted(planned.orphans))}", ""]
    if planned.unpublished:
        lines += [f"> [!CAUTION]\n> Changed by an apply that died, not in use: {_some(list(planned.unpublished))}", ""]
    if planned.violations:
        lines += ["### Refused", ""]
        lines += [f"- **{v.rule}** `{v.unit}` `{v.address}`: {v.why}; {v.remedy}" for v in planned.violations] + [""]
    if found := dangers(planned):
        lines += ["### Look at this first", "", *[f"- {each}" for each in found], ""]
    if differences:
        lines += _table(planned, differences)
    elif planned.changes_outputs:
        lines += ["Only outputs change.", ""]
    else:
        lines += ["Nothing changes.", ""]
    if planned.canary:
        first = planned.canary
        lines += [
            f"**{planned.environment}: {first.percent} % first**, watched: new versions of {first.functions}.",
            "",
        ]
    if planned.later:
        lines += ["Planned again after these are applied:", ""]
        lines += [f"- `{unit}`: {why}" for unit, why in sorted(planned.later.items())] + [""]
    return "\n".join(lines)


def _table(planned: Planned, differences: list[Difference]) -> list[str]:
    lines = ["| unit | add | change | destroy | replace |", "|---|---:|---:|---:|---:|"]
    for unit in sorted(planned.plans):
        found = counts(each for each in differences if each.unit == unit)
        lines.append(f"| {unit} | " + " | ".join(str(found[verb] or "·") for verb in _COUNTED) + " |")
    total = counts(differences)
    lines.append("| **total** | " + " | ".join(f"**{total[verb]}**" for verb in _COUNTED) + " |")
    return [*lines, ""]


def _details(differences: list[Difference]) -> Iterator[str]:
    """A unit's changes, folded away, each with the attributes that differ."""
    for unit in sorted({each.unit for each in differences}):
        yield f"\n<details><summary>{unit}</summary>\n"
        for each in (each for each in differences if each.unit == unit):
            yield f"- `{_SIGNS[each.action]} {each.address}`{', changed by hand' if each.by_hand else ''}"
            for attribute in each.attributes:
                values = (drift.text(value) for value in (attribute.deployed, attribute.wanted))
                yield f"  - `{attribute.name}`: " + " → ".join(f"`{value}`" for value in values)
        yield "\n</details>"


def limited(lines: Iterable[str], ending: str) -> str:
    """As many whole lines as GitHub takes, and an ending where that is not all of them."""
    kept: list[str] = []
    left = LIMIT - len(ending)
    for line in lines:
        left -= len(line) + 1
        if left < 0:
            return "\n".join(kept) + ending
        kept.append(line)
    return "\n".join(kept) + "\n"


def as_json(planned: Planned) -> str:
    """The same for programs."""
    return json.dumps(
        {
            "environment": planned.environment,
            "commit": planned.commit,
            "counts": counts(planned.differences),
            "dangers": dangers(planned),
            "violations": [vars(each) for each in planned.violations],
            "later": planned.later,
            "orphans": list(planned.orphans),
            "unpublished": list(planned.unpublished),
            "canary": planned.canary.model_dump() if planned.canary else None,
        },
        indent=2,
    )
