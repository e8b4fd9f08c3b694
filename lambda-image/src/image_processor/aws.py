"""Clients of AWS, made once per process with botocore alone: boto3 would only add import time (docs/decisions).

Retries, credentials, checksums, endpoints and certificates are botocore's and follow its environment variables.
"""

from functools import cache
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from botocore.config import Config
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

#: Seconds. A call that hangs must end in time to be reported: the functions' own timeouts are a minute.
_PATIENCE: dict[str, Any] = {"connect_timeout": 3, "read_timeout": 10, "retries": {"mode": "standard"}}


@cache
def _session() -> Any:
    import botocore.session  # takes 200 ms, so it is imported late: callers start other work before

    return botocore.session.get_session()


def _config(**settings: Any) -> "Config":
    from botocore.config import Config

    return Config(**_PATIENCE, **settings)


@cache
def s3() -> "S3Client":
    """Return the client of S3."""
    # Presigned addresses need today's signature version and the region's own name, or they are redirected.
    config = _config(signature_version="s3v4", s3={"us_east_1_regional_endpoint": "regional"})
    return cast("S3Client", _session().create_client("s3", config=config))


@cache
def dynamodb() -> "DynamoDBClient":
    """Return the client of DynamoDB."""
    return cast("DynamoDBClient", _session().create_client("dynamodb", config=_config()))


@cache
def events() -> Any:
    """Return the client of EventBridge."""
    return _session().create_client("events", config=_config())


@cache
def sqs() -> "SQSClient":
    """Return the client of SQS."""
    return cast("SQSClient", _session().create_client("sqs", config=_config()))
