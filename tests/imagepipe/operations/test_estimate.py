"""Time and costs of a backfill."""

import pytest

from imagepipe.operations.estimate import Estimate, Sums, estimate
from imagepipe.operations.resources import Workers

from .conftest import record

WORKERS = Workers(concurrency=2, memory_mb=1024, architecture="arm64", recipe="r1", verdict="v1")


def sums(count: int, milliseconds: int) -> Sums:
    result = Sums()
    for _ in range(count):
        result.add(record(timings={"processing_ms": milliseconds}, variants={"w": {"bytes": 10**6}}))
    return result


def test_functions_that_are_slower_than_the_sending_set_the_time() -> None:
    assert estimate(sums(100, 2000), WORKERS, rate=50, kept_days=0).seconds == 100 * 2 / 2


def test_sending_that_is_slower_than_the_functions_sets_the_time() -> None:
    assert estimate(sums(100, 10), WORKERS, rate=2, kept_days=0).seconds == 100 / 2


def test_dollars_are_computing_requests_and_old_versions() -> None:
    images = 1_000_000
    lambda_ = images * (2 * 0.0000133334 + 0.20e-6)
    requests = images * (0.0004e-3 + 0.005e-3 + 3 * 0.40e-6 + 12 * 0.7068e-6)
    one = Sums(count=images, timed=images, milliseconds=images * 2000, variants=images, variant_bytes=images * 10**6)
    assert estimate(one, WORKERS, 50, kept_days=0).dollars == pytest.approx(lambda_ + requests)
    assert estimate(one, WORKERS, 50, kept_days=30).dollars == pytest.approx(lambda_ + requests + 1000 * 0.023)


def test_estimate_says_what_it_takes() -> None:
    assert str(Estimate(1200, 3725.0, 12.345)) == (
        "1200 images to reprocess: about 1:02:05 (h:mm:ss) and 12.35 US dollars"
    )
    assert str(Estimate(1, 0.2, 0.00001)).endswith("about 0:00:01 (h:mm:ss) and less than a cent")
    assert str(Estimate(0, 0, 0)) == "no image is left to reprocess"
