"""What differs, read from plans as Terraform writes them."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from imagepipe.cli import app, deliver
from imagepipe.terragrunt import drift
from imagepipe.terragrunt.drift import SENSITIVE, UNKNOWN, Attribute, Difference


def plan(*resources: dict[str, Any], moved: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
    return {"resource_changes": list(resources), "resource_drift": list(moved)}


def resource(*actions: str, address: str = "aws_sqs_queue.uploads", **change: Any) -> dict[str, Any]:
    return {"address": address, "change": {"actions": list(actions), **change}}


def only(result: dict[str, Any]) -> Difference:
    (difference,) = drift.differences("storage", result)
    return difference


def test_what_apply_would_not_touch_is_no_drift() -> None:
    assert (
        list(drift.differences("storage", plan(resource("no-op"), resource("read"), moved=(resource("update"),)))) == []
    )


def test_changed_attribute_is_named_with_both_values_and_who_changed_it() -> None:
    change = resource(
        "update", before={"name": "q", "delay": 5, "tags": {}}, after={"name": "q", "delay": 0, "tags": {}}
    )
    address = "aws_sqs_queue.uploads"
    expected = Difference("storage", address, "change", True, (Attribute("delay", 5, 0),))
    moved = resource("update", before={"name": "q", "delay": 0}, after={"name": "q", "delay": 5})
    assert only(plan(change, moved=(moved,))) == expected
    assert not only(plan(change)).by_hand


def test_what_moved_and_nobody_wants_back_is_no_change_by_hand() -> None:
    change = resource("update", before={"delay": 5, "messages": 9}, after={"delay": 0, "messages": 9})
    moved = resource("update", before={"delay": 5, "messages": 0}, after={"delay": 5, "messages": 9})
    assert not only(plan(change, moved=(moved,))).by_hand


def test_what_somebody_deleted_is_made_again_because_of_that() -> None:
    gone = resource("delete", before={"name": "q"}, after=None)
    assert only(plan(resource("create", after={"name": "q"}), moved=(gone,))).by_hand


def test_texts_that_are_json_are_looked_into() -> None:
    before, after = ({"policy": json.dumps({"Statement": [{"Effect": value}]})} for value in ("Allow", "Deny"))
    outcome = only(plan(resource("update", before=before, after=after)))
    assert outcome.attributes == (Attribute("policy.Statement[0].Effect", "Allow", "Deny"),)


def test_secrets_are_not_shown_and_what_is_not_known_yet_is_said() -> None:
    before = {"password": "old", "arn": "a", "list": ["x"]}
    change = resource(
        "update",
        before=before,
        after={"password": "new", "list": ["y"]},
        after_unknown={"arn": True, "id": True},
        before_sensitive={"password": True},
        after_sensitive={"list": [True], "arn": False},
    )
    assert only(plan(change)).attributes == (
        Attribute("arn", "a", UNKNOWN),
        Attribute("list[0]", SENSITIVE, SENSITIVE),
        Attribute("password", SENSITIVE, SENSITIVE),
    )


def test_missing_and_surplus_resources_are_named_without_their_attributes() -> None:
    differences = drift.differences(
        "storage", plan(resource("create", after={"a": 1}), resource("delete", before={"a": 1}))
    )
    assert [(item.action, item.attributes) for item in differences] == [("create", ()), ("destroy", ())]


def test_markdown_is_the_same_for_the_same_drift_and_has_no_code_within_code() -> None:
    change = resource("update", before={"name": "`a`\nb"}, after={"name": "c" * 200})
    text = drift.markdown(list(drift.differences("storage", plan(change))), "dev")
    assert "`name`: `'a' b` → `" + "c" * 59 + "…`" in text


@pytest.mark.parametrize("differences", [[], [Difference("storage", "aws_sqs_queue.uploads", "change", True, ())]])
def test_a_report_is_empty_without_drift_and_the_exit_code_tells(
    differences: list[Difference], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = SimpleNamespace(description="dev", environment=SimpleNamespace(name="dev"))
    monkeypatch.setattr(deliver, "load_targets", lambda *_: [target])
    monkeypatch.setattr(drift, "find", lambda *_: differences)
    report = tmp_path / "drift/dev.md"
    assert CliRunner().invoke(app, ["drift", "--report", str(report)]).exit_code == (2 if differences else 0)
    assert report.read_text() == (drift.markdown(differences, "dev") if differences else "")
