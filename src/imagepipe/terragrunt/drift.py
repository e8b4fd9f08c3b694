"""What is deployed beside what the files say, by resource and attribute, from Terraform's own plan as JSON.

Format of a plan: https://developer.hashicorp.com/terraform/internals/json-format#plan-representation
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from rich.markup import escape
from rich.table import Table

from imagepipe.terragrunt import units as terragrunt
from imagepipe.terragrunt.target import Target

#: What is shown of a value, in characters.
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
    """One value that differs; dots and brackets lead to it."""

    name: str
    deployed: Any
    wanted: Any


@dataclass(frozen=True)
class Difference:
    """One resource that apply would touch."""

    unit: str
    address: str
    action: str
    #: Somebody changed it since the last apply. Otherwise the files have changed.
    by_hand: bool
    attributes: tuple[Attribute, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def find(target: Target, listener: terragrunt.Listener) -> list[Difference]:
    """Plans every unit and returns what differs, unit by unit.

    Raises:
        PipelineError: the environment was never deployed, or its plan failed.
    """
    plans = terragrunt.plan_deployed(target, listener)
    return [each for unit, plan in sorted(plans.items()) for each in differences(unit, plan)]


def differences(unit: str, plan: dict[str, Any]) -> Iterator[Difference]:
    """What a unit's plan would touch."""
    moved = {each["address"]: {a.name for a in _attributes(each["change"])} for each in plan.get("resource_drift", [])}
    for resource in plan.get("resource_changes", []):
        change, address = resource["change"], resource["address"]
        if action := VERBS.get(tuple(change["actions"])):
            attributes = tuple(_attributes(change)) if action in {"change", "replace"} else ()
            # Other attributes may have moved, which nobody wants back: what counts on AWS's side, or a default.
            by_hand = address in moved and (not attributes or any(a.name in moved[address] for a in attributes))
            yield Difference(unit, address, action, by_hand, attributes)


def table(found: list[Difference], title: str) -> Table:
    result = Table(title=title, title_justify="left")
    for heading in ("unit", "resource", "apply would", "attribute", "deployed", "wanted"):
        result.add_column(heading, overflow="fold")
    for each in found:
        cause = "" if each.by_hand else " (files changed)"
        first = (each.unit, escape(each.address), each.action + cause)
        for number, attribute in enumerate(each.attributes or (None,)):
            values = (attribute.name, text(attribute.deployed), text(attribute.wanted)) if attribute else ("", "", "")
            result.add_row(*(first if number == 0 else ("", "", "")), *map(escape, values))
    return result


def markdown(found: list[Difference], name: str) -> str:
    """Differences as the text of an issue. It holds no time: the same drift gives the same text."""
    lines = [f"`{name}` differs from its files in {len(found)} resources; `make apply ENV={name}` mends it.", ""]
    for each in found:
        cause = "changed by hand" if each.by_hand else "files changed"
        lines.append(f"- **{each.unit}** `{each.address}`: apply would {each.action} it ({cause})")
        lines += [f"  - `{a.name}`: `{text(a.deployed)}` → `{text(a.wanted)}`" for a in each.attributes]
    return "\n".join(lines) + "\n"


def text(value: Any) -> str:
    """A value on one short line."""
    shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    shown = " ".join(shown.split()).replace("`", "'")
    return shown if len(shown) <= SHOWN else shown[: SHOWN - 1] + "…"


def _attributes(change: dict[str, Any]) -> Iterator[Attribute]:
    """Leaves that differ. Texts that are JSON, as policies are, are looked into."""
    before, after = (_leaves(change.get(side) or {}) for side in ("before", "after"))
    unknown = _leaves(change.get("after_unknown") or {})
    marked = [_leaves(change.get(side) or {}).items() for side in ("before_sensitive", "after_sensitive")]
    sensitive = [name for side in marked for name, value in side if value is True]
    after |= {name: UNKNOWN for name, value in unknown.items() if value is True}
    for name in sorted(before.keys() | after.keys()):
        deployed, wanted = before.get(name), after.get(name)
        if deployed == wanted or (wanted == UNKNOWN and name not in before):
            continue
        if any(name == each or name.startswith((f"{each}.", f"{each}[")) for each in sensitive):
            deployed = wanted = SENSITIVE
        yield Attribute(name, deployed, wanted)


def _leaves(value: Any, name: str = "") -> dict[str, Any]:
    if isinstance(value, str) and value[:1] in {"{", "["}:
        try:
            return _leaves(json.loads(value), name)
        except ValueError:
            return {name: value}
    if isinstance(value, dict):
        inner = {f"{name}.{key}" if name else key: each for key, each in value.items()}
    elif isinstance(value, list):
        inner = {f"{name}[{place}]": each for place, each in enumerate(value)}
    else:
        return {name: value}
    return {leaf: found for path, each in inner.items() for leaf, found in _leaves(each, path).items()}
