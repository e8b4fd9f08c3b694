"""Permissions to write logs."""

import functools
import json
from typing import Any

from ministack.core import iam_actions

_OF_A_STREAM = {"Logs_20140328.CreateLogStream", "Logs_20140328.PutLogEvents"}


def judge_log_streams_by_their_name() -> None:
    """Creating and filling a log stream is allowed on the stream: `…:log-group:<group>:log-stream:<stream>`.

    Upstream asks for the permission on the group, without anything after its name, so that the usual policy of a
    function, which ends in `:*`, allows nothing.
    """
    resource_of = iam_actions.extract_resource_arn

    @functools.wraps(resource_of)
    def resource_or_stream_of(
        service: str, method: str, path: str, headers: dict[str, str], body: bytes, *rest: Any
    ) -> str:
        resource: str = resource_of(service, method, path, headers, body, *rest)
        if service == "logs" and headers.get("x-amz-target") in _OF_A_STREAM and resource != "*":
            return f"{resource}:log-stream:{json.loads(body).get('logStreamName', '')}"
        return resource

    iam_actions.extract_resource_arn = resource_or_stream_of
