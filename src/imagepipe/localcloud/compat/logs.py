"""Permissions to write logs."""

import functools
import json
from typing import Any

from ministack.core import iam_actions

_OF_A_STREAM = {"Logs_20140328.CreateLogStream", "Logs_20140328.PutLogEvents"}


def judge_log_streams_by_their_name() -> None:
    """Check permission for CreateLogStream and PutLogEvents on `…:log-group:<group>:log-stream:<stream>`.

    Upstream checks it on the group, with nothing after its name. So the usual policy of a function, which ends in
    `:*`, allows no log at all.
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
