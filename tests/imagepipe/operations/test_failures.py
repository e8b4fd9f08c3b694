"""Failures in groups."""

from datetime import datetime

from imagepipe.operations.failures import Failure, group

from .conftest import ID, NOW, OLD, YOUNG


def failure(status: str, code: str, since: datetime) -> Failure:
    return Failure(status, code, "why", since, ID, "key", 3, status == "FAILED")


def test_groups_say_how_many_since_when_and_name_a_few() -> None:
    failures = [failure("FAILED", "A", OLD), failure("FAILED", "A", NOW), failure("FAILED", "A", YOUNG)]
    (only,) = group(iter(failures), most_examples=2)
    assert (only.count, only.dead_letters, only.first, only.last, len(only.examples)) == (3, 3, OLD, NOW, 2)


def test_failures_come_before_rejections_and_many_before_few() -> None:
    failures = [failure("REJECTED", "R", OLD)] * 9 + [failure("FAILED", "A", OLD)] + [failure("FAILED", "B", OLD)] * 2
    assert [one.code for one in group(iter(failures), 1)] == ["B", "A", "R"]
