"""What holds for every command: its name, its help, and how its errors are shown."""

import errno
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from imagepipe import cli
from imagepipe.errors import PipelineError


def commands(command: Any, path: str = "imagepipe") -> Iterator[tuple[str, TyperCommand]]:
    """Every command that does something, by what one types."""
    if not isinstance(command, TyperGroup):
        yield path, command
        return
    for name, below in command.commands.items():
        yield from commands(below, f"{path} {name}")


COMMANDS = dict(commands(get_command(cli.app)))


def test_there_are_commands() -> None:
    assert {"imagepipe up", "imagepipe apply", "imagepipe list", "imagepipe ci environments"} <= COMMANDS.keys()


@pytest.mark.parametrize("name", COMMANDS)
def test_command_and_every_option_has_a_help_text_of_whole_sentences(name: str) -> None:
    command = COMMANDS[name]
    texts = {"": (command.help or "").split("\n\n")[0]}
    texts |= {str(parameter.name): getattr(parameter, "help", None) or "" for parameter in command.params}
    wrong = {parameter: text for parameter, text in texts.items() if not text.endswith((".", '".'))}
    assert not wrong, f"{name}: {wrong}"
    assert all(text[0].isupper() or text.startswith("linux/") for text in texts.values()), f"{name}: {texts}"


@pytest.mark.parametrize("name", COMMANDS)
def test_functions_of_commands_have_plain_names(name: str) -> None:
    callback = COMMANDS[name].callback
    assert callback is not None
    assert not callback.__name__.endswith("_")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (PipelineError("dev is not deployed: run make apply"), "imagepipe: dev is not deployed: run make apply"),
        (ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "GetObject"), "imagepipe: AWS: "),
        (
            OSError(errno.ENOSPC, "No space left on device", "build/image"),
            "imagepipe: the disk is full: free",
        ),
    ],
)
def test_error_that_the_user_can_act_on_is_one_line(
    error: Exception, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    assert str(exit_.value.code).startswith(line)


def test_any_other_error_shows_where_it_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OSError(errno.EACCES, "Permission denied", "build/image")

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(PermissionError):
        cli.main()
