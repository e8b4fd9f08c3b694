"""Which states a bundle may be applied to: those it was planned with, and those that its own apply has left."""

from datetime import UTC, datetime
from typing import Any

import pytest

from imagepipe.errors import PipelineError
from imagepipe.releases import rollout
from imagepipe.releases.bundle import Manifest, PlannedUnit, StateVersion
from imagepipe.releases.record import DeploymentRecord
from imagepipe.releases.snapshot import Snapshot

NOW = datetime.now(UTC)
ABSENT = -1


def snapshot(**serials: int) -> Snapshot:
    """An environment with states of these serials."""
    target: Any = None
    states = {
        unit: {"lineage": "l", "serial": serial, "outputs": {}} for unit, serial in serials.items() if serial >= 0
    }
    return Snapshot(target, states, None, (), NOW)


def manifest(**serials: int) -> Manifest:
    """A bundle that was planned with states of these serials; every unit is to be applied but storage."""
    units = [
        PlannedUnit(
            name=unit,
            changes=[],
            needed=unit != "storage",
            sha256="",
            state=None if serial == ABSENT else StateVersion(lineage="l", serial=serial),
        )
        for unit, serial in serials.items()
    ]
    return Manifest(
        environment="dev", account_id="1" * 12, commit="c" * 40, trees={}, versions={}, image=None, units=units,
        later={}, planned=NOW,
    )  # fmt: skip


def record(**applied: int) -> DeploymentRecord:
    """The record of an apply of the same bundle that died after these units."""
    return DeploymentRecord(
        commit="c" * 40, dirty=False, image="", modules="", plan="p", status="failed", who="somebody", started=NOW,
        applied=applied,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("present", "again", "half"),
    [
        ({"storage": 1, "api": 4}, None, set()),
        ({"storage": 1, "api": 4}, record(), set()),
        ({"storage": 1, "api": 7}, record(api=7), set()),
        ({"storage": 1, "api": 6}, record(), {"api"}),
    ],
)
def test_states_of_the_plan_or_of_its_own_apply_are_taken(
    present: dict[str, int], again: DeploymentRecord | None, half: set[str]
) -> None:
    assert rollout.check_states(snapshot(**present), manifest(storage=1, api=4), again) == half


@pytest.mark.parametrize(
    ("present", "again", "message"),
    [
        (
            {"storage": 1, "api": 5},
            None,
            r"dev/api has changed since it was planned .*serial 4, now serial 5\): plan again",
        ),
        ({"storage": 2, "api": 4}, record(), "dev/storage has changed since it was planned"),
        ({"storage": 1, "api": 8}, record(api=7), "dev/api has changed since it was planned"),
        ({"storage": 1, "api": ABSENT}, None, r"dev/api has changed .*serial 4, now none"),
    ],
)
def test_a_state_that_something_else_has_changed_is_refused(
    present: dict[str, int], again: DeploymentRecord | None, message: str
) -> None:
    with pytest.raises(PipelineError, match=message):
        rollout.check_states(snapshot(**present), manifest(storage=1, api=4), again)


def test_a_unit_that_was_never_applied_must_still_not_be() -> None:
    assert rollout.check_states(snapshot(storage=1), manifest(storage=1, api=ABSENT), None) == set()
    with pytest.raises(PipelineError, match=r"its state had no state, now serial 1"):
        rollout.check_states(snapshot(storage=1, api=1), manifest(storage=1, api=ABSENT), None)
