"""The `imagepipe` command: what the Makefile calls, and what people call to work with images in any environment."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from botocore.exceptions import BotoCoreError, ClientError
from rich.markup import escape
from rich.table import Table

from imagepipe import cloud, dashboard, demo, environments, localcloud, plans, samples, source_tree, terragrunt
from imagepipe.api_client import Record
from imagepipe.cloud import Cloud, Target
from imagepipe.console import console, human_bytes, progress, say
from imagepipe.environments import ROOT
from imagepipe.errors import PipelineError
from imagepipe.images import TEST_DATA_TAG, Pipeline, Upload, Uploader, age, collect

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

EnvironmentOption = Annotated[str, typer.Option("--env", envvar="ENV", help="Which environment, or all of them.")]
CloudOption = Annotated[
    Cloud, typer.Option("--cloud", envvar="CLOUD", help="The local cloud of this clone, or AWS with your credentials.")
]
YesOption = Annotated[bool, typer.Option("--yes", envvar="YES", help="Do not ask.")]
OutputJson = Annotated[bool, typer.Option("--json", help="As JSON.")]

#: Changing these is asked about first.
GUARDED = frozenset({"staging", "prod"})


# --- the local cloud --------------------------------------------------------------------------------------------------


@app.command(rich_help_panel="Local cloud")
def up() -> None:
    """Start the local cloud of this clone."""
    local = localcloud.up(ROOT)
    source_tree.record_digest()
    say(f"the local cloud is up at {local.endpoint}")


@app.command(rich_help_panel="Local cloud")
def down() -> None:
    """Stop the local cloud; what it holds is there again after the next start."""
    localcloud.down(ROOT)
    say("the local cloud is down; its state is kept in .local")


@app.command(rich_help_panel="Local cloud")
def status() -> None:
    """Say whether the local cloud runs, and where."""
    found = localcloud.status(ROOT)
    if not found.running:
        console.print(f"the local cloud is down; make up starts it (its state is in {found.folder})", soft_wrap=True)
        return
    processes = ", ".join(f"{name} {pid}" for name, pid in found.pids.items())
    console.print(f"the local cloud is up at {found.endpoint} (for {found.uptime_seconds:.0f} s; {processes})")
    accounts = {environment.account_id: environment.name for environment in environments.load_all()}
    for account in found.accounts:
        console.print(f"  {account} {accounts.get(account, '')}", highlight=False)


@app.command(rich_help_panel="Local cloud")
def logs(follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as lines are written.")] = False) -> None:
    """Show what the local cloud and the functions on it wrote."""
    localcloud.logs(ROOT, follow)


@app.command(rich_help_panel="Local cloud")
def env(env: EnvironmentOption = "dev", cloud_: CloudOption = Cloud.LOCAL) -> None:
    """Print shell lines that point terragrunt, aws and curl at an environment: eval "$(make env)"."""
    print(cloud.exports(_target(env, cloud_)))


@app.command("demo", rich_help_panel="Local cloud")
def demo_(
    folder: Annotated[Path | None, typer.Argument(help="Images of your own; without, samples are made.")] = None,
) -> None:
    """Deploy dev on the local cloud and send images through it."""
    demo.run(folder)


# --- deployments ------------------------------------------------------------------------------------------------------


@app.command(rich_help_panel="Deployments")
def bootstrap(env: EnvironmentOption = "dev", cloud_: CloudOption = Cloud.LOCAL) -> None:
    """Make the state bucket and the lock table of an environment's account and region."""
    for target in _targets(env, cloud_):
        terragrunt.bootstrap(target, print)
        say(f"state bucket and lock table of {target.description} are there")


@app.command(rich_help_panel="Deployments")
def plan(env: EnvironmentOption = "dev", cloud_: CloudOption = Cloud.LOCAL) -> None:
    """Show what would change, and count it per unit."""
    for target in _targets(env, cloud_):
        say(f"planning {target.description}")
        console.print(plans.table(terragrunt.plan(target, print), f"plan of {target.environment.name}"))


@app.command(rich_help_panel="Deployments")
def apply(env: EnvironmentOption = "dev", cloud_: CloudOption = Cloud.LOCAL, yes: YesOption = False) -> None:
    """Bring an environment to what its files say. Asks first in staging and prod."""
    for target in _targets(env, cloud_):
        if target.environment.name in GUARDED:
            _confirm(f"Apply to {target.description}?", yes)
        terragrunt.apply(target, print)
        say(f"{target.description} is applied")


