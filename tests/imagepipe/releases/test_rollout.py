"""An apply with a bundle applies the plan of the checkout, and that only if it is what was reviewed."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from imagepipe.errors import PipelineError
from imagepipe.live.environments import Environment
from imagepipe.releases import affected, aliases, bundle, evidence, record, repository, rollout, snapshot
from imagepipe.releases.affected import Unit
from imagepipe.releases.bundle import Bundle, PlannedUnit
from imagepipe.releases.record import DeploymentRecord
from imagepipe.releases.snapshot import Snapshot
from imagepipe.terragrunt import state, units
from imagepipe.terragrunt.target import Cloud, Target

NOW = datetime.now(UTC)
DEV = Environment("dev", "1" * 12, "eu-west-1", None, False, "linux/amd64", timedelta())

Plans = dict[str, dict[str, Any]]


def change(address: str, after: dict[str, Any] | None, *actions: str) -> dict[str, Any]:
    body = {"actions": [*actions], "before": {}, "after": after, "after_unknown": {}, "after_sensitive": {}}
    return {"address": address, "type": address.split(".")[0], "change": body}


def plan(*changes: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"resource_changes": [*changes], "output_changes": {}, **more}


TABLE = change("aws_dynamodb_table.it", {"name": "images", "server_side_encryption": []}, "update")
API = change("aws_apigatewayv2_api.it", {"name": "api"}, "update")
EMPTY = plan()


@dataclass
class Cloudless:
    """An environment without a cloud: these plans are what Terraform would say."""

    plans: Plans
    #: What it says once a unit is applied.
    after: dict[str, Any] = field(default_factory=lambda: EMPTY)
    applied: list[str] = field(default_factory=list)
    records: list[DeploymentRecord] = field(default_factory=list)
    fails_at: str = ""

    def plan(self, target: Target, _: Any, names: list[str], folder: Path | None = None) -> Plans:
        for name in names if folder else []:
            assert folder is not None
            (folder / f"{name}.tfplan").write_text(f"of this checkout: {name}")
        return {name: self.after if name in self.applied else self.plans.get(name, EMPTY) for name in names}

    def apply_plan(self, target: Target, unit: str, file: Path, _: Any) -> None:
        assert file.read_text() == f"of this checkout: {unit}"
        if unit == self.fails_at:
            raise PipelineError("terragrunt apply failed")
        self.applied.append(unit)

    def snapshot(self, target: Target) -> Snapshot:
        states = {name: {"lineage": "l", "serial": 1, "outputs": {"x": 1}} for name in ("storage", "api")}
        last = self.records[-1].model_copy(deep=True) if self.records else None
        return Snapshot(target, states, last, (), NOW)


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Cloudless:
    there = Cloudless({"storage": plan(TABLE), "api": plan(API)})
    monkeypatch.setattr(units, "plan", there.plan)
    monkeypatch.setattr(units, "apply_plan", there.apply_plan)
    monkeypatch.setattr(snapshot, "take", there.snapshot)
    monkeypatch.setattr(record, "write", lambda _, written: there.records.append(written.model_copy(deep=True)))
    monkeypatch.setattr(record, "begin", lambda _, before, sha: begun(sha))
    monkeypatch.setattr(rollout, "check_sources", lambda *_: None)
    monkeypatch.setattr(state, "orphans", lambda _: [])
    monkeypatch.setattr(aliases, "unpublished", lambda *_: [])
    monkeypatch.setattr(repository, "commit", lambda _: "c" * 40)
    known = [
        Unit("dev/storage", frozenset(), frozenset()),
        Unit("dev/api", frozenset({"dev/storage"}), frozenset()),
        Unit("dev/monitoring", frozenset({"dev/api"}), frozenset()),
    ]
    monkeypatch.setattr(affected, "units", lambda: known)
    return there


def begun(sha256: str | None) -> DeploymentRecord:
    return DeploymentRecord(
        commit="c" * 40, dirty=False, image="", modules="", plan=sha256, status="applying", who="x", started=NOW
    )


def reviewed(plans: Plans) -> Bundle:
    salt = evidence.new_salt()
    return Bundle(
        environment="dev", account_id="1" * 12, commit="b" * 40, trees={}, versions={}, image=None, salt=salt,
        units=[PlannedUnit(name=unit, changes=evidence.changes(those, salt)) for unit, those in plans.items()],
        later={}, planned=NOW,
    )  # fmt: skip


def apply(planned: Bundle) -> rollout.RolloutResult:
    return rollout.apply(Target(DEV, Cloud.LOCAL, {}), planned, lambda _: None, lambda _: None)


def test_what_was_reviewed_is_planned_again_and_that_plan_is_applied(cloud: Cloudless) -> None:
    assert apply(reviewed(cloud.plans)) == rollout.RolloutResult(["storage", "api"], [])
    assert cloud.applied == ["storage", "api"]
    assert cloud.records[-1].status == "succeeded"


def test_a_unit_that_the_plan_leaves_as_it_is_is_not_applied(cloud: Cloudless) -> None:
    cloud.plans["storage"] = EMPTY
    assert apply(reviewed(cloud.plans)).applied == ["api"]


BACK_DOOR = change("terraform_data.run", {"input": None}, "create")


@pytest.mark.parametrize(
    ("forged", "sentence"),
    [
        ({"storage": plan(TABLE), "api": plan(API, BACK_DOOR)}, "api: create terraform_data.run was reviewed, and is"),
        ({"storage": plan(TABLE)}, ""),
        ({"storage": EMPTY, "api": plan(API)}, "storage: update aws_dynamodb_table.it was not reviewed"),
        (
            {"storage": plan(TABLE), "api": plan(change("aws_apigatewayv2_api.it", {"name": "other"}, "update"))},
            "api: update aws_apigatewayv2_api.it differs from what was reviewed: name would be api",
        ),
    ],
)
def test_a_bundle_that_somebody_else_has_made_executes_nothing(cloud: Cloudless, forged: Plans, sentence: str) -> None:
    """A bundle came with saved plans, provisioners included, and ran what was in them with the apply role."""
    if not sentence:  # it names less than the checkout would change: the rest waits
        assert apply(reviewed(forged)).applied == ["storage"]
        return
    with pytest.raises(PipelineError, match="is not the one that was reviewed at bbbbbbbbbbbb") as refused:
        apply(reviewed(forged))
    assert sentence in str(refused.value)
    assert (cloud.applied, cloud.records) == ([], [])


def test_rules_are_judged_again_by_the_files_of_the_checkout(cloud: Cloudless) -> None:
    """Rules were judged where the bundle was made, by code that its maker had chosen."""
    cloud.plans["api"] = plan(
        API,
        configuration={
            "root_module": {"resources": [{"address": "terraform_data.run", "provisioners": [{"type": "local-exec"}]}]}
        },
    )
    with pytest.raises(
        PipelineError, match=r"breaks the rule foreign-code: dev/api terraform_data\.run: a provisioner"
    ):
        apply(reviewed(cloud.plans))
    assert (cloud.applied, cloud.records) == ([], [])


@pytest.mark.parametrize("content", ["", "PK\x03\x04", "{}", '{"format": "image-pipeline plan bundle 1"}\ngAAAA'])
def test_a_file_with_saved_plans_is_no_bundle_any_more(tmp_path: Path, content: str) -> None:
    file = tmp_path / "bundle"
    file.write_text(content)
    with pytest.raises(PipelineError, match=r"is no bundle that this version can read .*plan again"):
        bundle.read(file)


def test_a_bundle_is_read_as_it_was_written_and_a_missing_one_names_the_command(tmp_path: Path) -> None:
    written = reviewed({"api": plan(API)})
    bundle.write(tmp_path / "deep" / "dev", written)
    assert bundle.read(tmp_path / "deep" / "dev") == written
    assert bundle.read(tmp_path / "deep" / "dev").sha256 == written.sha256
    with pytest.raises(PipelineError, match=r"make plan ENV=… BUNDLE="):
        bundle.read(tmp_path / "none")


WORKFLOW = "arn:aws:sts::111111111111:assumed-role/image-pipeline-dev-ci-apply/run"


def apply_as(caller: str, planned: Bundle, *, erasable: bool) -> list[str]:
    target = Target(replace(DEV, erasable=erasable), Cloud.LOCAL, {})
    target.__dict__["caller"] = caller
    return rollout.apply(target, planned, lambda _: None, lambda _: None).applied


def test_a_workflow_does_not_begin_what_only_an_administrator_may_end(cloud: Cloudless) -> None:
    """AWS would refuse it in the middle: no role of a workflow may change stores that may not be erased."""
    planned = reviewed(cloud.plans)
    with pytest.raises(PipelineError) as refused:
        apply_as(WORKFLOW, planned, erasable=False)
    assert str(refused.value) == (
        "dev/storage holds what may not be erased, so none may change it: an administrator applies live/dev/storage "
        "first, then plan again"
    )
    assert (cloud.applied, cloud.records) == ([], [])
    assert apply_as("arn:aws:iam::111111111111:user/me", planned, erasable=False) == ["storage", "api"]


def test_a_workflow_changes_stores_that_may_be_erased(cloud: Cloudless) -> None:
    assert apply_as(WORKFLOW, reviewed(cloud.plans), erasable=True) == ["storage", "api"]


# --- an apply that died -----------------------------------------------------------------------------------------------


@pytest.fixture
def died(cloud: Cloudless) -> Bundle:
    """storage is applied, and api was not."""
    planned, cloud.fails_at = reviewed(cloud.plans), "api"
    with pytest.raises(PipelineError, match="terragrunt apply failed"):
        apply(planned)
    assert cloud.records[-1].status == "failed"
    cloud.fails_at = ""
    return planned


def test_the_same_bundle_goes_on_where_it_stopped(cloud: Cloudless, died: Bundle) -> None:
    assert apply(died).applied == ["api"]
    assert cloud.applied == ["storage", "api"]


def test_what_it_has_done_already_need_not_be_done_again(cloud: Cloudless, died: Bundle) -> None:
    cloud.plans["api"] = EMPTY
    assert apply(died).applied == []
    assert cloud.records[-1].status == "succeeded"


def test_what_is_left_is_never_more_than_was_reviewed(cloud: Cloudless, died: Bundle) -> None:
    cloud.plans["api"] = plan(API, change("aws_apigatewayv2_route.it", {"route_key": "GET /x"}, "create"))
    with pytest.raises(PipelineError, match=r"api: create aws_apigatewayv2_route.it was not reviewed"):
        apply(died)
    assert cloud.applied == ["storage"]


def test_another_bundle_is_compared_whole(cloud: Cloudless, died: Bundle) -> None:
    cloud.plans = {"storage": EMPTY, "api": EMPTY}
    with pytest.raises(PipelineError, match="was reviewed, and is no longer planned"):
        apply(reviewed({"storage": plan(TABLE), "api": plan(API)}))


# --- the sources of a bundle ------------------------------------------------------------------------------------------


@pytest.fixture
def sources(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    monkeypatch.setattr(repository, "uncommitted", lambda: [])
    monkeypatch.setattr(repository, "trees", lambda: {"live": "1", "modules": "2"})
    monkeypatch.setattr(rollout.runner, "versions", lambda: {"terraform": "1.11.4"})

    def check(**different: Any) -> None:
        same = {"trees": {"live": "1", "modules": "2"}, "versions": {"terraform": "1.11.4"}}
        planned = reviewed({}).model_copy(update=same | different)
        rollout.check_sources(Target(DEV, Cloud.LOCAL, {}), planned)

    return check


@pytest.mark.parametrize(
    ("different", "message"),
    [
        ({"environment": "prod"}, "the bundle is a plan of prod, not of dev"),
        ({"account_id": "2" * 12}, "for account 222222222222, not 111111111111"),
        ({"trees": {"live": "1", "modules": "3"}}, "planned at commit bbbbbbbbbbbb, and modules is another one here"),
        ({"versions": {"terraform": "1.12.0"}}, r"planned with terraform 1\.12\.0, and here is 1\.11\.4"),
    ],
)
def test_a_bundle_of_other_sources_or_tools_is_refused(
    sources: Callable[..., None], different: dict[str, Any], message: str
) -> None:
    sources()
    with pytest.raises(PipelineError, match=message):
        sources(**different)
