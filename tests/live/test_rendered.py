"""What Terragrunt makes of the files: state, provider, versions, sources, dependencies."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from imagepipe.live import environments

from .conftest import ENVIRONMENTS, render, render_all, terragrunt


def test_every_unit_keeps_its_state_in_a_place_of_its_own(units: dict[str, Any]) -> None:
    places = {
        name: (unit["remote_state"]["config"]["bucket"], unit["remote_state"]["config"]["key"])
        for name, unit in units.items()
    }
    assert len(set(places.values())) == len(units) == 2 + 5 * len(ENVIRONMENTS)
    assert places["dev/storage"] == (
        "image-pipeline-tfstate-111111111111-eu-west-1",
        "live/dev/storage/terraform.tfstate",
    )


def test_state_is_encrypted_and_locked(units: dict[str, Any]) -> None:
    for unit in units.values():
        config = unit["remote_state"]["config"]
        assert unit["remote_state"]["backend"] == "s3"
        assert config["encrypt"] is True
        assert config["dynamodb_table"] == "image-pipeline-tflock"


def test_provider_refuses_every_account_but_the_environments_own(units: dict[str, Any]) -> None:
    accounts = {environment.name: environment.account_id for environment in environments.load_all()}
    assert accounts["prod"] == "333333333333"
    for name, unit in units.items():
        provider = unit["generate"]["provider"]["contents"]
        assert f'allowed_account_ids = ["{accounts[name.split("/")[0]]}"]' in provider
        assert f'"Environment":"{name.split("/")[0]}"' in provider
        assert f'"Unit":"live/{name}"' in provider


def test_versions_come_from_the_one_file_that_pins_them(units: dict[str, Any], root: Path) -> None:
    pins = json.loads((root / "tools.json").read_text())
    for unit in units.values():
        assert f'version = "{pins["terraform-provider-aws"]}"' in unit["generate"]["versions"]["contents"]
        assert unit["terraform_version_constraint"] == ">= 1.11.0, < 2.0.0"


def test_every_unit_takes_the_provider_by_its_content(units: dict[str, Any], root: Path) -> None:
    """The one lock file is Terraform's in every unit, and init may not add to it."""
    lock = (root / "provider.lock.hcl").read_text()
    assert f'version     = "{json.loads((root / "tools.json").read_text())["terraform-provider-aws"]}"' in lock
    for unit in units.values():
        assert unit["generate"]["provider_lock"]["path"] == ".terraform.lock.hcl"
        assert unit["generate"]["provider_lock"]["contents"] == lock
        arguments = unit["terraform"]["extra_arguments"]["locked_providers"]
        assert (arguments["commands"], arguments["arguments"]) == (["init"], ["-lockfile=readonly"])


def test_dependencies_form_the_documented_order(root: Path) -> None:
    units = json.loads(terragrunt("find", "--dag", "--dependencies", "--json", cwd=root / "live/dev").stdout)
    edges = {unit["path"]: sorted(unit.get("dependencies", [])) for unit in units}
    assert edges == {
        "ci-access": [],
        "storage": [],
        "compute": ["ci-access", "storage"],
        "api": ["compute"],
        "monitoring": ["api", "compute", "storage"],
    }


def test_no_environment_reads_another_ones_state(root: Path) -> None:
    units = json.loads(terragrunt("find", "--dependencies", "--json", cwd=root / "live").stdout)
    for unit in units:
        environment = unit["path"].split("/")[0]
        assert all(dependency.split("/")[0] == environment for dependency in unit.get("dependencies", []))


def test_worktree_and_ref_give_the_two_kinds_of_source(copy: Path) -> None:
    release = {"build": {"platform": "linux/arm64"}, "image": f"sha256:{'a' * 64}", "modules": "v1.2.3"}
    (copy / "live/staging/release.json").write_text(json.dumps(release))
    units = render_all(copy / "live", "*/compute")
    assert units["dev/compute"]["terraform"]["source"] == f"{copy}/modules//compute"
    assert units["staging/compute"]["terraform"]["source"] == f"git::file://{copy}//modules/compute?ref=v1.2.3"
    assert units["staging/compute"]["inputs"]["image_uri"] == (
        f"444444444444.dkr.ecr.eu-west-1.amazonaws.com/image-pipeline/processor@sha256:{'a' * 64}"
    )
    assert units["staging/compute"]["inputs"]["image_platform"] == "linux/arm64"


