"""The rules for plans pass what the modules make: a rule that refused them would be waived, and then be none."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from imagepipe.live import environments, roles
from imagepipe.live.environments import Environment
from imagepipe.releases import policies

from . import harness
from .conftest import MODULES
from .harness import Change


def environment(name: str, digit: str, *, protected: bool = False) -> Environment:
    return Environment(name, digit * 12, "eu-west-1", None, protected, "linux/amd64", timedelta())


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    """The accounts and the repository of the examples."""
    known = [environment(str(digit), str(digit)) for digit in range(1, 6)]
    monkeypatch.setattr(environments, "load_all", lambda: known)
    monkeypatch.setattr(roles, "repository", lambda: "acme/images")


def resource(change: Change) -> dict[str, Any]:
    body = {"actions": ["create"], "before": None, "after": change.values, "after_unknown": {}}
    return {"address": change.address, "type": change.address.split(".")[0], "change": body}


@pytest.mark.parametrize("module", MODULES)
def test_rules_pass_what_an_example_of_a_module_makes(
    plans: Callable[[str], dict[str, list[Change]]], module: str
) -> None:
    for example in harness.examples(module):
        changes = [resource(change) for change in plans(module)[f"example-{example}"]]
        assert changes
        violations = policies.judge("dev/x", {"resource_changes": changes}, [], environment("dev", "1"))
        assert [(violation.address, violation.why) for violation in violations] == [], example
