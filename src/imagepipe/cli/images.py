"""Commands for the images in an environment: upload, list, download, remove."""

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from imagepipe.cli.operate import INTERRUPTED
from imagepipe.cli.options import (
    CloudOption,
    DryRunOption,
    EnvironmentOption,
    JsonOption,
    YesOption,
    confirm,
    finite,
    load_target,
)
from imagepipe.console import console, human_bytes, literal, progress, say, time_ago
from imagepipe.errors import PipelineError
from imagepipe.images import dashboard as dashboards
from imagepipe.images import demo, samples
from imagepipe.images.api_client import Record
from imagepipe.images.pipeline import TEST_DATA_TAG, Pipeline, Upload, Uploader, collect
from imagepipe.operations import erase as erasing
from imagepipe.operations.resources import Resources
from imagepipe.terragrunt.target import Cloud

PANEL = "Images"

app = typer.Typer()


@app.command(rich_help_panel="Deployments")
def dashboard(env: EnvironmentOption = "dev", cloud: CloudOption = Cloud.LOCAL) -> None:
    """Show the values of the deployed dashboard for the last hour."""
    target = load_target(env, cloud)
    console.print(dashboards.table(target, Pipeline(target).dashboard_name))


@app.command(rich_help_panel=PANEL)
def upload(
    paths: Annotated[list[Path] | None, typer.Argument(help="Files and folders. Default: generated samples.")] = None,
    env: EnvironmentOption = "dev",
    cloud: CloudOption = Cloud.LOCAL,
    bucket: Annotated[str | None, typer.Option(help="Bucket to upload to. Default: the environment's.")] = None,
    test_data: Annotated[
        bool, typer.Option("--test-data", help=f"Tag the objects {TEST_DATA_TAG}, so that they expire.")
    ] = False,
    concurrency: Annotated[int, typer.Option(min=1, max=64, help="Files to upload at the same time.")] = 8,
    wait_for_them: Annotated[bool, typer.Option("--wait", help="Wait until every image is processed.")] = False,
    timeout: Annotated[
        float, typer.Option(callback=finite, help="Seconds without progress after which --wait ends.")
    ] = 120,
) -> None:
    """Upload images. Unchanged files are skipped, so a stopped upload can be repeated."""
    target = load_target(env, cloud)
    files = collect(paths or [samples.make(demo.SAMPLES)[0].parents[1]])
    if bucket:
        uploader = Uploader(target.client("s3"), bucket, test_data=test_data, concurrency=concurrency)
    else:
        uploader = Pipeline(target).uploader(test_data=test_data, concurrency=concurrency)
    with progress() as bar:
        task = bar.add_task("upload", total=len(files))
        uploads = uploader.upload(files, lambda _: bar.advance(task))
    skipped = sum(upload.skipped for upload in uploads)
    say(f"{len(uploads) - skipped} uploaded, {skipped} unchanged, {human_bytes(sum(u.size for u in uploads))}")
    if wait_for_them:
        _wait(Pipeline(target), uploads, timeout)


@app.command(rich_help_panel=PANEL)
def wait(
    paths: Annotated[list[Path], typer.Argument(help="The files and folders that were uploaded.")],
    env: EnvironmentOption = "dev",
    cloud: CloudOption = Cloud.LOCAL,
    timeout: Annotated[
        float, typer.Option(callback=finite, help="Seconds without progress after which waiting ends.")
    ] = 120,
) -> None:
    """Wait until uploaded images are processed, and show the results."""
    pipeline = Pipeline(load_target(env, cloud))
    _wait(pipeline, pipeline.uploader(test_data=False).find(collect(paths)), timeout)