def test_worktree_image_is_the_one_that_was_built(copy: Path) -> None:
    (copy / "build").mkdir()
    (copy / "build/image.json").write_text(json.dumps({"digest": f"sha256:{'b' * 64}"}))
    assert render(copy / "live/dev/compute")["inputs"]["image_uri"].endswith(f"@sha256:{'b' * 64}")


def test_environments_in_one_account_clash_nowhere(copy: Path) -> None:
    for environment in ENVIRONMENTS:
        file = copy / "live" / environment / "env.hcl"
        file.write_text(re.sub(r'account_id  = "\d+"', 'account_id  = "999999999999"', file.read_text()))
    units = {name: unit for name, unit in render_all(copy / "live").items() if not name.startswith("shared")}
    keys = [unit["remote_state"]["config"]["key"] for unit in units.values()]
    assert len(set(keys)) == len(keys) == 5 * len(ENVIRONMENTS)
    assert {unit["remote_state"]["config"]["bucket"] for unit in units.values()} == {
        "image-pipeline-tfstate-999999999999-eu-west-1"
    }
    prefixes = {name.split("/")[0]: unit["inputs"]["name_prefix"] for name, unit in units.items()}
    assert len(set(prefixes.values())) == len(ENVIRONMENTS)


def test_registry_can_be_read_by_every_environments_account(units: dict[str, Any]) -> None:
    assert sorted(units["shared/registry"]["inputs"]["reader_account_ids"]) == sorted(
        environments.load(name).account_id for name in ENVIRONMENTS
    )


@pytest.mark.parametrize(
    ("filled_in", "readers"),
    [
        (["shared", "dev"], ["210987654321"]),
        (["shared", *ENVIRONMENTS], ["210987654321"]),
        (["shared"], ["210987654321"]),
        (["dev"], ["210987654321", "222222222222", "333333333333"]),
    ],
    ids=" ".join,
)
def test_placeholder_accounts_read_no_registry_that_is_somebodys(
    copy: Path, filled_in: list[str], readers: list[str]
) -> None:
    """Whoever filled in two accounts let the owners of 222222222222 and 333333333333 pull; in a rehearsal all do."""
    for name in filled_in:
        file = copy / "live" / name / "env.hcl"
        file.write_text(re.sub(r'account_id  = "\d+"', 'account_id  = "210987654321"', file.read_text()))
    assert sorted(render(copy / "live/shared/registry")["inputs"]["reader_account_ids"]) == readers


def test_functions_are_planned_with_the_queue_as_it_will_be(copy: Path) -> None:
    """A queue that breaks the functions was applied first, and the functions were refused after it."""
    file = copy / "live/dev/env.hcl"
    file.write_text(file.read_text().replace("visibility_timeout_seconds = 360", "visibility_timeout_seconds = 43200"))
    queue = render(copy / "live/dev/compute")["inputs"]["storage"]["queue"]
    assert queue["visibility_timeout_seconds"] == 43200
    assert queue["arn"].endswith("mock-output")


def test_alarms_link_to_a_page_of_the_repository_that_deploys(units: dict[str, Any], root: Path) -> None:
    repository = json.loads((root / "live/github.json").read_text())["repository"]
    for environment in ENVIRONMENTS:
        before, _, page = units[f"{environment}/monitoring"]["inputs"]["runbook_url"].partition("/blob/main/")
        assert before == f"https://github.com/{repository}"
        assert (root / page).is_file()


def test_configuration_is_valid_and_formatted(root: Path) -> None:
    terragrunt("hcl", "validate", "--working-dir", "live", cwd=root)
    terragrunt("hcl", "fmt", "--check", "--working-dir", "live", cwd=root)


def test_every_input_is_a_variable_of_its_module(root: Path) -> None:
    """Strict: an input that no variable takes is an error, and so is a required variable without input."""
    terragrunt("hcl", "validate", "--inputs", "--strict", "--working-dir", "live", cwd=root)


@pytest.mark.parametrize("command", [("plan",), ("run", "--all", "--", "plan")])
def test_repository_top_is_no_unit(copy: Path, command: tuple[str, ...]) -> None:
    """The root configuration has the file name of a unit; run there, it must leave itself alone."""
    for file in copy.glob("live/*/*/terragrunt.hcl"):
        file.unlink()  # so that `run --all` finds nothing else
    finished = terragrunt(*command, cwd=copy, check=False)
    assert finished.returncode == 0, finished.stderr
    assert not list(copy.rglob(".terraform")), "Terraform was run"
