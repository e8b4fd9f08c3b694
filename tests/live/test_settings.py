"""A misspelt name in an env.hcl is refused before any plan, at every depth, whatever the other environments say."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import ENVIRONMENTS, terragrunt

RECIPE = """recipe = {
        variants = [
          { width = 640, formats = [{ format = "jpeg" }] },
          { width = 320, formats = [{ format = "avif", quality = 60 }, { format = "jpeg", qualty = 70 }] },
        ]
      }
      batch_size """

#: What stands in env.hcl, what is put in its place, and what is said.
TYPOS = {
    "section": ("rollout = {", "rollot = {", "rollot is no setting: did you mean rollout?"),
    "setting": ("account_id ", "acount_id = 1\n  account_id ", "acount_id is no setting: did you mean account_id?"),
    "in a section": (
        "log_level ",
        "loglevel = 1\n log_level ",
        "compute.loglevel is no setting: did you mean log_level?",
    ),
    "two deep": ("batch_size ", "batch_sise ", "compute.processor.batch_sise is no setting: did you mean batch_size?"),
    "three deep": (
        "test_data_days ",
        "testdays ",
        "storage.expiry.testdays is no setting: did you mean test_data_days?",
    ),
    "threshold": ("api_latency_ms ", "api_lateny_ms ", "monitoring.thresholds.api_lateny_ms is no setting"),
    "of the command": ("soak_hours ", "soak_hour ", "promotion.soak_hour is no setting: did you mean soak_hours?"),
    "of the module alone": ("log_level ", 'image_uri = ""\n log_level ', "compute.image_uri is no setting"),
    "in a list in a list": (
        "batch_size ",
        RECIPE,
        "compute.processor.recipe.variants[1].formats[1].qualty is no setting: did you mean quality?",
    ),
}


def misspell(live: Path, environment: str, typo: str) -> None:
    file = live / environment / "env.hcl"
    before, after, _ = TYPOS[typo]
    assert before in file.read_text()
    file.write_text(file.read_text().replace(before, after, 1))


def said(finished: subprocess.CompletedProcess[str]) -> str:
    """What a command printed, on one line: Terragrunt breaks long lines."""
    return " ".join(f"{finished.stdout} {finished.stderr}".split())


@pytest.mark.parametrize("typo", TYPOS)
def test_misspelt_name_is_refused_by_name(copy: Path, typo: str) -> None:
    misspell(copy / "live", "dev", typo)
    finished = terragrunt("render", cwd=copy / "live/dev/storage", check=False)
    assert finished.returncode != 0
    assert f"live/dev/env.hcl: {TYPOS[typo][2]}" in said(finished)


def test_name_that_is_misspelt_in_every_environment_is_refused_too(copy: Path) -> None:
    for environment in ENVIRONMENTS:
        misspell(copy / "live", environment, "three deep")
    for environment in ENVIRONMENTS:
        finished = terragrunt("render", cwd=copy / f"live/{environment}/storage", check=False)
        assert finished.returncode != 0
        assert f"live/{environment}/env.hcl: {TYPOS['three deep'][2]}" in said(finished)


@pytest.mark.parametrize("program", ["terragrunt", "terragrunt-0.89"])
@pytest.mark.parametrize("command", ["plan", "run --all plan"])
def test_plan_refuses_before_it_starts(copy: Path, program: str, command: str) -> None:
    misspell(copy / "live", "dev", "two deep")
    unit = copy / "live/dev" / ("" if "--all" in command else "storage")
    arguments = [program, *command.split(), "--non-interactive"]
    finished = subprocess.run(arguments, cwd=unit, capture_output=True, text=True)
    assert finished.returncode != 0
    assert f"live/dev/env.hcl: {TYPOS['two deep'][2]}" in said(finished)
    assert "Terraform will perform" not in said(finished)


def test_all_wrong_names_are_said_at_once(root: Path) -> None:
    settings = {"environment": "dev", "storag": {}, "compute": {"processor": {"limits": {"max_sides": 1}}}}
    command = [sys.executable, "-I", root / "scripts/check_settings.py", root / "live/settings.schema.json", "env.hcl"]
    finished = subprocess.run([*command, json.dumps(settings)], capture_output=True, text=True, check=True)
    assert finished.stdout.splitlines() == [
        "env.hcl: storag is no setting: did you mean storage?",
        "env.hcl: compute.processor.limits.max_sides is no setting: did you mean max_side?",
    ]


@pytest.mark.parametrize(
    ("other", "alike"),
    [
        ("dev-eu", True),
        ("d", False),
        ("dev2", False),
    ],
)
def test_plan_refuses_an_environment_that_roles_of_another_would_reach(copy: Path, other: str, alike: bool) -> None:
    shutil.copytree(copy / "live/dev", copy / "live" / other)
    file = copy / "live" / other / "env.hcl"
    file.write_text(file.read_text().replace('"dev"', f'"{other}"'))
    for environment in ("dev", other):
        finished = terragrunt("render", cwd=copy / f"live/{environment}/storage", check=False)
        assert (finished.returncode != 0) is alike, said(finished)
        assert ("begin alike, so that the roles of the shorter reach the longer" in said(finished)) is alike


def test_names_of_the_state_are_no_names_of_environments(root: Path) -> None:
    command = [sys.executable, "-I", root / "scripts/check_settings.py", root / "live/settings.schema.json", "env.hcl"]
    for name in ("tfstate", "tflock-eu"):
        settings = json.dumps({"environment": name})
        finished = subprocess.run([*command, settings], capture_output=True, text=True, check=True)
        assert finished.stdout == (
            f"env.hcl: {name} begins like tflock or tfstate, the names of the state: call the environment otherwise\n"
        )
