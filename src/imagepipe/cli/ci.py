"""What the workflows below .github/ call beside the commands that people use."""

import json
from typing import Annotated

import typer

from imagepipe.console import say
from imagepipe.errors import PipelineError
from imagepipe.live import environments
from imagepipe.releases import promotion, repository, workflows

app = typer.Typer(help=__doc__, no_args_is_help=True)

#: As `environments` prints them.
EnvironmentsOption = Annotated[
    str, typer.Option("--environments", envvar="ENVIRONMENTS", help="What `environments` printed.")
]


@app.command("environments")
def list_environments(
    base: Annotated[str, typer.Option(envvar="BASE", help="Those that have something to plan beside this ref.")] = "",
    only: Annotated[str, typer.Option(envvar="ONLY", help="These, with commas; or all.")] = "all",
) -> None:
    """Print environments with their roles, as a line for $GITHUB_OUTPUT."""
    if base:
        names = workflows.reached(base)
    else:
        names = environments.names() if only == "all" else [name.strip() for name in only.split(",")]
    say(f"environments: {', '.join(names) or 'none'}")
    print(workflows.for_output("environments", workflows.chosen(names)))


@app.command()
def bundles(commit: Annotated[str, typer.Option(envvar="GITHUB_SHA")], chosen: EnvironmentsOption) -> None:
    """Fetch the bundles that a commit was merged with into build/plans; without all of them, none."""
    if names := _names(chosen):
        say(workflows.fetch_bundles(commit, names))


@app.command()
def comment(
    number: Annotated[int, typer.Option(envvar="NUMBER", help="Of the pull request.")],
    commit: Annotated[str, typer.Option(envvar="HEAD", help="The pull request's head.")],
    run: Annotated[str, typer.Option(envvar="RUN", help="Address of this run.")],
    chosen: EnvironmentsOption,
) -> None:
    """Keep one comment per environment on a pull request, from the files in build/plans."""
    for line in workflows.comment(number, _names(chosen), commit, run):
        say(line)


@app.command()
def drift(chosen: EnvironmentsOption) -> None:
    """Keep one issue per environment that has drifted, from the files in build/drift."""
    for line in workflows.report_drift(_names(chosen)):
        say(line)


@app.command("go-on")
def go_on(name: Annotated[str, typer.Option("--env", envvar="ENV")], chosen: EnvironmentsOption) -> None:
    """Start the workflow apply for an environment that has more to plan, and for those after it."""
    say(workflows.go_on(name, _names(chosen)))


@app.command()
def witness(base: Annotated[str, typer.Option(envvar="BASE", help="The pull request's base.")]) -> None:
    """Print the environment that a check of a changed release file asks, as a line for $GITHUB_OUTPUT."""
    name = promotion.released(base or repository.main_branch())
    witnesses = workflows.chosen([promotion.witness(name)]) if name else []
    say(f"{witnesses[0]['name']} is asked" if witnesses else "no release file is changed")
    print(workflows.for_output("environments", witnesses))


@app.command()
def offer(name: Annotated[str, typer.Option("--env", envvar="ENV")] = "dev") -> None:
    """Make the branch that releases the image which build-push has just written into release.json."""
    proposal = promotion.offer(name)
    say(f"branch {proposal.branch} holds it" if proposal else f"{name} has that image already")


@app.command()
def propose() -> None:
    """Push the branch that build/promotion holds, and keep its pull request."""
    say(workflows.propose())


def _names(chosen: str) -> list[str]:
    try:
        return [str(entry["name"]) for entry in json.loads(chosen.removeprefix("environments="))]
    except (KeyError, TypeError, ValueError):
        raise PipelineError(f"ENVIRONMENTS is {chosen!r:.80}, and not what imagepipe ci environments prints") from None
