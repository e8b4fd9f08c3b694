"""The doctor: every check, on an account of moto's with one thing wrong at a time."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from typer.testing import CliRunner

from function_variables import PROCESSOR
from imagepipe import cli
from imagepipe.errors import PipelineError
from imagepipe.live import environments, roles
from imagepipe.live.environments import Environment, Release
from imagepipe.operations import doctor
from imagepipe.operations.doctor import Answer, Verdict
from imagepipe.terragrunt import runner, state
from imagepipe.terragrunt.target import Cloud, Target, unchecked_on_aws

#: The account of moto's credentials.
ACCOUNT, REGION = "123456789012", "eu-west-1"
BUCKET, LOCKS = "tfstate", "tflock"
NAME = "image-pipeline-prod"
TOPIC = f"arn:aws:sns:{REGION}:{ACCOUNT}:{NAME}-alarms"
RELEASE = Release(image=f"sha256:{'a' * 64}", modules="v1")


@dataclass
class Account:
    """An account in which prod is deployed and all is well, until a test changes it."""

    #: Fields that replace those of prod and shared.
    fields: dict[str, Any] = field(default_factory=lambda: {"alarm_emails": ("on-call@example.com",)})
    quota: int = 1000
    api_quota: float = 10_000
    memory_mb: int = 1769
    refused: frozenset[str] = frozenset()  # operations that the caller may not ask

    def environment(self, loaded: Environment) -> Environment:
        own = self.fields if loaded.name == "prod" else {}
        return replace(loaded, account_id=ACCOUNT, release=RELEASE if loaded.release else None, **own)

    def answers(self) -> dict[str, Answer]:
        target = unchecked_on_aws(environments.load("prod"))
        return {answer.check: answer for answer in doctor.examine(target)}

    def client(self, service: str) -> Any:
        return boto3.client(service, region_name=REGION)  # type: ignore[call-overload]


class Functions:
    """What moto does not know of Lambda and of the quotas."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def get_account_settings(self) -> dict[str, Any]:
        if "GetAccountSettings" in self._account.refused:
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "GetAccountSettings")
        return {"AccountLimit": {"ConcurrentExecutions": self._account.quota}}

    def get_function_configuration(self, **_: str) -> dict[str, Any]:
        return {"Environment": {"Variables": PROCESSOR}, "MemorySize": self._account.memory_mb, "Timeout": 60}


class Quotas:
    def __init__(self, account: Account) -> None:
        self._value = account.api_quota

    def get_paginator(self, _: str) -> "Quotas":
        return self

    def paginate(self, ServiceCode: str) -> list[dict[str, Any]]:
        assert ServiceCode == "apigateway"
        return [{"Quotas": [{"QuotaName": "Throttle rate", "Value": self._value}]}]


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    own, load, client = Account(), environments.load, Target.client
    for name, value in (("ACCESS_KEY_ID", "a"), ("SECRET_ACCESS_KEY", "b")):
        monkeypatch.setenv(f"AWS_{name}", value)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    fakes: dict[str, Callable[[Account], Any]] = {"lambda": Functions, "service-quotas": Quotas}
    outputs = {
        "monitoring": {"topic_arn": {"value": TOPIC}},
        "compute": {"functions": {"value": {"processor": {"name": f"{NAME}-processor", "alias": "live"}}}},
    }
    states = {unit: {"outputs": outputs.get(unit, {"x": {"value": 1}})} for unit in load("prod").units}
    monkeypatch.setattr(environments, "load", lambda name: own.environment(load(name)))
    monkeypatch.setattr(
        Target, "client", lambda target, name: fakes[name](own) if name in fakes else client(target, name)
    )
    monkeypatch.setattr(state, "location", lambda _: state.Location(BUCKET, LOCKS, "live/prod"))
    monkeypatch.setattr(state, "states", lambda _: states)
    monkeypatch.setattr(roles, "repository", lambda: "acme/images")
    monkeypatch.setattr(doctor, "require_image", lambda _: None)
    monkeypatch.setattr(runner, "versions", lambda: {"terraform": "1.11.4"})
    with mock_aws():
        _deploy(own)
        yield own


