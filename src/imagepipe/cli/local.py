"""Commands that start, stop and show the local cloud."""

from pathlib import Path
from typing import Annotated

import typer

from imagepipe import localcloud
from imagepipe.cli.options import CloudOption, EnvironmentOption, FunctionsOption, load_target
from imagepipe.console import console, say
from imagepipe.images import demo as demonstration
from imagepipe.live import environments
from imagepipe.live.environments import ROOT
from imagepipe.localcloud import functions_from
from imagepipe.terragrunt import target
from imagepipe.terragrunt.target import Cloud

PANEL = "Local cloud"

app = typer.Typer()


@app.command(rich_help_panel=PANEL)
def up(functions: FunctionsOption = None) -> None:
    """Start the local cloud of this clone."""
    local = localcloud.up(ROOT)
    functions_from.choose(functions, say)
    say(f"the local cloud is up at {local.endpoint}; functions run from the {functions_from.chosen()}")


@app.command(rich_help_panel=PANEL)
def down() -> None:
    """Stop the local cloud. Its state is kept for the next start."""
    localcloud.down(ROOT)
    say("the local cloud is down; its state is kept in .local")


@app.command(rich_help_panel=PANEL)
def status() -> None:
    """Show whether the local cloud runs, and where."""
    local = localcloud.status(ROOT)
    if not local.running:
        console.print(f"the local cloud is down; make up starts it (its state is in {local.folder})", soft_wrap=True)
        return
    processes = ", ".join(f"{name} {pid}" for name, pid in local.pids.items())
    console.print(f"the local cloud is up at {local.endpoint} (for {local.uptime_seconds:.0f} s; {processes})")
    accounts = {environment.account_id: environment.name for environment in environments.load_all()}
    for account in local.accounts:
        console.print(f"  {account} {accounts.get(account, '')}", highlight=False)


@app.command(rich_help_panel=PANEL)
def logs(follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep printing new lines.")] = False) -> None:
    """Show the logs of the local cloud and of the functions on it."""
    localcloud.logs(ROOT, follow)


@app.command(rich_help_panel=PANEL)
def env(name: EnvironmentOption = "dev", cloud: CloudOption = Cloud.LOCAL) -> None:
    """Print shell lines that point terragrunt, aws and curl at an environment: eval "$(make env)"."""
    print(target.exports(load_target(name, cloud)))


@app.command(rich_help_panel=PANEL)
def demo(
    folder: Annotated[
        Path | None, typer.Argument(help="Folder with images of your own. Default: generated samples.")
    ] = None,
    functions: FunctionsOption = None,
) -> None:
    """Deploy dev on the local cloud and send images through it."""
    demonstration.run(folder, functions)
