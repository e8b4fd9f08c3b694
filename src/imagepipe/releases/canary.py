"""A rollout in two steps: new versions get a share of the calls, are watched, and then get all calls, or none.

The module compute sets the weights of the aliases if the environment variable TF_VAR_canary names the versions to hold.
It is set for one plan only: no file differs between the two steps, and a plan without it is always the second step.
"""

import json
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from imagepipe.console import progress, say
from imagepipe.errors import PipelineError
from imagepipe.images.pipeline import Pipeline
from imagepipe.live.environments import Environment
from imagepipe.releases import record, smoke, version_metrics
from imagepipe.releases.aliases import ALIAS_ADDRESS, UNIT, Alias, Canary
from imagepipe.releases.snapshot import Snapshot
from imagepipe.terragrunt import drift
from imagepipe.terragrunt import units as terragrunt
from imagepipe.terragrunt.runner import Listener
from imagepipe.terragrunt.target import Target

#: Seconds between two looks at the metrics, and between two smoke tests.
INTERVAL = 10.0

#: Test events without side effects, by function where it takes anything else than records.
_TEST_EVENTS: dict[str, list[dict[str, Any]]] = {
    "api": [
        {"requestContext": {"http": {"method": "GET"}, "authorizer": {"iam": {"userArn": "canary"}}}, "rawPath": path}
        for path in ("/health", f"/images/{'0' * 32}")
    ],
}
_NO_RECORDS: dict[str, Any] = {"Records": []}


