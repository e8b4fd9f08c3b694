"""What the modules refuse, and what they say: cases of modules/<name>/tests, which `terraform test` runs there too."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import MODULES
from .harness import Verdict, case_files, cases

CASES = [(module, file, case) for module in MODULES for file in case_files(module) for case in cases(module, file)]

Verdicts = Callable[[str, str], dict[str, Verdict]]


@pytest.mark.parametrize(("module", "file", "case"), CASES)
def test_case_of_the_module_holds(verdicts: Verdicts, module: str, file: str, case: str) -> None:
    """Refused where the case says so, in the words that stand above it."""
    verdict = verdicts(module, file)[case]
    assert verdict.passed, verdict.errors
    assert [words for words in cases(module, file)[case] if words not in verdict.errors] == []


@pytest.mark.parametrize("module", MODULES)
def test_every_validation_has_a_case_that_it_refuses(root: Path, verdicts: Verdicts, module: str) -> None:
    """Terraform names the rule that refused a value by file and line."""
    written = {
        (file.name, str(number))
        for file in (root / "modules" / module).glob("variables*.tf")
        for number, line in enumerate(file.read_text().splitlines(), start=1)
        if line.strip() == "validation {"
    }
    errors = "\n".join(verdict.errors for verdict in verdicts(module, "variables.tftest.hcl").values())
    assert {*re.findall(r"checked by the validation rule at ([\w.-]+):(\d+)", errors)} == written
