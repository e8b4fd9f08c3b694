"""Writes log lines as JSON and metrics in CloudWatch's embedded format to standard output.

Powertools does this and more, for 105 ms of every cold start (`make bench-cold` compares them). The fields have
Powertools' names, which people's queries use.
"""

import json
import logging
import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

_SERVICE = os.environ.get("SERVICE_NAME", "image-processor")
#: Most values of one metric in one line.
_VALUES_PER_LINE = 100

_fields: ContextVar[dict[str, Any]] = ContextVar("fields")
_plain_record = frozenset(vars(logging.makeLogRecord({}))) | {"message", "taskName"}


class Context(Protocol):
    """The part of Lambda's context object that is used here."""

    function_name: str
    aws_request_id: str
    memory_limit_in_mb: int

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until the invocation times out."""
        ...


class _Lines(logging.Formatter):
    """Formats a record as one JSON object per line. Values of `extra` become fields; None is left out."""

    def format(self, record: logging.LogRecord) -> str:
        extra = {name: value for name, value in vars(record).items() if name not in _plain_record and value is not None}
        line = {
            "level": record.levelname,
            "message": record.getMessage(),
            "timestamp": f"{self.formatTime(record, '%Y-%m-%dT%H:%M:%S')}.{record.msecs:03.0f}Z",
            "service": _SERVICE,
            **_fields.get({}),
            **extra,
        }
        if record.exc_info and record.exc_info[0]:
            line["exception_name"] = record.exc_info[0].__name__
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


class _StandardOutput(logging.StreamHandler[Any]):
    """Looks up standard output for every line, so that a redirection takes effect."""

    def __init__(self) -> None:
        super().__init__()
        formatter = _Lines()
        formatter.converter = time.gmtime
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stdout
        super().emit(record)


logger = logging.getLogger("image_processor")
logger.setLevel(os.environ.get("LOG_LEVEL", "INFO"))
logger.propagate = False  # the runtime's own handler on the root would write every line again
logger.addHandler(_StandardOutput())


@contextmanager
def fields(**values: Any) -> Iterator[None]:
    """Add fields to every log line within the context."""
    token = _fields.set({**_fields.get({}), **values})
    try:
        yield
    finally:
        _fields.reset(token)


def invocation(context: Context) -> Any:
    """Add the fields that identify an invocation to every log line within the context."""
    return fields(function_name=context.function_name, function_request_id=context.aws_request_id)


class Metrics:
    """Collects values during an invocation. Values of one name go out as a list, so that percentiles stay exact."""

    def __init__(self) -> None:
        self._values: dict[str, list[float]] = defaultdict(list)
        self._units: dict[str, str] = {}

    def add(self, name: str, value: float, unit: str = "Count") -> None:
        """Add a value. Units are CloudWatch's: Count, Milliseconds, Bytes."""
        self._values[name].append(value)
        self._units[name] = unit

    def flush(self) -> None:
        """Write the collected values, if there are any.

        Format: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
        """
        while self._values:
            chunk = {name: values[:_VALUES_PER_LINE] for name, values in self._values.items()}
            self._values = defaultdict(
                list, {name: rest for name, values in self._values.items() if (rest := values[_VALUES_PER_LINE:])}
            )
            directive = {
                "Namespace": os.environ.get("METRICS_NAMESPACE", "image-pipeline"),
                "Dimensions": [["service"]],
                "Metrics": [{"Name": name, "Unit": self._units[name]} for name in chunk],
            }
            head = {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [directive]}
            print(json.dumps({"_aws": head, "service": _SERVICE, **chunk}), flush=True)
