"""What all modules have in common: files, documentation, versions, examples."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from . import harness
from .conftest import MODULES
from .harness import Change, called, examples


def test_these_are_all_the_modules(root: Path) -> None:
    assert tuple(sorted(folder.name for folder in (root / "modules").iterdir() if folder.is_dir())) == MODULES


def documented(module: Path) -> dict[str, Any]:
    """Variables and outputs as terraform-docs reads them, run where it finds no settings that make it write files."""
    command = ["terraform-docs", "json", "."]
    return dict(json.loads(subprocess.run(command, cwd=module, capture_output=True, text=True, check=True).stdout))


@pytest.fixture(params=MODULES)
def module(root: Path, request: pytest.FixtureRequest) -> Path:
    return root / "modules" / str(request.param)


def test_module_has_its_files(module: Path) -> None:
    needed = {"README.md", "examples", "main.tf", "outputs.tf", "variables.tf", "versions.tf"}
    assert needed <= {file.name for file in module.iterdir()}
    assert {"main.tf", "versions.tf"} <= {file.name for file in (module / "examples/basic").iterdir()}


def test_files_stay_small(module: Path) -> None:
    """Past about 150 lines a topic gets a file of its own."""
    long = {file.name: len(file.read_text().splitlines()) for file in module.glob("*.tf")}
    assert {name: lines for name, lines in long.items() if lines > 170 and "variables" not in name} == {}


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
    command = ["terraform-docs", "--config", f"{root}/.terraform-docs.yml", "--output-check", str(module)]
    finished = subprocess.run(command, capture_output=True, text=True)
    assert finished.returncode == 0, f"{finished.stderr}Write them anew with make docs."


def test_readme_says_something_before_its_tables(module: Path) -> None:
    prose, _, tables = (module / "README.md").read_text().partition("<!-- BEGIN_TF_DOCS -->")
    assert len(prose.partition("## Examples")[0].splitlines()) > 3
    assert tables.rstrip().endswith("<!-- END_TF_DOCS -->")


def test_readme_quotes_every_example(module: Path) -> None:
    """A section each: what it shows, a link, and the call of the module as a deployment would write it."""
    sections = (module / "README.md").read_text().partition("## Examples\n")[2].partition("<!-- BEGIN_TF_DOCS -->")[0]
    quoted = dict(re.findall(r"^### (.+?)\n(.*?)(?=^### |\Z)", sections, re.MULTILINE | re.DOTALL))
    assert quoted.keys() == {*examples(module.name)}
    for example, section in quoted.items():
        assert f"(examples/{example}/main.tf)" in section
        assert f"```hcl\n{in_a_deployment(module.name, example)}```" in section, f"{example} differs from its main.tf"


def in_a_deployment(module: str, example: str) -> str:
    """The call of an example, with other modules in place of the values that stand for them there."""
    text = (harness.MODULES / module / "examples" / example / "main.tf").read_text()
    (call,) = re.findall(rf'^module "{called(module)}" \{{.*?^\}}\n', text, re.MULTILINE | re.DOTALL)
    call = call.replace('source = "../.."', f'source = "../modules/{module}"')
    return re.sub(rf"\blocal\.({'|'.join(map(called, MODULES))})\b", r"module.\1", call)


def test_versions_are_the_same_everywhere(root: Path) -> None:
    folders = [*root.glob("modules/*"), *root.glob("modules/*/examples/*")]
    assert len({(folder / "versions.tf").read_text() for folder in folders}) == 1


def test_lines_fit_on_a_screen(root: Path) -> None:
    """terraform fmt wraps no line: people must."""
    files = [root / "terragrunt.hcl", *(root / "live").rglob("*.hcl"), *(root / "modules").rglob("*.tf*")]
    long = [
        f"{file.relative_to(root)}:{number}"
        for file in files
        if file.is_file() and not any(part.startswith(".terra") for part in file.parts)
        for number, line in enumerate(file.read_text().splitlines(), start=1)
        if len(line) > 120
    ]
    assert long == []


@pytest.mark.parametrize(("name", "example"), [(name, example) for name in MODULES for example in examples(name)])
def test_example_names_a_region_and_leaves_credentials_to_its_reader(root: Path, name: str, example: str) -> None:
    """This is the provider's whole block, in whose place the tests put an offline one."""
    text = (root / "modules" / name / "examples" / example / "main.tf").read_text()
    assert text.startswith('provider "aws" {\n  region = "eu-west-1"\n}\n\n')


@pytest.mark.parametrize(("name", "example"), [(name, example) for name in MODULES for example in examples(name)])
def test_example_can_be_planned(plans: Callable[[str], dict[str, list[Change]]], name: str, example: str) -> None:
    changes = plans(name)[f"example-{example}"]
    assert {change.address.split(".")[1] for change in changes} == {called(name)}
    assert all(change.address.startswith("module.") for change in changes)
    assert {action for change in changes for action in change.actions} <= {"create", "read"}
