"""Options and questions that several commands share."""

import math
import sys
from typing import Annotated

import typer

from imagepipe.errors import PipelineError
from imagepipe.live import environments
from imagepipe.localcloud.functions_from import Functions
from imagepipe.terragrunt import target as cloud
from imagepipe.terragrunt.target import Cloud, Target

EnvironmentOption = Annotated[str, typer.Option("--env", envvar="ENV", help="Name of an environment, or all.")]
CloudOption = Annotated[
    Cloud, typer.Option("--cloud", envvar="CLOUD", help="The local cloud of this clone, or AWS with your credentials.")
]
YesOption = Annotated[bool, typer.Option("--yes", envvar="YES", help="Do not ask.")]


def finite(value: float) -> float:
    """Return a number of an option; `nan` and `inf`, which are floats as well, hold no limit.

    Raises:
        typer.BadParameter: the number is one of them.
    """
    if not math.isfinite(value):
        raise typer.BadParameter(f"{value} is no number to count with: write it like 50 or 0.5")
    return value


RateOption = Annotated[float, typer.Option(min=0.1, callback=finite, help="Messages sent per second.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and change nothing.")]
FunctionsOption = Annotated[
    Functions | None,
    typer.Option(
        "--functions", envvar="FUNCTIONS", help="What functions of the local cloud run from. Kept for later starts."
    ),
]
PlatformOption = Annotated[
    str | None,
    typer.Option(
        envvar="PLATFORM", help="linux/amd64 or linux/arm64. Default: the platform of the environment's functions."
    ),
]
DirtyOption = Annotated[bool, typer.Option("--dirty", envvar="DIRTY", help="Allow uncommitted changes.")]
RegistryOption = Annotated[
    str, typer.Option(envvar="REGISTRY", help="Registry to push to instead of ECR, as host:port.")
]
BaseOption = Annotated[
    str, typer.Option(envvar="BASE", help="Commit, tag or branch to compare with. Default: the main branch.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def load_target(name: str, where: Cloud) -> Target:
    """Return one environment in one cloud."""
    return cloud.target(environments.load(name), where)


def load_targets(name: str, where: Cloud) -> list[Target]:
    """Return one environment, or for `all` every environment in the order of applying."""
    return [load_target(one, where) for one in names_of(name)]


def names_of(name: str) -> list[str]:
    """Return the name of one environment, or for `all` every name in the order of applying."""
    return environments.names() if name == "all" else [name]


def confirm(question: str, yes: bool) -> None:
    """Ask before a change.

    Raises:
        PipelineError: the answer is no, or standard input is no terminal and `yes` is not set.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise PipelineError(f"{question} This is no terminal to ask at: set YES=1 (--yes) to answer yes")
    if not typer.confirm(question):
        raise PipelineError("you answered no, so nothing was changed")
