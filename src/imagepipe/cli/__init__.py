"""The `imagepipe` command: what the Makefile calls, and what people call to work with images in any environment."""

import errno
import json
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from botocore.exceptions import BotoCoreError, ClientError
from rich.table import Table

from imagepipe import localcloud
from imagepipe.cli import ci
from imagepipe.cli import deliver as delivered
from imagepipe.cli import operate as commands
from imagepipe.console import console, human_bytes, literal, progress, say
from imagepipe.errors import PipelineError
from imagepipe.images import dashboard, demo, samples
from imagepipe.images.api_client import Record
from imagepipe.images.pipeline import TEST_DATA_TAG, Pipeline, Upload, Uploader, age, collect
from imagepipe.live import environments
from imagepipe.live.environments import ROOT
from imagepipe.localcloud import functions_from as functions
from imagepipe.localcloud.functions_from import Functions
from imagepipe.operations.deployment import Deployment
from imagepipe.operations.differences import Trouble
from imagepipe.operations.redrive import Choice
from imagepipe.releases import affected, releases, repository, rollout, seal
from imagepipe.terragrunt import drift, plans
from imagepipe.terragrunt import target as cloud
from imagepipe.terragrunt import units as terragrunt
from imagepipe.terragrunt.target import Cloud, Target

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(ci.app, name="ci", rich_help_panel="Workflows")

