"""Raised alarms of an environment, and which of them anybody could have raised from outside."""

from typing import Any

from imagepipe.releases.snapshot import Snapshot


def raised(snapshot: Snapshot) -> tuple[list[str], list[str]]:
    """Return the names of raised alarms: those that speak against a release, and those that anybody can raise.

    Everybody may call the API: who floods it raises alarms on its answers, its function's throttles and the reads of
    the table, whatever release runs. So those are told to reviewers and stop nothing.
    """
    target = snapshot.target
    api = snapshot.functions.get("api", {}).get("name")
    pages = target.client("cloudwatch").get_paginator("describe_alarms")
    against: list[str] = []
    by_anybody: list[str] = []
    for page in pages.paginate(AlarmNamePrefix=f"{target.environment.prefix}-", StateValue="ALARM"):
        for alarm in page["MetricAlarms"]:
            measured = _metrics(alarm)
            caused_outside = bool(measured) and all(_anybody_moves(metric, api) for metric in measured)
            (by_anybody if caused_outside else against).append(str(alarm["AlarmName"]))
    return against, by_anybody


def _metrics(alarm: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the metrics that an alarm watches: one, or those that an expression adds up."""
    if "MetricName" in alarm:
        return [alarm]
    return [query["MetricStat"]["Metric"] for query in alarm.get("Metrics", []) if "MetricStat" in query]


def _anybody_moves(metric: dict[str, Any], api: str | None) -> bool:
    dimensions = {item["Name"]: item["Value"] for item in metric.get("Dimensions", [])}
    match metric.get("Namespace"):
        case "AWS/ApiGateway":
            return True
        case "AWS/DynamoDB":
            return str(metric["MetricName"]).startswith("Read")
        case "AWS/Lambda":
            return api is not None and dimensions.get("FunctionName") == api and metric["MetricName"] == "Throttles"
    return False
