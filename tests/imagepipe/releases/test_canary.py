"""The first step of a rollout: which plans end in it, how it is watched, and what stops it."""

import io
import json
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from imagepipe.errors import PipelineError
from imagepipe.live.environments import Environment
from imagepipe.releases import canary, summary, version_metrics
from imagepipe.releases.aliases import Alias, Canary
from imagepipe.releases.canary import Trials
from imagepipe.releases.smoke import WrongResult
from imagepipe.releases.summary import Planned
from imagepipe.releases.version_metrics import Calls
from imagepipe.terragrunt.target import Cloud, Target

PROD = Environment("prod", "3" * 12, "eu-west-1", None, True, "linux/amd64", timedelta(), 10, timedelta(minutes=20))


@dataclass
class Time:
    """A clock that only sleeping moves on."""

    now: float = 1000.0
    slept: list[float] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def alias(function: str, after: dict[str, Any], unknown: dict[str, Any] | None = None) -> dict[str, Any]:
    """A part of a plan as `terraform show -json` writes it."""
    change = {"actions": ["update"], "before": {"routing_config": []}, "after": after, "after_unknown": unknown or {}}
    address = f'aws_lambda_alias.live["{function}"]'
    return {"address": address, "index": function, "type": "aws_lambda_alias", "change": change}


WEIGHTS = [{"additional_version_weights": {"4": 0.1}}]


@pytest.mark.parametrize(
    ("changes", "held"),
    [
        ([], None),
        ([alias("api", {"function_version": "3", "routing_config": []}, {"routing_config": []})], None),
        # All at once: the newest version has no number yet.
        ([alias("api", {"routing_config": []}, {"function_version": True, "routing_config": []})], None),
        # The version that gets the share has no number yet.
        ([alias("api", {"function_version": "3"}, {"routing_config": True})], {"api": "3"}),
        ([alias("api", {"function_version": "3", "routing_config": WEIGHTS}, {"routing_config": [{}]})], {"api": "3"}),
        (
            [
                alias("api", {"function_version": "3", "routing_config": WEIGHTS}),
                alias("processor", {"function_version": "8", "routing_config": []}),
            ],
            {"api": "3"},
        ),
        ([{"address": "aws_lambda_function.function", "change": {"after": {"routing_config": WEIGHTS}}}], None),
    ],
)
def test_a_plan_that_ends_in_weights_is_a_canary(changes: list[dict[str, Any]], held: dict[str, str] | None) -> None:
    canary_there = canary.canary_of(PROD, {"resource_changes": changes})
    assert canary_there == (Canary(percent=10, held=held) if held else None)


def test_the_summary_says_what_comes_first() -> None:
    first = Canary(percent=10, held={"processor": "8", "api": "3"})
    planned = Planned("prod", "0" * 40, {"compute": {}}, [], canary=first)
    assert "**prod: 10 % first**, watched: new versions of api, processor." in summary.markdown(planned)
    assert "% first" not in summary.markdown(Planned("prod", "0" * 40, {"compute": {}}, []))
    assert canary.words(PROD, first) == "new versions of api, processor get 10 % of the calls first, for 20 minutes"


def test_held_versions_reach_terraform_by_its_environment() -> None:
    target = Target(PROD, Cloud.LOCAL, {"AWS_REGION": "eu-west-1"})
    assert canary.holding(target, None) is target
    held = canary.holding(target, Canary(percent=10, held={"api": "3"})).process_environment
    assert json.loads(held["TF_VAR_canary"]) == {"held_versions": {"api": "3"}, "percent": 10}
    assert held["AWS_REGION"] == "eu-west-1"


def test_what_stays_quiet_is_watched_to_the_end() -> None:
    time, left = Time(), list[float]()

    def look(seconds: float) -> None:
        left.append(seconds)

    assert canary.watch(25, look, time.clock, time.sleep) is None
    assert left == [25, 15, 5]
    assert time.slept == [10, 10, 5]


def test_the_first_sign_ends_it_at_once() -> None:
    time = Time()
    signs = iter([None, "the alarm errors was raised"])
    assert canary.watch(600, lambda _: next(signs), time.clock, time.sleep) == "the alarm errors was raised"
    assert time.slept == [10]


def test_looking_that_takes_long_does_not_make_it_longer() -> None:
    time = Time()

    def look(_: float) -> None:
        time.now += 100

    assert canary.watch(250, look, time.clock, time.sleep) is None
    assert time.slept == [10, 10, 0]


def test_trials_go_on_until_an_image_ends_wrong() -> None:
    passed = threading.Semaphore(0)
    answers = iter([None, OSError("429"), None, WrongResult("the image became FAILED")])

    def trial() -> None:
        if error := next(answers):
            raise error
        passed.release()

    trials = Trials(trial, pause=0)
    assert passed.acquire(timeout=10)
    assert passed.acquire(timeout=10)
    assert trials.finish() in {None, "the smoke test failed (the image became FAILED)"}


def test_the_trial_that_is_going_on_counts() -> None:
    begun, may_fail = threading.Event(), threading.Event()

    def trial() -> None:
        begun.set()
        may_fail.wait(10)
        raise WrongResult("variant w320 has 0 bytes")

    trials = Trials(trial, pause=0)
    assert begun.wait(10)
    assert trials.failure is None
    threading.Timer(0.05, may_fail.set).start()
    assert trials.finish() == "the smoke test failed (variant w320 has 0 bytes)"


