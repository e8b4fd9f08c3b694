"""Tests of a deployed environment that AWS alone answers: refused strangers, confinement, alarms and dead letters."""

import json
import re
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

from image_processor.decoder.process import Level
from imagepipe.images.api_client import Record
from imagepipe.images.pipeline import Pipeline
from imagepipe.operations.dead_letters import Drawer
from imagepipe.operations.doctor import Answer, Patient, Verdict, answers_of
from imagepipe.operations.resources import Resources
from imagepipe.terragrunt.target import Target

#: Message of the line that a processor writes with its first image, and its field (image_processor.handlers.queue).
CONFINEMENT, LEVEL = "confinement of the decoder", "level_of_confinement"

#: Time to look back for that line. A function's process lives for some hours at most.
LOOKED_BACK = timedelta(days=1)

#: Seconds to wait for a message to use up its deliveries.
PATIENCE = 300

#: Seconds to wait for an alarm's action to stand in its history.
HISTORY_SECONDS = 60

#: The alarm that is set off.
ALARM = "dead-letters"


def strangers(pipeline: Pipeline, record: Record) -> Iterator[Answer]:
    """Try as somebody without credentials what must be refused, on an image that is READY.

    The image must still be there afterwards.
    """
    image_id, name = record["image_id"], min(record["variants"])
    address, size = pipeline.api.address(image_id, name), record["variants"][name]["bytes"]
    status, content = pipeline.api.fetch(address)
    if status == HTTPStatus.OK and len(content) == size:
        yield Answer("signed address", Verdict.OK, f"S3 sent variant {name}, {size} bytes")
    else:
        facts = f"S3 answered {status} with {len(content)} bytes, and variant {name} has {size}"
        yield Answer("signed address", Verdict.FIX, facts, "look at the role of the api function, and at the clock")
    forged = re.sub(r"(?<=X-Amz-Signature=)[0-9a-f]", lambda digit: "1" if digit[0] == "0" else "0", address)
    yield _refused("forged address", pipeline.api.fetch(forged)[0], "look at the policy of the processed bucket")
    remedy = "the routes must have authorization AWS_IAM: apply modules/api"
    yield _refused("unsigned GET", pipeline.api.status_unsigned("GET", "/images"), remedy)
    status = pipeline.api.status_unsigned("DELETE", f"/images/{image_id}")
    yield _refused("unsigned DELETE", status, remedy)
    if pipeline.api.image(image_id) is None:
        yield Answer(
            "unsigned DELETE", Verdict.FIX, "the image is gone", "take the API off the net, then look at its log"
        )


def _refused(check: str, status: int, remedy: str) -> Answer:
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return Answer(check, Verdict.OK, f"refused with {status}")
    return Answer(check, Verdict.FIX, f"answered with {status}, and must be refused", remedy)


def inside(target: Target) -> list[Answer]:
    """Test the environment's inside. The alarm calls people, and the dead letter may raise it once more."""
    checks = (_confinement, _alarm, _dead_letter)
    return [answer for check in checks for answer in answers_of(check, Patient(target))]


def _confinement(patient: Patient) -> Iterator[Answer]:
    """Read the newest line that says how the decoder is confined."""
    group = f"/aws/lambda/{patient.environment.prefix}-processor"
    since = int((datetime.now(UTC) - LOOKED_BACK).timestamp() * 1000)
    pages = patient.target.client("logs").get_paginator("filter_log_events")
    events = [
        event
        for page in pages.paginate(logGroupName=group, startTime=since, filterPattern=f'"{CONFINEMENT}"')
        for event in page["events"]
    ]
    lines = [
        line for event in sorted(events, key=lambda event: event["timestamp"]) if (line := _line(event["message"]))
    ]
    if not lines:
        facts = f"no line '{CONFINEMENT}' in {group} since yesterday"
        yield Answer("confinement", Verdict.UNKNOWN, facts, "send an image to a fresh function, and ask again")
        return
    level = str(lines[-1].get(LEVEL))
    facts = f"{level}: {lines[-1].get('held', '')}"
    if level in {Level.SYSTEM_CALLS, Level.DESCRIPTORS}:
        yield Answer("confinement", Verdict.OK, facts)
    else:
        remedy = "docs/container-image.md says what is open then; limits.require_confinement = true refuses all images"
        yield Answer("confinement", Verdict.FIX, facts, remedy)


def _line(message: str) -> dict[str, Any] | None:
    try:
        line = json.loads(message)
    except ValueError:
        return None
    return line if isinstance(line, dict) and line.get("message") == CONFINEMENT else None


def _alarm(patient: Patient) -> Iterator[Answer]:
    """Set an alarm off, look whether its action was executed, and put it back."""
    client, name = patient.target.client("cloudwatch"), f"{patient.environment.prefix}-{ALARM}"
    (alarm,) = client.describe_alarms(AlarmNames=[name])["MetricAlarms"] or [None]
    if alarm is None:
        yield Answer("alarm", Verdict.FIX, f"there is no alarm {name}", patient.target.command("apply"))
        return
    if alarm["StateValue"] == "ALARM":
        yield Answer("alarm", Verdict.FIX, f"{name} is raised already", f"docs/operations.md#{ALARM}")
        return
    started = datetime.now(UTC) - timedelta(seconds=5)  # the clocks are two
    client.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="imagepipe smoke --all tests who is called")
    try:
        actions = _actions(client, name, started)
    finally:
        client.set_alarm_state(AlarmName=name, StateValue=alarm["StateValue"], StateReason="end of the test")
    receivers = ", ".join(patient.environment.alarm_emails) or "nobody"
    if any("Successfully" in action for action in actions):
        yield Answer("alarm", Verdict.OK, f"{name} was raised and told its topic; receivers: {receivers}")
    else:
        facts = f"{name} was raised and called nobody: {'; '.join(actions) or 'no action'}"
        yield Answer("alarm", Verdict.FIX, facts, patient.target.command("doctor"))


def _actions(client: Any, name: str, started: datetime) -> list[str]:
    """Return what an alarm did, once it did something; CloudWatch writes it down within seconds."""
    deadline = time.monotonic() + HISTORY_SECONDS
    while True:
        history = client.describe_alarm_history(AlarmName=name, HistoryItemType="Action", StartDate=started)
        actions = [str(item["HistorySummary"]) for item in history["AlarmHistoryItems"]]
        if actions or time.monotonic() > deadline:
            return actions
        time.sleep(2)


def _dead_letter(patient: Patient) -> Iterator[Answer]:
    """Send a message that is no event, wait until it is a dead letter, and delete it."""
    resources = Resources.of(patient.target)
    body = f"imagepipe smoke --all {uuid.uuid4()}: this is no event"
    began = time.monotonic()
    resources.sqs.send_message(QueueUrl=resources.uploads.url, MessageBody=body)
    while time.monotonic() - began < PATIENCE:
        if _taken(resources, body):
            seconds = time.monotonic() - began
            facts = f"a message that is no event was in the dead-letter queue after {seconds:.0f} s, and is deleted"
            yield Answer("dead letter", Verdict.OK, facts)
            return
        time.sleep(1)
    remedy = f"{resources.command('failures')}; then look at the event source mapping of the uploads queue"
    yield Answer(
        "dead letter", Verdict.FIX, f"a message that is no event was no dead letter after {PATIENCE} s", remedy
    )


def _taken(resources: Resources, body: str) -> bool:
    """Delete the dead letter with that body; the others are put back."""
    with Drawer(resources) as drawer:
        for letters in drawer:
            if own := [letter for letter in letters if letter.body == body]:
                drawer.remove(own)
                return True
    return False
