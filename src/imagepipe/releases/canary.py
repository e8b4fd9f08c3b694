"""A new version that gets some of the calls at first: weights on the alias `live`, watched, then all of it, or back.

The module compute puts the weights there when it is told which versions to hold. It is told by an environment variable,
for one plan only: so no file differs between the two steps, and a plan without it is always the second.
"""

import json
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError
from pydantic import BaseModel

from imagepipe.console import progress, say
from imagepipe.errors import PipelineError
from imagepipe.images.pipeline import Pipeline
from imagepipe.live.environments import Environment
from imagepipe.releases import record, smoke
from imagepipe.terragrunt import drift
from imagepipe.terragrunt import units as terragrunt
from imagepipe.terragrunt.target import Target

#: The unit that has the functions, and how the addresses of functions and aliases begin in it.
UNIT, _FUNCTION, _ALIAS = "compute", "aws_lambda_function.function[", "aws_lambda_alias.live["

#: What callers call.
ALIAS = "live"

#: Seconds between two looks at the alarms, and between two smoke tests.
INTERVAL = 10.0

#: What a version is made of, as far as the module compute says it.
_MADE_OF = (
    *("Architectures", "CodeSha256", "Environment", "EphemeralStorage", "ImageConfigResponse", "Layers"),
    *("LoggingConfig", "MemorySize", "Role", "Timeout", "TracingConfig"),
)

#: What a new version is asked by itself, which nothing comes of: whether it starts, and answers.
_QUESTIONS: dict[str, dict[str, Any]] = {
    "announcer": {"Records": []},
    "api": {"requestContext": {"http": {"method": "GET"}}, "rawPath": "/health"},
    "processor": {"Records": []},
}


class Refuted(PipelineError):
    """Something spoke against the new version, and the calls are back with the one before."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class Canary(BaseModel):
    """The first step of a rollout."""

    #: Of the calls that the newest version gets.
    percent: int
    #: Function → version that keeps the others.
    held: dict[str, str]

    @property
    def functions(self) -> str:
        return ", ".join(sorted(self.held))


@dataclass(frozen=True)
class Alias:
    """What a function's callers get."""

    function: str  # as we call it, like processor
    name: str  # as AWS does
    version: str
    #: Version → share of the calls, from 0 to 1, where a rollout is under way.
    weights: dict[str, float]


def aliases(target: Target) -> list[Alias]:
    """Those that there are."""
    functions, found = target.client("lambda"), []
    for function in _QUESTIONS:
        name = f"{target.environment.prefix}-{function}"
        try:
            answer = functions.get_alias(FunctionName=name, Name=ALIAS)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ResourceNotFoundException":
                continue
            raise
        weights = answer.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})
        found.append(Alias(function, name, answer["FunctionVersion"], weights))
    return found


def unpublished(target: Target, plan: dict[str, Any]) -> list[str]:
    """Functions that a plan leaves as they are although no version is like them.

    An apply died after it had changed them. Terraform publishes what it changes, and sees nothing to change any more.
    """
    changed = {
        str(resource["index"])
        for resource in plan.get("resource_changes", [])
        if resource["address"].startswith(_FUNCTION) and resource["change"]["actions"] != ["no-op"]
    }
    functions = target.client("lambda")

    def made_of(name: str, version: str) -> tuple[Any, ...]:
        answer = functions.get_function(FunctionName=name, Qualifier=version)
        return answer["Code"].get("ImageUri"), *(answer["Configuration"].get(part) for part in _MADE_OF)

    def newest(name: str) -> str:
        pages = functions.get_paginator("list_versions_by_function").paginate(FunctionName=name)
        numbers = [each["Version"] for page in pages for each in page["Versions"] if each["Version"] != "$LATEST"]
        return str(max(numbers, key=int))

    return [
        alias.function
        for alias in aliases(target)
        if alias.function not in changed and made_of(alias.name, "$LATEST") != made_of(alias.name, newest(alias.name))
    ]


def publish(target: Target, plan: dict[str, Any]) -> bool:
    """Publishes what is `unpublished`, and returns whether anything was: then the aliases are to be planned anew."""
    functions = unpublished(target, plan)
    for function in functions:
        say(f"{function} was changed by an apply that died before there was a version of it: published now")
        target.client("lambda").publish_version(FunctionName=f"{target.environment.prefix}-{function}")
    return bool(functions)


def under_way(target: Target) -> Canary | None:
    """The rollout that the aliases stand in the middle of."""
    weighted = [alias for alias in aliases(target) if alias.weights]
    if not weighted:
        return None
    share = max(weight for alias in weighted for weight in alias.weights.values())
    return Canary(percent=round(100 * share), held={alias.function: alias.version for alias in weighted})


def first_step(target: Target) -> Target:
    """The target for plans of the first step: new versions get their share, the present ones the rest.

    Where the environment asks for no canary, has no versions yet, or goes back to what it ran before, it is the target
    itself, whose plans give new versions all calls at once.
    """
    percent = target.environment.canary_percent
    if not percent or record.goes_back(target):
        return target
    return holding(target, Canary(percent=percent, held={alias.function: alias.version for alias in aliases(target)}))


def holding(target: Target, canary: Canary | None) -> Target:
    """The target for plans that hold versions."""
    if canary is None or not canary.held:
        return target
    value = json.dumps({"held_versions": canary.held, "percent": canary.percent})
    return replace(target, variables=target.variables | {"TF_VAR_canary": value})


def planned(environment: Environment, plan: dict[str, Any]) -> Canary | None:
    """The canary that a plan of the unit compute ends in: new ones, and those that are there already."""
    held = {}
    for resource in plan.get("resource_changes", []):
        change = resource["change"]
        weighted = any((change.get(side) or {}).get("routing_config") for side in ("after", "after_unknown"))
        if resource["address"].startswith(_ALIAS) and weighted:
            held[str(resource["index"])] = str(change["after"]["function_version"])
    return Canary(percent=environment.canary_percent, held=held) if held else None


