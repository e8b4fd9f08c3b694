"""Shows the deployed dashboard in a terminal: its widgets, with values that CloudWatch holds for their metrics."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.table import Table

from imagepipe.terragrunt.target import Target

#: Period of the one value per metric.
WINDOW = timedelta(hours=1)


def table(target: Target, name: str) -> Table:
    """Return a row per widget: its title, and label and value of every metric that has data."""
    cloudwatch = target.client("cloudwatch")
    body = json.loads(cloudwatch.get_dashboard(DashboardName=name)["DashboardBody"])
    widgets = [widget["properties"] for widget in body["widgets"] if widget["type"] == "metric"]
    queries = {
        f"m{row}x{place}": metric
        for row, widget in enumerate(widgets)
        for place, metric in enumerate(widget["metrics"])
    }
    values = _values(cloudwatch, queries)
    result = Table(title=f"dashboard {name}, the last hour", title_justify="left", show_header=False)
    for row, widget in enumerate(widgets):
        shown = [
            f"{metric[-1]['label']} [bold]{values[key]:,.0f}[/]"
            for place, metric in enumerate(widget["metrics"])
            if (key := f"m{row}x{place}") in values
        ]
        result.add_row(widget["title"], "  ".join(shown) or "[dim]no data")
    return result


def _values(cloudwatch: Any, queries: dict[str, list[Any]]) -> dict[str, float]:
    end = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
    answer = cloudwatch.get_metric_data(
        MetricDataQueries=[{"Id": key, "MetricStat": _statistic(metric)} for key, metric in queries.items()],
        StartTime=end - WINDOW,
        EndTime=end,
    )
    return {result["Id"]: result["Values"][0] for result in answer["MetricDataResults"] if result["Values"]}


def _statistic(metric: list[Any]) -> dict[str, Any]:
    """Convert a widget's [namespace, name, dimension, value, …, {options}] to the form of GetMetricData."""
    namespace, name, *dimensions, options = metric
    pairs = zip(dimensions[::2], dimensions[1::2], strict=True)
    return {
        "Metric": {
            "Namespace": namespace,
            "MetricName": name,
            "Dimensions": [{"Name": dimension, "Value": value} for dimension, value in pairs],
        },
        "Period": int(WINDOW.total_seconds()),
        "Stat": options["stat"],
    }
