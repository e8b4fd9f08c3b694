"""What all modules have in common: files, documentation, versions, examples."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import MODULES
from .harness import Change, called, examples


def test_these_are_all_the_modules(root: Path) -> None:
    assert tuple(sorted(folder.name for folder in (root / "modules").iterdir() if folder.is_dir())) == MODULES


def documented(module: Path) -> dict[str, Any]:
    """Variables and outputs as terraform-docs reads them, run where it finds no settings that make it write files."""
    command = ["terraform-docs", "json", "."]
    return json.loads(subprocess.run(command, cwd=module, capture_output=True, text=True, check=True).stdout)


@pytest.fixture(params=MODULES)
def module(root: Path, request: pytest.FixtureRequest) -> Path:
    return root / "modules" / request.param


def test_module_has_its_files(module: Path) -> None:
    needed = {"README.md", "examples", "main.tf", "outputs.tf", "variables.tf", "versions.tf"}
    assert needed <= {file.name for file in module.iterdir()}
    assert {"main.tf", "versions.tf"} <= {file.name for file in (module / "examples/basic").iterdir()}


def test_files_stay_small(module: Path) -> None:
    """Past about 150 lines a topic gets a file of its own."""
    long = {file.name: len(file.read_text().splitlines()) for file in module.glob("*.tf")}
    assert {name: lines for name, lines in long.items() if lines > 170 and name != "variables.tf"} == {}


def test_every_variable_is_typed_and_described(module: Path) -> None:
    for variable in documented(module)["inputs"]:
        assert variable["type"] not in ("", "any"), variable["name"]
        assert variable["description"], variable["name"]


def test_every_output_is_described(module: Path) -> None:
    for output in documented(module)["outputs"]:
        assert output["description"], output["name"]


def test_no_variable_may_be_null(module: Path) -> None:
    source = (module / "variables.tf").read_text()
    blocks = re.findall(r'^variable "(\w+)" \{\n(.*?)^\}', source, re.MULTILINE | re.DOTALL)
    assert [name for name, body in blocks if not re.search(r"^  nullable\s+= false$", body, re.MULTILINE)] == []


@pytest.mark.parametrize(("file", "block"), [("variables.tf", "variable"), ("outputs.tf", "output")])
def test_variables_and_outputs_are_in_alphabetical_order(module: Path, file: str, block: str) -> None:
    names = re.findall(rf'^{block} "(\w+)"', (module / file).read_text(), re.MULTILINE)
    assert names == sorted(names)


def test_no_resource_is_called_this(module: Path) -> None:
    source = "\n".join(file.read_text() for file in module.glob("*.tf"))
    assert not re.findall(r'^(?:resource|data) "\w+" "this"', source, re.MULTILINE)


def test_tables_in_the_readme_match_the_code(module: Path, root: Path) -> None:
    command = ["terraform-docs", "--config", root / ".terraform-docs.yml", "--output-check", module]
    finished = subprocess.run(command, capture_output=True, text=True)
    assert finished.returncode == 0, f"{finished.stderr}Write them anew with make docs."


def test_readme_says_something_itself_and_shows_how_to_call_the_module(module: Path) -> None:
    readme = (module / "README.md").read_text()
    prose, _, tables = readme.partition("<!-- BEGIN_TF_DOCS -->")
    assert tables.rstrip().endswith("<!-- END_TF_DOCS -->")
    assert f'```hcl\nmodule "{called(module.name)}" {{' in prose


def test_versions_are_the_same_everywhere(root: Path) -> None:
    files = [*root.glob("modules/*/versions.tf"), *root.glob("modules/*/examples/*/versions.tf")]
    assert len(files) == 2 * len(MODULES)
    assert len({file.read_text() for file in files}) == 1


@pytest.mark.parametrize(("name", "example"), [(name, example) for name in MODULES for example in examples(name)])
def test_example_can_be_planned(plans: Callable[[str], dict[str, list[Change]]], name: str, example: str) -> None:
    changes = plans(name)[f"example-{example}"]
    assert {change.address.split(".")[1] for change in changes} == {called(name)}
    assert all(change.address.startswith("module.") for change in changes)
    assert {action for change in changes for action in change.actions} <= {"create", "read"}
