"""Targets on AWS: placeholders are refused, and credentials of another account."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from moto import mock_aws

from imagepipe.errors import PipelineError
from imagepipe.live import environments
from imagepipe.live.environments import Environment
from imagepipe.terragrunt import target
from imagepipe.terragrunt.target import Cloud

#: An account as AWS gives it, and that of moto's credentials.
OWN, CALLER = "210987654321", "123456789012"


@pytest.fixture
def accounts(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Account ids by environment, to be filled in as somebody would in the env.hcl files."""
    known: dict[str, str] = {}
    load = environments.load

    def own(name: str) -> Environment:
        return replace(load(name), account_id=known.get(name, load(name).account_id))

    monkeypatch.setattr(environments, "load", own)
    for name, value in (("ACCESS_KEY_ID", "a"), ("SECRET_ACCESS_KEY", "b")):
        monkeypatch.setenv(f"AWS_{name}", value)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    with mock_aws():
        yield known


@pytest.mark.parametrize(
    ("filled_in", "file", "placeholder"),
    [
        ({}, "live/prod/env.hcl", "333333333333"),
        ({"prod": CALLER}, "live/shared/env.hcl", "444444444444"),
        ({"shared": CALLER}, "live/prod/env.hcl", "333333333333"),
    ],
)
def test_a_placeholder_account_is_refused_on_aws(
    accounts: dict[str, str], filled_in: dict[str, str], file: str, placeholder: str
) -> None:
    """A registry was made whose policy let the owners of 222222222222 and 333333333333 pull."""
    accounts.update(filled_in)
    with pytest.raises(PipelineError, match=rf"{file} names the account {placeholder}, a placeholder: write .* own"):
        target.target(environments.load("prod"), Cloud.AWS)


def test_credentials_of_the_environments_account_are_taken(accounts: dict[str, str]) -> None:
    accounts.update({"prod": CALLER, "shared": OWN})
    assert target.target(environments.load("prod"), Cloud.AWS).cloud is Cloud.AWS


def test_credentials_of_another_account_are_refused_naming_both(accounts: dict[str, str]) -> None:
    accounts.update({"prod": OWN, "shared": OWN})
    with pytest.raises(PipelineError, match=f"prod is account {OWN}, but your credentials are of account {CALLER}"):
        target.target(environments.load("prod"), Cloud.AWS)


def test_no_credentials_is_one_line_that_names_the_fix(
    accounts: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts.update({"prod": OWN, "shared": OWN})
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    with pytest.raises(PipelineError, match=r"no usable AWS credentials for prod: .*aws sso login") as refused:
        target.target(environments.load("prod"), Cloud.AWS)
    assert "\n" not in str(refused.value)
