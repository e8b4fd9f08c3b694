"""One deployed version of a function as the emulator describes it, and the credentials of its role."""

import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

#: Lambda's longest timeout (15 minutes) plus room: a worker must not outlive its credentials.
CREDENTIALS_LAST_AT_LEAST = timedelta(minutes=20)


@dataclass(frozen=True)
class Credentials:
    """Temporary credentials of a function's role."""

    access_key: str
    secret_key: str
    session_token: str
    expiration: datetime

    @property
    def last(self) -> bool:
        """Return whether an invocation that begins now can end before they expire."""
        return self.expiration - datetime.now(UTC) > CREDENTIALS_LAST_AT_LEAST


@dataclass(frozen=True)
class Function:
    """Configuration of one version of a function; sizes in MB, the timeout in seconds."""

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
    """Calls of the function host to the emulator, made as the root of the function's account."""

    def __init__(self, endpoint: str, certificate: Path) -> None:
        self.endpoint = endpoint
        self.certificate = certificate
        self._session = boto3.Session()
        self._lock = threading.Lock()

    def client(self, service: str, region: str, credentials: "Credentials | str") -> Any:
        """Return a client with a role's credentials, or for the root of an account if given the account's id."""
        if isinstance(credentials, str):
            keys = {"aws_access_key_id": credentials, "aws_secret_access_key": "local"}
        else:
            keys = {
                "aws_access_key_id": credentials.access_key,
                "aws_secret_access_key": credentials.secret_key,
                "aws_session_token": credentials.session_token,
            }
        with self._lock:  # making clients from one session is not thread-safe, using them is
            client: Any = self._session.client(
                service,  # type: ignore[call-overload]
                region_name=region,
                endpoint_url=self.endpoint,
                verify=str(self.certificate),
                config=Config(retries={"mode": "standard"}, connect_timeout=5, read_timeout=30),
                **keys,
            )
        client.meta.events.register("before-send", _close_afterwards)
        return client

    def function(self, arn: str, version: str) -> Function:
        """Read the configuration that is deployed under an unqualified ARN and a version."""
        _, _, _, region, account_id, _, name = arn.split(":")[:7]
        whole = self.client("lambda", region, account_id).get_function(FunctionName=name, Qualifier=version)
        settings = whole["Configuration"]
        repository, _, digest = whole["Code"].get("ImageUri", "").partition("@")
        image = settings.get("ImageConfigResponse", {}).get("ImageConfig", {})
        return Function(
            arn=arn,
            name=name,
            version=version,
            account_id=account_id,
            region=region,
            command=tuple(image.get("Command", ())),
            variables=settings.get("Environment", {}).get("Variables", {}),
            memory_mb=settings["MemorySize"],
            timeout_seconds=settings["Timeout"],
            role_arn=settings["Role"],
            log_group=settings.get("LoggingConfig", {}).get("LogGroup", f"/aws/lambda/{name}"),
            image_repository=repository.partition("/")[2],
            image_digest=digest,
            temporary_mb=settings.get("EphemeralStorage", {}).get("Size", 512),
        )

    def assume_role(self, function: Function) -> Credentials:
        """Return new credentials of a function's role; the session carries the function's name."""
        keys = self.client("sts", function.region, function.account_id).assume_role(
            RoleArn=function.role_arn, RoleSessionName=function.name
        )["Credentials"]
        return Credentials(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"], keys["Expiration"])


def _close_afterwards(request: Any, **_: Any) -> None:
    """Have the connection closed with the answer.

    The host calls rarely. The emulator closes a kept connection after 75 idle seconds; the host's end would then stay
    half open (CLOSE_WAIT) until the client is used again, which may be never.
    """
    request.headers["Connection"] = "close"
