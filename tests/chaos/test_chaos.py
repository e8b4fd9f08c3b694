"""The pipeline holds under faults, and the oracle that says so can see."""

import pytest

from chaos.cloud import Deployment
from chaos.mutants import MUTANTS, Mutant, broken
from chaos.run import run


@pytest.mark.parametrize("seed", range(4))
def test_nothing_is_lost_and_nothing_doubled(deployment: Deployment, seed: int) -> None:
    report = run(deployment, seed, 48, kill_rate=0.004)
    assert report.faults.total() > 0
    assert report.violations == [], report.history


#: Seeds and numbers of events, short runs first: most mutants show within 30 events.
SEARCH = ((0, 30), (0, 45), (0, 100), (1, 100), (2, 100), (3, 100))


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_broken_processor_is_caught(deployment: Deployment, mutant: Mutant) -> None:
    with broken(deployment, mutant):
        for seed, events in SEARCH:
            report = run(deployment, seed, events, kill_rate=0.008, meetings=mutant.meetings)
            violations = {violation.kind for violation in report.violations}
            if violations & mutant.seen_as:
                return
    pytest.fail(f"{mutant.name} was not caught; violations of other kinds: {violations}")
