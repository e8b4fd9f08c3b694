"""A new version of a function beside the one that it replaces, by the metrics that Lambda publishes for both.

A weighted alias sends both of them calls at random. What strangers or hostile files cause meets both alike, so it does
not speak against the new one.

Metrics and dimensions: https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
"""

import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from imagepipe.releases.aliases import Alias

#: Probability below which more errors than the other version's are no accident. Many looks are taken, and a version
#: that fails always is refuted after three calls.
ACCIDENT = 0.001

#: Calls of each version before their durations are compared, and the factor by which a median is worse.
ENOUGH_CALLS, SLOWER = 30, 3.0


@dataclass(frozen=True)
class Calls:
    """The calls of one version by its alias."""

    invocations: int
    errors: int
    #: Milliseconds that half of the calls stay below; None before the first call.
    median_ms: float | None


def worse(new: Calls, old: Calls) -> str | None:
    """Say how a version does worse than the one that it replaces; None if it does not."""
    if new.errors and _accident(new, old) < ACCIDENT:
        before = f"{old.errors} of {old.invocations} of the version before"
        return f"{new.errors} of {new.invocations} calls failed, and {before}"
    slow = new.median_ms and old.median_ms and new.median_ms > SLOWER * old.median_ms
    if slow and min(new.invocations, old.invocations) >= ENOUGH_CALLS:
        return f"half of the calls take more than {new.median_ms:.0f} ms, and {old.median_ms:.0f} of the version before"
    return None


def _accident(new: Calls, old: Calls) -> float:
    """Return a bound of the probability of so many errors, if the new version fails as often as the old one does.

    The old rate is estimated by Laplace's rule of succession. The bound is Chernoff's, by the relative entropy of the
    two rates: W. Hoeffding, Probability inequalities for sums of bounded random variables, 1963, theorem 1.
    """
    calls = max(new.invocations, new.errors)  # of the same minutes, and counted apart
    expected, actual = (old.errors + 1) / (max(old.invocations, old.errors) + 2), new.errors / calls
    if actual <= expected:
        return 1.0
    entropy = actual * math.log(actual / expected)
    if actual < 1:
        entropy += (1 - actual) * math.log((1 - actual) / (1 - expected))
    return math.exp(-calls * entropy)


def signs(cloudwatch: Any, aliases: list[Alias], since: datetime) -> Iterator[str]:
    """Yield how new versions do worse, a sentence each.

    Args:
        aliases: with weights.
        since: calls before that moment do not count.
    """
    for alias in aliases:
        old = _calls(cloudwatch, alias, alias.version, since)
        for version in alias.weights:
            if reason := worse(_calls(cloudwatch, alias, version, since), old):
                yield f"version {version} of {alias.name} does worse: {reason}"


def _calls(cloudwatch: Any, alias: Alias, version: str, since: datetime) -> Calls:
    """Read the calls of a version by its alias. CloudWatch shows them one to two minutes later."""
    dimensions = {"FunctionName": alias.name, "Resource": f"{alias.name}:{alias.alias}", "ExecutedVersion": version}
    wanted = {"invocations": ("Invocations", "Sum"), "errors": ("Errors", "Sum"), "median": ("Duration", "p50")}
    queries = [
        {
            "Id": key,
            "MetricStat": {
                "Metric": {
                    "Namespace": "AWS/Lambda",
                    "MetricName": name,
                    "Dimensions": [{"Name": name, "Value": value} for name, value in dimensions.items()],
                },
                "Period": 60,
                "Stat": statistic,
            },
        }
        for key, (name, statistic) in wanted.items()
    ]
    start = since.replace(second=0, microsecond=0)  # CloudWatch counts by whole minutes
    pages = cloudwatch.get_paginator("get_metric_data").paginate(
        MetricDataQueries=queries, StartTime=start, EndTime=datetime.now(UTC)
    )
    values: dict[str, list[float]] = {key: [] for key in wanted}
    for page in pages:
        for result in page["MetricDataResults"]:
            values[result["Id"]] += result["Values"]
    return Calls(
        invocations=round(sum(values["invocations"])),
        errors=round(sum(values["errors"])),
        median_ms=statistics.median(values["median"]) if values["median"] else None,
    )