class Refuted(PipelineError):
    """Its errors or a test spoke against a new version; all calls go to the version before again."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


def first_step(snapshot: Snapshot) -> Target:
    """Return the target for plans of the first step: new versions get their share, the present ones the rest.

    Where the environment has no canary, has no versions yet, or goes back to an earlier release, it is the target
    itself: its plans give new versions all calls at once.
    """
    percent = snapshot.environment.canary_percent
    if not percent or record.goes_back(snapshot.environment, snapshot.record):
        return snapshot.target
    held = {alias.function: alias.version for alias in snapshot.aliases}
    return holding(snapshot.target, Canary(percent=percent, held=held))


def holding(target: Target, canary: Canary | None) -> Target:
    """Return the target for plans that hold versions."""
    if canary is None or not canary.held:
        return target
    value = json.dumps({"held_versions": canary.held, "percent": canary.percent})
    return replace(target, variables=target.variables | {"TF_VAR_canary": value})


def canary_of(environment: Environment, plan: dict[str, Any]) -> Canary | None:
    """Return the canary that is there once a plan of the unit compute is applied, or None."""
    held = {}
    for resource in plan.get("resource_changes", []):
        change = resource["change"]
        weighted = any((change.get(side) or {}).get("routing_config") for side in ("after", "after_unknown"))
        if resource["address"].startswith(ALIAS_ADDRESS) and weighted:
            held[str(resource["index"])] = str(change["after"]["function_version"])
    return Canary(percent=environment.canary_percent, held=held) if held else None


def words(environment: Environment, canary: Canary) -> str:
    """Say what the first step is."""
    minutes = environment.bake.total_seconds() / 60
    return f"new versions of {canary.functions} get {canary.percent} % of the calls first, for {minutes:g} minutes"


def watch_first_step(snapshot: Snapshot, canary: Canary, since: datetime) -> None:
    """Watch new versions for as long as env.hcl asks for.

    Ctrl-C leaves the weights as they are; the same command goes on, and watches for the whole time again.

    Args:
        since: when the deployment began. Calls and alarms before that do not count.

    Raises:
        Refuted: a new version does worse than the one before, or a test failed. New versions get no calls any more.
    """
    target, name = snapshot.target, snapshot.environment.name
    functions = target.client("lambda")
    weighted = [alias for alias in snapshot.aliases if alias.weights]
    say(f"{name}: {words(snapshot.environment, canary)}")
    try:
        reason = _failed_test(functions, weighted) or _sign_against(target, weighted, since)
    except KeyboardInterrupt:
        say(
            f"{name} stays at {canary.percent} %: the same command goes on watching, "
            f"make rollback ENV={name} TO=previous goes back"
        )
        raise
    if reason:
        for alias in weighted:
            functions.update_alias(
                FunctionName=alias.name,
                Name=alias.alias,
                FunctionVersion=alias.version,
                RoutingConfig={"AdditionalVersionWeights": {}},
            )
        raise Refuted(
            f"{reason}: {canary.functions} of {name} are back on what they ran before, the rest stays "
            f"applied; mend it and plan again, or make rollback ENV={name} TO=previous",
            reason,
        )


def _failed_test(functions: Any, weighted: list[Alias]) -> str | None:
    """Invoke every new version by its number: its share of the calls may reach it late. Return what failed.

    A test that the version before fails as well does not count: what both need may be out of order.
    """
    for alias in weighted:
        for event in _TEST_EVENTS.get(alias.function, [_NO_RECORDS]):
            for version in alias.weights:
                failure = _failure(functions, alias, version, event)
                if failure and not _failure(functions, alias, alias.version, event):
                    return f"version {version} of {alias.name} does not answer ({drift.text(failure)})"
    return None


def _failure(functions: Any, alias: Alias, version: str, event: dict[str, Any]) -> str:
    """Return the answer of a version if it is an error of the function or of the server, and no text otherwise."""
    answer = functions.invoke(FunctionName=alias.name, Qualifier=version, Payload=json.dumps(event))
    payload = str(answer["Payload"].read().decode())
    content = json.loads(payload or "null")
    status = content.get("statusCode", 200) if isinstance(content, dict) else 200
    return payload if answer.get("FunctionError") or status >= 500 else ""


def _sign_against(target: Target, weighted: list[Alias], since: datetime) -> str | None:
    """Watch new versions for the environment's time. Return the first sign against them.

    An alarm is none: whoever floods the API or uploads what cannot be processed raises one, whatever the version.
    """
    cloudwatch, functions = target.client("cloudwatch"), target.client("lambda")
    trials = Trials(lambda: smoke.send(Pipeline(target), lambda: None))
    seconds = target.environment.bake.total_seconds()
    with progress() as bar:
        task = bar.add_task("watching", total=round(seconds))

        def sign(left: float) -> str | None:
            bar.update(task, completed=round(seconds - left))
            return (
                next(version_metrics.signs(cloudwatch, weighted, since), None)
                or _failed_test(functions, weighted)
                or trials.failure
            )

        reason = watch(seconds, sign) or trials.finish() or sign(0)
    raised = raised_since(cloudwatch, f"{target.environment.prefix}-", since)
    if raised and not reason:
        say(f"{', '.join(raised)} was raised, and the new versions did no worse than those before: look at its cause")
    return reason


def watch(
    seconds: float,
    sign: Callable[[float], str | None],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> str | None:
    """Look for a sign every INTERVAL seconds, and return the first one; None if there is none.

    Args:
        seconds: how long to watch.
        sign: called with the seconds that are left.
    """
    end = clock() + seconds
    while (left := end - clock()) > 0:
        if reason := sign(left):
            return reason
        sleep(max(0.0, min(INTERVAL, end - clock())))
    return None


def raised_since(cloudwatch: Any, prefix: str, since: datetime) -> list[str]:
    """Return alarms that were raised after a moment, also those that are quiet again."""
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
    """Repeats a smoke test in a background thread, for traffic that metrics can count.

    The trial fails for good if an image ended wrong. If it could not be made, because an address did not answer or the
    queue was too long, that says nothing about the new versions: strangers can cause it.
    """

    def __init__(self, trial: Callable[[], object], pause: float = INTERVAL) -> None:
        self._trial, self._pause = trial, pause
        self._over = threading.Event()
        self.failure: str | None = None
        #: The last trial that could not be made.
        self.obstacle: str | None = None
        self.passed = 0
        # A daemon: the command must not wait for a smoke test that hangs once the calls have to go back.
        self._thread = threading.Thread(target=self._run, name="trials", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                self._trial()
                self.passed += 1
            except smoke.WrongResult as error:
                self.failure = f"the smoke test failed ({error})"
                return
            except Exception as error:  # whatever it is, the next trial may get further
                self.obstacle = str(error)
            self._over.wait(self._pause)

    def finish(self) -> str | None:
        """Wait for the trial that is running, and return the reason against the new versions.

        That no trial at all could be made is one: nobody knows what they would have done.
        """
        self._over.set()
        self._thread.join()
        if self.failure is None and not self.passed:
            return f"no smoke test came to an end ({self.obstacle})"
        return self.failure


def take_second_step(target: Target, listener: Listener) -> None:
    """Plan the unit compute without held versions, and apply that if it only moves the aliases.

    Raises:
        PipelineError: the plan would change something else, or Terragrunt failed.
    """
    with tempfile.TemporaryDirectory(prefix="canary-") as folder:
        plan = terragrunt.plan(target, listener, [UNIT], Path(folder))[UNIT]
        for change in drift.differences(UNIT, plan):
            if not (change.address.startswith(ALIAS_ADDRESS) and change.action == "change"):
                name = target.environment.name
                raise PipelineError(
                    f"{name} was quiet, but giving the new versions all calls would also {change.action} "
                    f"{change.address}, which somebody has changed meanwhile (make drift ENV={name}): plan again"
                )
        terragrunt.apply_plan(target, UNIT, Path(folder) / f"{UNIT}.tfplan", listener)
