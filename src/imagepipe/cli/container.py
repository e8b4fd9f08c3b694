"""Commands that build the container image of the functions and put it into a registry."""

from typing import Annotated

import typer

from imagepipe.cli.options import (
    CloudOption,
    DirtyOption,
    EnvironmentOption,
    PlatformOption,
    RegistryOption,
    load_target,
)
from imagepipe.console import console, human_bytes, say
from imagepipe.errors import PipelineError
from imagepipe.live import environments
from imagepipe.terragrunt.target import Cloud

PANEL = "Container image"

app = typer.Typer()

# The modules that build are imported by the commands: they are slow to import.


@app.command(rich_help_panel=PANEL)
def base(
    env: EnvironmentOption = "dev",
    platform: PlatformOption = None,
    image: Annotated[str, typer.Option(help="Public image to pin. Default: the one that the Dockerfile names.")] = "",
) -> None:
    """Pin the newest digest of the public base image. If its registry is out of reach, make a stand-in."""
    from imagepipe.container.base import make, pin, pinned_name

    wanted = platform or environments.load(env).platform
    name = image or pinned_name()
    if digest := pin(name):
        say(f"{name.split('@')[0]} is pinned to its newest digest, {digest}")
        return
    with console.status(f"{name} is out of reach: making a stand-in for {wanted} from Debian packages"):
        stand_in = make(wanted.split("/")[1])
    say(f"stand-in for {wanted}: {stand_in.digest}")


@app.command(rich_help_panel=PANEL)
def build(env: EnvironmentOption = "dev", platform: PlatformOption = None) -> None:
    """Build the container image. If nothing changed, only print its digest."""
    from imagepipe.container.build import image as build_image

    image = build_image(platform or environments.load(env).platform, say)
    sizes = image["bytes"]
    say(
        f"{image['digest']} for {image['platform']}: {human_bytes(sizes['compressed'])} compressed, "
        f"{human_bytes(sizes['compressed_above_base'])} of it above the base"
    )


@app.command(rich_help_panel=PANEL)
def build_push(
    env: EnvironmentOption = "dev",
    cloud: CloudOption = Cloud.LOCAL,
    dirty: DirtyOption = False,
    registry: RegistryOption = "",
) -> None:
    """Build the container image, push it by digest, and write the digest into an environment's release.json."""
    from imagepipe.releases import publish_image

    environment = environments.load(env)
    if environment.release is None:
        raise PipelineError(
            f"{env} runs no container image: set ENV to one of {', '.join(environments.release_order())}"
        )
    shared = load_target(environments.SHARED, cloud)
    # On AWS, credentials belong to one account, and the push needs those of the registry's account.
    runs = load_target(env, cloud) if cloud is Cloud.LOCAL else None
    publish_image.build_push(environment, shared, runs, dirty=dirty, host=registry, say=say)
