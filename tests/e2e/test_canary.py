"""A release that some of the calls get first: taken back by its errors, left by Ctrl-C and gone on with, then quiet.

With the rights of a workflow, and no more.
Each test goes on from where the one before it has left staging, which asks for a canary here as prod does.
"""

import json
import os
import signal
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from clones import Clone

from .test_releases import commit, deployment, merge, refusal

pytestmark = pytest.mark.rehearsal

FUNCTIONS = ("announcer", "api", "processor")
API = "image-pipeline-staging-api"
APPLY = ("apply", "--env", "staging", "--yes", "--bundle")


@pytest.fixture(scope="module")
def released(deployed: Clone) -> Clone:
    """A release to staging of which every function gets a new version, committed and not yet planned."""
    module = deployed.top / "modules/compute/main.tf"
    module.write_text(module.read_text().replace("SERVICE_NAME ", 'STEP              = "next"\n        SERVICE_NAME '))
    commit(deployed, "Tell every function something new")
    file = deployed.top / "live/staging/release.json"
    release = json.loads(file.read_text()) | {"modules": deployed.git("rev-parse", "HEAD")}
    file.write_text(json.dumps(release, indent=2) + "\n")
    set_rollout(deployed, percent=10, minutes=30)
    commit(deployed, "Release it to staging, and watch it there")
    return deployed


@pytest.fixture
def bundle(released: Clone) -> Path:
    return released.top / "build/plans/canary"


def set_rollout(clone: Clone, percent: int, minutes: float) -> None:
    file = clone.top / "live/staging/env.hcl"
    lines = [
        f"  rollout = {{ canary_percent = {percent}, bake_minutes = {minutes} }}" if "rollout =" in line else line
        for line in file.read_text().splitlines()
    ]
    file.write_text("\n".join(lines) + "\n")


def plan(clone: Clone, bundle: Path) -> str:
    """The summary of a plan of staging."""
    clone.imagepipe("plan", "--env", "staging", "--bundle", str(bundle), ROLE="plan")
    return bundle.with_name(f"{bundle.name}.md").read_text()


def aliases(clone: Clone) -> dict[str, tuple[str, dict[str, float]]]:
    """By function: the version that the alias stands for, and the shares of others."""
    functions, deployed_versions = clone.client("staging", "lambda"), {}
    for function in FUNCTIONS:
        alias = functions.get_alias(FunctionName=f"image-pipeline-staging-{function}", Name="live")
        deployed_versions[function] = (
            alias["FunctionVersion"],
            alias.get("RoutingConfig", {}).get("AdditionalVersionWeights", {}),
        )
    return deployed_versions


def versions(clone: Clone) -> dict[str, str]:
    return {function: version for function, (version, _) in aliases(clone).items()}


def share(clone: Clone) -> dict[str, dict[str, float]]:
    return {function: weights for function, (_, weights) in aliases(clone).items() if weights}


def newest(clone: Clone) -> dict[str, str]:
    functions = clone.client("staging", "lambda")
    pages = {
        function: functions.list_versions_by_function(FunctionName=f"image-pipeline-staging-{function}")["Versions"]
        for function in FUNCTIONS
    }
    return {function: deployed_versions[-1]["Version"] for function, deployed_versions in pages.items()}


def begin(clone: Clone, bundle: Path) -> subprocess.Popen[str]:
    """An apply that has come to where new versions are watched."""
    process = clone.start(*APPLY, str(bundle), ROLE="apply")
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if "% of the calls first" in line:
            return process
    raise AssertionError("".join(lines))


def output_of(process: subprocess.Popen[str], seconds: float) -> str:
    return process.communicate(timeout=seconds)[1]


def test_a_tenth_of_the_calls_comes_first_and_its_own_errors_take_it_back_at_once(
    released: Clone, bundle: Path
) -> None:
    """Any alarm took it back, also one that a stranger raised."""
    before = versions(released)
    summary = plan(released, bundle)
    assert "**staging: 10 % first**, watched: new versions of announcer, api, processor." in summary
    process = begin(released, bundle)

    assert versions(released) == before
    assert share(released) == {function: {version: 0.1} for function, version in newest(released).items()}
    calls = called(released, 200)
    assert calls.keys() == {before["api"], newest(released)["api"]}
    assert 4 <= calls[newest(released)["api"]] <= 45  # of 200: one run in some hundred thousand is outside

    alarms = released.client("staging", "cloudwatch")
    name = alarms.describe_alarms(AlarmNamePrefix="image-pipeline-staging")["MetricAlarms"][0]["AlarmName"]
    alarms.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="a test")
    # What strangers cause meets both versions; what only the new one gets wrong does not.
    fail(released, "api", before["api"], 450, calls=900)
    fail(released, "api", newest(released)["api"], 50, calls=100)
    processor = newest(released)["processor"]
    fail(released, "processor", processor, 20, calls=20)
    last = output_of(process, 120).strip().splitlines()[-1]
    assert process.returncode == 1
    reason = f"version {processor} of image-pipeline-staging-processor does worse: 20 of "
    assert f"imagepipe: {reason}" in last
    assert "announcer, api, processor of staging are back" in last
    assert "mend it and plan again, or make rollback ENV=staging TO=previous" in last
    assert (versions(released), share(released)) == (before, {})
    record: dict[str, Any] = deployment(released, "staging")
    assert record["status"] == "failed"
    assert record["refuted"].startswith(reason)


