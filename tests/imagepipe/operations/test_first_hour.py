"""What the smoke test asks beyond an image: each answer, and what is put back afterwards."""

import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from image_processor.decoder.process import Level
from image_processor.handlers import queue
from imagepipe.live import environments
from imagepipe.operations import first_hour
from imagepipe.operations.doctor import Answer, Patient, Verdict
from imagepipe.terragrunt.target import Cloud, Target

RECORD = {"image_id": "a" * 32, "variants": {"w640-jpeg": {"bytes": 4}}}
ADDRESS = "https://processed.s3.eu-west-1.amazonaws.com/x?X-Amz-Expires=900&X-Amz-Signature=0a1b&X-Amz-Security-Token=t"


class Api:
    """An API and a bucket that answer as they are told."""

    def __init__(self, signed: int = 200, forged: int = 403, unsigned: int = 403, *, there: bool = True) -> None:
        self._signed, self._forged, self._unsigned, self._there = signed, forged, unsigned, there

    def address(self, *_: str) -> str:
        return ADDRESS

    def fetch(self, address: str) -> tuple[int, bytes]:
        if address == ADDRESS:
            return self._signed, b"JPEG"
        assert address == ADDRESS.replace("=0a1b", "=1a1b"), "more than the signature is forged"
        return self._forged, b""

    def status_unsigned(self, method: str, path: str) -> int:
        assert (method, path) in {("DELETE", f"/images/{'a' * 32}"), ("GET", "/images")}
        return self._unsigned

    def image(self, _: str) -> dict[str, Any] | None:
        return RECORD if self._there else None


def answers_to(api: Api) -> dict[str, Answer]:
    return {answer.check: answer for answer in first_hour.strangers(Mock(api=api), RECORD)}


def test_strangers_that_are_refused_are_in_order() -> None:
    assert {answer.verdict for answer in answers_to(Api()).values()} == {Verdict.OK}


@pytest.mark.parametrize(
    ("api", "check", "facts"),
    [
        (Api(signed=403), "signed address", "S3 answered 403"),
        (Api(forged=200), "forged address", "answered with 200, and must be refused"),
        (Api(unsigned=202), "unsigned DELETE", "answered with 202, and must be refused"),
        (Api(unsigned=500), "unsigned DELETE", "answered with 500, and must be refused"),
        (Api(unsigned=200), "unsigned GET", "answered with 200, and must be refused"),
        (Api(there=False), "unsigned DELETE", "the image is gone"),
    ],
)
def test_a_stranger_who_is_let_in_must_be_fixed(api: Api, check: str, facts: str) -> None:
    answer = answers_to(api)[check]
    assert answer.verdict is Verdict.FIX
    assert facts in answer.facts
    assert answer.remedy


def patient(client: Any, cloud: Cloud = Cloud.AWS) -> Patient:
    target = Mock(spec=Target, client=lambda _: client, cloud=cloud, environment=environments.load("prod"))
    return Patient(target)


def log(*lines: dict[str, Any] | str) -> Any:
    """Return a client of logs with those lines, newest last, on two pages."""
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    events = [{"timestamp": number, "message": text} for number, text in enumerate(texts)]
    client = Mock()
    client.get_paginator.return_value.paginate.return_value = [{"events": events[::2]}, {"events": events[1::2]}]
    return client


def confinement(level: str, held: str = "files, network") -> dict[str, str]:
    return {"message": "confinement of the decoder", "level_of_confinement": level, "held": held}


@pytest.mark.parametrize(
    ("lines", "verdict"),
    [
        ([confinement("system calls")], Verdict.OK),
        ([confinement("limits"), confinement("descriptors")], Verdict.OK),
        ([confinement("system calls"), confinement("limits")], Verdict.FIX),
        (["START RequestId: confinement of the decoder", {"message": "other"}], Verdict.UNKNOWN),
        ([], Verdict.UNKNOWN),
    ],
)
def test_the_newest_line_says_how_the_decoder_is_confined(lines: list[Any], verdict: Verdict) -> None:
    """Nobody read what held on Lambda: the filter was refused there, and images went on."""
    (answer,) = first_hour._confinement(patient(log(*lines)))
    assert answer.verdict is verdict
    assert bool(answer.remedy) == (verdict is not Verdict.OK)


@pytest.mark.parametrize("level", Level)
def test_the_line_that_the_processor_writes_is_understood(level: Level, capsys: pytest.CaptureFixture[str]) -> None:
    queue._log_confinement.cache_clear()
    queue._log_confinement(level, "files")
    (answer,) = first_hour._confinement(patient(log(capsys.readouterr().out)))
    assert answer.verdict is (Verdict.FIX if level is Level.LIMITS else Verdict.OK)
    assert answer.facts == f"{level}: files"


class Alarms:
    """One alarm, its states and what it did."""

    def __init__(self, state: str = "OK", actions: tuple[str, ...] = ()) -> None:
        self.states, self._actions = [state], actions

    def describe_alarms(self, AlarmNames: list[str]) -> dict[str, Any]:
        assert AlarmNames == ["image-pipeline-prod-dead-letters"]
        return {"MetricAlarms": [{"StateValue": self.states[0]}] if self.states[0] else []}

    def set_alarm_state(self, **state: str) -> None:
        self.states.append(state["StateValue"])

    def describe_alarm_history(self, StartDate: datetime, **_: str) -> dict[str, Any]:
        assert StartDate < datetime.now(UTC)
        return {"AlarmHistoryItems": [{"HistorySummary": action} for action in self._actions]}


DONE = "Successfully executed action arn:aws:sns:eu-west-1:333333333333:image-pipeline-prod-alarms"


@pytest.mark.parametrize(
    ("alarms", "cloud", "verdict", "states"),
    [
        (Alarms(actions=(DONE,)), Cloud.AWS, Verdict.OK, ["OK", "ALARM", "OK"]),
        (
            Alarms("INSUFFICIENT_DATA", (DONE,)),
            Cloud.AWS,
            Verdict.OK,
            ["INSUFFICIENT_DATA", "ALARM", "INSUFFICIENT_DATA"],
        ),
        (Alarms(actions=("Failed to execute action arn:aws:sns",)), Cloud.AWS, Verdict.FIX, ["OK", "ALARM", "OK"]),
        (Alarms("ALARM"), Cloud.AWS, Verdict.FIX, ["ALARM"]),
        (Alarms(""), Cloud.AWS, Verdict.FIX, [""]),
        (Alarms(), Cloud.LOCAL, Verdict.FIX, ["OK", "ALARM", "OK"]),
    ],
    ids=["told", "told without data", "refused", "raised already", "missing", "no action"],
)
def test_an_alarm_is_set_off_and_put_back(
    alarms: Alarms, cloud: Cloud, verdict: Verdict, states: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_hour, "HISTORY_SECONDS", 0)
    (answer,) = first_hour._alarm(patient(alarms, cloud))
    assert (answer.verdict, alarms.states) == (verdict, states)


def test_a_message_that_never_dies_must_be_fixed(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[dict[str, str]] = []
    resources = SimpleNamespace(
        sqs=SimpleNamespace(send_message=lambda **message: sent.append(message)),
        uploads=SimpleNamespace(url="https://sqs/uploads"),
        command=lambda *words: f"make {' '.join(words)}",
    )
    monkeypatch.setattr(first_hour.Resources, "of", lambda _: resources)
    monkeypatch.setattr(first_hour, "PATIENCE", 0)
    (answer,) = first_hour._dead_letter(patient(None))
    assert (answer.verdict, len(sent)) == (Verdict.FIX, 1)
    assert "make failures" in answer.remedy
