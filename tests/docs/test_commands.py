"""Commands in the documentation exist, with the options and variables that they are shown with."""

import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from imagepipe.cli import app

from .pages import ROOT, Command, all_pages, commands

COMMANDS = [command for page in all_pages() for command in commands(page)]


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_command_exists(command: Command) -> None:
    assert fault(command.words) is None


def test_documentation_shows_many_commands() -> None:
    shown = {command.words[:2] for command in COMMANDS}
    assert len(shown) > 40


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("make demoo", "no target demoo"),
        ("make demo IMAGE=x", "make demo takes no IMAGE"),
        ("imagepipe uplaod x", "no command uplaod"),
        ("imagepipe upload --wiat", "imagepipe upload has no --wiat"),
        ("image-processor x --outt y", "image-processor has no --outt"),
    ],
)
def test_a_misspelt_command_is_a_fault(words: str, expected: str) -> None:
    assert fault(tuple(words.split())) == expected


def fault(words: tuple[str, ...]) -> str | None:
    """Say what is wrong with a command; None if it can be typed."""
    program, *rest = words
    return {"make": _make, "imagepipe": _imagepipe, "image-processor": _image_processor}[program](rest)


def _make(words: list[str]) -> str | None:
    words = [word for word in words if not word.startswith("-")]
    targets = [word for word in words if "=" not in word]
    for target in targets:
        if target not in recipes() and not re.search(r"[<…]", target):
            return f"no target {target}"
    for name in (word.partition("=")[0] for word in words if "=" in word):
        if not any(name in variables(target) for target in targets):
            return f"make {' '.join(targets)} takes no {name}"
    return None


@cache
def recipes() -> dict[str, str]:
    """Return the recipe of every target of the Makefile, its prerequisites in the first line."""
    makefile = (ROOT / "Makefile").read_text()
    blocks = re.finditer(r"^([a-z0-9-]+):(.*\n(?:\t.*\n)*)", makefile, re.MULTILINE)
    return {block[1]: block[2] for block in blocks}


@cache
def variables(target: str) -> frozenset[str]:
    """Return the variables that a target reads, by itself, by what it expands, or by the command that it calls."""
    makefile = (ROOT / "Makefile").read_text()
    values = dict(re.findall(r"^([\w-]+)\s*[:?]?=\s*(.*)$", makefile, re.MULTILINE))
    exported = " ".join(re.findall(r"^export ([A-Z_ ]+)$", makefile, re.MULTILINE)).split()
    text, names = recipes().get(target, ""), set(exported)
    for _ in range(4):
        used = set(re.findall(r"\$[({]([\w-]+)[)}]", text)) | set(re.findall(r"\$\(call \w+,([A-Z_]+)", text))
        used |= set(re.findall(r"\$\((?:if|or|filter) ?\$?\(?([A-Z_]+)", text))
        names |= used
        text = " ".join(values.get(name, "") for name in used)
    return frozenset(name for name in names if name.isupper())


def _imagepipe(words: list[str]) -> str | None:
    command: Any = typer.main.get_command(app)
    path = ["imagepipe"]
    while words and hasattr(command, "commands") and not words[0].startswith("-"):
        name, *words = words
        if name not in command.commands:
            return f"no command {name}"
        command = command.commands[name]
        path.append(name)
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for word in words:
        if word.startswith("-") and word.partition("=")[0] not in known | {"--help"}:
            return f"{' '.join(path)} has no {word}"
    return None


@cache
def image_processor_help() -> str:
    command = [sys.executable, "-m", "image_processor", "--help"]
    environment = {"PYTHONPATH": str(ROOT / "lambda-image/src"), "COLUMNS": "200"}
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout


def _image_processor(words: list[str]) -> str | None:
    for word in words:
        if word.startswith("--") and not re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", image_processor_help()):
            return f"image-processor has no {word}"
    return None


def test_every_target_is_described_in_the_list_of_make() -> None:
    described = set(re.findall(r"^([a-z0-9-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    hidden = recipes().keys() - described
    assert hidden <= {"runtime", "image-tools"}, "a target without ## is shown by nobody"


ROOMS = ("scripts", r"\.ci", "src/imagepipe", "lambda-image", "modules", "benchmarks", "docs")


@pytest.mark.parametrize("page", all_pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_paths_in_inline_code_exist(page: Path) -> None:
    names = re.findall(rf"`((?:{'|'.join(ROOMS)})/[\w./-]+)`", page.read_text())
    assert [name for name in names if not (ROOT / name).exists()] == []
