"""A release goes on only if what runs is known, tried out, quiet and old enough."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from imagepipe.errors import PipelineError
from imagepipe.live.environments import Environment, Release
from imagepipe.releases import release_files, repository, running
from imagepipe.releases.aliases import Alias
from imagepipe.releases.record import DeploymentRecord
from imagepipe.releases.snapshot import Snapshot

DIGEST, OTHER = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"
COMMIT = "c" * 40
NOW = datetime.now(UTC)
STAGING = Environment("staging", "2" * 12, "eu-west-1", None, False, "linux/amd64", timedelta(hours=24))
FUNCTIONS = ("announcer", "api", "processor")


@dataclass
class FakeTarget:
    """An environment whose alarms are these."""

    environment: Environment = STAGING
    raised: list[dict[str, Any]] = field(default_factory=list)

    def client(self, service: str) -> Any:
        assert service == "cloudwatch"
        return self

    def get_paginator(self, operation: str) -> Any:
        assert operation == "describe_alarms"
        return self

    def paginate(self, **wanted: str) -> Iterator[dict[str, Any]]:
        assert wanted == {"AlarmNamePrefix": f"{STAGING.prefix}-", "StateValue": "ALARM"}
        yield {"MetricAlarms": self.raised}


def alarm(name: str, namespace: str, metric: str, **dimensions: str) -> dict[str, Any]:
    listed = [{"Name": key, "Value": value} for key, value in dimensions.items()]
    return {"AlarmName": name, "Namespace": namespace, "MetricName": metric, "Dimensions": listed}


def sum_of(name: str, *alarms: dict[str, Any]) -> dict[str, Any]:
    """An alarm on an expression over several metrics."""
    metrics = [{"Id": f"m{place}", "MetricStat": {"Metric": watched}} for place, watched in enumerate(alarms)]
    return {"AlarmName": name, "Metrics": [{"Id": "sum", "Expression": "m0 + m1"}, *metrics]}


ERRORS = alarm("errors", "AWS/Lambda", "Errors", FunctionName="x-processor")
READS = alarm("", "AWS/DynamoDB", "ReadThrottleEvents", TableName="x")
WRITES = alarm("", "AWS/DynamoDB", "WriteThrottleEvents", TableName="x")
FROM_OUTSIDE = [
    alarm("api-errors", "AWS/ApiGateway", "5xx", ApiId="x"),
    alarm("api-throttles", "AWS/Lambda", "Throttles", FunctionName="x-api"),
    sum_of("table-read-throttles", READS, READS),
]


def alias(function: str, digest: str = DIGEST, **weights: float) -> Alias:
    return Alias(
        function, f"x-{function}", "live", "7", digest, {name.strip("v"): share for name, share in weights.items()}
    )


def record(**different: Any) -> DeploymentRecord:
    finished = NOW - timedelta(days=2)
    fields: dict[str, Any] = {
        "commit": COMMIT, "dirty": False, "image": DIGEST, "modules": COMMIT, "plan": None, "status": "succeeded",
        "who": "somebody", "started": finished, "finished": finished, "smoked": finished,
    }  # fmt: skip
    return DeploymentRecord(**fields | different)


def snapshot(**different: Any) -> Snapshot:
    functions = {function: {"name": f"x-{function}", "alias": "live"} for function in FUNCTIONS}
    states = {"compute": {"serial": 3, "outputs": {"functions": {"value": functions}}}}
    target: Any = FakeTarget()
    good = Snapshot(target, states, record(), tuple(alias(function) for function in FUNCTIONS), NOW)
    return replace(good, **different)


@pytest.fixture(autouse=True)
def git(monkeypatch: pytest.MonkeyPatch) -> None:
    """A repository in which the deployed commit names the image."""
    monkeypatch.setattr(release_files, "release_at", lambda *_: Release(image=DIGEST, modules="v1.0.0"))
    monkeypatch.setattr(repository, "git", lambda *_, **__: "v1.0.0\nv1.0.1")


def test_what_runs_goes_on_by_the_newest_tag_of_its_modules() -> None:
    current = running.release_of(snapshot())
    assert current.release == Release(image=DIGEST, modules="v1.0.1")
    assert current.evidence[0] == f"every function of staging runs `{DIGEST}` behind its alias"
    assert current.evidence[-1] == "it has run for 2 days; 24 hours were asked for"


@pytest.mark.parametrize(
    ("different", "message"),
    [
        ({"states": {}, "aliases": ()}, "staging is not deployed: make apply ENV=staging"),
        ({"aliases": (alias("api"), alias("processor"))}, "staging has no function announcer: make apply ENV=staging"),
        (
            {"aliases": (alias("announcer"), alias("api", OTHER), alias("processor"))},
            "the functions of staging run different images .announcer sha256:1+, api sha256:2+, .*: make apply",
        ),
        (
            {"aliases": (alias("announcer"), alias("api", v8=0.1), alias("processor"))},
            r"the rollout of staging is under way \(10 % of the calls of api\): bring it to an end first",
        ),
        ({"record": None}, "staging has no deployment record: make apply ENV=staging"),
        (
            {"record": record(status="failed", refuted="an alarm")},
            r"staging is failed \(an alarm\): bring it to an end",
        ),
        ({"record": record(status="applying")}, "the last deployment of staging is applying: bring it to an end first"),
        ({"record": record(dirty=True)}, "staging runs uncommitted changes: commit them"),
        ({"record": record(image=OTHER)}, "runs sha256:1+, and its last deployment was of sha256:2+: make apply"),
        ({"record": record(smoked=None)}, "staging has not been smoke-tested: make smoke ENV=staging"),
        (
            {"target": FakeTarget(raised=[*FROM_OUTSIDE, ERRORS, alarm("age", "AWS/SQS", "Age")])},
            "errors is raised in staging and 1 more: mend its cause",
        ),
        ({"target": FakeTarget(raised=[sum_of("write-throttles", WRITES, READS)])}, "write-throttles is raised"),
        (
            {"target": FakeTarget(raised=[alarm("broken", "AWS/Lambda", "Errors", FunctionName="x-api")])},
            "broken is raised in staging: mend its cause",
        ),
        (
            {"record": record(finished=NOW - timedelta(hours=3))},
            "staging has run this for 3 hours, and live/staging/env.hcl asks for 24 hours: come back in 20 hours",
        ),
    ],
)
def test_what_may_not_go_on_says_why(different: dict[str, Any], message: str) -> None:
    with pytest.raises(PipelineError, match=message):
        running.release_of(snapshot(**different))


def test_what_anybody_can_raise_stops_no_release_and_is_told_to_its_reviewers() -> None:
    """One client could hold up every promotion, by calling the API too often."""
    current = running.release_of(snapshot(target=FakeTarget(raised=FROM_OUTSIDE)))
    said = "**raised, as anybody who calls the API can cause**: api-errors, api-throttles, table-read-throttles; look"
    assert any(sentence.startswith(said) for sentence in current.evidence)
    assert "no alarm of staging is raised" in running.release_of(snapshot()).evidence


def test_an_image_that_no_release_names_does_not_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release_files, "release_at", lambda *_: Release(image="worktree", modules="worktree"))
    with pytest.raises(PipelineError, match="staging runs an image that no release names: make build-push ENV=staging"):
        running.release_of(snapshot())