EnvironmentOption = Annotated[str, typer.Option("--env", envvar="ENV", help="Which environment, or all of them.")]
CloudOption = Annotated[
    Cloud, typer.Option("--cloud", envvar="CLOUD", help="The local cloud of this clone, or AWS with your credentials.")
]
YesOption = Annotated[bool, typer.Option("--yes", envvar="YES", help="Do not ask.")]
RateOption = Annotated[float, typer.Option(min=0.1, help="Messages a second.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]
FunctionsOption = Annotated[
    Functions | None,
    typer.Option("--functions", envvar="FUNCTIONS", help="What functions run from; kept until it is said again."),
]
PlatformOption = Annotated[
    str | None,
    typer.Option(envvar="PLATFORM", help="linux/amd64 or linux/arm64; without, what the environment's functions run."),
]
DirtyOption = Annotated[bool, typer.Option("--dirty", envvar="DIRTY", help="Release changes that are not committed.")]
RegistryOption = Annotated[str, typer.Option(envvar="REGISTRY", help="Another registry than ECR, as host:port.")]
BaseOption = Annotated[str, typer.Option(envvar="BASE", help="Commit, tag or branch; without, the main branch.")]
OutputJson = Annotated[bool, typer.Option("--json", help="As JSON.")]

#: Changing these is asked about first.
GUARDED = frozenset({"staging", "prod"})


# --- the local cloud --------------------------------------------------------------------------------------------------


@app.command(rich_help_panel="Local cloud")
def up(functions_: FunctionsOption = None) -> None:
    """Start the local cloud of this clone."""
    local = localcloud.up(ROOT)
    functions.choose(functions_, say)
    say(f"the local cloud is up at {local.endpoint}; functions run from the {functions.chosen()}")


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
    functions_: FunctionsOption = None,
) -> None:
    """Deploy dev on the local cloud and send images through it."""
    demo.run(folder, functions_)


# --- the image --------------------------------------------------------------------------------------------------------


@app.command("base", rich_help_panel="Image")
def base_(
    env: EnvironmentOption = "dev",
    platform: PlatformOption = None,
    image: Annotated[str, typer.Option(help="The public image to pin; without, the one that is named now.")] = "",
) -> None:
    """Pin the newest digest of the public base, or make a stand-in where its registry is out of reach."""
    from imagepipe.container import base  # slow to import, like all that works with images

    wanted = platform or environments.load(env).platform
    name = image or base.pinned()
    if digest := base.pin(name):
        say(f"{name.split('@')[0]} is pinned to its newest digest, {digest}")
        return
    with console.status(f"{name} is out of reach: making a stand-in for {wanted} from Debian packages"):
        made = base.make(wanted.split("/")[1])
    say(f"stand-in for {wanted}: {made.digest}")


@app.command("build", rich_help_panel="Image")
def build_(env: EnvironmentOption = "dev", platform: PlatformOption = None) -> None:
    """Build the image; with nothing changed, only say which it is."""
    from imagepipe.container import build

    made = build.image(platform or environments.load(env).platform, say)
    sizes = made["bytes"]
    say(
        f"{made['digest']} for {made['platform']}: {human_bytes(sizes['compressed'])} compressed, "
        f"{human_bytes(sizes['compressed_above_base'])} of it above the base"
    )


@app.command("build-push", rich_help_panel="Image")
def build_push(
    env: EnvironmentOption = "dev",
    cloud_: CloudOption = Cloud.LOCAL,
    dirty: DirtyOption = False,
    registry: RegistryOption = "",
) -> None:
    """Build the image, push it by digest, and write it into an environment's release.json."""
    from imagepipe.releases import publish_image as release

    environment = environments.load(env)
    if environment.release is None:
        raise PipelineError(f"{env} runs no image: ENV is one of dev, staging, prod")
    # On AWS, credentials are of one account, and it is the registry's that are needed.
    runs = _target(env, cloud_) if cloud_ is Cloud.LOCAL else None
    release.build_push(environment, _target(environments.SHARED, cloud_), runs, dirty=dirty, host=registry, say=say)


# --- deployments ------------------------------------------------------------------------------------------------------


@app.command(rich_help_panel="Deployments")
def bootstrap(env: EnvironmentOption = "dev", cloud_: CloudOption = Cloud.LOCAL) -> None:
    """Make the state bucket and the lock table of an environment's account and region."""
    for target in _targets(env, cloud_):
        terragrunt.bootstrap(target, print)
        say(f"state bucket and lock table of {target.description} are there")


@app.command("affected", rich_help_panel="Deployments")
def affected_(base: BaseOption = "", as_json: OutputJson = False) -> None:
    """Name the units that a change reaches, with the first thing through which it does."""
    found = affected.since(base or repository.main_branch())
    removed = affected.removed(base or repository.main_branch())
    if as_json:
        print(json.dumps({"units": {each.unit: each.because for each in found}, "removed": removed}, indent=2))
        return
    for each in found:
        print(f"{each.unit:<20} {each.because}")
    for unit in removed:
        print(f"{unit:<20} removed; what it deployed stays until somebody destroys it")
    say(f"{len(found)} units are affected")


@app.command(rich_help_panel="Deployments")
def plan(
    env: EnvironmentOption = "dev",
    cloud_: CloudOption = Cloud.LOCAL,
    units: Annotated[str, typer.Option(help="Some units, with commas; affected: those that BASE..HEAD reaches.")] = "",
    base: BaseOption = "",
    bundle_: Annotated[Path | None, typer.Option("--bundle", help="Seal the plans in this file.")] = None,
    labels: Annotated[str, typer.Option(envvar="LABELS", help="Of the pull request, with commas.")] = "",
) -> None:
    """Show what would change, and count it per unit. With a bundle, that is what apply may then apply."""
    for target in _targets(env, cloud_):
        say(f"planning {target.description}")
        if bundle_ is None and not units:
            console.print(plans.table(terragrunt.plan(target, print), f"plan of {target.environment.name}"))
        else:
            delivered.plan(target, units, base, bundle_, labels)


@app.command("plan-key", rich_help_panel="Deployments")
def plan_key() -> None:
    """Print a new key for bundles of plans: PLAN_KEY, a secret of the repository."""
    print(seal.new_key())


@app.command("drift", rich_help_panel="Deployments")
def drift_(
    env: EnvironmentOption = "dev",
    cloud_: CloudOption = Cloud.LOCAL,
    as_json: OutputJson = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="As Markdown, for an issue.")] = False,
    report: Annotated[
        Path | None, typer.Option(help="Write it as Markdown into this file, which is empty where nothing differs.")
    ] = None,
) -> None:
    """Show where what is deployed differs from the files, by resource and attribute. Changes nothing.

    Exit code: 0 nowhere, 1 an error, 2 somewhere.
    """
    found: dict[str, list[drift.Difference]] = {}
    for target in _targets(env, cloud_):
        say(f"comparing {target.description}")
        found[target.environment.name] = drift.find(target, lambda _: None)
    if as_json:
        print(json.dumps({name: [each.as_json() for each in some] for name, some in found.items()}, indent=2))
    if report is not None:
        report.parent.mkdir(parents=True, exist_ok=True)
        report.write_text("".join(drift.markdown(some, name) for name, some in found.items() if some))
    for name, some in found.items():
        if as_markdown:
            print(drift.markdown(some, name))
        elif some and not as_json:
            console.print(drift.table(some, f"{name} differs from its files"))
        say(f"make apply ENV={name} mends it" if some else f"{name} is what its files say")
    raise typer.Exit(2 if any(found.values()) else 0)