@app.command(rich_help_panel="Deployments")
def destroy(env: EnvironmentOption = "dev", cloud_: CloudOption = Cloud.LOCAL, yes: YesOption = False) -> None:
    """Remove everything an environment consists of. Asks first; the state bucket stays."""
    for target in reversed(_targets(env, cloud_)):
        _confirm(f"Destroy {target.description} with every image in it?", yes)
        terragrunt.destroy(target, print)
        say(f"{target.description} is destroyed")


@app.command(rich_help_panel="Deployments")
def outputs(env: EnvironmentOption = "dev", cloud_: CloudOption = Cloud.LOCAL, as_json: OutputJson = False) -> None:
    """Print where an environment is: upload bucket, API, dashboard."""
    _print_outputs({target.environment.name: _outputs(target) for target in _targets(env, cloud_)}, as_json)


@app.command("dashboard", rich_help_panel="Deployments")
def dashboard_(env: EnvironmentOption = "dev", cloud_: CloudOption = Cloud.LOCAL) -> None:
    """Show the deployed dashboard with the values of the last hour."""
    target = _target(env, cloud_)
    console.print(dashboard.table(target, Pipeline(target).dashboard_name))


# --- images -----------------------------------------------------------------------------------------------------------


@app.command(rich_help_panel="Images")
def upload(
    paths: Annotated[list[Path] | None, typer.Argument(help="Files and folders; without, samples are made.")] = None,
    env: EnvironmentOption = "dev",
    cloud_: CloudOption = Cloud.LOCAL,
    bucket: Annotated[str | None, typer.Option(help="Upload bucket, instead of the environment's own.")] = None,
    test_data: Annotated[
        bool, typer.Option("--test-data", help=f"Tag the objects {TEST_DATA_TAG}: they expire.")
    ] = False,
    concurrency: Annotated[int, typer.Option(min=1, max=64, help="Files at a time.")] = 8,
    wait_for_them: Annotated[bool, typer.Option("--wait", help="Wait until every image is processed.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds without progress after which --wait gives up.")] = 120,
) -> None:
    """Upload images. What is there already with the same content is left alone, so a broken-off run can be repeated."""
    target = _target(env, cloud_)
    files = collect(paths or [samples.make(demo.SAMPLES)[0].parents[1]])
    if bucket:
        uploader = Uploader(target.client("s3"), bucket, test_data=test_data, concurrency=concurrency)
    else:
        uploader = Pipeline(target).uploader(test_data=test_data, concurrency=concurrency)
    with progress() as bar:
        task = bar.add_task("upload", total=len(files))
        uploads = uploader.upload(files, lambda _: bar.advance(task))
    skipped = sum(upload.skipped for upload in uploads)
    say(f"{len(uploads) - skipped} uploaded, {skipped} there already, {human_bytes(sum(u.size for u in uploads))}")
    if wait_for_them:
        _wait(Pipeline(target), uploads, timeout)


@app.command(rich_help_panel="Images")
def wait(
    paths: Annotated[list[Path], typer.Argument(help="The files and folders that were uploaded.")],
    env: EnvironmentOption = "dev",
    cloud_: CloudOption = Cloud.LOCAL,
    timeout: Annotated[float, typer.Option(help="Seconds without progress after which it gives up.")] = 120,
) -> None:
    """Wait until uploaded images are processed, and show what became of them."""
    pipeline = Pipeline(_target(env, cloud_))
    _wait(pipeline, pipeline.uploader(test_data=False).find(collect(paths)), timeout)


