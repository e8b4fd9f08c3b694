"""Habits of contributors: hooks, subjects of commits."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from .pages import ROOT
from .test_commands import recipes

SUBJECTS = ROOT / "scripts/check_subjects.sh"


def test_hooks_are_the_tools_of_make_lint() -> None:
    """A program that `make lint` calls is called before a commit too."""
    lines = [line.lstrip("\t@") for line in recipes()["lint"].splitlines()[1:]]
    calls = [re.sub(r'^\w+="[^"]*"\s+', "", call.strip()) for line in lines for call in re.split(r"&&|;", line)]
    programs = {call.split()[0] for call in calls if call}
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    entries = " ".join(hook["entry"] for hook in hooks)
    assert [program for program in sorted(programs) if not re.search(rf"/{program}(?!\S)", entries)] == []


def test_hooks_fetch_nothing() -> None:
    repositories = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [repository["repo"] for repository in repositories] == ["local"]
    assert {hook["language"] for hook in repositories[0]["hooks"]} == {"system"}


@pytest.mark.parametrize(("length", "code"), [(72, 0), (73, 1)])
def test_subjects_have_72_characters_at_most(tmp_path: Path, length: int, code: int) -> None:
    message = tmp_path / "message"
    message.write_text("# a comment of git\n" + "ü" * length + "\n\n" + "a body may be longer " * 10)
    finished = subprocess.run([SUBJECTS, "--message", message], capture_output=True, text=True, check=False)
    assert finished.returncode == code
    assert ("72 are allowed" in finished.stderr) == bool(code)