@app.command(rich_help_panel="Deployments")
def apply(
    env: EnvironmentOption = "dev",
    cloud_: CloudOption = Cloud.LOCAL,
    bundle_: Annotated[Path | None, typer.Option("--bundle", help="Apply these plans, and nothing else.")] = None,
    yes: YesOption = False,
) -> None:
    """Bring an environment to what its files say, or apply what was planned. Asks first in staging and prod.

    Exit code: 0 done, 1 an error, 3 the bundle is applied, and what depends on it is to be planned now.
    """
    for target in _targets(env, cloud_):
        if target.environment.name in GUARDED:
            _confirm(f"Apply to {target.description}?", yes)
        if bundle_ is not None:
            raise typer.Exit(delivered.apply(target, bundle_))
        rollout.apply_directly(target, print)
        say(f"{target.description} is applied")


@app.command("smoke", rich_help_panel="Deployments")
def smoke_(env: EnvironmentOption = "dev", cloud_: CloudOption = Cloud.LOCAL) -> None:
    """Send an image through an environment, read it back by the API and remove it."""
    delivered.smoke(_target(env, cloud_))


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


# --- releases ---------------------------------------------------------------------------------------------------------


@app.command("promote", rich_help_panel="Releases")
def promote_(
    source: Annotated[str, typer.Option("--from", envvar="FROM", help="The environment that runs it.")],
    to: Annotated[str, typer.Option("--to", envvar="TO", help="The environment that comes next.")],
    cloud_: CloudOption = Cloud.LOCAL,
) -> None:
    """Make the branch that releases to one environment what really runs in the one before it."""
    delivered.promote(source, to, cloud_)


@app.command("promote-check", rich_help_panel="Releases")
def promote_check(base: BaseOption = "", cloud_: CloudOption = Cloud.LOCAL) -> None:
    """Check a change of a release file: nothing else changes, and it is what runs in the environment before."""
    delivered.check(base, cloud_)


@app.command("rollback", rich_help_panel="Releases")
def rollback_(
    to: Annotated[
        str, typer.Option("--to", envvar="TO", help="A commit or tag at which its release file says it; or previous.")
    ],
    env: EnvironmentOption = "prod",
    cloud_: CloudOption = Cloud.LOCAL,
) -> None:
    """Make the branch that takes an environment back to a release that it ran before."""
    delivered.rollback(env, to, cloud_)


@app.command("release", rich_help_panel="Releases")
def release_(version: Annotated[str, typer.Argument(help="Like 1.4.0.")]) -> None:
    """Tag the checkout as a version that the changelog speaks of; release files may name the tag."""
    print(releases.tag(version))
    say(f"tagged v{version}; git push origin v{version} publishes it")


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
            record["image_id"], literal(source["key"]), _status(record), source.get("format") or "", size,
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
        with progress() as bar:
            list(bar.track(pipeline.remove_objects(keys), total=len(keys), description="remove"))
    say(f"{len(keys)} test images removed")


# --- operations -------------------------------------------------------------------------------------------------------


@app.command("failures", rich_help_panel="Operations")
def failures_(
    env: EnvironmentOption = "dev",
    cloud_: CloudOption = Cloud.LOCAL,
    status: Annotated[str | None, typer.Option(help="Only FAILED, or only REJECTED ones.")] = None,
    examples: Annotated[int, typer.Option(min=1, help="Images to name for each reason.")] = 3,
    as_json: OutputJson = False,
) -> None:
    """Show which images are not served, why and since when, grouped by reason.

    Exit code: 0 there are none, 3 there are some.
    """
    deployment = Deployment.of(_target(env, cloud_))
    raise typer.Exit(commands.show_failures(deployment, commands.statuses(status), examples, as_json=as_json))


