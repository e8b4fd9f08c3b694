"""Differences between what is deployed and the files, by resource and attribute, read from Terraform's plan as JSON.

Format of a plan: https://developer.hashicorp.com/terraform/internals/json-format#plan-representation
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from rich.markup import escape
from rich.table import Table

from imagepipe.terragrunt import units as terragrunt
from imagepipe.terragrunt.runner import Listener
from imagepipe.terragrunt.target import Target

#: Characters of a value that are shown.
SHOWN = 60

SENSITIVE = "(sensitive)"
UNKNOWN = "(known after apply)"

#: What apply would do, by the actions of a plan.
VERBS = {
    ("create",): "create",
    ("delete",): "destroy",
    ("update",): "change",
    ("delete", "create"): "replace",
    ("create", "delete"): "replace",
}


@dataclass(frozen=True)
class Attribute:
    """One value that differs."""

    #: Path of the value, with dots and brackets.
    name: str
    deployed: Any
    wanted: Any


@dataclass(frozen=True)
class Difference:
    """One resource that apply would touch."""

    unit: str
    address: str
    action: str
    #: True if somebody changed the resource since the last apply, False if its files have changed.
    by_hand: bool
    attributes: tuple[Attribute, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the same as values that JSON can hold."""
        return asdict(self)


def find(target: Target, listener: Listener) -> list[Difference]:
    """Plan every unit and return what differs, unit by unit.

    Raises:
        PipelineError: the environment was never deployed, or its plan failed.
    """
    plans = terragrunt.plan_deployed(target, listener)
    return [difference for unit, plan in sorted(plans.items()) for difference in differences(unit, plan)]


def differences(unit: str, plan: dict[str, Any]) -> Iterator[Difference]:
    """Yield every resource that a unit's plan would touch."""
    drifted = {
        resource["address"]: {attribute.name for attribute in _attributes(resource["change"])}
        for resource in plan.get("resource_drift", [])
    }
    for resource in plan.get("resource_changes", []):
        change, address = resource["change"], resource["address"]
        if action := VERBS.get(tuple(change["actions"])):
            attributes = tuple(_attributes(change)) if action in {"change", "replace"} else ()
            # Drift in other attributes does not count: AWS sets some of them itself, and apply leaves them alone.
            by_hand = address in drifted and (not attributes or any(a.name in drifted[address] for a in attributes))
            yield Difference(unit, address, action, by_hand, attributes)


def changes_outputs(plan: dict[str, Any]) -> bool:
    """Tell whether applying a plan would change an output of its unit."""
    return any(change["actions"] != ["no-op"] for change in plan.get("output_changes", {}).values())


def table(differences: list[Difference], title: str) -> Table:
    """Return differences as a table for a terminal."""
    result = Table(title=title, title_justify="left")
    for heading in ("unit", "resource", "apply would", "attribute", "deployed", "wanted"):
        result.add_column(heading, overflow="fold")
    for difference in differences:
        cause = "" if difference.by_hand else " (files changed)"
        first = (difference.unit, escape(difference.address), difference.action + cause)
        for number, attribute in enumerate(difference.attributes or (None,)):
            values = (attribute.name, text(attribute.deployed), text(attribute.wanted)) if attribute else ("", "", "")
            result.add_row(*(first if number == 0 else ("", "", "")), *map(escape, values))
    return result


def markdown(differences: list[Difference], name: str) -> str:
    """Return differences as the text of an issue. It holds no time, so the same drift gives the same text."""
    count = f"{len(differences)} resources" if len(differences) != 1 else "1 resource"
    lines = [f"`{name}` differs from its files in {count}; `make apply ENV={name}` mends it.", ""]
    for difference in differences:
        cause = "changed by hand" if difference.by_hand else "files changed"
        lines.append(f"- **{difference.unit}** `{difference.address}`: apply would {difference.action} it ({cause})")
        lines += [f"  - `{a.name}`: `{text(a.deployed)}` → `{text(a.wanted)}`" for a in difference.attributes]
    return "\n".join(lines) + "\n"


def text(value: Any) -> str:
    """Return a value on one short line."""
    shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    shown = " ".join(shown.split()).replace("`", "'")
    return shown if len(shown) <= SHOWN else shown[: SHOWN - 1] + "…"


def _attributes(change: dict[str, Any]) -> Iterator[Attribute]:
    """Yield the values that differ. Strings that hold JSON, as policies do, are compared value by value."""
    before, after = (_leaves(change.get(side) or {}) for side in ("before", "after"))
    unknown = _leaves(change.get("after_unknown") or {})
    marked = [_leaves(change.get(side) or {}).items() for side in ("before_sensitive", "after_sensitive")]
    sensitive = [name for side in marked for name, value in side if value is True]
    after |= {name: UNKNOWN for name, value in unknown.items() if value is True}
    for name in sorted(before.keys() | after.keys()):
        deployed, wanted = before.get(name), after.get(name)
        if deployed == wanted or (wanted == UNKNOWN and name not in before):
            continue
        if any(name == path or name.startswith((f"{path}.", f"{path}[")) for path in sensitive):
            deployed = wanted = SENSITIVE
        yield Attribute(name, deployed, wanted)


def _leaves(value: Any, name: str = "") -> dict[str, Any]:
    if isinstance(value, str) and value[:1] in {"{", "["}:
        try:
            return _leaves(json.loads(value), name)
        except ValueError:
            return {name: value}
    if isinstance(value, dict):
        inner = {f"{name}.{key}" if name else key: part for key, part in value.items()}
    elif isinstance(value, list):
        inner = {f"{name}[{place}]": part for place, part in enumerate(value)}
    else:
        return {name: value}
    return {leaf: content for path, part in inner.items() for leaf, content in _leaves(part, path).items()}
