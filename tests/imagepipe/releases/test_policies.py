"""What a plan may not do, rule by rule, on changes as Terraform writes them."""

import json
import os
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from imagepipe.errors import PipelineError
from imagepipe.live import environments, roles
from imagepipe.live.environments import Environment
from imagepipe.releases import policies
from imagepipe.releases.policies import Waiver, judge

DEV = Environment("dev", "1" * 12, "eu-west-1", None, False, "linux/amd64", timedelta())
PROD = Environment("prod", "3" * 12, "eu-west-1", None, True, "linux/amd64", timedelta())

#: An account of nobody here.
STRANGER = "9" * 12

DIGEST = "sha256:" + "a" * 64


@pytest.fixture(autouse=True)
def accounts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The accounts that files name are those of these two environments."""
    monkeypatch.setattr(environments, "load_all", lambda: [DEV, PROD])


def change(
    kind: str,
    after: dict[str, Any] | None,
    actions: list[str] | None = None,
    before: dict[str, Any] | None = None,
    **unknown: bool,
) -> dict[str, Any]:
    done = actions or (["create"] if after else ["delete"])
    return {
        "address": f"{kind}.it",
        "type": kind,
        "change": {"actions": done, "before": before, "after": after, "after_unknown": unknown},
    }


def policy(*, effect: str = "Allow", action: Any = "s3:GetObject", **others: Any) -> str:
    return json.dumps({"Statement": [{"Effect": effect, "Action": action, **others}]})


def broken(
    *changes: dict[str, Any], waived: list[Waiver] | None = None, environment: Environment = DEV, **plan: Any
) -> list[str]:
    plan = {"resource_changes": changes, **plan}
    return [item.rule for item in judge("dev/storage", plan, waived or [], environment)]


def trust(subject: Any, provider: str = "token.actions.githubusercontent.com") -> str:
    return policy(
        action="sts:AssumeRoleWithWebIdentity",
        Principal={"Federated": f"arn:aws:iam::{'1' * 12}:oidc-provider/{provider}"},
        Condition={"StringEquals": {f"{provider}:sub": subject}},
    )


AWS_OWN = "arn:aws:iam::aws:policy"
TABLE = {"deletion_protection_enabled": True, "point_in_time_recovery": [{"enabled": True}]}
ANYBODY = {"Principal": {"AWS": "*"}, "action": "kms:Decrypt"}
SECURE = {"Condition": {"Bool": {"aws:SecureTransport": "true"}}}
OURS = {"Condition": {"StringEquals": {"aws:SourceAccount": "1" * 12}}}


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


@pytest.mark.parametrize(
    ("rule", "wrong"),
    [
        ("public-access", change("aws_apigatewayv2_route", {"route_key": "DELETE /x", "authorization_type": "NONE"})),
        ("public-access", change("aws_apigatewayv2_route", {"route_key": "ANY /{all+}", "authorization_type": None})),
        ("public-access", change("aws_apigatewayv2_route", {"route_key": "$default"}, authorization_type=True)),
        ("public-access", change("aws_api_gateway_method", {"http_method": "POST", "authorization": "NONE"})),
        ("public-access", change("aws_s3_bucket_policy", {"policy": policy(Principal="*", **SECURE)})),
        ("public-access", change("aws_s3_bucket_policy", {"policy": policy(NotPrincipal={"AWS": "x"})})),
        ("public-access", change("aws_kms_key", {"policy": policy(**ANYBODY)})),
        ("public-access", change("aws_kms_key_policy", {"policy": policy(**ANYBODY)})),
        ("public-access", change("aws_sns_topic_policy", {"policy": policy(**ANYBODY)})),
        ("public-access", change("aws_cloudwatch_event_bus_policy", {"policy": policy(**ANYBODY)})),
        ("public-access", change("aws_cloudwatch_event_permission", {"principal": "*"})),
        ("public-access", change("aws_ecr_repository_policy", {"policy": policy(**ANYBODY)})),
        ("public-access", change("aws_secretsmanager_secret_policy", {"policy": policy(**ANYBODY)})),
        ("public-access", change("aws_dynamodb_resource_policy", {"policy": policy(**ANYBODY)})),
        ("public-access", change("aws_of_next_year", {"access": [{"document": policy(**ANYBODY)}]})),
        ("foreign-account", change("aws_s3_bucket_policy", {"policy": policy(Principal={"AWS": STRANGER})})),
        ("foreign-account", change("aws_sqs_queue", QUEUE | {"policy": policy(Principal={"AWS": [STRANGER]})})),
        (
            "foreign-account",
            change("aws_iam_role", {"assume_role_policy": policy(Principal={"AWS": f"arn:aws:iam::{STRANGER}:root"})}),
        ),
        ("foreign-account", change("aws_iam_role", {"assume_role_policy": trust("repo:somebody/else:pull_request")})),
        ("foreign-account", change("aws_iam_role", {"assume_role_policy": trust("repo:your--organisation/*")})),
        ("foreign-account", change("aws_iam_role", {"assume_role_policy": trust([])})),
        ("foreign-account", change("aws_iam_role", {"assume_role_policy": trust("x", "accounts.google.com")})),
        ("foreign-account", change("aws_lambda_permission", {"principal": STRANGER, "source_account": "1" * 12})),
        ("foreign-account", change("aws_lambda_permission", {"principal": "s3.a.com", "source_account": STRANGER})),
        ("foreign-account", change("aws_cloudwatch_event_target", {"arn": f"arn:aws:sqs:eu-west-1:{STRANGER}:q"})),
        ("managed-policy", change("aws_iam_role_policy_attachment", {"policy_arn": f"{AWS_OWN}/AdministratorAccess"})),
        ("managed-policy", change("aws_iam_role", {"managed_policy_arns": [f"{AWS_OWN}/PowerUserAccess"]})),
        ("iam-wildcard", change("aws_iam_group_policy", {"policy": policy(action="s3:*", Resource="arn:x")})),
        ("iam-wildcard", change("aws_iam_role", {"inline_policy": [{"policy": policy(action="*", Resource="arn:x")}]})),
    ],
)  # fmt: skip
def test_what_strangers_could_use_is_refused_whatever_type_of_resource_allows_it(
    rule: str, wrong: dict[str, Any]
) -> None:
    assert broken(wrong) == [rule]


@pytest.mark.parametrize(
    "right",
    [
        change("aws_apigatewayv2_route", {"route_key": "GET /images", "authorization_type": "NONE"}),
        change("aws_apigatewayv2_route", {"route_key": "DELETE /images/{id}", "authorization_type": "AWS_IAM"}),
        change("aws_s3_bucket_policy", {"policy": policy(Principal="*", **OURS)}),
        change("aws_ecr_repository_policy", {"policy": policy(Principal={"AWS": f"arn:aws:iam::{'3' * 12}:root"})}),
        change("aws_kms_key", {"policy": policy(action="kms:*", Principal={"AWS": f"arn:aws:iam::{'1' * 12}:root"})}),
        change("aws_iam_role", {"assume_role_policy": trust(f"repo:{roles.repository()}:environment:dev")}),
        change("aws_iam_role_policy_attachment", {"policy_arn": f"arn:aws:iam::{'1' * 12}:policy/own"}),
        change("aws_lambda_function", {"role": "arn:aws:iam::000000000000:role/mock-output"}),
        change("aws_s3_bucket", {"force_destroy": True}),
        change("aws_dynamodb_table", {"deletion_protection_enabled": False}),
        change("aws_s3_bucket_versioning", {"versioning_configuration": [{"status": "Suspended"}]}),
    ],
)
def test_what_the_environments_own_accounts_may_use_passes(right: dict[str, Any]) -> None:
    assert broken(right) == []


@pytest.mark.parametrize(
    "wrong",
    [
        change("aws_dynamodb_table", TABLE | {"deletion_protection_enabled": False}),
        change("aws_dynamodb_table", TABLE | {"point_in_time_recovery": [{"enabled": False}]}),
        change("aws_dynamodb_table", TABLE | {"point_in_time_recovery": []}),
        change("aws_s3_bucket", {"force_destroy": True}),
        change("aws_s3_bucket_versioning", {"versioning_configuration": [{"status": "Suspended"}]}),
        change("aws_s3_bucket_versioning", None),
    ],
)
def test_a_protected_environment_keeps_what_protects_its_data(wrong: dict[str, Any]) -> None:
    assert broken(wrong, environment=PROD) == ["protection"]
    assert broken(change("aws_dynamodb_table", TABLE), environment=PROD) == []


def test_protection_is_not_given_up_by_a_file_that_calls_the_environment_unprotected() -> None:
    table = change("aws_dynamodb_table", {"deletion_protection_enabled": False}, ["update"], before=TABLE)
    bucket = change("aws_s3_bucket", {"force_destroy": True}, ["update"], before={"force_destroy": False})
    assert broken(table, bucket, environment=DEV) == ["protection", "protection"]


def configured(**module: Any) -> dict[str, Any]:
    """A plan with this as its configuration's root module."""
    return {"configuration": {"root_module": {"module_calls": {"inner": {"source": "./inner", "module": module}}}}}


