"""Which failed images a redrive takes."""

import pytest

from imagepipe.operations.failures import NO_VERDICT
from imagepipe.operations.redrive import Choice

from .conftest import ID, record

FAILED = record(status="FAILED", reason={"code": "TIMEOUT"})


@pytest.mark.parametrize(
    ("choice", "taken"),
    [
        (Choice(), True),
        (Choice(reasons=frozenset({"TIMEOUT"})), True),
        (Choice(reasons=frozenset({"TRUNCATED"})), False),
        (Choice(image_ids=frozenset({ID})), True),
        (Choice(image_ids=frozenset({"0" * 32})), False),
        (Choice(frozenset({"TIMEOUT"}), frozenset({"0" * 32})), False),
    ],
)
def test_choice_takes_images_by_reason_and_id(choice: Choice, taken: bool) -> None:
    assert choice.takes(ID, FAILED) is taken


@pytest.mark.parametrize("without_verdict", [None, record(status="PROCESSING")])
def test_dead_letter_without_a_failed_record_has_a_reason_of_its_own(without_verdict: dict[str, object] | None) -> None:
    assert Choice(reasons=frozenset({NO_VERDICT})).takes(ID, without_verdict)
    assert not Choice(reasons=frozenset({"TIMEOUT"})).takes(ID, without_verdict)


def test_choice_is_repeated_as_variables_of_make() -> None:
    assert Choice(frozenset({"TIMEOUT"}), frozenset({ID})).settings == ["REASON=TIMEOUT", f"IMAGE={ID}"]