def _deploy(account: Account) -> None:
    s3, iam, sns = account.client("s3"), account.client("iam"), account.client("sns")
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    account.client("dynamodb").create_table(
        TableName=LOCKS,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "LockID", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "LockID", "KeyType": "HASH"}],
    )
    account.client("ecr").create_repository(
        repositoryName="image-pipeline/processor", imageScanningConfiguration={"scanOnPush": True}
    )
    iam.create_open_id_connect_provider(Url=roles.ISSUER, ClientIDList=["sts.amazonaws.com"], ThumbprintList=["a" * 40])
    for role in ("plan", "apply"):
        iam.create_role(RoleName=f"{NAME}-ci-{role}", AssumeRolePolicyDocument="{}")
    sns.create_topic(Name=f"{NAME}-alarms")
    sns.subscribe(TopicArn=TOPIC, Protocol="email", Endpoint="on-call@example.com")
    budget = {"BudgetName": "all", "TimeUnit": "MONTHLY", "BudgetType": "COST"}
    budget["BudgetLimit"] = {"Amount": "50", "Unit": "USD"}  # type: ignore[assignment]
    account.client("budgets").create_budget(AccountId=ACCOUNT, Budget=budget)


def test_an_account_in_order_has_no_remedy(account: Account) -> None:
    answers = account.answers()
    assert {check: answer for check, answer in answers.items() if answer.verdict is not Verdict.OK} == {}
    assert len(answers) == 14
    assert not [answer for answer in answers.values() if answer.remedy]


def _few_functions(account: Account) -> None:
    account.quota = 10


def _few_requests(account: Account) -> None:
    account.api_quota = 20


def _no_versions(account: Account) -> None:
    account.client("s3").put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Suspended"})


def _no_locks(account: Account) -> None:
    account.client("dynamodb").delete_table(TableName=LOCKS)


def _no_bucket(account: Account) -> None:
    account.client("s3").delete_bucket(Bucket=BUCKET)


def _no_registry(account: Account) -> None:
    account.client("ecr").delete_repository(repositoryName="image-pipeline/processor")


def _no_scan(account: Account) -> None:
    account.client("ecr").put_image_scanning_configuration(
        repositoryName="image-pipeline/processor", imageScanningConfiguration={"scanOnPush": False}
    )


def _other_platform(account: Account) -> None:
    commit, digest = "a" * 40, RELEASE.image
    build = {"commit": commit, "dirty": False, "platform": "linux/arm64", "recipe": "r", "time": "t", "version": "1"}
    account.fields["release"] = Release.model_validate({"image": digest, "modules": "v1", "build": build})
    account.environment = lambda loaded: replace(loaded, account_id=ACCOUNT, **account.fields)  # type: ignore[method-assign]


def _little_memory(account: Account) -> None:
    account.memory_mb = 256


def _nobody(account: Account) -> None:
    account.fields["alarm_emails"] = ()


def _not_confirmed(account: Account) -> None:
    account.fields["alarm_emails"] = ("on-call@example.com", "other@example.com")


