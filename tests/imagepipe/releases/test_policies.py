"""What a plan may not do, rule by rule, on changes as Terraform writes them."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from imagepipe.errors import PipelineError
from imagepipe.releases import policies
from imagepipe.releases.policies import DESTROY_LABEL, Waiver, judge

DIGEST = "sha256:" + "a" * 64


def change(
    kind: str, after: dict[str, Any] | None, actions: list[str] | None = None, **unknown: bool
) -> dict[str, Any]:
    done = actions or (["create"] if after else ["delete"])
    return {
        "address": f"{kind}.it",
        "type": kind,
        "change": {"actions": done, "before": None, "after": after, "after_unknown": unknown},
    }


def policy(*, effect: str = "Allow", action: Any = "s3:GetObject", **others: Any) -> str:
    return json.dumps({"Statement": [{"Effect": effect, "Action": action, **others}]})


def broken(
    *changes: dict[str, Any], labels: frozenset[str] = frozenset(), waived: list[Waiver] | None = None
) -> list[str]:
    return [item.rule for item in judge("dev/storage", {"resource_changes": changes}, labels, waived or [])]


BLOCK = dict.fromkeys(policies._BLOCKS, True)
QUEUE = {"kms_master_key_id": None, "sqs_managed_sse_enabled": True, "policy": policy(effect="Deny", Principal="*")}


@pytest.mark.parametrize(
    ("rule", "wrong"),
    [
        ("encryption", change("aws_sqs_queue", QUEUE | {"sqs_managed_sse_enabled": False})),
        ("encryption", change("aws_dynamodb_table", {"server_side_encryption": [{"enabled": False}]})),
        ("encryption", change("aws_s3_bucket_server_side_encryption_configuration", None)),
        ("public-access", change("aws_s3_bucket_public_access_block", BLOCK | {"block_public_policy": False})),
        ("public-access", change("aws_s3_bucket_public_access_block", None)),
        ("public-access", change("aws_s3_bucket_acl", {"acl": "public-read"})),
        ("public-access", change("aws_lambda_function_url", {"authorization_type": "NONE"})),
        ("public-access", change("aws_lambda_permission", {"principal": "s3.amazonaws.com"})),
        ("public-access", change("aws_s3_bucket_policy", {"policy": policy(Principal={"AWS": "*"})})),
        ("public-access", change("aws_sqs_queue", QUEUE | {"policy": policy(Principal="*", action="sqs:SendMessage")})),
        ("iam-wildcard", change("aws_iam_role_policy", {"policy": policy(action="s3:*", Resource="arn:x")})),
        ("iam-wildcard", change("aws_iam_policy", {"policy": policy(action=["*"], Resource="arn:x")})),
        ("iam-wildcard", change("aws_iam_role_policy", {"policy": policy(action="s3:PutObject", Resource="*")})),
        ("iam-wildcard", change("aws_iam_role_policy", {"policy": policy(action="s3:GetObject", Resource=["*"])})),
        ("image-by-digest", change("aws_lambda_function", {"image_uri": "registry/image:latest"})),
        ("stateful-deletion", change("aws_s3_bucket", None)),
        ("stateful-deletion", change("aws_dynamodb_table", {"name": "t"}, ["delete", "create"])),
    ],
)
def test_what_must_not_be_is_refused_by_name(rule: str, wrong: dict[str, Any]) -> None:
    assert broken(wrong) == [rule]


@pytest.mark.parametrize(
    "right",
    [
        change("aws_sqs_queue", QUEUE),
        change("aws_sqs_queue", {"sqs_managed_sse_enabled": None}, kms_master_key_id=True),
        change("aws_dynamodb_table", {"name": "t"}, server_side_encryption=True),
        change("aws_s3_bucket_public_access_block", BLOCK),
        change("aws_lambda_permission", {"principal": "apigateway.amazonaws.com"}, source_arn=True),
        change("aws_s3_bucket_policy", {"policy": policy(effect="Deny", Principal="*", action="s3:*")}),
        change("aws_iam_role_policy", {"policy": policy(action="logs:DescribeLogGroups", Resource="*")}),
        change("aws_iam_role_policy", {"policy": None}, policy=True),
        change("aws_lambda_function", {"image_uri": f"registry/image@{DIGEST}"}),
        change("aws_cloudwatch_log_group", None),
        change("aws_s3_bucket", {"bucket": "b"}, ["no-op"]),
        change("aws_iam_role_policy", {"policy": policy(action="*", Resource="*")}, ["no-op"]),
    ],
)
def test_what_is_right_passes(right: dict[str, Any]) -> None:
    assert broken(right) == []


def test_losing_data_takes_a_label_and_no_waiver() -> None:
    goes = change("aws_sqs_queue", None)
    assert broken(goes) == ["stateful-deletion"]
    assert broken(goes, labels=frozenset({DESTROY_LABEL})) == []


def waiver(**changed: Any) -> Waiver:
    fields = {
        "address": "aws_s3_bucket_acl.it",
        "reason": "a bucket of public pictures, by decision 12",
        "rule": "public-access",
        "unit": "dev/storage",
        "until": date(2999, 1, 1),
    }
    return Waiver.model_validate(fields | changed)


def test_a_waiver_covers_one_resource_and_one_rule_until_its_day() -> None:
    wrong = change("aws_s3_bucket_acl", {"acl": "public-read"})
    assert broken(wrong, waived=[waiver()]) == []
    for other in ({"address": "aws_s3_bucket_acl.other"}, {"unit": "prod/storage"}, {"until": date(2020, 1, 1)}):
        assert broken(wrong, waived=[waiver(**other)]) == ["public-access"]


def test_every_violation_says_what_to_do() -> None:
    plan = {"resource_changes": [change("aws_s3_bucket", None), change("aws_s3_bucket_acl", {"acl": "public-read"})]}
    gone, open_ = judge("dev/storage", plan, frozenset(), [])
    assert DESTROY_LABEL in gone.remedy
    assert "waive public-access for aws_s3_bucket_acl.it in live/waivers.json" in open_.remedy


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "is not JSON"),
        ('[{"rule": "public-access"}]', "Field required"),
        (json.dumps([json.loads(waiver(rule="no-such").model_dump_json())]), "no-such cannot be waived"),
        (json.dumps([json.loads(waiver(rule="stateful-deletion").model_dump_json())]), "cannot be waived"),
    ],
)
def test_a_malformed_file_of_waivers_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, message: str
) -> None:
    file = policies.ROOT / "build" / f"{tmp_path.name}.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(content)
    monkeypatch.setattr(policies, "WAIVERS", file)
    try:
        with pytest.raises(PipelineError, match=message):
            policies.waivers()
    finally:
        file.unlink()


def test_what_is_waived_now_is_a_list_that_can_be_read() -> None:
    assert isinstance(policies.waivers(), list)
