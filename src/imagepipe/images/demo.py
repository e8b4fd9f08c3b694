"""The demo: deploys, uploads, waits, and shows the result of every file."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.table import Table

from imagepipe import localcloud
from imagepipe.console import console, human_bytes, literal, progress, say
from imagepipe.errors import PipelineError
from imagepipe.images import contact_sheet, dashboard, samples
from imagepipe.images.api_client import Record
from imagepipe.images.pipeline import Pipeline, Upload, collect
from imagepipe.live import environments
from imagepipe.live.environments import ROOT
from imagepipe.localcloud import functions_from as functions
from imagepipe.localcloud.functions_from import Functions
from imagepipe.terragrunt import units as terragrunt
from imagepipe.terragrunt.target import Cloud, Target, target

SAMPLES = ROOT / ".local/samples"
CONTACT_SHEET = ROOT / "build/demo/contact-sheet.jpg"

#: Seconds without progress after which the demo reports the remaining images as lost.
PATIENCE = 120


def run(folder: Path | None, wanted: Functions | None = None) -> None:
    """Deploy `shared` and `dev` on the local cloud, and send a folder of images through.

    Args:
        folder: images; None for generated samples.
        wanted: what functions run from; None keeps the last choice.

    Raises:
        PipelineError: the folder is empty, the deployment failed, or an image has no final record.
    """
    started = time.monotonic()
    if folder is None:
        samples.make(SAMPLES)
    files = collect([folder or SAMPLES])
    say(f"{len(files)} files from {folder or 'generated samples'}")

    localcloud.up(ROOT)
    functions.choose(wanted, say)
    shared, dev = (target(environments.load(name), Cloud.LOCAL) for name in (environments.SHARED, "dev"))
    say(f"the local cloud is up at {dev.variables['AWS_ENDPOINT_URL']}")
    deploy([shared, dev])
    say(f"deployed from live/shared and live/dev: {time.monotonic() - started:.0f} s since the start")

    pipeline = Pipeline(dev)
    with progress() as bar:
        uploading = bar.add_task("upload", total=len(files))
        uploads = pipeline.uploader(test_data=True).upload(files, lambda _: bar.advance(uploading))
        processing = bar.add_task("process", total=len(uploads))
        records = pipeline.wait(uploads, PATIENCE, lambda *_: bar.advance(processing))

    console.print(report(uploads, records))
    contact_sheet.draw(list(_tiles(pipeline, uploads, records)), CONTACT_SHEET)
    console.print(dashboard.table(dev, pipeline.dashboard_name))  # metrics come a moment after records
    _closing_words(pipeline, time.monotonic() - started)
    lost = [upload.key for upload in uploads if upload.key not in records]
    if lost:
        raise PipelineError(
            f"{len(lost)} of {len(uploads)} images have no final record ({', '.join(lost[:5])}): see make logs"
        )


def deploy(targets: list[Target]) -> None:
    """Apply several environments at once: they are separate accounts, and none reads the state of another."""
    with console.status("deploying") as status, ThreadPoolExecutor(len(targets)) as pool:
        created: dict[str, int] = {target.environment.name: 0 for target in targets}

        def listener(name: str) -> Callable[[str], None]:
            def listen(line: str) -> None:
                created[name] += ": Creation complete" in line
                counts = ", ".join(f"{count} resources in {environment}" for environment, count in created.items())
                status.update(f"deploying: {counts}")

            return listen

        for applying in [pool.submit(terragrunt.apply, one, listener(one.environment.name)) for one in targets]:
            applying.result()


def report(uploads: list[Upload], records: dict[str, Record]) -> Table:
    """Return a row per file: status, variants, sizes, and time in the queue and in the processor."""
    table = Table(title="results", title_justify="left")
    for heading, right in (("file", False), ("status", False), ("variants", True), ("before", True), ("after", True)):
        table.add_column(heading, justify="right" if right else "left", overflow="fold")
    table.add_column("in queue", justify="right")
    table.add_column("in processor", justify="right")
    for upload in sorted(uploads, key=lambda upload: upload.key):
        record = records.get(upload.key)
        if record is None:
            table.add_row(literal(upload.key), "[bold red]LOST")
            continue
        variants = record.get("variants") or {}
        colour = {"READY": "green", "REJECTED": "yellow"}.get(record["status"], "red")
        status = f"[{colour}]{record['status']}[/] {(record.get('reason') or {}).get('code', '')}"
        after = human_bytes(sum(variant["bytes"] for variant in variants.values())) if variants else ""
        timings = record.get("timings", {})
        times = [f"{timings[name]:,.0f} ms" if name in timings else "" for name in ("queue_ms", "processing_ms")]
        table.add_row(literal(upload.key), status, str(len(variants) or ""), human_bytes(upload.size), after, *times)
    return table


def _tiles(pipeline: Pipeline, uploads: list[Upload], records: dict[str, Record]) -> list[tuple[str, bytes | str]]:
    def tile(upload: Upload) -> tuple[str, bytes | str]:
        record = records.get(upload.key)
        if not record or record["status"] != "READY":
            reason = (record.get("reason") or {}).get("code") or record["status"] if record else "LOST"
            return upload.key, str(reason)
        smallest = min(
            record["variants"].items(), key=lambda item: (not item[0].startswith("thumbnail"), item[1]["bytes"])
        )
        return upload.key, pipeline.api.variant(record["image_id"], smallest[0])

    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(tile, sorted(uploads, key=lambda upload: upload.key)))


def _closing_words(pipeline: Pipeline, seconds: float) -> None:
    outputs = pipeline.outputs
    console.print()
    for name, value in outputs.items():
        console.print(f"[bold]{name}[/] = {value}", soft_wrap=True, highlight=False)
    console.print(f"[bold]contact sheet[/] = {CONTACT_SHEET.relative_to(ROOT)}")
    console.print(f"[bold]took[/] {seconds:.0f} s\n\nNext, try:", highlight=False)
    for command in (
        'eval "$(make env)"                      # terragrunt, imagepipe and curl now reach the local cloud',
        "imagepipe list",
        "curl -s --aws-sigv4 aws:amz:$AWS_REGION:execute-api -u $AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY"
        f" '{outputs['api_url']}/images?limit=3'",
        "imagepipe upload ~/Pictures --wait",
        "(cd live/dev && terragrunt run --all plan)   # no changes",
        "make plan ENV=staging",
        "make down",
    ):
        console.print(f"  {command}", soft_wrap=True, highlight=False, markup=False)