def words(environment: Environment, canary: Canary) -> str:
    minutes = environment.bake.total_seconds() / 60
    return f"new versions of {canary.functions} get {canary.percent} % of the calls first, for {minutes:g} minutes"


def watch_first_step(target: Target, canary: Canary, since: datetime) -> None:
    """Returns when nothing has spoken against the new versions for as long as the environment asks for.

    Ctrl-C leaves the weights as they are; the same command goes on, and watches for the whole time again.

    Args:
        since: when the deployment began. Alarms that were raised before say nothing of it.

    Raises:
        Refuted: an alarm was raised, or a new version did not answer. They get no calls any more.
    """
    environment = target.environment
    functions = target.client("lambda")
    news = {alias.function: alias for alias in aliases(target) if alias.weights}
    say(f"{environment.name}: {words(environment, canary)}")
    try:
        reason = _first_answers(functions, news) or _watched(target, since)
    except KeyboardInterrupt:
        say(
            f"{environment.name} stays at {canary.percent} %: the same command goes on watching, "
            f"make rollback ENV={environment.name} TO=previous goes back"
        )
        raise
    if reason:
        for alias in news.values():
            functions.update_alias(
                FunctionName=alias.name,
                Name=ALIAS,
                FunctionVersion=alias.version,
                RoutingConfig={"AdditionalVersionWeights": {}},
            )
        raise Refuted(
            f"{reason}: {canary.functions} of {environment.name} are back on what they ran before, the rest stays "
            f"applied; mend it and plan again, or make rollback ENV={environment.name} TO=previous",
            reason,
        )


def _first_answers(functions: Any, news: dict[str, Alias]) -> str | None:
    """What speaks against new versions, each asked by itself: through the alias they may not be asked for long."""
    for function, alias in news.items():
        for version in alias.weights:
            answer = functions.invoke(
                FunctionName=alias.name, Qualifier=version, Payload=json.dumps(_QUESTIONS[function])
            )
            payload = answer["Payload"].read().decode()
            status = json.loads(payload or "null") or {}
            if answer.get("FunctionError") or status.get("statusCode", 200) != 200:
                return f"version {version} of {alias.name} does not answer ({drift.text(payload)})"
    return None


def _watched(target: Target, since: datetime) -> str | None:
    """What spoke against the new version in the environment's time."""
    alarms, prefix = target.client("cloudwatch"), f"{target.environment.prefix}-"
    trials = Trials(lambda: smoke.send(Pipeline(target), lambda: None))
    seconds = target.environment.bake.total_seconds()
    with progress() as bar:
        task = bar.add_task("watching", total=round(seconds))

        def signs(left: float) -> str | None:
            bar.update(task, completed=round(seconds - left))
            raised = raised_since(alarms, prefix, since)
            return f"the alarm {raised[0]} was raised" if raised else trials.failure

        return watch(seconds, signs) or trials.finish() or signs(0)


def watch(
    seconds: float,
    signs: Callable[[float], str | None],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> str | None:
    """Looks every so often, for so long, and returns the first sign that it is given; None if there was none.

    Args:
        signs: told how many seconds are left.
    """
    end = clock() + seconds
    while (left := end - clock()) > 0:
        if sign := signs(left):
            return sign
        sleep(max(0.0, min(INTERVAL, end - clock())))
    return None


def raised_since(cloudwatch: Any, prefix: str, since: datetime) -> list[str]:
    """Alarms that were raised after a moment, also those that have been quiet again since then."""
    pages = cloudwatch.get_paginator("describe_alarm_history").paginate(HistoryItemType="StateUpdate", StartDate=since)
    return sorted(
        {
            str(item["AlarmName"])
            for page in pages
            for item in page["AlarmHistoryItems"]
            if item["AlarmName"].startswith(prefix)
            and json.loads(item["HistoryData"])["newState"]["stateValue"] == "ALARM"
        }
    )


class Trials:
    """Something tried over and over beside what else goes on, until it fails: without traffic no alarm tells much."""

    def __init__(self, trial: Callable[[], object], pause: float = INTERVAL) -> None:
        self._trial, self._pause = trial, pause
        self._over = threading.Event()
        self.failure: str | None = None
        # A daemon: nobody waits for a smoke test that hangs once the calls have to go back.
        self._thread = threading.Thread(target=self._run, name="trials", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                self._trial()
            except Exception as error:  # whatever it is, no smoke test has passed
                self.failure = f"the smoke test failed ({error})"
                return
            self._over.wait(self._pause)

    def finish(self) -> str | None:
        """Waits for the trial that is going on, and returns what failed."""
        self._over.set()
        self._thread.join()
        return self.failure


def take_second_step(target: Target, listener: terragrunt.Listener) -> None:
    """Applies a plan without held versions, if that is nothing but new versions behind the aliases.

    Raises:
        PipelineError: it would do more than that, or Terragrunt failed.
    """
    with tempfile.TemporaryDirectory(prefix="canary-") as folder:
        plan = terragrunt.save_plans(target, [UNIT], Path(folder), listener)[UNIT]
        for change in drift.differences(UNIT, plan):
            if not (change.address.startswith(_ALIAS) and change.action == "change"):
                name = target.environment.name
                raise PipelineError(
                    f"{name} was quiet, but giving the new versions all calls would also {change.action} "
                    f"{change.address}, which somebody has changed meanwhile (make drift ENV={name}): plan again"
                )
        terragrunt.apply_plan(target, UNIT, Path(folder) / f"{UNIT}.tfplan", listener)
