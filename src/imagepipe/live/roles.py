"""Credentials as a workflow on GitHub gets them: a token that says which job it is, for a role that trusts such jobs.

The local cloud judges the role's trust policy by the token's words as AWS does. It does not look at the signature, so
there is none; who could forge it owns the local cloud anyway.
"""

import base64
import json
import time
from enum import StrEnum
from typing import Any

from botocore.exceptions import ClientError

from imagepipe.errors import PipelineError
from imagepipe.live.environments import LIVE, Environment

ISSUER = "https://token.actions.githubusercontent.com"


class Role(StrEnum):
    PLAN = "plan"
    APPLY = "apply"


def repository() -> str:
    """The repository that the roles trust, like owner/name."""
    return str(json.loads((LIVE / "github.json").read_text())["repository"])


def role_arn(environment: Environment, role: Role) -> str:
    """What modules/ci-access calls the role."""
    return f"arn:aws:iam::{environment.account_id}:role/{environment.prefix}-ci-{role}"


def subject(environment: Environment, role: Role) -> str:
    """What the jobs that may take a role call themselves."""
    job = "pull_request" if role is Role.PLAN else f"environment:{environment.name}"
    return f"repo:{repository()}:{job}"


def token(subject: str) -> str:
    """An identity token (RFC 7519) of a job."""
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": "sts.amazonaws.com", "sub": subject, "iat": now, "exp": now + 600}
    return ".".join([_encoded({"alg": "none", "typ": "JWT"}), _encoded(claims), ""])


def _encoded(part: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


def assume(sts: Any, environment: Environment, role: Role) -> dict[str, str]:
    """The AWS_* variables of a session under a role of an environment.

    Raises:
        PipelineError: the role is not there, or does not trust this repository.
    """
    arn = role_arn(environment, role)
    try:
        found = sts.assume_role_with_web_identity(
            RoleArn=arn, RoleSessionName=f"rehearsal-{role}", WebIdentityToken=token(subject(environment, role))
        )["Credentials"]
    except ClientError as error:
        raise PipelineError(
            f"the role {arn} cannot be taken: {error.response['Error']['Message']}; an administrator applies "
            f"live/{environment.name}/ci-access first (without ROLE), for the repository in live/github.json"
        ) from None
    return {
        "AWS_ACCESS_KEY_ID": found["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": found["SecretAccessKey"],
        "AWS_SESSION_TOKEN": found["SessionToken"],
    }
