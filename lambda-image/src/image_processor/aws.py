"""Clients of AWS, each made once per process by botocore alone: boto3 would add import time and nothing else.

Retries, refreshed credentials, checksums, endpoints and certificates are botocore's own and follow its variables.
"""

from functools import cache
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from botocore.config import Config
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

#: A call that hangs must end while there is time left to say so: the functions' own timeouts are a minute.
_PATIENCE: dict[str, Any] = {"connect_timeout": 3, "read_timeout": 10, "retries": {"mode": "standard"}}


@cache
def _session() -> Any:
    import botocore.session  # 200 ms, in which a caller may have something else get ready

    return botocore.session.get_session()


def _config(**settings: Any) -> "Config":
    from botocore.config import Config

    return Config(**_PATIENCE, **settings)


@cache
def s3() -> "S3Client":
    # Presigned addresses need today's signature version and the region's own name, or they are redirected.
    config = _config(signature_version="s3v4", s3={"us_east_1_regional_endpoint": "regional"})
    return cast("S3Client", _session().create_client("s3", config=config))


@cache
def dynamodb() -> "DynamoDBClient":
    return cast("DynamoDBClient", _session().create_client("dynamodb", config=_config()))


@cache
def events() -> Any:
    return _session().create_client("events", config=_config())


@cache
def sqs() -> "SQSClient":
    return cast("SQSClient", _session().create_client("sqs", config=_config()))