@app.command("list", rich_help_panel=PANEL)
def list_images(
    env: EnvironmentOption = "dev",
    cloud: CloudOption = Cloud.LOCAL,
    status: Annotated[
        str | None, typer.Option(help="Only images with this status, such as READY, REJECTED or FAILED.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most images to list.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """List images, newest first."""
    records = list(Pipeline(load_target(env, cloud)).api.images(status, limit))
    if as_json:
        print(json.dumps(records, indent=2, ensure_ascii=False))
        return
    table = Table()
    for heading in ("image", "file", "status", "format", "size", "variants", "updated"):
        table.add_column(heading, overflow="fold")
    for record in records:
        source = record["source"]
        size = f"{source['width']} × {source['height']}" if source.get("width") else ""
        table.add_row(
            record["image_id"], literal(source.get("key", "")), _status(record), source.get("format") or "", size,
            str(len(record.get("variants") or {}) or ""), time_ago(datetime.fromisoformat(record["updated_at"])),
        )  # fmt: skip
    console.print(table)


@app.command(rich_help_panel=PANEL)
def show(
    image_id: Annotated[str, typer.Argument(help="Id of the image.")],
    env: EnvironmentOption = "dev",
    cloud: CloudOption = Cloud.LOCAL,
) -> None:
    """Show the record of an image as JSON."""
    print(json.dumps(_record(Pipeline(load_target(env, cloud)), image_id), indent=2, ensure_ascii=False))


@app.command(rich_help_panel=PANEL)
def download(
    image_ids: Annotated[
        list[str] | None, typer.Argument(help="Ids of the images. Default: every READY image.")
    ] = None,
    env: EnvironmentOption = "dev",
    cloud: CloudOption = Cloud.LOCAL,
    to: Annotated[Path, typer.Option(help="Folder to write the images to.")] = Path("images"),
) -> None:
    """Download every variant of images."""
    pipeline = Pipeline(load_target(env, cloud))
    records = [_record(pipeline, one) for one in image_ids] if image_ids else list(pipeline.api.images("READY"))
    with progress() as bar:
        task = bar.add_task("download", total=sum(len(record.get("variants") or {}) for record in records))
        for record in records:
            for _ in pipeline.download(record, to):
                bar.advance(task)
    say(f"{len(records)} images in {to}")


@app.command(rich_help_panel=PANEL)
def remove(
    image_ids: Annotated[list[str] | None, typer.Argument(help="Ids of the images.")] = None,
    env: EnvironmentOption = "dev",
    cloud: CloudOption = Cloud.LOCAL,
    erase: Annotated[
        bool, typer.Option("--erase", help="Delete every old version of originals and variants, too. No way back.")
    ] = False,
    key: Annotated[
        list[str] | None, typer.Option(help="With --erase: name of an uploaded file, as it is in the bucket.")
    ] = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
) -> None:
    """Remove images with all their variants, by a signed request to the API.

    With --erase nothing is left in S3. The same command may be repeated, and goes on if it was stopped.

    Exit code: 0 done, 1 an error, 130 stopped.
    """
    target = load_target(env, cloud)
    if not erase and (key or dry_run):
        raise PipelineError("--key and --dry-run need --erase")
    if not (image_ids or key):
        raise PipelineError("name the images: ids, or with --erase also --key")
    if erase:
        _erase(Resources.of(target), image_ids or [], key or [], dry_run=dry_run, yes=yes)
        return
    image_ids = image_ids or []
    confirm(f"Remove {len(image_ids)} images from {target.description}?", yes)
    pipeline = Pipeline(target)
    with progress() as bar:
        for image_id in bar.track(image_ids, description="remove"):
            pipeline.api.remove(image_id)
    say(f"{len(image_ids)} images are being removed")


def _erase(resources: Resources, image_ids: list[str], keys: list[str], *, dry_run: bool, yes: bool) -> None:
    subjects = erasing.subjects(resources, image_ids, keys)
    left = [erasing.remains(resources, subject) for subject in subjects]
    letters = erasing.dead_letters(resources, subjects, remove=False)
    originals, variants = sum(len(one.originals) for one in left), sum(len(one.variants) for one in left)
    say(f"{len(subjects)} images: {originals} versions of originals, {variants} of variants, {letters} dead letters")
    if dry_run:
        return
    confirm(f"Erase them from {resources.target.description} for good?", yes)
    done = deleted = 0
    with progress() as bar:
        try:
            for subject in bar.track(subjects, description="erase"):
                deleted += erasing.erase(resources, subject)
                done += 1
        except KeyboardInterrupt:
            bar.stop()
            say(f"stopped: {done} of {len(subjects)} are erased, and the same command goes on with the others")
            raise typer.Exit(INTERRUPTED) from None
    erasing.dead_letters(resources, subjects, remove=True)
    say(f"{deleted} versions erased; docs/operations.md says what backups and logs keep, and for how long")


@app.command(rich_help_panel=PANEL)
def clean(env: EnvironmentOption = "dev", cloud: CloudOption = Cloud.LOCAL, yes: YesOption = False) -> None:
    """Remove test data: the objects that `upload --test-data` and the demo have tagged."""
    target = load_target(env, cloud)
    pipeline = Pipeline(target)
    with progress() as bar:
        keys = list(bar.track(pipeline.test_data(), description="test data"))
    if keys:
        confirm(f"Remove {len(keys)} test images from {target.description}?", yes)
        with progress() as bar:
            list(bar.track(pipeline.remove_objects(keys), total=len(keys), description="remove"))
    say(f"{len(keys)} test images removed")


def _record(pipeline: Pipeline, image_id: str) -> Record:
    record = pipeline.api.image(image_id)
    if record is None:
        raise PipelineError(f"no image has the id {image_id}: imagepipe list shows the ids")
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
            f"{len(uploads) - len(records)} images are not processed after {timeout:.0f} s without progress: "
            "make failures shows why, and imagepipe wait waits again"
        )
