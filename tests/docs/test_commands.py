"""Commands in the documentation exist, with the options and variables that they are shown with."""

import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import botocore.session
import pytest
import typer
from botocore import xform_name

from imagepipe.cli import app

from .pages import ROOT, Command, all_pages, commands

COMMANDS = list(dict.fromkeys(command for page in all_pages() for command in commands(page)))


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
        ("aws sqs get-queue --x", "aws sqs has no get-queue"),
        ("aws sqs get-queue-url --queue x", "aws sqs get-queue-url has no --queue"),
        ("terragrunt run-everything", "terragrunt has no run-everything"),
    ],
)
def test_a_misspelt_command_is_a_fault(words: str, expected: str) -> None:
    assert fault(tuple(words.split())) == expected


def fault(words: tuple[str, ...]) -> str | None:
    """Say what is wrong with a command; None if it can be typed."""
    program, *rest = words
    check = {
        "aws": _aws,
        "image-processor": _image_processor,
        "imagepipe": _imagepipe,
        "make": _make,
        "terragrunt": _terragrunt,
    }
    return check[program](rest)


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


#: Commands of the AWS CLI that are no operation of a service, with the options that are shown.
AWS_EXTRAS = {
    ("logs", "tail"): {"--since", "--filter-pattern", "--format"},
    ("sso", "login"): set(),
}


def _aws(words: list[str]) -> str | None:
    service, name = words[:2]
    options = {word.partition("=")[0] for word in words[2:] if word.startswith("--")} - {"--query", "--output"}
    known = AWS_EXTRAS[service, name] if (service, name) in AWS_EXTRAS else aws_options(service).get(name)
    if known is None:
        return f"aws {service} has no {name}"
    unknown = sorted(options - known)
    return f"aws {service} {name} has no {', '.join(unknown)}" if unknown else None


@cache
def aws_options(service: str) -> dict[str, set[str]]:
    """Return the operations of a service as the AWS CLI names them, each with its options."""
    model = botocore.session.get_session().get_service_model(service)
    shapes = {name: model.operation_model(name).input_shape for name in model.operation_names}
    options: dict[str, set[str]] = {}
    for name, shape in shapes.items():
        members = shape.members if shape else {}
        flags = {xform_name(member, "-") for member, value in members.items() if value.type_name == "boolean"}
        named = {f"--{xform_name(member, '-')}" for member in members}
        options[xform_name(name, "-")] = named | {f"--no-{flag}" for flag in flags}
    return options


#: What Terragrunt hands on to Terraform, and the name by which version 0.89 knows `run --all`.
HANDED_ON = frozenset({"apply", "destroy", "init", "output", "plan", "run-all"})


def _terragrunt(words: list[str]) -> str | None:
    parents: list[str] = []
    for word in words:
        if word.startswith("-") or word in HANDED_ON:
            break
        if not re.search(rf"^   {re.escape(word)}\b", terragrunt_help(*parents), re.MULTILINE):
            return f"{' '.join(['terragrunt', *parents])} has no {word}"
        parents.append(word)
    return None


@cache
def terragrunt_help(*command: str) -> str:
    return subprocess.run(["terragrunt", *command, "--help"], capture_output=True, text=True, check=True).stdout


def test_every_target_is_described_in_the_list_of_make() -> None:
    described = set(re.findall(r"^([a-z0-9-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    hidden = recipes().keys() - described
    assert hidden <= {"runtime", "image-tools"}, "a target without ## is shown by nobody"


ROOMS = ("scripts", r"\.ci", "src/imagepipe", "lambda-image", "modules", "benchmarks", "docs")


@pytest.mark.parametrize("page", all_pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_paths_in_inline_code_exist(page: Path) -> None:
    names = re.findall(rf"`((?:{'|'.join(ROOMS)})/[\w./-]+)`", page.read_text())
    assert [name for name in names if not (ROOT / name).exists()] == []
