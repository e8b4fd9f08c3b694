"""CloudWatch's embedded metric format: metrics that travel inside log lines.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

import json
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

#: Metrics in one PutMetricData request.
REQUEST_LIMIT = 1000


def extract(lines: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
    """Return namespace → metric data for PutMetricData; lines without metrics are skipped."""
    metrics: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in lines:
        if '"_aws"' in line:
            try:
                document = json.loads(line)
                for directive in document["_aws"]["CloudWatchMetrics"]:
                    metrics[directive["Namespace"]] += _data(document, directive)
            except (ValueError, KeyError, TypeError):
                continue  # CloudWatch ignores a malformed document too
    return dict(metrics)


def _data(document: dict[str, Any], directive: dict[str, Any]) -> list[dict[str, Any]]:
    """Return each metric under each set of dimensions; a value is one number or a list of up to a hundred."""
    timestamp = datetime.fromtimestamp(document["_aws"]["Timestamp"] / 1000, UTC)
    data = []
    for dimensions in directive.get("Dimensions") or [[]]:
        for metric in directive["Metrics"]:
            value = document[metric["Name"]]
            values = value if isinstance(value, list) else [value]
            data.append(
                {
                    "MetricName": metric["Name"],
                    "Dimensions": [{"Name": name, "Value": str(document[name])} for name in dimensions],
                    "Timestamp": timestamp,
                    "Unit": metric.get("Unit", "None"),
                    "Values": [float(number) for number in values],
                }
            )
    return data
