"""Where commands go: the local cloud of this clone unless CLOUD=aws says otherwise.

On the local cloud the access key is the account, so every environment gets its own credentials. On AWS the caller's
credentials are taken as they are and must be of the environment's account.
"""

import os
import re
import shlex
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from typing import Any

import boto3
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError, ClientError

from imagepipe import localcloud
from imagepipe.errors import PipelineError
from imagepipe.live import environments
from imagepipe.live import roles as github
from imagepipe.live.environments import ROOT, Environment
from imagepipe.live.roles import Role
from imagepipe.localcloud import functions_from as functions
from imagepipe.tools import tool_variables


class Cloud(StrEnum):
    LOCAL = "local"
    AWS = "aws"


@dataclass(frozen=True)
class Target:
    """One environment in one cloud, with everything a program needs to reach it."""

    environment: Environment
    cloud: Cloud
    variables: dict[str, str]
    ca_bundle: str | None = None

    @property
    def description(self) -> str:
        place = self.variables.get("AWS_ENDPOINT_URL", "AWS")
        return f"{self.environment.name} (account {self.environment.account_id}, {self.environment.region}, {place})"

    @cached_property
    def process_environment(self) -> dict[str, str]:
        """For Terragrunt and Terraform: the caller's environment, its AWS settings replaced on the local cloud."""
        inherited = {
            key: value for key, value in os.environ.items() if self.cloud is Cloud.AWS or not key.startswith("AWS_")
        }
        return {**inherited, **self.variables, **tool_variables()}

    @cached_property
    def caller(self) -> str:
        """The ARN of whoever these credentials are."""
        return str(self.client("sts").get_caller_identity()["Arn"])

    @property
    def administers(self) -> bool:
        """Whether the caller is somebody else than a workflow, which may not change what it may do."""
        return f":assumed-role/{self.environment.prefix}-ci-" not in self.caller

    @cached_property
    def _session(self) -> boto3.Session:
        return boto3.Session(
            aws_access_key_id=self.variables.get("AWS_ACCESS_KEY_ID"),
            aws_secret_access_key=self.variables.get("AWS_SECRET_ACCESS_KEY"),
            aws_session_token=self.variables.get("AWS_SESSION_TOKEN"),
            region_name=self.environment.region,
        )

    def client(self, service: str) -> Any:
        """A boto3 client of this account."""
        endpoint = self.variables.get("AWS_ENDPOINT_URL")
        return self._session.client(service, endpoint_url=endpoint, verify=self.ca_bundle)  # type: ignore[call-overload]

    def credentials(self) -> Credentials:
        """What requests to the HTTP API are signed with."""
        return self._session.get_credentials().get_frozen_credentials()  # type: ignore[union-attr,return-value]


def target(environment: Environment, cloud: Cloud) -> Target:
    """Brings the local cloud up if it is meant, or checks the caller's credentials against AWS.

    Raises:
        PipelineError: no credentials, or credentials of another account; the message names both.
    """
    if cloud is Cloud.AWS:
        region = environment.region
        found = Target(environment, cloud, {"AWS_REGION": region, "AWS_DEFAULT_REGION": region})
        _require_account(found, _caller_account(found))
        return found
    _require_known_key(environment)
    local = localcloud.up(ROOT)
    functions.record()
    variables = local.environment(environment.account_id, environment.region)
    found = Target(environment, cloud, variables, str(local.ca_bundle))
    if role := _role():
        return replace(found, variables=variables | github.assume(found.client("sts"), environment, role))
    return found


def _role() -> Role | None:
    """Under which role to work on the local cloud, as CI does; on AWS, whose credentials are there decides."""
    try:
        return Role(name) if (name := os.environ.get("ROLE", "")) else None
    except ValueError:
        raise PipelineError(f"there is no role {name!r}: ROLE is one of {', '.join(Role)}, or not set") from None


def _require_known_key(environment: Environment) -> None:
    """A 12-digit access key is an account on the local cloud; one that is none of ours is a mistake."""
    key = os.environ.get("AWS_ACCESS_KEY_ID", "")
    if re.fullmatch(r"\d{12}", key) and key not in {known.account_id for known in environments.load_all()}:
        raise _wrong_account(environment, key)


def _require_account(target: Target, account: str) -> None:
    if account != target.environment.account_id:
        raise _wrong_account(target.environment, account)


def _wrong_account(environment: Environment, account: str) -> PipelineError:
    return PipelineError(
        f"{environment.name} is account {environment.account_id}, but your credentials are of account {account}: "
        f"use credentials of {environment.account_id}, or name your account in live/{environment.name}/env.hcl"
    )


def _caller_account(target: Target) -> str:
    try:
        return str(target.client("sts").get_caller_identity()["Account"])
    except (BotoCoreError, ClientError) as error:
        raise PipelineError(
            f"no usable AWS credentials for {target.environment.name}: {error}. "
            "Sign in (aws sso login, AWS_PROFILE=…), or leave CLOUD=aws out to use the local cloud"
        ) from None


def exports(target: Target) -> str:
    """Shell lines that let plain terragrunt, aws and curl work against this target: eval "$(make env)"."""
    variables = {**target.variables, **tool_variables()}
    if target.ca_bundle:
        variables["CURL_CA_BUNDLE"] = target.ca_bundle
    return "\n".join(f"export {key}={shlex.quote(value)}" for key, value in variables.items())