def fail(clone: Clone, function: str, version: str, errors: int, *, calls: int) -> None:
    """So many calls of a version by its alias, of which some end in an error.

    In the minute in which the deployment began: a later one of the same version must not count them.
    """
    name = f"image-pipeline-staging-{function}"
    dimensions = {"FunctionName": name, "Resource": f"{name}:live", "ExecutedVersion": version}
    listed = [{"Name": key, "Value": value} for key, value in dimensions.items()]
    clone.client("staging", "cloudwatch").put_metric_data(
        Namespace="AWS/Lambda",
        MetricData=[
            {
                "MetricName": metric,
                "Dimensions": listed,
                "Timestamp": deployment(clone, "staging")["started"],
                "Value": count,
                "Unit": "Count",
            }
            for metric, count in (("Invocations", calls), ("Errors", errors))
        ],
    )


def called(clone: Clone, times: int) -> Counter[str]:
    """How often each version answers when the alias is called."""
    functions, event = clone.client("staging", "lambda"), {"requestContext": {"http": {"method": "GET"}}}
    payload = json.dumps(event | {"rawPath": "/health"})
    return Counter(
        functions.invoke(FunctionName=API, Qualifier="live", Payload=payload)["ExecutedVersion"] for _ in range(times)
    )


def test_what_was_taken_back_is_not_applied_again(released: Clone, bundle: Path) -> None:
    assert "and taken back, because version" in refusal(released, *APPLY, str(bundle))


def test_left_by_ctrl_c_it_stays_as_it_is_and_goes_nowhere(released: Clone, bundle: Path) -> None:
    set_rollout(released, percent=10, minutes=0.4)
    commit(released, "Watch it for less long")
    assert "10 % first" in plan(released, bundle)
    process = begin(released, bundle)
    os.killpg(process.pid, signal.SIGINT)
    assert "staging stays at 10 %: the same command goes on watching" in output_of(process, 60)
    assert process.returncode != 0
    assert share(released).keys() == {*FUNCTIONS}
    assert "the rollout of staging is under way (10 % of the calls of announcer, api, processor)" in refusal(
        released, "promote", "--from", "staging", "--to", "prod"
    )


def test_gone_on_with_and_quiet_it_ends_with_all_calls(released: Clone, bundle: Path) -> None:
    finished = released.imagepipe(*APPLY, str(bundle), ROLE="apply")
    assert "new versions of announcer, api, processor get 10 % of the calls first, for 0.4 minutes" in finished.stderr
    assert "a new plan of staging is empty" in finished.stderr
    assert (versions(released), share(released)) == (newest(released), {})
    assert called(released, 20) == {newest(released)["api"]: 20}
    assert deployment(released, "staging")["status"] == "succeeded"


def test_back_to_what_ran_before_is_at_once(released: Clone, bundle: Path) -> None:
    """`previous` is not what was refuted first and came to a good end later: it is what ran before that."""
    released.imagepipe("rollback", "--env", "staging", "--to", "previous")
    merge(released, "rollback/staging")
    assert "% first" not in plan(released, bundle)
    finished = released.imagepipe(*APPLY, str(bundle), ROLE="apply")
    assert "% of the calls first" not in finished.stderr
    assert (versions(released), share(released)) == (newest(released), {})
    function = released.client("staging", "lambda").get_function(
        FunctionName="image-pipeline-staging-api", Qualifier="live"
    )
    assert "STEP" not in function["Configuration"]["Environment"]["Variables"]


def test_without_a_bundle_it_is_the_same_road(released: Clone) -> None:
    file, before = released.top / "live/staging/env.hcl", versions(released)
    file.write_text(file.read_text().replace('log_level          = "INFO"', 'log_level          = "WARNING"'))
    finished = released.imagepipe("apply", "--env", "staging", "--yes")
    assert "get 10 % of the calls first, for 0.4 minutes" in finished.stderr
    assert (versions(released), share(released)) == (newest(released), {})
    assert all(versions(released)[function] != version for function, version in before.items())
