"""Which units a change reaches, as set arithmetic; tests/live compares it with what Terragrunt renders."""

import pytest

from imagepipe.releases.affected import Unit, affected, in_order, units

STORAGE = Unit("dev/storage", frozenset(), frozenset({"live/dev/env.hcl", "modules/storage/"}))
COMPUTE = Unit("dev/compute", frozenset({"dev/storage"}), frozenset({"live/dev/env.hcl", "modules/compute/"}))
API = Unit("dev/api", frozenset({"dev/compute"}), frozenset({"live/dev/env.hcl", "modules/api/"}))
PROD = Unit("prod/storage", frozenset(), frozenset({"live/prod/env.hcl"}))
ALL = (API, COMPUTE, PROD, STORAGE)


def reached(*files: str) -> list[str]:
    return [item.unit for item in affected(ALL, files)]


def test_what_reads_a_file_is_affected_and_what_depends_on_it_after_it() -> None:
    assert reached("modules/storage/main.tf") == ["dev/storage", "dev/compute", "dev/api"]
    assert reached("modules/api/main.tf") == ["dev/api"]
    assert reached("live/prod/env.hcl") == ["prod/storage"]


def test_each_says_through_what() -> None:
    by_name = {item.unit: item.because for item in affected(ALL, ["modules/compute/policies/a.json"])}
    assert by_name == {"dev/compute": "modules/compute/policies/a.json", "dev/api": "depends on dev/compute"}


@pytest.mark.parametrize(
    "file",
    [
        "README.md",
        "modules/storage/README.md",
        "modules/storage/examples/basic/main.tf",
        "tests/conftest.py",
        "Makefile",
    ],
)
def test_what_no_unit_reads_reaches_none(file: str) -> None:
    assert reached(file) == []


def test_folders_are_not_taken_for_the_beginning_of_a_name() -> None:
    assert reached("modules/storage-old/main.tf") == []


def test_order_is_that_of_dependencies() -> None:
    assert [unit.name for unit in in_order(ALL)].index("dev/storage") < [u.name for u in in_order(ALL)].index("dev/api")


def test_units_of_the_repository_read_what_they_are_made_of() -> None:
    by_name = {unit.name: unit for unit in units()}
    compute = by_name["dev/compute"]
    assert sorted(compute.needs) == ["ci-access", "storage"]
    assert {"terragrunt.hcl", "tools.json", "live/_units/compute.hcl", "live/dev/release.json"} <= compute.reads
    assert "provider.lock.hcl" in compute.reads
    assert {"modules/compute/", "lambda-image/"} <= compute.reads
    assert "lambda-image/" not in by_name["dev/storage"].reads
    assert "live/dev/env.hcl" not in by_name["prod/compute"].reads
