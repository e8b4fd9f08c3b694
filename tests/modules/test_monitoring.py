"""monitoring: dashboard, alarms, topic, runbook."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import ACCOUNT, NAMES, assert_denies_insecure_transport, statements
from .harness import Resources

RUNBOOK = "https://example.com/runbook"

#: Commands that have a section of their own, which those of the alarms point to.
OPERATIONS = {"canary", "erase", "failures", "redrive", "reprocess", "reconcile"}
TOPIC = "arn:aws:sns:eu-west-1:333333333333:image-pipeline-prod-alarms"
INPUTS = {
    **NAMES,
    "alarm_emails": ["on-call@example.com", "deputy@example.com"],
    "api": {"api_id": "a1b2c3d4e5", "stage": "$default"},
    "functions": {
        "announcer": {"name": "image-pipeline-prod-announcer"},
        "api": {"name": "image-pipeline-prod-api"},
        "processor": {"name": "image-pipeline-prod-processor", "timeout_seconds": 60},
    },
    "runbook_url": RUNBOOK,
    "storage": {
        "dead_letter_queue": {"name": "image-pipeline-prod-uploads-dlq"},
        "queue": {"name": "image-pipeline-prod-uploads"},
        "table": {"name": "image-pipeline-prod-images", "indexes": ["newest", "by-status"]},
    },
    "thresholds": {
        "announcer_age_seconds": 600,
        "api_latency_ms": 1500,
        "processor_duration_share": 0.75,
        "queue_age_seconds": 300,
    },
}
PLANS = {"main": INPUTS}


@pytest.fixture(scope="session")
def monitoring(planned: Callable[[str, str], Resources]) -> Resources:
    return planned("monitoring", "main")


def alarms(monitoring: Resources) -> dict[str, dict[str, Any]]:
    matches = {
        re.fullmatch(r'aws_cloudwatch_metric_alarm\.alarm\["(.+)"\]', address): address for address in monitoring
    }
    return {match[1]: monitoring[address] for match, address in matches.items() if match}


def charts(monitoring: Resources) -> dict[str, Any]:
    widgets = json.loads(monitoring["aws_cloudwatch_dashboard.pipeline"]["dashboard_body"])["widgets"]
    return {widget["properties"]["title"]: widget["properties"] for widget in widgets if widget["type"] == "metric"}


def test_alarms_watch_what_needs_somebody(monitoring: Resources) -> None:
    watched = {
        name: (
            alarm["namespace"],
            alarm["metric_name"],
            alarm["dimensions"],
            alarm["statistic"] or alarm["extended_statistic"],
            alarm["threshold"],
        )
        for name, alarm in alarms(monitoring).items()
        if not alarm["metric_query"]
    }
    api = {"ApiId": "a1b2c3d4e5", "Stage": "$default"}
    announcer = {"FunctionName": "image-pipeline-prod-announcer"}
    processor = {"FunctionName": "image-pipeline-prod-processor"}
    uploads, dead_letters = (
        {"QueueName": "image-pipeline-prod-uploads"},
        {"QueueName": "image-pipeline-prod-uploads-dlq"},
    )
    assert watched == {
        "announcer-age": ("AWS/Lambda", "IteratorAge", announcer, "Maximum", 600_000),
        "api-errors": ("AWS/ApiGateway", "5xx", api, "Sum", 0),
        "api-latency": ("AWS/ApiGateway", "Latency", api, "p99", 1500),
        "dead-letters": ("AWS/SQS", "ApproximateNumberOfMessagesVisible", dead_letters, "Maximum", 0),
        "decoder-unconfined": ("image-pipeline-prod", "DecoderUnconfined", {"service": "processor"}, "Sum", 0),
        "processor-duration": ("AWS/Lambda", "Duration", processor, "p99", 45_000),
        "processor-errors": ("AWS/Lambda", "Errors", processor, "Sum", 0),
        "processor-throttles": ("AWS/Lambda", "Throttles", processor, "Sum", 0),
        "queue-age": ("AWS/SQS", "ApproximateAgeOfOldestMessage", uploads, "Maximum", 300),
    }


@pytest.mark.parametrize("kind", ["read", "write"])
def test_alarms_of_throttles_count_the_table_and_every_index(monitoring: Resources, kind: str) -> None:
    """The dimension TableName alone leaves the indexes out, and every list of images reads an index."""
    alarm = alarms(monitoring)[f"table-{kind}-throttles"]
    table = {"TableName": "image-pipeline-prod-images"}
    (total,) = [query for query in alarm["metric_query"] if query["expression"]]
    parts = sorted((query for query in alarm["metric_query"] if query["metric"]), key=lambda query: query["id"])
    watched = {query["id"]: query["metric"][0] for query in parts}
    assert [metric["dimensions"] for metric in watched.values()] == [
        table,
        {**table, "GlobalSecondaryIndexName": "newest"},
        {**table, "GlobalSecondaryIndexName": "by-status"},
    ]
    assert {(metric["namespace"], metric["metric_name"], metric["stat"]) for metric in watched.values()} == {
        ("AWS/DynamoDB", f"{kind.title()}ThrottleEvents", "Sum")
    }
    assert total["expression"] == " + ".join(f"FILL({query}, 0)" for query in watched)
    assert (total["return_data"], alarm["threshold"]) == (True, 0)


def test_alarms_of_sums_allow_for_a_newest_period_that_is_not_complete(monitoring: Resources) -> None:
    """FILL puts a zero in its place, so an alarm that needs every period would never be raised."""
    for alarm in alarms(monitoring).values():
        if alarm["metric_query"]:
            assert alarm["datapoints_to_alarm"] < alarm["evaluation_periods"]


def test_documentation_counts_the_metrics_of_alarms(monitoring: Resources, root: Path) -> None:
    """AWS charges for each metric of an alarm: docs/costs.md says how much that is."""
    counts = [
        len([query for query in alarm["metric_query"] if query["metric"]]) or 1 for alarm in alarms(monitoring).values()
    ]
    assert sum(counts) == json.loads((root / "docs/figures.json").read_text())["rest"]["alarm_metrics"]


def test_alarms_fire_above_their_threshold_and_stay_quiet_without_traffic(monitoring: Resources) -> None:
    for name, alarm in alarms(monitoring).items():
        assert alarm["alarm_name"] == f"image-pipeline-prod-{name}"
        assert alarm["comparison_operator"] == "GreaterThanThreshold"
        assert alarm["treat_missing_data"] == "notBreaching"
        periods = {query["metric"][0]["period"] for query in alarm["metric_query"] if query["metric"]}
        assert (periods or {alarm["period"]}) in ({60}, {300})


def test_every_alarm_names_its_section_of_the_runbook(monitoring: Resources, root: Path) -> None:
    runbook = (root / "docs/operations.md").read_text()
    sections = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", runbook, re.MULTILINE | re.DOTALL))
    assert sections.keys() == alarms(monitoring).keys() | OPERATIONS
    for name, alarm in alarms(monitoring).items():
        assert alarm["alarm_description"].endswith(f" {RUNBOOK}#{name}")
        for part in ("**Symptom.**", "**Likely causes.**", "**Check.**", "**Fix.**", "```bash"):
            assert part in sections[name], f"{name} lacks {part}"


def test_alarms_of_lost_images_name_the_command_to_begin_with(monitoring: Resources) -> None:
    for name in ("dead-letters", "processor-errors"):
        assert "make failures" in alarms(monitoring)[name]["alarm_description"]


def test_runbook_links_to_its_own_sections(root: Path) -> None:
    runbook = (root / "docs/operations.md").read_text()
    assert set(re.findall(r"\(#([^)]+)\)", runbook)) <= set(re.findall(r"^## (.+)$", runbook, re.MULTILINE))


def test_only_alarms_of_this_account_may_use_the_topic(monitoring: Resources) -> None:
    assert monitoring["aws_sns_topic.alarms"]["name"] == "image-pipeline-prod-alarms"
    policy = monitoring["aws_sns_topic_policy.alarms"]["policy"]
    allowed = statements(policy)
    assert allowed.keys() == {"AllowOwnAlarms", "DenyInsecureTransport"}
    assert allowed["AllowOwnAlarms"] == {
        "Sid": "AllowOwnAlarms",
        "Effect": "Allow",
        "Principal": {"Service": "cloudwatch.amazonaws.com"},
        "Action": ["sns:Publish"],
        "Resource": [TOPIC],
        "Condition": {"StringEquals": {"aws:SourceAccount": [ACCOUNT]}},
    }
    assert_denies_insecure_transport(policy, "sns:Publish", TOPIC)


def test_everybody_on_the_list_gets_mail(monitoring: Resources) -> None:
    subscriptions = [values for address, values in monitoring.items() if "subscription" in address]
    assert {values["protocol"] for values in subscriptions} == {"email"}
    assert sorted(values["endpoint"] for values in subscriptions) == ["deputy@example.com", "on-call@example.com"]


def test_dashboard_shows_the_way_of_an_image(monitoring: Resources) -> None:
    def series(title: str) -> dict[str, tuple[str, str, str]]:
        """Namespace, metric and statistic by label."""
        return {
            metric[-1]["label"]: (metric[0], metric[1], metric[-1]["stat"])
            for metric in charts(monitoring)[title]["metrics"]
        }

    own = "image-pipeline-prod"
    assert series("Images") == {
        "uploaded": (own, "ImagesReceived", "Sum"),
        "processed": (own, "ImagesProcessed", "Sum"),
        "rejected": (own, "ImagesRejected", "Sum"),
        "failed": (own, "ImagesFailed", "Sum"),
        "deleted": (own, "ImagesDeleted", "Sum"),
    }
    assert series("Queue")["dead letters"] == ("AWS/SQS", "ApproximateNumberOfMessagesVisible", "Maximum")
    assert series("Age of the oldest message (s)")["age"] == ("AWS/SQS", "ApproximateAgeOfOldestMessage", "Maximum")
    assert series("Processor, per call (ms)").keys() == {"p50", "p95", "p99"}
    assert series("Processor, per image (ms)")["p95"] == (own, "ProcessingTime", "p95")
    assert series("API, requests")["5xx"] == ("AWS/ApiGateway", "5xx", "Sum")
    assert series("API, latency (ms)").keys() == {"p50", "p95", "p99"}
    assert series("API, requests")["throttled"] == ("AWS/Lambda", "Throttles", "Sum")
    assert series("Table, throttled requests") == {
        f"{kind}s of {place}": ("AWS/DynamoDB", f"{kind.title()}ThrottleEvents", "Sum")
        for kind in ("read", "write")
        for place in ("the table", "newest", "by-status")
    }


def test_dashboard_draws_the_line_where_the_alarm_is(monitoring: Resources) -> None:
    lines = {
        title: [line["value"] for line in chart["annotations"]["horizontal"]]
        for title, chart in charts(monitoring).items()
        if chart["annotations"]["horizontal"]
    }
    assert lines == {
        "Age of the oldest message (s)": [300],
        "Processor, per call (ms)": [45_000],
        "API, latency (ms)": [1500],
    }


def test_dashboard_shows_the_state_of_every_alarm(monitoring: Resources) -> None:
    first = json.loads(monitoring["aws_cloudwatch_dashboard.pipeline"]["dashboard_body"])["widgets"][0]
    arns = [f"arn:aws:cloudwatch:eu-west-1:{ACCOUNT}:alarm:image-pipeline-prod-{name}" for name in alarms(monitoring)]
    assert sorted(first["properties"]["alarms"]) == sorted(arns)


def test_widgets_do_not_overlap(monitoring: Resources) -> None:
    widgets = json.loads(monitoring["aws_cloudwatch_dashboard.pipeline"]["dashboard_body"])["widgets"]
    cells = [
        (x, y)
        for widget in widgets
        for x in range(widget["x"], widget["x"] + widget["width"])
        for y in range(widget["y"], widget["y"] + widget["height"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) == 23
