"""Commands that only the workflows in .github/workflows call."""

import json
from typing import Annotated

import typer

from imagepipe.cli.options import CloudOption
from imagepipe.console import say
from imagepipe.errors import PipelineError
from imagepipe.live import environments
from imagepipe.releases import promotion, repository, workflows
from imagepipe.terragrunt.target import Cloud

app = typer.Typer(help=__doc__, no_args_is_help=True)

#: As `environments` prints them.
EnvironmentsOption = Annotated[
    str, typer.Option("--environments", envvar="ENVIRONMENTS", help="Output of `imagepipe ci environments`.")
]


@app.command("environments")
def list_environments(
    base: Annotated[str, typer.Option(envvar="BASE", help="Only environments that differ from this ref.")] = "",
    only: Annotated[str, typer.Option(envvar="ONLY", help="Names, separated by commas, or all.")] = "all",
) -> None:
    """Print environments and their roles as a line for $GITHUB_OUTPUT."""
    if base:
        names = workflows.names_to_plan(base)
    else:
        names = environments.names() if only == "all" else [name.strip() for name in only.split(",")]
    say(f"environments: {', '.join(names) or 'none'}")
    print(workflows.for_output("environments", workflows.matrix(names)))


@app.command()
def bundles(
    commit: Annotated[str, typer.Option(envvar="GITHUB_SHA", help="The merge commit.")], chosen: EnvironmentsOption
) -> None:
    """Download the bundles of a merged pull request to build/reviewed: all of them, or none if one is missing."""
    if names := _names(chosen):
        say(workflows.fetch_bundles(commit, names))


@app.command()
def comment(
    number: Annotated[int, typer.Option(envvar="NUMBER", help="Number of the pull request.")],
    commit: Annotated[str, typer.Option(envvar="HEAD", help="Head commit of the pull request.")],
    run: Annotated[str, typer.Option(envvar="RUN", help="Address of this run.")],
    chosen: EnvironmentsOption,
) -> None:
    """Write or update one comment per environment on a pull request, from the files in build/plans."""
    for line in workflows.comment(number, _names(chosen), commit, run):
        say(line)


@app.command()
def drift(chosen: EnvironmentsOption) -> None:
    """Open, update or close one issue per environment about drift, from the files in build/drift."""
    for line in workflows.report_drift(_names(chosen)):
        say(line)


@app.command("go-on")
def go_on(
    name: Annotated[str, typer.Option("--env", envvar="ENV", help="Name of the environment.")],
    chosen: EnvironmentsOption,
) -> None:
    """Start the workflow apply for an environment that has more to plan, and for the environments after it."""
    say(workflows.go_on(name, _names(chosen)))


@app.command()
def witness(base: Annotated[str, typer.Option(envvar="BASE", help="Base commit of the pull request.")]) -> None:
    """Print the environments whose accounts verify a changed release file, as lines for $GITHUB_OUTPUT.

    `environments` holds the one before. `again` holds the release's own, if it may have run the release before.
    """
    name = promotion.changed_release(base or repository.main_branch())
    witnesses = workflows.matrix([promotion.witness(name)]) if name else []
    again = workflows.matrix([name]) if name and promotion.is_named_before(name) else []
    say(f"{witnesses[0]['name']} verifies the release" if witnesses else "no release file is changed")
    print(workflows.for_output("environments", witnesses))
    print(workflows.for_output("again", again))


@app.command()
def ran(
    name: Annotated[str, typer.Option("--env", envvar="ENV", help="Name of the environment.")],
    cloud: CloudOption = Cloud.LOCAL,
) -> None:
    """Print the releases that an environment ran to a good end, newest last, as JSON for promote-check."""
    print(json.dumps(promotion.ran_to_a_good_end(name, cloud)))


@app.command()
def offer(name: Annotated[str, typer.Option("--env", envvar="ENV", help="Name of the environment.")] = "dev") -> None:
    """Create the branch that releases the container image which build-push has written into release.json."""
    proposal = promotion.offer(name)
    say(f"branch {proposal.branch} holds it" if proposal else f"{name} has that image already")


@app.command()
def propose() -> None:
    """Push the branch of build/promotion, and open or update its pull request."""
    say(workflows.propose())


def _names(chosen: str) -> list[str]:
    try:
        return [str(entry["name"]) for entry in json.loads(chosen.removeprefix("environments="))]
    except (KeyError, TypeError, ValueError):
        raise PipelineError(
            f"ENVIRONMENTS must be the output of imagepipe ci environments, not {chosen!r:.80}"
        ) from None
