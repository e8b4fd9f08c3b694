"""A snapshot names functions as the states do, and holds the aliases that exist."""

import json
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from imagepipe.live.environments import Environment
from imagepipe.releases import aliases, snapshot
from imagepipe.releases.aliases import Alias, Canary
from imagepipe.terragrunt import state

DEV = Environment("dev", "1" * 12, "eu-west-1", None, False, "linux/amd64", timedelta())
DIGEST = f"sha256:{'1' * 64}"


class Functions:
    """AWS Lambda with these aliases: version and weights by the function's name."""

    def __init__(
        self, aliases: dict[str, tuple[str, dict[str, float]]], code: str = "ResourceNotFoundException"
    ) -> None:
        self.aliases, self.code = aliases, code
        self.calls: list[str] = []

    def get_alias(self, FunctionName: str, Name: str) -> dict[str, Any]:
        self.calls.append(f"{FunctionName}:{Name}")
        if FunctionName not in self.aliases:
            raise ClientError({"Error": {"Code": self.code, "Message": ""}}, "GetAlias")
        version, weights = self.aliases[FunctionName]
        return {
            "FunctionVersion": version,
            **({"RoutingConfig": {"AdditionalVersionWeights": weights}} if weights else {}),
        }

    def get_function(self, FunctionName: str, Qualifier: str) -> dict[str, Any]:
        return {"Code": {"ImageUri": f"registry/{FunctionName}@{DIGEST}"}}


NAMES = {"api": {"name": "a-api", "alias": "live"}, "processor": {"name": "a-processor", "alias": "live"}}


def take(monkeypatch: pytest.MonkeyPatch, functions: Functions, contents: dict[str, Any]) -> snapshot.Snapshot:
    kept = {f"{unit}/terraform.tfstate": json.dumps(content).encode() for unit, content in contents.items()}
    monkeypatch.setattr(state, "read_beside_state", lambda _, name: kept.get(name))
    target: Any = SimpleNamespace(environment=DEV, client=lambda _: functions)
    return snapshot.take(target)


def test_functions_and_aliases_are_called_as_the_state_says(monkeypatch: pytest.MonkeyPatch) -> None:
    functions = Functions({"a-api": ("3", {}), "a-processor": ("8", {"9": 0.1})})
    compute = {"serial": 5, "outputs": {"functions": {"value": NAMES}}}
    taken = take(monkeypatch, functions, {"compute": compute, "storage": {"serial": 1, "outputs": {}}})
    assert functions.calls == ["a-api:live", "a-processor:live"]
    assert taken.aliases[1] == Alias("processor", "a-processor", "live", "8", DIGEST, {"9": 0.1})
    assert taken.running_digests == {"api": DIGEST, "processor": DIGEST}
    assert taken.canary == Canary(percent=10, held={"processor": "8"})
    assert taken.deployed_units == {"compute"}
    assert taken.serial("compute") == 5
    assert taken.record is None


def test_what_was_never_deployed_is_asked_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    functions = Functions({})
    taken = take(monkeypatch, functions, {})
    assert (taken.states, taken.aliases, taken.canary, functions.calls) == ({}, (), None, [])


def test_an_alias_that_is_gone_is_left_out_and_still_a_function(monkeypatch: pytest.MonkeyPatch) -> None:
    compute = {"serial": 5, "outputs": {"functions": {"value": NAMES}}}
    taken = take(monkeypatch, Functions({"a-api": ("3", {})}), {"compute": compute})
    assert [alias.function for alias in taken.aliases] == ["api"]
    assert {*taken.functions} == {"api", "processor"}


def test_another_error_of_aws_is_no_missing_alias() -> None:
    target: Any = SimpleNamespace(client=lambda _: Functions({}, code="AccessDeniedException"))
    with pytest.raises(ClientError, match="AccessDenied"):
        aliases.read(target, NAMES)
