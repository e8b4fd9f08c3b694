"""Plans of the modules, made with the real provider and without any cloud. How, and at what cost: harness.py."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import pytest

from . import harness
from .harness import Change, Resources, Verdict

MODULES = ("api", "ci-access", "compute", "monitoring", "registry", "storage")

ACCOUNT = "333333333333"
REGION = "eu-west-1"
NAMES = {"account_id": ACCOUNT, "name_prefix": "image-pipeline-prod", "region": REGION}


def statements(policy: str) -> dict[str, Any]:
    """Return a policy's statements by their Sid; actions, resources and condition values always as lists."""

    def listed(value: Any) -> list[Any]:
        return value if isinstance(value, list) else [value]

    return {
        statement["Sid"]: statement
        | {name: sorted(listed(statement[name])) for name in ("Action", "Resource") if name in statement}
        | {
            "Condition": {
                operator: {key: listed(value) for key, value in keys.items()}
                for operator, keys in statement.get("Condition", {}).items()
            }
        }
        for statement in json.loads(policy)["Statement"]
    }


def assert_denies_insecure_transport(policy: str, action: str, *arns: str) -> None:
    statement = statements(policy)["DenyInsecureTransport"]
    assert statement["Effect"] == "Deny"
    assert statement["Principal"] in ("*", {"AWS": "*"})
    assert statement["Action"] == [action]
    assert statement["Resource"] == sorted(arns)
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": ["false"]}}


@pytest.fixture(scope="session")
def plans(request: pytest.FixtureRequest) -> Callable[[str], dict[str, list[Change]]]:
    """Plans of a module: those of `PLANS` in its test file, `weakened`, and `example-<name>`."""
    return _once(lambda module: harness.plans(module, _cache(request)))


@pytest.fixture(scope="session")
def planned(plans: Callable[[str], dict[str, list[Change]]]) -> Callable[[str, str], Resources]:
    """Resources that one plan of a module makes, by address."""
    return lambda module, name: {change.address: change.values for change in plans(module)[name]}


@pytest.fixture(scope="session")
def verdicts(request: pytest.FixtureRequest) -> Callable[[str, str], dict[str, Verdict]]:
    """What Terraform says about the cases of a file in a module's folder `tests`."""
    return _once(lambda module, file: harness.verdicts(module, file, _cache(request)))


def _cache(request: pytest.FixtureRequest) -> Path:
    """Return the folder of answers, which lasts for one run only with `-p no:cacheprovider`."""
    cache: pytest.Cache | None = getattr(request.config, "cache", None)
    temporary: pytest.TempPathFactory = request.getfixturevalue("tmp_path_factory")
    return cache.mkdir("terraform") if cache else temporary.mktemp("terraform")


Answer = TypeVar("Answer")
Question = ParamSpec("Question")


def _once(ask: Callable[Question, Answer]) -> Callable[Question, Answer]:
    """Remember answers and failures: what fails once would fail for every test that asks."""
    known: dict[tuple[object, ...], Answer | AssertionError] = {}

    def answer(*question: Question.args, **_: Question.kwargs) -> Answer:
        if question not in known:
            try:
                known[question] = ask(*question, **_)
            except AssertionError as error:
                known[question] = error
        kept = known[question]
        if isinstance(kept, AssertionError):
            raise kept
        return kept

    return answer
