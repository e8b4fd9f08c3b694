"""What can be said of the files under live/ by reading them."""

import json
import re
from pathlib import Path

import pytest

from imagepipe.live import environments

from .conftest import ENVIRONMENTS

UNITS = {"ci-access", "storage", "compute", "api", "monitoring"}


def test_environments_are_isomorphic(root: Path) -> None:
    trees = {
        environment: {
            file.relative_to(root / "live" / environment): file.read_text() if file.name == "terragrunt.hcl" else None
            for file in (root / "live" / environment).rglob("*")
            if file.is_file() and ".terragrunt-cache" not in file.parts
        }
        for environment in ENVIRONMENTS
    }
    assert [name for name in ENVIRONMENTS if trees[name] != trees["dev"]] == []
    assert {path.parent.name for path in trees["dev"] if path.name == "terragrunt.hcl"} == UNITS


def test_environments_set_the_same_things(root: Path) -> None:
    """Whatever one env.hcl sets, the others set too: an omission is never how environments differ."""

    def shape(value: object) -> object:
        return {key: shape(item) for key, item in value.items()} if isinstance(value, dict) else None

    shapes = {name: shape(environment_data(root, name)) for name in ENVIRONMENTS}
    assert [name for name in ENVIRONMENTS if shapes[name] != shapes["dev"]] == []


def environment_data(root: Path, name: str) -> dict[str, object]:
    import hcl2

    options = hcl2.SerializationOptions(strip_string_quotes=True, explicit_blocks=False, with_comments=False)
    with (root / "live" / name / "env.hcl").open() as file:
        return dict(hcl2.load(file, serialization_options=options)["locals"][0])


@pytest.mark.parametrize("environment", [*ENVIRONMENTS, "shared"])
def test_unit_files_are_a_few_lines(root: Path, environment: str) -> None:
    for file in (root / "live" / environment).glob("*/terragrunt.hcl"):
        assert len(file.read_text().splitlines()) <= 10, file


def test_hcl_knows_of_no_stand_in_for_aws(root: Path) -> None:
    files = [
        root / "terragrunt.hcl",
        *(file for top in ("live", "modules") for file in (root / top).rglob("*") if file.is_file()),
    ]
    checked = [file for file in files if not {".terragrunt-cache", ".terraform"} & set(file.parts)]
    words = re.compile(r"ministack|localhost|127\.0\.0\.1|endpoint_url|emulat", re.IGNORECASE)
    assert [str(file) for file in checked if words.search(file.read_text())] == []
    assert len(checked) > 40


def test_every_mock_carries_the_word_that_apply_refuses(root: Path) -> None:
    """scripts/refuse_mock_outputs.sh looks for one word; each dependency's mocks must hold it."""
    blocks = [
        block
        for file in (root / "live/_units").glob("*.hcl")
        for block in re.findall(r"mock_outputs = \{.*?\n  \}", file.read_text(), re.DOTALL)
    ]
    assert len(blocks) == 7
    assert all("mock-output" in block for block in blocks)


def test_prod_is_protected_and_the_others_are_not(root: Path) -> None:
    storage = {name: environment_data(root, name)["storage"] for name in ENVIRONMENTS}
    assert storage["prod"]["deletion_protection"] is True
    assert storage["prod"]["force_destroy"] is False
    assert storage["dev"]["deletion_protection"] is False
    assert storage["dev"]["force_destroy"] is True


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_messages_of_a_throttled_processor_outlive_the_alarm(root: Path, environment: str) -> None:
    """A refused call uses up a delivery and a visibility timeout: somebody must hear of it before the last one."""
    queue = environment_data(root, environment)["storage"]["queue"]
    alarms = (root / "modules/monitoring/alarms.tf").read_text()
    alarm = re.search(r"processor-throttles = \{.*?period += (\d+)\s+periods += (\d+)", alarms, re.DOTALL)
    assert alarm
    assert queue["max_receive_count"] * queue["visibility_timeout_seconds"] >= 2 * int(alarm[1]) * int(alarm[2])


def test_prod_keeps_executions_for_every_request_that_the_gateway_lets_through(root: Path) -> None:
    prod = environment_data(root, "prod")
    assert prod["compute"]["api"]["reserved_concurrency"] == prod["api"]["throttling"]["burst_limit"]
    assert environment_data(root, "dev")["compute"]["api"]["reserved_concurrency"] in (None, "null")


def test_dev_costs_next_to_nothing_at_rest(root: Path) -> None:
    assert environment_data(root, "dev")["ci_access"]["customer_managed_key"] is False


def test_data_files_load(root: Path) -> None:
    loaded = environments.load_all()
    assert [environment.name for environment in loaded] == ["shared", *ENVIRONMENTS]
    assert [name for name in ("dev", "staging", "prod") if name in ENVIRONMENTS] == ["dev", "staging", "prod"]
    assert [environment.name for environment in loaded if not environment.ask_first] == ["shared", "dev"]
    assert len({environment.account_id for environment in loaded}) == len(loaded)
    assert len({environment.region for environment in loaded}) == 1, "Lambda pulls images from its own region only"
    for name in ENVIRONMENTS:
        assert set(json.loads((root / "live" / name / "release.json").read_text())) >= {"image", "modules"}
