"""What is deployed: one version of one function as the emulator has it, and the credentials of its role."""

import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

#: What Lambda may at most be configured to, plus room: a worker must not outlive its credentials.
CREDENTIALS_LAST_AT_LEAST = timedelta(minutes=20)


@dataclass(frozen=True)
class Credentials:
    access_key: str
    secret_key: str
    session_token: str
    expiration: datetime

    @property
    def last(self) -> bool:
        """Whether an invocation that begins now can end with them."""
        return self.expiration - datetime.now(UTC) > CREDENTIALS_LAST_AT_LEAST


@dataclass(frozen=True)
class Function:
    arn: str
    name: str
    version: str
    account_id: str
    region: str
    command: tuple[str, ...]
    variables: dict[str, str] = field(repr=False)
    memory_mb: int
    timeout_seconds: int
    role_arn: str
    log_group: str
    image_repository: str
    image_digest: str
    temporary_mb: int


class Emulator:
    """The few control-plane calls of the host, made as the account's own root as AWS makes them for itself."""

    def __init__(self, endpoint: str, certificate: Path) -> None:
        self.endpoint = endpoint
        self.certificate = certificate
        self._session = boto3.Session()
        self._lock = threading.Lock()

    def client(self, service: str, region: str, credentials: "Credentials | str") -> Any:
        """A client under a role's credentials, or of an account's root when given its id."""
        if isinstance(credentials, str):
            keys = {"aws_access_key_id": credentials, "aws_secret_access_key": "local"}
        else:
            keys = {
                "aws_access_key_id": credentials.access_key,
                "aws_secret_access_key": credentials.secret_key,
                "aws_session_token": credentials.session_token,
            }
        with self._lock:  # making clients from one session is not thread-safe, using them is
            return self._session.client(
                service,  # type: ignore[call-overload]
                region_name=region,
                endpoint_url=self.endpoint,
                verify=str(self.certificate),
                config=Config(retries={"mode": "standard"}, connect_timeout=5, read_timeout=30),
                **keys,
            )

    def function(self, arn: str, version: str) -> Function:
        """Reads what is deployed under an unqualified ARN and a version."""
        _, _, _, region, account_id, _, name = arn.split(":")[:7]
        whole = self.client("lambda", region, account_id).get_function(FunctionName=name, Qualifier=version)
        found = whole["Configuration"]
        repository, _, digest = whole["Code"].get("ImageUri", "").partition("@")
        image = found.get("ImageConfigResponse", {}).get("ImageConfig", {})
        return Function(
            arn=arn,
            name=name,
            version=version,
            account_id=account_id,
            region=region,
            command=tuple(image.get("Command", ())),
            variables=found.get("Environment", {}).get("Variables", {}),
            memory_mb=found["MemorySize"],
            timeout_seconds=found["Timeout"],
            role_arn=found["Role"],
            log_group=found.get("LoggingConfig", {}).get("LogGroup", f"/aws/lambda/{name}"),
            image_repository=repository.partition("/")[2],
            image_digest=digest,
            temporary_mb=found.get("EphemeralStorage", {}).get("Size", 512),
        )

    def assume_role(self, function: Function) -> Credentials:
        found = self.client("sts", function.region, function.account_id).assume_role(
            RoleArn=function.role_arn, RoleSessionName=function.name
        )["Credentials"]
        return Credentials(found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"], found["Expiration"])
