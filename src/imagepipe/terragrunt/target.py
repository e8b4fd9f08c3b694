"""The target of a command: an environment on the local cloud of this clone, or on AWS with CLOUD=aws.

The local cloud takes the access key for the account, so every environment has its own credentials there. On AWS the
caller's credentials are used, and must be of the environment's account.
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
from imagepipe.live import environments, roles
from imagepipe.live.environments import ROOT, Environment
from imagepipe.live.roles import Role
from imagepipe.localcloud import functions_from as functions
from imagepipe.tools import tool_variables


class Cloud(StrEnum):
    """A place that environments are deployed to."""

    LOCAL = "local"
    AWS = "aws"


@dataclass(frozen=True)
class Target:
    """One environment in one cloud, with what programs need to reach it."""

    environment: Environment
    cloud: Cloud
    variables: dict[str, str]
    ca_bundle: str | None = None

    @property
    def description(self) -> str:
        """Name, account, region and place, for people."""
        place = self.variables.get("AWS_ENDPOINT_URL", "AWS")
        return f"{self.environment.name} (account {self.environment.account_id}, {self.environment.region}, {place})"

    @cached_property
    def process_environment(self) -> dict[str, str]:
        """Variables for Terragrunt and Terraform. On the local cloud, its AWS settings replace the caller's."""
        inherited = {
            key: value for key, value in os.environ.items() if self.cloud is Cloud.AWS or not key.startswith("AWS_")
        }
        return {**inherited, **self.variables, **tool_variables()}

    @cached_property
    def caller(self) -> str:
        """ARN of the owner of the credentials."""
        return str(self.client("sts").get_caller_identity()["Arn"])

    @property
    def administers(self) -> bool:
        """True unless the caller is a CI role; CI roles may not change their own permissions."""
        return f":assumed-role/{self.environment.prefix}-ci-" not in self.caller

    @cached_property
    def _session(self) -> boto3.Session:
        return boto3.Session(
            aws_access_key_id=self.variables.get("AWS_ACCESS_KEY_ID"),
            aws_secret_access_key=self.variables.get("AWS_SECRET_ACCESS_KEY"),
            aws_session_token=self.variables.get("AWS_SESSION_TOKEN"),
            region_name=self.environment.region,
        )

    def command(self, name: str, *settings: str, of: str = "") -> str:
        """Return a command line of make for this environment, or another one, in the same cloud."""
        cloud = ["CLOUD=aws"] if self.cloud is Cloud.AWS else []
        return " ".join(["make", name, f"ENV={of or self.environment.name}", *cloud, *settings])

    def client(self, service: str) -> Any:
        """Return a boto3 client with the target's credentials."""
        endpoint = self.variables.get("AWS_ENDPOINT_URL")
        return self._session.client(service, endpoint_url=endpoint, verify=self.ca_bundle)  # type: ignore[call-overload]

    def credentials(self) -> Credentials:
        """Return the credentials that sign requests to the HTTP API."""
        return self._session.get_credentials().get_frozen_credentials()  # type: ignore[union-attr,return-value]


def target(environment: Environment, cloud: Cloud) -> Target:
    """Return the target of a command, once the local cloud is up or the caller's credentials are checked.

    Raises:
        PipelineError: there are no credentials, or those of another account; the message names both accounts. On AWS
            also if an account is a placeholder.
    """
    if cloud is Cloud.AWS:
        require_own_accounts(environment)
        on_aws = unchecked_on_aws(environment)
        require_account(on_aws, caller_account(on_aws))
        return on_aws
    _require_known_key(environment)
    local = localcloud.up(ROOT)
    functions.record()
    variables = local.environment(environment.account_id, environment.region)
    administrator = Target(environment, cloud, variables, str(local.ca_bundle))
    if role := _role():
        return replace(
            administrator, variables=variables | roles.assume(administrator.client("sts"), environment, role)
        )
    return administrator


def unchecked_on_aws(environment: Environment) -> Target:
    """Return a target on AWS whose credentials nobody has looked at yet."""
    return Target(environment, Cloud.AWS, {"AWS_REGION": environment.region, "AWS_DEFAULT_REGION": environment.region})


def require_own_accounts(environment: Environment) -> None:
    """Refuse placeholder accounts: on AWS they are other people's, and a policy would let them in.

    Raises:
        PipelineError: the environment's account, or that of the registry, is a placeholder.
    """
    for one in (environment, environments.load(environments.SHARED)):
        if one.is_placeholder:
            raise PipelineError(
                f"live/{one.name}/env.hcl names the account {one.account_id}, a placeholder: write the id of your own "
                "account into it (docs/own-accounts.md), or leave CLOUD=aws out to use the local cloud"
            )


def _role() -> Role | None:
    """Return the CI role to work under on the local cloud. On AWS the caller's credentials decide."""
    try:
        return Role(name) if (name := os.environ.get("ROLE", "")) else None
    except ValueError:
        raise PipelineError(f"there is no role {name!r}: ROLE is one of {', '.join(Role)}, or not set") from None


def _require_known_key(environment: Environment) -> None:
    """Refuse an access key of 12 digits, which is an account on the local cloud, if no environment has that account."""
    key = os.environ.get("AWS_ACCESS_KEY_ID", "")
    if re.fullmatch(r"\d{12}", key) and key not in {known.account_id for known in environments.load_all()}:
        raise _wrong_account(environment, key)


def require_account(target: Target, account: str) -> None:
    """Refuse credentials of another account than the environment's.

    Raises:
        PipelineError: the message names both accounts.
    """
    if account != target.environment.account_id:
        raise _wrong_account(target.environment, account)


def _wrong_account(environment: Environment, account: str) -> PipelineError:
    return PipelineError(
        f"{environment.name} is account {environment.account_id}, but your credentials are of account {account}: "
        f"use credentials of {environment.account_id}, or name your account in live/{environment.name}/env.hcl"
    )


def caller_account(target: Target) -> str:
    """Return the account of the credentials.

    Raises:
        PipelineError: there are no usable credentials.
    """
    try:
        return str(target.client("sts").get_caller_identity()["Account"])
    except (BotoCoreError, ClientError) as error:
        raise PipelineError(
            f"no usable AWS credentials for {target.environment.name}: {error}. "
            "Sign in (aws sso login, AWS_PROFILE=…), or leave CLOUD=aws out to use the local cloud"
        ) from None


def exports(target: Target) -> str:
    """Return shell lines for plain terragrunt, aws and curl against a target: eval "$(make -s env)"."""
    variables = {**target.variables, **tool_variables()}
    if target.ca_bundle:
        variables["CURL_CA_BUNDLE"] = target.ca_bundle
    return "\n".join(f"export {key}={shlex.quote(value)}" for key, value in variables.items())
