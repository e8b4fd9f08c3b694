"""An image that kills the process at every try, among others that do not."""

import time
from collections.abc import Callable
from typing import Any

from chaos.bench import Bench, picture
from chaos.cloud import Deployment
from chaos.oracle import image_id, plain
from chaos.proxy import Call, Schedule
from chaos.relay import drain

KEYS = [f"deadly/{number}.png" for number in range(5)]
DEADLY = KEYS[2]

#: Seconds that all tries of an image take at most, each hidden for a while.
PATIENCE = 400


class Deadly(Schedule):
    """Kills whoever is about to write a variant of one image."""

    def __init__(self, image: str) -> None:
        super().__init__(seed=0)
        self._image = image

    def fault(self, call: Call) -> str | None:
        return "killed before" if (call.operation, call.subject) == ("PutObject", self._image) else None


def test_it_has_failed_after_three_times_and_its_neighbours_are_done(deployment: Deployment) -> None:
    deployment.wipe()
    bench, proxy = Bench(deployment), deployment.cloud.proxy
    for number, key in enumerate(KEYS):
        bench.upload(key, picture(30_000 + number))
    bodies = bench.take_events(len(KEYS))
    proxy.faults.clear()
    proxy.schedule = Deadly(image_id(deployment.uploads, DEADLY))
    try:
        bench.send(bodies)
        letters = _eventually(lambda: drain(deployment.cloud.client("sqs"), deployment.dead_letters))
    finally:
        proxy.schedule = None
    assert 3 <= proxy.faults["s3 killed before"] <= 3 * 4  # each process had up to four writes under way
    assert letters == [body for body in bodies if DEADLY in body]
    seen = {key: _record(deployment, key) for key in KEYS}
    assert seen.pop(DEADLY)["reason"]["code"] == "PROCESS_KILLED"
    assert {record["status"] for record in seen.values()} == {"READY"}

    bench.send(letters)
    assert _eventually(lambda: _record(deployment, DEADLY)["status"] == "READY")


def _record(deployment: Deployment, key: str) -> dict[str, Any]:
    image = {"image_id": {"S": image_id(deployment.uploads, key)}}
    seen = deployment.cloud.client("dynamodb").get_item(TableName=deployment.table, Key=image, ConsistentRead=True)
    return plain(seen.get("Item", {}))


def _eventually(look: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not (seen := look()) and time.monotonic() < deadline:
        time.sleep(0.5)
    return seen
