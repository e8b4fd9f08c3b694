"""Changes of a plan as evidence: enough to tell whether another plan would do the same, and nothing to execute.

Values are kept as salted digests, so that a file of evidence discloses none. Sensitive ones take a slow digest, because
a short secret could be guessed from a fast one.

Format of a plan: https://developer.hashicorp.com/terraform/internals/json-format#plan-representation
"""

import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import BaseModel

from imagepipe.terragrunt import drift

Plan = dict[str, Any]

#: Stands in place of the digest of a value that is known after the apply only.
UNKNOWN = "unknown"

#: Actions of Terraform that leave a resource as it is.
_NO_OP = ["no-op"]

#: Cost of a slow digest: 16 MB and some 50 ms (RFC 7914).
_SCRYPT = {"n": 2**14, "r": 8, "p": 1, "dklen": 32}


class Change(BaseModel):
    """One resource or output that an apply would touch."""

    #: Of the resource; `output.<name>` for an output.
    address: str
    #: The actions of Terraform in their order, joined by `-then-`, like delete-then-create.
    action: str
    #: Digest of each value afterwards, or UNKNOWN, by path.
    values: dict[str, str]


def new_salt() -> str:
    """Return a random salt."""
    return secrets.token_hex(16)


def changes(plan: Plan, salt: str) -> list[Change]:
    """Return every change that a plan would make, by address. Data that is read later counts as well."""
    resources = [
        Change(address=_address(entry), action=_action(entry), values=_digests(entry["change"], salt))
        for entry in plan.get("resource_changes", [])
        if _action(entry) != "no-op"
    ]
    outputs = [
        Change(address=f"output.{name}", action="-then-".join(change["actions"]), values=_digests(change, salt))
        for name, change in plan.get("output_changes", {}).items()
        if change["actions"] != _NO_OP
    ]
    return sorted([*resources, *outputs], key=lambda change: change.address)


def touched(plan: Plan) -> list[tuple[str, str]]:
    """Return address and action of every resource and output that applying a plan would change."""
    resources = [(_address(entry), _action(entry)) for entry in plan.get("resource_changes", [])]
    outputs = plan.get("output_changes", {}).items()
    return [(address, action) for address, action in resources if action not in {"no-op", "read"}] + [
        (f"output.{name}", "-then-".join(change["actions"])) for name, change in outputs if change["actions"] != _NO_OP
    ]


def compare(reviewed: list[Change], plan: Plan, salt: str, *, rest: bool = False) -> list[str]:
    """Compare a plan with the changes that were reviewed.

    Args:
        salt: of the reviewed changes.
        rest: the plan is of what an apply that died has left. It may hold less, a replacement may be half done, and
            values may be known that were not.

    Returns:
        A sentence for every difference.
    """
    expected = {change.address: change for change in reviewed}
    actual = {change.address: change for change in changes(plan, salt)}
    sentences = []
    for address, change in actual.items():
        if address not in expected:
            sentences.append(f"{change.action} {address} was not reviewed")
        elif change.action not in _actions(expected[address].action, rest=rest):
            sentences.append(f"{expected[address].action} {address} was reviewed, and now it is {change.action}")
        elif names := _differing(expected[address].values, change.values, rest=rest):
            now = "; ".join(f"{name} would be {_shown(plan, address, name)}" for name in names[:3])
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            sentences.append(f"{change.action} {address} differs from what was reviewed: {now}{more}")
    if not rest:
        gone = (change for address, change in expected.items() if address not in actual)
        sentences += [f"{change.action} {change.address} was reviewed, and is no longer planned" for change in gone]
    return sentences


def _actions(reviewed: str, *, rest: bool) -> set[str]:
    """Return actions that a reviewed one allows: half of a replacement is a creation or a deletion."""
    return {reviewed, *(reviewed.split("-then-") if rest else ())}


def _differing(reviewed: dict[str, str], planned: dict[str, str], *, rest: bool) -> list[str]:
    unknown = [path for path, digest in reviewed.items() if digest == UNKNOWN] if rest else []
    return sorted(
        path
        for path in reviewed.keys() | planned.keys()
        if reviewed.get(path) != planned.get(path) and not _within(path, unknown)
    )


def _address(entry: dict[str, Any]) -> str:
    """Return the address of a resource. An object that a replacement has left behind has the same, and a key."""
    return f"{entry['address']} (deposed {entry['deposed']})" if entry.get("deposed") else str(entry["address"])


def _action(entry: dict[str, Any]) -> str:
    """Return what happens to a resource. One that is only imported or moved says no-op in the plan."""
    change = entry["change"]
    action = "-then-".join(change["actions"])
    if change.get("importing"):
        action = f"import-then-{action}"
    if entry.get("previous_address"):
        action = f"move from {entry['previous_address']}-then-{action}"
    return action


def _digests(change: dict[str, Any], salt: str) -> dict[str, str]:
    marked = [path for path, value in _leaves(change.get("after_sensitive")) if value is True]
    unknown = {path: UNKNOWN for path, value in _leaves(change.get("after_unknown")) if value is True}
    known = {
        path: _digest(value, salt, slow=_within(path, marked))
        for path, value in _leaves(change.get("after"))
        if not _within(path, unknown)
    }
    return known | unknown


def _digest(value: Any, salt: str, *, slow: bool) -> str:
    content = json.dumps(value, sort_keys=True).encode()
    if slow:
        return hashlib.scrypt(content, salt=salt.encode(), **_SCRYPT).hex()
    return hmac.digest(salt.encode(), content, "sha256").hex()


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value that holds no other, with its path. An empty list or object is a value too."""
    if isinstance(value, dict) and value:
        for key, part in value.items():
            yield from _leaves(part, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and value:
        for place, part in enumerate(value):
            yield from _leaves(part, f"{path}[{place}]")
    else:
        yield path, value


def _within(path: str, others: Iterable[str]) -> bool:
    return any(other in {"", path} or path.startswith((f"{other}.", f"{other}[")) for other in others)


def _shown(plan: Plan, address: str, path: str) -> str:
    """Return the planned value of an attribute for people; sensitive ones stay hidden."""
    named = {_address(entry): entry["change"] for entry in plan.get("resource_changes", [])}
    named |= {f"output.{name}": change for name, change in plan.get("output_changes", {}).items()}
    change = named[address]
    if _within(path, [marked for marked, value in _leaves(change.get("after_sensitive")) if value is True]):
        return drift.SENSITIVE
    if dict(_leaves(change.get("after_unknown"))).get(path) is True:
        return drift.UNKNOWN
    values = dict(_leaves(change.get("after")))
    return drift.text(values[path]) if path in values else "absent"