@pytest.mark.parametrize(
    "plan",
    [
        configured(resources=[{"address": "a.b", "mode": "managed", "provisioners": [{"type": "local-exec"}]}]),
        configured(resources=[{"address": "data.external.x", "mode": "data", "type": "external"}]),
        configured(module_calls={"theirs": {"source": "git::https://example.com/x.git", "module": {}}}),
        configured(module_calls={"theirs": {"source": "terraform-aws-modules/s3-bucket/aws", "module": {}}}),
        {"configuration": {"provider_config": {"null": {"full_name": "registry.terraform.io/hashicorp/null"}}}},
        {"configuration": {"provider_config": {"aws": {"full_name": "registry.terraform.io/evil/aws"}}}},
        {"resource_changes": [change("x", {}) | {"provider_name": "registry.terraform.io/evil/x"}]},
        {"action_invocations": [{"address": "action.aws_lambda_invoke.x"}]},
    ],
)
def test_code_of_others_is_refused_and_no_waiver_covers_it(plan: dict[str, Any]) -> None:
    assert broken(**plan) == ["foreign-code"]
    with pytest.raises(PipelineError, match="foreign-code cannot be waived"):
        in_file(waiver(rule="foreign-code").model_dump_json())


def test_the_providers_of_aws_and_of_terraform_itself_pass() -> None:
    names = ("registry.terraform.io/hashicorp/aws", "terraform.io/builtin/terraform")
    providers = {name: {"full_name": name} for name in names}
    assert broken(configuration={"provider_config": providers, **configured(resources=[])["configuration"]}) == []