@app.command("list", rich_help_panel="Images")
def list_(
    env: EnvironmentOption = "dev",
    cloud_: CloudOption = Cloud.LOCAL,
    status: Annotated[str | None, typer.Option(help="Only READY, REJECTED, FAILED … ones.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 50,
    as_json: OutputJson = False,
) -> None:
    """List images, newest first."""
    found = list(Pipeline(_target(env, cloud_)).api.images(status, limit))
    if as_json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return
    table = Table()
    for heading in ("image", "file", "status", "format", "size", "variants", "updated"):
        table.add_column(heading, overflow="fold")
    for record in found:
        source = record["source"]
        size = f"{source['width']} × {source['height']}" if source.get("width") else ""
        table.add_row(
            record["image_id"], escape(source["key"]), _status(record), source.get("format") or "", size,
            str(len(record.get("variants") or {}) or ""), age(record["updated_at"]),
        )  # fmt: skip
    console.print(table)


@app.command(rich_help_panel="Images")
def show(image_id: str, env: EnvironmentOption = "dev", cloud_: CloudOption = Cloud.LOCAL) -> None:
    """Show everything that is known of one image."""
    print(json.dumps(_record(Pipeline(_target(env, cloud_)), image_id), indent=2, ensure_ascii=False))


@app.command(rich_help_panel="Images")
def download(
    image_ids: Annotated[
        list[str] | None, typer.Argument(help="Which images; without, every one that is READY.")
    ] = None,
    env: EnvironmentOption = "dev",
    cloud_: CloudOption = Cloud.LOCAL,
    to: Annotated[Path, typer.Option(help="Folder to put them in.")] = Path("images"),
) -> None:
    """Download every variant of images."""
    pipeline = Pipeline(_target(env, cloud_))
    records = [_record(pipeline, each) for each in image_ids] if image_ids else list(pipeline.api.images("READY"))
    with progress() as bar:
        task = bar.add_task("download", total=sum(len(record.get("variants") or {}) for record in records))
        for record in records:
            for _ in pipeline.download(record, to):
                bar.advance(task)
    say(f"{len(records)} images in {to}")


@app.command(rich_help_panel="Images")
def remove(
    image_ids: Annotated[list[str], typer.Argument()],
    env: EnvironmentOption = "dev",
    cloud_: CloudOption = Cloud.LOCAL,
    yes: YesOption = False,
) -> None:
    """Remove images with everything made of them, by a signed request to the API."""
    target = _target(env, cloud_)
    _confirm(f"Remove {len(image_ids)} images from {target.description}?", yes)
    pipeline = Pipeline(target)
    for image_id in image_ids:
        pipeline.api.remove(image_id)
    say(f"{len(image_ids)} images are being removed")


@app.command(rich_help_panel="Images")
def clean(env: EnvironmentOption = "dev", cloud_: CloudOption = Cloud.LOCAL, yes: YesOption = False) -> None:
    """Remove test data: objects tagged so by `upload --test-data` and the demo, and nothing else."""
    target = _target(env, cloud_)
    pipeline = Pipeline(target)
    keys = list(pipeline.test_data())
    if keys:
        _confirm(f"Remove {len(keys)} test images from {target.description}?", yes)
        pipeline.remove_objects(keys)
    say(f"{len(keys)} test images removed")


# --- shared by the commands -------------------------------------------------------------------------------------------


def _target(name: str, where: Cloud) -> Target:
    return cloud.target(environments.load(name), where)


def _targets(name: str, where: Cloud) -> list[Target]:
    return [_target(each, where) for each in (environments.names() if name == "all" else [name])]


def _confirm(question: str, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise PipelineError(f"{question} Nobody is there to answer: YES=1 says yes beforehand")
    if not typer.confirm(question):
        raise PipelineError("nothing was changed")


def _outputs(target: Target) -> dict[str, Any]:
    if target.environment.name == environments.SHARED:
        return {key: value for unit in terragrunt.outputs(target).values() for key, value in unit.items()}
    return Pipeline(target).outputs


def _print_outputs(found: dict[str, dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print(json.dumps(found if len(found) > 1 else next(iter(found.values())), indent=2))
        return
    for name, values in found.items():
        if len(found) > 1:
            print(f"# {name}")
        for key, value in values.items():
            print(f"{key} = {value}")


def _record(pipeline: Pipeline, image_id: str) -> Record:
    record = pipeline.api.image(image_id)
    if record is None:
        raise PipelineError(f"there is no image {image_id}; imagepipe list shows what there is")
    return record


def _status(record: Record) -> str:
    return " ".join(filter(None, [record["status"], (record.get("reason") or {}).get("code")]))


def _wait(pipeline: Pipeline, uploads: list[Upload], timeout: float) -> None:
    with progress() as bar:
        task = bar.add_task("process", total=len(uploads))
        records = pipeline.wait(uploads, timeout, lambda *_: bar.advance(task))
    console.print(demo.report(uploads, records))
    if len(records) < len(uploads):
        raise PipelineError(
            f"{len(uploads) - len(records)} images were not final after {timeout:.0f} s without progress"
        )


def main() -> None:
    """Entry point: an error that people can act on becomes one line and exit code 1."""
    try:
        app()
    except (PipelineError, localcloud.LocalCloudError) as error:
        sys.exit(f"imagepipe: {error}")
    except (BotoCoreError, ClientError) as error:
        sys.exit(f"imagepipe: AWS: {error}")
    except KeyboardInterrupt:
        sys.exit("imagepipe: interrupted")
