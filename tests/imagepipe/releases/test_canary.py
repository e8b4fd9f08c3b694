"""The first step of a rollout: which plans end in it, how it is watched, and what stops it."""

import json
import threading
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from imagepipe.errors import PipelineError
from imagepipe.live.environments import Environment
from imagepipe.releases import canary, summary
from imagepipe.releases.aliases import Canary
from imagepipe.releases.canary import Trials
from imagepipe.releases.summary import Planned
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


def test_trials_go_on_until_one_fails() -> None:
    passed = threading.Semaphore(0)
    answers = iter([None, None, PipelineError("the image became FAILED")])

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
        raise OSError("no answer")

    trials = Trials(trial, pause=0)
    assert begun.wait(10)
    assert trials.failure is None
    threading.Timer(0.05, may_fail.set).start()
    assert trials.finish() == "the smoke test failed (no answer)"