def in_file(*content: str) -> list[Waiver]:
    """What is read of a file with these waivers."""
    file = policies.ROOT / "build" / f"waivers-{os.getpid()}.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"[{','.join(content)}]")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(policies, "WAIVERS", file)
        try:
            return policies.waivers(today=date(2030, 1, 1))
        finally:
            file.unlink()


def test_losing_data_takes_a_waiver_in_a_reviewed_file_that_ends_soon() -> None:
    """A label, which whoever may sort issues can put on after the review, decided before."""
    goes = change("aws_sqs_queue", None)
    assert broken(goes) == ["stateful-deletion"]
    soon = waiver(rule="stateful-deletion", address="aws_sqs_queue.it", until=date(2030, 1, 15))
    assert broken(goes, waived=in_file(soon.model_dump_json())) == []
    later = soon.model_copy(update={"until": date(2030, 1, 16)})
    with pytest.raises(PipelineError, match="is waived until 2030-01-16: 2030-01-15 at most"):
        in_file(later.model_dump_json())


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
    gone, open_ = judge("dev/storage", plan, [], DEV)
    assert "waive stateful-deletion for aws_s3_bucket.it in live/waivers.json, for 14 days at most" in gone.remedy
    assert "waive public-access for aws_s3_bucket_acl.it in live/waivers.json" in open_.remedy


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "is not JSON"),
        ('[{"rule": "public-access"}]', "Field required"),
        (json.dumps([json.loads(waiver(rule="no-such").model_dump_json())]), "no-such cannot be waived"),
        (json.dumps([json.loads(waiver(rule="protection").model_dump_json())]), "is waived until 2999-01-01"),
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
