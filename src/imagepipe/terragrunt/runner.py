"""Runs Terragrunt and Terraform, and keeps a log of every run of an environment."""

import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from imagepipe.console import say
from imagepipe.errors import PipelineError
from imagepipe.live.environments import ROOT
from imagepipe.terragrunt.target import Target
from imagepipe.tools import tool_variables

#: Holds the logs of the last run of each environment.
BUILD = ROOT / "build"

#: Reads outputs of dependencies straight from the state bucket, without an init for each. Given as an option, because
#: older releases of Terragrunt refuse the environment variable.
FAST_OUTPUTS = ("--experiment", "dependency-fetch-output-from-state")

#: Called with every line that Terragrunt prints.
Listener = Callable[[str], None]


def ask(*arguments: str) -> str:
    """Return what Terragrunt prints about the configuration files. Calls no cloud.

    Raises:
        PipelineError: Terragrunt failed; the message holds what it wrote.
    """
    command = ["terragrunt", *arguments, "--log-level", "error"]
    environment = {**os.environ, **tool_variables()}
    finished = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if finished.returncode:
        raise PipelineError(f"`{' '.join(command)}` failed; correct the file that it names:\n{finished.stderr.strip()}")
    return finished.stdout


def versions() -> dict[str, str]:
    """Return the versions of the tools that a plan is made with, by tool."""
    environment = {**os.environ, **tool_variables()}
    printed = subprocess.run(
        ["terraform", "version", "-json"], capture_output=True, text=True, env=environment, check=True
    ).stdout
    return {
        "provider aws": str(json.loads((ROOT / "tools.json").read_text())["terraform-provider-aws"]),
        "terraform": str(json.loads(printed[printed.index("{") :])["terraform_version"]),
        "terragrunt": ask("--version").split()[-1].removeprefix("v"),
    }


def run_all(target: Target, command: str, options: list[str], listener: Listener, *more: str) -> None:
    """Run one Terraform command in every unit of an environment.

    Args:
        options: of Terragrunt.
        more: options of Terraform.

    Raises:
        PipelineError: Terragrunt failed; the message names its log.
    """
    start = ["run", "--all", *FAST_OUTPUTS, "--working-dir", str(target.environment.directory), *options]
    run(target, command, [*start, "--", command, "-input=false", *more], listener)


def run(target: Target, name: str, arguments: list[str], listener: Listener) -> None:
    """Run Terragrunt with a log at build/logs/<environment>-<name>.log.

    Raises:
        PipelineError: Terragrunt failed; the message names the log.
        KeyboardInterrupt: Ctrl-C was pressed; Terraform has written its state by then.
    """
    log_file = BUILD / "logs" / f"{target.environment.name}-{name}.log"
    log_file.parent.mkdir(parents=True, exist_ok=True)
    with _deferred_interrupt(), log_file.open("w", buffering=1) as log:  # line by line, for those who watch it
        process = subprocess.Popen(
            ["terragrunt", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=target.process_environment,
        )
        assert process.stdout is not None
        for line in process.stdout:
            log.write(line)
            listener(line.rstrip("\n"))
        process.wait()
    if process.returncode:
        first, *more = [*errors_in(log_file.read_text()), ""]
        why = f": {first}{f' ({len(more) - 1} more)' if len(more) > 1 else ''}" if first else ""
        raise PipelineError(
            f"terragrunt {name} of {target.environment.name} failed{why}; the whole log: {_shown(log_file)}"
        )


_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
#: Terraform draws a frame around an error; Terragrunt puts time, unit and program before each line.
_FRAME = re.compile(r"╷\n(.*?)╵", re.DOTALL)
_MARGIN = re.compile(r"^.*?│ ?|^[0-9:.]+ .* terraform: ?", re.MULTILINE)


def errors_in(log: str) -> list[str]:
    """Return one line for every error of Terraform in a log: the error, then its details without their place."""
    frames = _FRAME.findall(_COLOUR.sub("", log))
    return list(dict.fromkeys(_in_one_line(_MARGIN.sub("", frame)) for frame in frames if "Error: " in frame))


def _in_one_line(error: str) -> str:
    title, *paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", error.strip())]
    details = [part for part in paragraphs if not part.startswith(("on ", "with "))]
    return ": ".join([title.removeprefix("Error: "), *details])


def _shown(file: Path) -> Path:
    return file.relative_to(ROOT) if file.is_relative_to(ROOT) else file


@contextmanager
def _deferred_interrupt() -> Iterator[None]:
    """Defer Ctrl-C until the block ends. A second Ctrl-C interrupts immediately.

    The terminal sends Ctrl-C to Terraform too, which finishes what it has begun and writes its state. Raising in the
    middle of a read would lose lines of Terraform's output; a handler that returns lets the read go on. Python
    interrupts the main thread only: other threads need no deferral.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed = False

    def press(_: int, __: FrameType | None) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True
        say("interrupted: Terraform ends what it has begun and writes its state (Ctrl-C again leaves it with its lock)")

    before = signal.signal(signal.SIGINT, press)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        raise KeyboardInterrupt
