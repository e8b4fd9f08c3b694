"""ci-access: who gets in, what they may do, and where every role that they make ends."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .conftest import ACCOUNT, NAMES, statements
from .harness import Resources

GITHUB = {"repository": "acme/images", "owner_id": "1234", "repository_id": "5678"}
REGISTRY = {"account_id": "444444444444", "name": "image-pipeline/processor"}
STATE_BUCKET = f"image-pipeline-tfstate-{ACCOUNT}-eu-west-1"
INPUTS = {
    **NAMES,
    "api_ids": ["idofprod"],
    "environment": "prod",
    "github": GITHUB,
    "registry": REGISTRY,
    "state": {"bucket": STATE_BUCKET, "lock_table": "image-pipeline-tflock", "prefix": "live/prod"},
}
#: An environment in the same account, whose stores may be erased.
DEV = INPUTS | {
    "api_ids": ["idofdev"],
    "environment": "dev",
    "erasable": True,
    "name_prefix": "image-pipeline-dev",
    "state": INPUTS["state"] | {"prefix": "live/dev"},
}
PLANS = {
    "main": INPUTS,
    "dev": DEV,
    "dev-new": DEV | {"api_ids": []},
    "dev-with-key": DEV | {"customer_managed_key": True},
    "long-names": DEV
    | {
        "customer_managed_key": True,
        "name_prefix": "a" * 40,
        "registry": REGISTRY | {"manage": True, "erasable": True},
    },
    "second-in-account": INPUTS
    | {"api_ids": [], "create_oidc_provider": False, "github": {"repository": "acme/images"}},
    "shared": INPUTS | {"api_ids": [], "functions": [], "registry": REGISTRY | {"manage": True, "erasable": True}},
    "shared-for-good": INPUTS | {"api_ids": [], "functions": [], "registry": REGISTRY | {"manage": True}},
    "with-key": INPUTS | {"customer_managed_key": True},
}

#: Managed policies end here: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
MOST_CHARACTERS = 6144

#: What tells something and changes nothing, as services call it.
READING = ("BatchGet", "Describe", "GET", "Get", "List")

BOUNDARY = f"arn:aws:iam::{ACCOUNT}:policy/image-pipeline-prod-boundary"


@pytest.fixture(scope="session")
def access(planned: Callable[[str, str], Resources]) -> Resources:
    return planned("ci-access", "main")


def policy(access: Resources, name: str) -> dict[str, Any]:
    return statements(access[f'aws_iam_policy.ci["{name}"]']["policy"])


def trust(access: Resources, role: str) -> dict[str, Any]:
    (statement,) = json.loads(access[f'aws_iam_role.ci["{role}"]']["assume_role_policy"])["Statement"]
    return dict(statement)


def allowed(access: Resources, *names: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name in names:
        for statement in policy(access, name).values():
            if statement["Effect"] == "Allow":
                yield from ((action, statement) for action in statement["Action"])


@pytest.mark.parametrize(
    ("role", "jobs"), [("plan", ["environment:plan", "ref:refs/heads/main"]), ("apply", ["environment:prod"])]
)
def test_a_role_trusts_named_jobs_of_one_repository_in_both_forms(
    access: Resources, role: str, jobs: list[str]
) -> None:
    statement = trust(access, role)
    assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
    assert statement["Principal"] == {
        "Federated": f"arn:aws:iam::{ACCOUNT}:oidc-provider/token.actions.githubusercontent.com"
    }
    subjects = [
        f"{repository}:{job}" for repository in ("repo:acme/images", "repo:acme@1234/images@5678") for job in jobs
    ]
    condition = statement["Condition"].pop("StringEquals")
    assert statement["Condition"] == {}, "whole subjects, no patterns"
    assert condition.pop("token.actions.githubusercontent.com:aud") == "sts.amazonaws.com"
    trusted = condition.pop("token.actions.githubusercontent.com:sub")
    assert sorted([trusted] if isinstance(trusted, str) else trusted) == sorted(subjects)
    assert condition == {}


def test_without_ids_only_the_old_form_is_trusted(planned: Callable[[str, str], Resources]) -> None:
    statement = trust(planned("ci-access", "second-in-account"), "apply")
    assert statement["Condition"]["StringEquals"]["token.actions.githubusercontent.com:sub"] == (
        "repo:acme/images:environment:prod"
    )


def test_one_of_the_environments_in_an_account_makes_the_provider(
    planned: Callable[[str, str], Resources], access: Resources
) -> None:
    provider = "aws_iam_openid_connect_provider.github[0]"
    assert access[provider]["url"] == "https://token.actions.githubusercontent.com"
    assert access[provider]["client_id_list"] == ["sts.amazonaws.com"]
    assert provider not in planned("ci-access", "second-in-account")


def test_the_plan_role_reads(access: Resources) -> None:
    writing = [action for action, _ in allowed(access, "read") if not action.split(":")[1].startswith(READING)]
    assert writing == []


def test_the_plan_role_sees_no_image_record_or_message(access: Resources) -> None:
    objects = {
        arn
        for action, statement in allowed(access, "read")
        if action == "s3:GetObject"
        for arn in statement["Resource"]
    }
    assert objects == {f"arn:aws:s3:::{STATE_BUCKET}/live/prod/*"}
    items = {
        arn
        for action, statement in allowed(access, "read")
        if action == "dynamodb:GetItem"
        for arn in statement["Resource"]
    }
    assert items == {f"arn:aws:dynamodb:eu-west-1:{ACCOUNT}:table/image-pipeline-tflock"}
    denied = policy(access, "read")["NoData"]
    assert denied["Effect"] == "Deny"
    assert {"dynamodb:Query", "dynamodb:Scan", "sqs:ReceiveMessage", "logs:GetLogEvents"} <= {*denied["Action"]}


def test_state_and_locks_are_the_environments_own(access: Resources) -> None:
    write = policy(access, "write")
    assert write["State"]["Resource"] == [f"arn:aws:s3:::{STATE_BUCKET}/live/prod/*"]
    locks = {
        "ForAllValues:StringLike": {"dynamodb:LeadingKeys": [f"{STATE_BUCKET}/live/prod/*"]},
        "Null": {"dynamodb:LeadingKeys": ["false"]},
    }
    assert write["Locks"]["Condition"] == locks
    assert policy(access, "read")["Digests"]["Condition"] == locks


def test_what_is_written_bears_the_environments_name_or_tag(access: Resources) -> None:
    named = (
        "image-pipeline-prod",
        STATE_BUCKET,
        "image-pipeline-tflock",
        "/apis/idofprod",
        ":idofprod/",
        "%2Fapis%2Fidofprod",
    )
    nameless = {
        sid
        for name in ("write", "roles")
        for sid, statement in policy(access, name).items()
        if statement["Effect"] == "Allow"
        and not statement["Condition"]
        and not all(any(part in arn for part in named) for arn in statement["Resource"])
    }
    # Access logs and a registry's login know no resource; the registry is elsewhere.
    assert nameless == {"Delivery", "Login", "Registry"}


def test_the_apply_role_gives_rights_within_the_boundary_only(access: Resources) -> None:
    for action, statement in allowed(access, "write", "roles"):
        if action in {"iam:DeleteRolePolicy", "iam:PutRolePolicy"}:
            assert statement["Condition"] == {"StringEquals": {"iam:PermissionsBoundary": [BOUNDARY]}}, action
    writing = {
        action
        for action, _ in allowed(access, "read", "write", "roles")
        if action.startswith("iam:") and not action.split(":")[1].startswith(READING)
    }
    assert writing == {"iam:DeleteRolePolicy", "iam:PassRole", "iam:PutRolePolicy"}, "it makes and opens no role"
    assert policy(access, "roles")["Pass"]["Condition"] == {
        "StringEquals": {"iam:PassedToService": ["lambda.amazonaws.com"]}
    }


def test_roles_of_functions_can_be_taken_by_lambda_of_this_account_only(access: Resources) -> None:
    for name in ("announcer", "api", "processor"):
        role = access[f'aws_iam_role.function["{name}"]']
        assert role["name"] == f"image-pipeline-prod-{name}"
        assert role["permissions_boundary"] == BOUNDARY
        (statement,) = json.loads(role["assume_role_policy"])["Statement"]
        assert statement["Principal"] == {"Service": "lambda.amazonaws.com"}
        assert statement["Action"] == "sts:AssumeRole"
        assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}


def test_an_environment_without_functions_has_no_roles_for_them(planned: Callable[[str, str], Resources]) -> None:
    assert not [address for address in planned("ci-access", "shared") if address.startswith("aws_iam_role.function")]


def test_the_key_rotates_and_serves_the_bucket_that_sends(planned: Callable[[str, str], Resources]) -> None:
    resources = planned("ci-access", "with-key")
    key = resources["aws_kms_key.storage[0]"]
    assert key["enable_key_rotation"] is True
    document = statements(key["policy"])
    assert document.keys() == {"AllowIamPolicies", "AllowUploadsBucketToSend"}
    sending = document["AllowUploadsBucketToSend"]
    assert sending["Principal"] == {"Service": "s3.amazonaws.com"}
    assert sending["Action"] == ["kms:Decrypt", "kms:GenerateDataKey"]
    assert sending["Condition"] == {
        "ArnEquals": {"aws:SourceArn": [f"arn:aws:s3:::image-pipeline-prod-uploads-{ACCOUNT}-eu-west-1"]},
        "StringEquals": {"aws:SourceAccount": [ACCOUNT]},
    }
    assert resources["aws_kms_alias.storage[0]"]["name"] == "alias/image-pipeline-prod"


def test_without_a_key_nothing_costs_anything_at_rest(access: Resources) -> None:
    assert not [address for address in access if address.startswith("aws_kms")]


def test_nobody_changes_what_holds_him(access: Resources) -> None:
    hands = policy(access, "roles")["Hands"]
    assert hands["Effect"] == "Deny"
    assert BOUNDARY in hands["Resource"]
    assert f"arn:aws:iam::{ACCOUNT}:role/image-pipeline-prod-ci-*" in hands["Resource"]
    assert {"iam:Attach*", "iam:Create*", "iam:Put*", "iam:Set*", "iam:Update*"} <= {*hands["Action"]}


def test_functions_end_at_their_own_things(access: Resources) -> None:
    boundary = statements(access["aws_iam_policy.boundary"]["policy"])
    assert not any(
        action.startswith(("iam:", "lambda:", "sts:"))
        for statement in boundary.values()
        for action in statement["Action"]
    )
    assert all("*" not in statement["Resource"] for statement in boundary.values())
    assert boundary["Objects"]["Resource"] == [
        "arn:aws:s3:::image-pipeline-prod-*",
        "arn:aws:s3:::image-pipeline-prod-*/*",
    ]


def test_only_the_registrys_own_environment_pushes(planned: Callable[[str, str], Resources], access: Resources) -> None:
    assert policy(access, "roles")["Registry"]["Action"] == ["ecr:BatchGetImage"]
    shared = planned("ci-access", "shared")
    assert {"ecr:PutImage", "ecr:SetRepositoryPolicy"} <= {*policy(shared, "roles")["Registry"]["Action"]}


def test_a_registry_that_is_kept_loses_no_image(planned: Callable[[str, str], Resources]) -> None:
    erasing = {"ecr:BatchDeleteImage", "ecr:DeleteRepository"}
    actions = {
        name: {*policy(planned("ci-access", name), "roles")["Registry"]["Action"]}
        for name in ("shared", "shared-for-good")
    }
    assert erasing <= actions["shared"]
    assert not erasing & actions["shared-for-good"]


def test_policies_fit_even_with_the_longest_names(planned: Callable[[str, str], Resources]) -> None:
    policies = {
        address: values["policy"]
        for address, values in planned("ci-access", "long-names").items()
        if address.startswith("aws_iam_policy.")
    }
    sizes = {address: len(re.sub(r"\s", "", policy)) for address, policy in policies.items()}
    assert {name: size for name, size in sizes.items() if size > MOST_CHARACTERS} == {}
    assert len(sizes) == 5