def test_a_trial_that_could_not_be_made_is_no_sign_unless_none_could() -> None:
    """A client that floods the API made a smoke test fail, and took every release back."""
    ended, passed = threading.Semaphore(0), threading.Event()
    answers = iter([None, *[PipelineError("429 Too Many Requests")] * 1000])

    def trial() -> None:
        ended.release()
        if error := next(answers):
            raise error
        passed.set()

    trials = Trials(trial, pause=0.001)
    assert passed.wait(10)
    assert ended.acquire(timeout=10)
    assert trials.finish() is None


def test_if_no_trial_at_all_could_be_made_nobody_knows_and_nothing_goes_on() -> None:
    def trial() -> None:
        raise OSError("429")

    assert Trials(trial, pause=0).finish() == "no smoke test came to an end (429)"


# --- tests of a version by its number ---------------------------------------------------------------------------------


@dataclass
class Functions:
    """Lambda, in which these versions of the API answer so."""

    answers: dict[str, Any]
    called: list[tuple[str, str]] = field(default_factory=list)

    def invoke(self, FunctionName: str, Qualifier: str, Payload: str) -> dict[str, Any]:
        path = json.loads(Payload).get("rawPath", "")
        self.called.append((Qualifier, path))
        answer = self.answers[Qualifier]
        content = answer.get(path, {"statusCode": 200}) if isinstance(answer, dict) else answer
        error = {"FunctionError": "Unhandled"} if content == "crash" else {}
        return {"Payload": io.BytesIO(json.dumps(content).encode()), **error}


API = Alias("api", "x-api", "live", "3", "", {"4": 0.1})
UNKNOWN = f"/images/{'0' * 32}"


@pytest.mark.parametrize(
    ("new", "old", "failed"),
    [
        ({}, {}, False),
        ({UNKNOWN: {"statusCode": 404}}, {UNKNOWN: {"statusCode": 404}}, False),
        ({UNKNOWN: {"statusCode": 500}}, {UNKNOWN: {"statusCode": 404}}, True),
        ("crash", {}, True),
        # The table is throttled, or away: the version before cannot answer either.
        ({UNKNOWN: {"statusCode": 500}}, {UNKNOWN: {"statusCode": 500}}, False),
        ("crash", "crash", False),
    ],
)
def test_a_version_is_refuted_by_what_the_one_before_answers_better(new: Any, old: Any, failed: bool) -> None:
    reason = canary._failed_test(Functions({"4": new, "3": old}), [API])
    assert (reason is not None) == failed
    assert reason is None or reason.startswith("version 4 of x-api does not answer (")


# --- the metrics of a version -----------------------------------------------------------------------------------------


def calls(invocations: int, errors: int = 0, median_ms: float | None = 100.0) -> Calls:
    return Calls(invocations, errors, median_ms)


@pytest.mark.parametrize(
    ("new", "old", "words"),
    [
        (calls(3, 3), calls(27), "3 of 3 calls failed, and 0 of 27 of the version before"),
        (calls(100, 20), calls(900, 9), "20 of 100 calls failed"),
        (calls(100_000, 500), calls(900_000, 900), "500 of 100000 calls failed"),
        (calls(40, 0, 400.0), calls(400, 0, 100.0), "half of the calls take more than 400 ms, and 100"),
        (calls(0, 20, None), calls(500), "20 of 0 calls failed"),
    ],
)
def test_a_version_that_does_worse_is_refuted(new: Calls, old: Calls, words: str) -> None:
    assert words in str(version_metrics.worse(new, old))


@pytest.mark.parametrize(
    ("new", "old"),
    [
        (calls(0, 0, None), calls(0, 0, None)),
        (calls(100), calls(900)),
        (calls(1, 1), calls(9)),
        # Whoever uploads what crashes a decoder, or floods the API, does so to both.
        (calls(100, 50), calls(900, 450)),
        (calls(10, 10), calls(90, 90)),
        (calls(100, 2), calls(900, 9)),
        (calls(29, 0, 900.0), calls(400, 0, 100.0)),
        (calls(40, 0, 250.0), calls(400, 0, 100.0)),
        (calls(100), calls(900, 300)),
    ],
)
def test_what_both_versions_meet_speaks_against_none(new: Calls, old: Calls) -> None:
    """Any alarm that was raised took a release back, and any client can raise some."""
    assert version_metrics.worse(new, old) is None


def test_the_calls_of_both_versions_are_those_by_the_alias() -> None:
    dimensions_read: list[Any] = []

    class Metrics:
        def get_paginator(self, operation: str) -> Any:
            assert operation == "get_metric_data"
            return self

        def paginate(self, MetricDataQueries: Any, StartTime: datetime, EndTime: datetime) -> Any:
            dimensions = MetricDataQueries[0]["MetricStat"]["Metric"]["Dimensions"]
            version = {item["Name"]: item["Value"] for item in dimensions}
            dimensions_read.append(version)
            failed = 12.0 if version["ExecutedVersion"] == "4" else 0.0
            for part in ({"invocations": [10.0]}, {"invocations": [5.0], "errors": [failed], "median": [50.0, 70.0]}):
                yield {"MetricDataResults": [{"Id": key, "Values": values} for key, values in part.items()]}

    (sign,) = version_metrics.signs(Metrics(), [API], datetime(2030, 1, 1, 12, 30, 40, tzinfo=UTC))
    assert sign == "version 4 of x-api does worse: 12 of 15 calls failed, and 0 of 15 of the version before"
    live = {"FunctionName": "x-api", "Resource": "x-api:live"}
    assert dimensions_read == [{**live, "ExecutedVersion": "3"}, {**live, "ExecutedVersion": "4"}]
