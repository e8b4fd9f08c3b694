"""Roles of workflows, and their credentials as GitHub gets them: a token names the job, and a role trusts such jobs.

The local cloud checks the token's claims against the role's trust policy as AWS does. It checks no signature, so the
token has none: whoever could forge one has full access to the local cloud already.
"""

import base64
import json
import time
from enum import StrEnum
from typing import Any

from botocore.exceptions import ClientError

from imagepipe.errors import PipelineError
from imagepipe.live.environments import LIVE, PLAN, Environment

ISSUER = "https://token.actions.githubusercontent.com"


class Role(StrEnum):
    """A role of workflows in every environment."""

    PLAN = "plan"
    APPLY = "apply"


def repository() -> str:
    """Return the repository that the roles trust, like owner/name."""
    return str(json.loads((LIVE / "github.json").read_text())["repository"])


def role_arn(environment: Environment, role: Role) -> str:
    """Return the ARN of a role. modules/ci-access makes it."""
    return f"arn:aws:iam::{environment.account_id}:role/{environment.prefix}-ci-{role}"


def subject(environment: Environment, role: Role) -> str:
    """Return the subject of the tokens that a role trusts: those of jobs in an environment of GitHub."""
    return f"repo:{repository()}:environment:{PLAN if role is Role.PLAN else environment.name}"


def token(subject: str) -> str:
    """Return an identity token (RFC 7519) of a job, valid for ten minutes."""
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": "sts.amazonaws.com", "sub": subject, "iat": now, "exp": now + 600}
    return ".".join([_encoded({"alg": "none", "typ": "JWT"}), _encoded(claims), ""])


def _encoded(part: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


def assume(sts: Any, environment: Environment, role: Role) -> dict[str, str]:
    """Return the AWS_* variables of a session under a role of an environment.

    Raises:
        PipelineError: the role does not exist, or does not trust this repository.
    """
    arn = role_arn(environment, role)
    try:
        credentials = sts.assume_role_with_web_identity(
            RoleArn=arn, RoleSessionName=f"rehearsal-{role}", WebIdentityToken=token(subject(environment, role))
        )["Credentials"]
    except ClientError as error:
        raise PipelineError(
            f"the role {arn} cannot be assumed: {error.response['Error']['Message']}; an administrator applies "
            f"live/{environment.name}/ci-access first (without ROLE), for the repository in live/github.json"
        ) from None
    return {
        "AWS_ACCESS_KEY_ID": credentials["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": credentials["SecretAccessKey"],
        "AWS_SESSION_TOKEN": credentials["SessionToken"],
    }
