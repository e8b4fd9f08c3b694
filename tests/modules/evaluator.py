"""Judges policies as AWS does: identity, boundary and resource policies, explicit denials, and the conditions we use.

Written from the IAM User Guide, not from an emulator. What the planned policies do not use is an error here, never a
guess. `tests/modules/compare_iam.mjs` asks the same questions of another evaluator.

- The order of decisions: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
- Operators: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

#: A policy document, as JSON has it.
Document = dict[str, Any]
Statement = dict[str, Any]

#: Condition keys of a request, in lower case, each with its values.
Context = dict[str, list[str]]

_UNUSED = ("NotAction", "NotPrincipal", "NotResource")


@dataclass(frozen=True)
class Principal:
    """Who asks: a role with its policies, or a service, which has none."""

    name: str  # the role's ARN, or the service's name
    policies: tuple[Document, ...] = ()
    boundary: Document | None = None

    @property
    def account(self) -> str:
        """The role's account; "" for a service."""
        return self.name.split(":")[4] if self.name.startswith("arn:") else ""


@dataclass(frozen=True)
class Request:
    """What is asked for."""

    action: str
    resource: str
    account: str  # of the resource
    context: Context = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """The decision, and the statement that made it: its Sid, or why there is none."""

    allowed: bool
    why: str


def judge(principal: Principal, request: Request, resource_policy: Document | None = None) -> Answer:
    """Decide as AWS does for a role or a service.

    Raises:
        NotImplementedError: a policy holds an element or an operator that no policy of this repository used so far.
    """
    own = [*_statements(*principal.policies)]
    bound = [*_statements(principal.boundary)] if principal.boundary else []
    foreign = [statement for statement in _statements(resource_policy) if _names(statement, principal)]
    for statement in (*own, *bound, *foreign):
        if statement["Effect"] == "Deny" and _applies(statement, request):
            return Answer(False, f"denied by {statement.get('Sid', 'a statement')}")
    direct = _first([statement for statement in foreign if not _delegates(statement, principal)], request)
    allowed = _first(own, request)
    if request.account == principal.account and request.action.startswith("kms:") and allowed and not direct:
        # The exception among resource policies: without the key's own word no IAM policy counts.
        allowed = allowed if _first(foreign, request) else ""
    elif principal.account and request.account != principal.account:
        allowed = allowed if _first(foreign, request) else ""
        direct = ""
    if not (allowed or direct):
        return Answer(False, "nothing allows it")
    if principal.boundary and not _first(bound, request):
        return Answer(False, "not within the boundary")
    return Answer(True, f"allowed by {allowed or direct}")


def _statements(*documents: Document | None) -> Iterator[Statement]:
    for document in documents:
        for statement in _listed((document or {"Statement": []})["Statement"]):
            if unused := [name for name in _UNUSED if name in statement]:
                raise NotImplementedError(f"{unused[0]} in {statement}")
            yield statement


def _first(statements: list[Statement], request: Request) -> str:
    """Return the Sid of the first statement that allows a request; "" if there is none."""
    matching = (s for s in statements if s["Effect"] == "Allow" and _applies(s, request))
    return str(next((statement.get("Sid", "a statement") for statement in matching), ""))


def _applies(statement: Statement, request: Request) -> bool:
    actions, resources = _listed(statement["Action"]), _listed(statement.get("Resource", "*"))
    return (
        any(matches(pattern.lower(), request.action.lower()) for pattern in actions)
        and any(matches(pattern, request.resource) for pattern in resources)
        and all(
            _holds(operator, _listed(values), request.context.get(key.lower()))
            for operator, keys in statement.get("Condition", {}).items()
            for key, values in keys.items()
        )
    )


def matches(pattern: str, text: str) -> bool:
    """Compare with "*" for any characters and "?" for one."""
    if "${" in pattern:
        raise NotImplementedError(f"a variable in {pattern}")
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(expression, text, re.DOTALL) is not None


def _matches_arn(pattern: str, text: str) -> bool:
    """Compare part by part: no "*" reaches over a colon of the first five."""
    patterns, texts = pattern.split(":", 5), text.split(":", 5)
    return len(patterns) == len(texts) == 6 and all(map(matches, patterns, texts))


_OPERATORS = {
    "ArnEquals": _matches_arn,  # the same as ArnLike
    "ArnLike": _matches_arn,
    "Bool": lambda wanted, value: wanted.lower() == value.lower(),
    "StringEquals": lambda wanted, value: wanted == value,
    "StringLike": matches,
}


def _holds(operator: str, wanted: list[str], values: list[str] | None) -> bool:
    if operator == "Null":
        return wanted == ["true" if values is None else "false"]
    quantity, _, name = operator.rpartition(":")
    base = name.removesuffix("IfExists")
    if quantity not in {"", "ForAllValues", "ForAnyValue"} or base not in _OPERATORS:
        raise NotImplementedError(f"the operator {operator}")
    if values is None:
        return name.endswith("IfExists") or quantity == "ForAllValues"
    hits = [any(_OPERATORS[base](pattern, value) for pattern in wanted) for value in values]
    if not quantity and len(values) != 1:
        raise NotImplementedError(f"{operator} of {len(values)} values")
    return all(hits) if quantity == "ForAllValues" else any(hits)


def _names(statement: Statement, principal: Principal) -> bool:
    """Tell whether a statement of a resource policy is about this principal."""
    named = statement["Principal"]
    if named == "*":
        return True
    kind = "AWS" if principal.account else "Service"
    if unused := named.keys() - {"AWS", "Federated", "Service"}:
        raise NotImplementedError(f"principals of the kind {unused}")
    own = {principal.name, "*", principal.account, _root(principal)} if principal.account else {principal.name}
    return bool(own & {*_listed(named.get(kind, []))})


def _delegates(statement: Statement, principal: Principal) -> bool:
    """Tell whether a statement names the whole account, and so leaves the decision to its IAM policies."""
    named = statement["Principal"]
    listed = [] if named == "*" else _listed(named.get("AWS", []))
    return bool(principal.account and {principal.account, _root(principal)} & {*listed}) and (
        not {principal.name, "*"} & {*listed}
    )


def _root(principal: Principal) -> str:
    return f"arn:aws:iam::{principal.account}:root"


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