def _another_account(account: Account) -> None:
    account.fields["account_id"] = "210987654321"
    account.environment = lambda loaded: replace(loaded, **{"account_id": ACCOUNT} | account.fields)  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("change", "check", "facts", "remedy"),
    [
        (_few_functions, "concurrency", "the account has 10: the API is throttled", "--quota-code L-B99A9384"),
        (_few_requests, "API quota", "the account has 20", "lower api.throttling"),
        (_no_versions, "state", "keeps no versions", "make bootstrap ENV=prod CLOUD=aws"),
        (_no_locks, "state", "has no lock table tflock", "make bootstrap ENV=prod CLOUD=aws"),
        (_no_bucket, "state", "there is no bucket tfstate", "make bootstrap ENV=prod CLOUD=aws"),
        (_no_registry, "registry", "has no repository image-pipeline/processor", "make apply ENV=shared CLOUD=aws"),
        (_no_scan, "registry", "does not scan what is pushed", "make apply ENV=shared CLOUD=aws"),
        (_other_platform, "image", "for linux/arm64, and the functions run linux/amd64", "make build-push"),
        (_little_memory, "functions", "memory_mb must be at least 636", "make apply ENV=prod CLOUD=aws"),
        (_nobody, "alarm receivers", "an alarm calls nobody", "monitoring.alarm_emails of live/prod/env.hcl"),
        (_not_confirmed, "alarm receivers", "not confirmed: other@example.com", "open the link"),
        (_another_account, "credentials", "", f"credentials are of account {ACCOUNT}"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_thing_that_is_wrong_is_named_with_its_remedy(
    account: Account, change: Callable[[Account], None], check: str, facts: str, remedy: str
) -> None:
    change(account)
    answer = account.answers()[check]
    assert answer.verdict is Verdict.FIX
    assert facts in answer.facts
    assert remedy in answer.remedy


def test_without_the_accounts_credentials_the_rest_is_not_asked(account: Account) -> None:
    _another_account(account)
    answers = account.answers()
    assert [check for check, answer in answers.items() if answer.verdict is Verdict.OK] == [
        "tools",
        "repository",
        "region",
    ]
    (rest,) = (answer for answer in answers.values() if answer.verdict is Verdict.UNKNOWN)
    assert "concurrency, API quota, state" in rest.check


def test_a_question_that_the_caller_may_not_ask_is_said_and_stops_no_other(account: Account) -> None:
    account.refused = frozenset({"GetAccountSettings"})
    answers = account.answers()
    assert answers["concurrency"].verdict is Verdict.UNKNOWN
    assert "may not ask: GetAccountSettings answers AccessDeniedException" in answers["concurrency"].facts
    assert answers["budget"].verdict is Verdict.OK


def test_an_account_without_workflows_or_a_budget_is_one_to_look_at(account: Account) -> None:
    iam = account.client("iam")
    iam.delete_role(RoleName=f"{NAME}-ci-apply")
    account.client("budgets").delete_budget(AccountId=ACCOUNT, BudgetName="all")
    answers = account.answers()
    assert (answers["workflows"].verdict, answers["budget"].verdict) == (Verdict.LOOK, Verdict.LOOK)
    assert f"the role {NAME}-ci-apply is missing" in answers["workflows"].facts


def test_a_missing_image_is_named_in_the_words_of_an_apply(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: Target) -> None:
        raise PipelineError("the registry has no sha256:aa: make build-push")

    monkeypatch.setattr(doctor, "require_image", missing)
    assert account.answers()["image"].verdict is Verdict.FIX
    assert "make build-push" in account.answers()["image"].remedy


def test_plan_and_apply_say_that_the_quota_is_too_small(account: Account) -> None:
    """New accounts have ten functions at a time: a first folder of images throttled the API, and messages died."""
    target = unchecked_on_aws(environments.load("prod"))
    assert doctor.warnings(target) == []
    account.quota = 10
    (warning,) = doctor.warnings(target)
    assert (
        "the account has 10: the API is throttled, messages die untried, nothing can be reserved: aws service-quotas"
        in warning
    )


def test_environments_of_one_account_share_its_quota(account: Account) -> None:
    """The sum counts: each of them alone would fit. What is reserved leaves a hundred for others."""
    account.fields |= {"reserved_concurrency": 0, "api_rate": 100, "concurrency": 55}
    account.quota = 70
    facts = account.answers()["concurrency"].facts
    assert facts.startswith("dev, staging, prod may need 88 executions at a time, and the account has 70")
    account.fields["reserved_concurrency"] = 200
    assert "may need 300 executions" in account.answers()["concurrency"].facts


@pytest.mark.parametrize(("quota", "code"), [(1000, 0), (10, 3)])
def test_the_exit_code_says_whether_something_must_be_fixed(account: Account, quota: int, code: int) -> None:
    account.quota = quota
    finished = CliRunner().invoke(cli.app, ["doctor", "--env", "prod", "--cloud", "aws", "--json"])
    assert finished.exit_code == code
    answers = json.loads(finished.stdout)["prod"]
    assert {"check", "verdict", "facts", "remedy"} == {*answers[0]}
    assert ("fix" in {answer["verdict"] for answer in answers}) == (code == 3)


def test_the_local_cloud_says_what_it_cannot_be_asked(account: Account) -> None:
    patient = doctor.Patient(Target(environments.load("prod"), Cloud.LOCAL, {}))
    for check in (doctor._concurrency, doctor._api_quota, doctor._budget):
        (answer,) = check(patient)
        assert answer.verdict is Verdict.UNKNOWN
