"""What a seed decides does not depend on what else goes on meanwhile."""

import json
import random
from collections import Counter, defaultdict
from types import SimpleNamespace
from typing import Any

import h11
import pytest

from chaos.proxy import Call, Schedule, _call
from chaos.relay import Relay
from chaos.traffic import Traffic


class Bucket:
    """Remembers what is asked of it, by whether versions are found or not."""

    def __init__(self, versions: int) -> None:
        self.puts: list[tuple[str, bytes]] = []
        self._versions = versions

    def put_object(self, **request: Any) -> None:
        self.puts.append((request["Key"], request["Body"]))

    def delete_object(self, **_: Any) -> None: ...

    def list_object_versions(self, *, Prefix: str, **_: Any) -> dict[str, Any]:
        entry = {"Key": Prefix, "VersionId": "v", "IsLatest": True}
        return {"Versions": [entry] * self._versions, "DeleteMarkers": [entry] * self._versions}


def deployment(**clients: Any) -> Any:
    return SimpleNamespace(cloud=SimpleNamespace(client=clients.get), uploads="uploads")


def uploads(seed: int, versions: int) -> Counter[tuple[str, bytes]]:
    bucket = Bucket(versions)
    Traffic(deployment(s3=bucket), seed, 200).run()
    return Counter(bucket.puts)


def test_a_seed_uploads_the_same_under_the_same_keys_whatever_it_finds() -> None:
    assert uploads(1, versions=0) == uploads(1, versions=7)
    assert uploads(1, versions=0) != uploads(2, versions=0)


def test_a_fault_depends_on_image_kind_and_count_only() -> None:
    calls = [
        Call("s3", operation, f"{image:032x}", b"")
        for image in range(20)
        for operation in ("GetObject", "PutObject")
        for _ in range(20)
    ]

    def faults(order: list[Call]) -> dict[tuple[str, str], list[str | None]]:
        schedule, outcome = Schedule(5, rate=0.1, kill_rate=0.05), defaultdict(list)
        for call in order:
            outcome[call.name, call.subject].append(schedule.fault(call))
        return dict(outcome)

    first = faults(calls)
    assert first == faults(random.Random(0).sample(calls, len(calls)))
    assert any(fault for drawn in first.values() for fault in drawn)


def test_an_event_of_a_key_fares_the_same_in_any_company() -> None:
    bodies = [
        json.dumps({"Records": [{"number": number, "s3": {"object": {"key": f"{number % 5}.png"}}}]})
        for number in range(100)
    ]

    def fates(order: list[str]) -> dict[str, Any]:
        relay = Relay(deployment(), 3)
        return {body: relay._mischief(body, relay._dice_of(body)) for body in order}

    by_key = sorted(bodies, key=lambda body: json.loads(body)["Records"][0]["s3"]["object"]["key"])
    assert fates(bodies) == fates(by_key)
    assert len({len(fate) for fate in fates(bodies).values()}) == 3  # passed on, doubled and held back


@pytest.mark.parametrize(
    ("service", "target", "body"),
    [
        ("dynamodb", "DynamoDB_20120810.UpdateItem", {"Key": {"image_id": {"S": "ab" * 16}}}),
        ("events", "AWSEvents.PutEvents", {"Entries": [{"Detail": json.dumps({"image_id": "ab" * 16})}]}),
    ],
)
def test_a_request_is_counted_for_its_image(service: str, target: str, body: dict[str, Any]) -> None:
    headers = [
        ("host", "localhost"),
        ("authorization", f"AWS4-HMAC-SHA256 Credential=x/20260101/eu-west-1/{service}/aws4_request, Signature=y"),
        ("x-amz-target", target),
    ]
    request = h11.Request(method="POST", target="/", headers=headers)
    assert _call(request, json.dumps(body).encode()).subject == "ab" * 16