@app.command("redrive", rich_help_panel="Operations")
def redrive_(
    env: EnvironmentOption = "dev",
    cloud_: CloudOption = Cloud.LOCAL,
    reason: Annotated[list[str] | None, typer.Option(help="Only images that failed for it.")] = None,
    image: Annotated[list[str] | None, typer.Option(help="Only the image with this id.")] = None,
    rate: RateOption = 50,
    dry_run: DryRunOption = False,
    discard: Annotated[bool, typer.Option("--discard", help="Delete the messages that are no events instead.")] = False,
    yes: YesOption = False,
) -> None:
    """Put failed images back to work: all, by reason or by image. Twice does no harm.

    Exit code: 0 done, 1 an error; what was not put back by then is where it was.
    """
    deployment = Deployment.of(_target(env, cloud_))
    if discard:
        raise typer.Exit(commands.discard(deployment, partial(_confirm, yes=yes)))
    choice = Choice(frozenset(reason or ()), frozenset(image or ()))
    raise typer.Exit(commands.put_back(deployment, choice, rate, dry=dry_run))


@app.command("reprocess", rich_help_panel="Operations")
def reprocess_(
    image_ids: Annotated[list[str] | None, typer.Argument(help="These images, by id.")] = None,
    env: EnvironmentOption = "dev",
    cloud_: CloudOption = Cloud.LOCAL,
    every: Annotated[bool, typer.Option("--all", help="Every image.")] = False,
    outdated: Annotated[bool, typer.Option("--outdated", help="What another recipe than today's has made.")] = False,
    recipe: Annotated[str | None, typer.Option(help="What this version of the recipe has made.")] = None,
    prefix: Annotated[str, typer.Option(help="Keys that begin so.")] = "",
    since: Annotated[str, typer.Option(help="Uploaded since: 2026-01-31, 2026-01-31T04:30 or 2h (ago).")] = "",
    until: Annotated[str, typer.Option(help="Uploaded until then.")] = "",
    status: Annotated[str, typer.Option(help="READY ones, if not said; REJECTED ones after limits changed.")] = "",
    reason: Annotated[str | None, typer.Option(help="Rejected for it.")] = None,
    rate: RateOption = 50,
    restart: Annotated[bool, typer.Option("--restart", help="Forget how far an earlier run came.")] = False,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
) -> None:
    """Make images again, behind whatever is uploaded meanwhile. Says what that takes, and asks.

    Ctrl-C stops it; the same command goes on from there.

    Exit code: 0 all are sent, 1 an error, 130 stopped.
    """
    if not (image_ids or every or outdated or recipe or prefix or since or until or status or reason):
        raise PipelineError(
            "say which images: ids, --outdated, --recipe, --prefix, --since, --until, --status, --reason, or --all of "
            "them (of make: IDS, OUTDATED=1, RECIPE, KEYS, SINCE, UNTIL, STATUS, REASON, or ALL=1)"
        )
    deployment = Deployment.of(_target(env, cloud_))
    selection = commands.selection(
        status,
        image_ids=tuple(image_ids or ()),
        prefix=prefix,
        since=since,
        until=until,
        recipe=recipe,
        not_recipe=deployment.workers.recipe if outdated else None,
        reason=reason,
    )
    confirm = partial(_confirm, yes=yes)
    raise typer.Exit(commands.make_again(deployment, selection, rate, confirm, restart=restart, dry=dry_run))


@app.command("reconcile", rich_help_panel="Operations")
def reconcile_(
    env: EnvironmentOption = "dev",
    cloud_: CloudOption = Cloud.LOCAL,
    mend: Annotated[bool, typer.Option("--repair", help="Mend what does not match, after asking.")] = False,
    only: Annotated[Trouble | None, typer.Option(help="Only differences of this kind.")] = None,
    min_age: Annotated[
        str, typer.Option(help="Leave alone what changed within: 15m. Else as long as work can take.")
    ] = "",
    examples: Annotated[int, typer.Option(min=1, help="Names to show of each kind.")] = 3,
    rate: RateOption = 50,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, a difference per line.")] = False,
    yes: YesOption = False,
) -> None:
    """Compare bucket, records and variants, and list what does not match; mends it when told to.

    Exit code: 0 all matches or is being mended, 1 an error, 3 there are differences.
    """
    deployment = Deployment.of(_target(env, cloud_))
    scope, confirm = commands.Scope(only, min_age), partial(_confirm, yes=yes)
    raise typer.Exit(commands.reconcile(deployment, scope, examples, rate, confirm, mend=mend, as_json=as_json))


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
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        sys.exit(f"imagepipe: the disk is full: make room and run it again ({error.filename or 'no file named'})")
    except KeyboardInterrupt:
        sys.exit("imagepipe: interrupted")
