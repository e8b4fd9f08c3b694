"""Runs Terragrunt over the units of one environment, and reads what the units put out."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

from botocore.exceptions import ClientError

from imagepipe.console import say
from imagepipe.container import REPOSITORY, source_tree
from imagepipe.errors import PipelineError
from imagepipe.live import environments
from imagepipe.live.environments import LIVE, ROOT
from imagepipe.localcloud import functions_from as functions
from imagepipe.localcloud import image_store
from imagepipe.localcloud.folder import Folder
from imagepipe.terragrunt.target import Cloud, Target
from imagepipe.tools import tool_variables

#: Logs of the last run of each environment.
BUILD = ROOT / "build"

#: Reads outputs of dependencies straight from the state bucket, without an init for each. Not in the environment, where
#: older releases would trip over it.
FAST_OUTPUTS = ("--experiment", "dependency-fetch-output-from-state")

#: What a unit's state is called, below the unit's own path.
_STATE = "terraform.tfstate"

#: Called with every line that Terragrunt prints.
Listener = Callable[[str], None]


@dataclass(frozen=True)
class StateLocation:
    bucket: str
    key: str


def bootstrap(target: Target, listener: Listener) -> None:
    """Makes the state bucket and the lock table of the environment's account and region, where they are missing."""
    if not has_state_bucket(target):
        unit = _independent_unit(target.environment.directory)
        _run(target, "bootstrap", ["backend", "bootstrap", "--working-dir", str(unit)], listener)


def plan(target: Target, listener: Listener) -> dict[str, dict[str, Any]]:
    """Plan every unit and return the plans by unit, as `terraform show -json` writes them.

    What depends on units that are not deployed yet is planned with mock outputs.

    Raises:
        PipelineError: the environment has no state bucket yet, or Terragrunt failed.
    """
    with tempfile.TemporaryDirectory(prefix="plans-") as folder:
        _plan(target, ["--json-out-dir", folder], listener)
        return {
            unit: json.loads((Path(folder) / unit / "tfplan.json").read_text()) for unit in target.environment.units
        }


def plan_deployed(target: Target, listener: Listener) -> dict[str, dict[str, Any]]:
    """Plan every unit of a deployed environment, so that no plan holds mock outputs.

    Raises:
        PipelineError: the environment is not deployed, or Terragrunt failed.
    """
    outputs(target)
    return plan(target, listener)


def save_plans(target: Target, units: list[str], folder: Path, listener: Listener) -> dict[str, dict[str, Any]]:
    """Plans some units into <folder>/<unit>.tfplan, and returns the same as JSON.

    Raises:
        PipelineError: the environment has no state bucket yet, or Terragrunt failed.
    """
    if not units:
        return {}
    with tempfile.TemporaryDirectory(prefix="plans-") as scratch:
        raw, readable = Path(scratch) / "raw", Path(scratch) / "json"
        chosen = [option for unit in units for option in ("--filter", f"./{unit}")]
        _plan(target, ["--out-dir", str(raw), "--json-out-dir", str(readable), *chosen], listener)
        for unit in units:
            shutil.copy(raw / unit / "tfplan.tfplan", folder / f"{unit}.tfplan")
        return {unit: json.loads((readable / unit / "tfplan.json").read_text()) for unit in units}


def apply_plan(target: Target, unit: str, plan: Path, listener: Listener) -> None:
    """Applies one unit's saved plan, which Terraform refuses if the state has moved on."""
    folder = str(target.environment.directory / unit)
    arguments = ["run", *FAST_OUTPUTS, "--working-dir", folder, "--", "apply", "-input=false", str(plan)]
    _run(target, f"apply-{unit}", arguments, listener)


def _plan(target: Target, options: list[str], listener: Listener) -> None:
    if not has_state_bucket(target):
        name = target.environment.name
        raise PipelineError(f"{name} has no state bucket yet: make bootstrap ENV={name}")
    _require_image(target)
    # Dependencies only decide what may be applied first; their outputs are read from state, so plans need not wait.
    # Nor do they lock: who may only look may write no lock either, and Terraform refuses saved plans of an old state.
    _run_all(target, "plan", ["--queue-ignore-dag-order", *options], listener, "-lock=false")


def apply(target: Target, listener: Listener) -> None:
    """Makes the state bucket where it is missing, then applies unit after unit.

    Raises:
        PipelineError: the release has no image that AWS could run, or Terragrunt failed.
    """
    prepare_apply(target, listener)
    _run_all(target, "apply", [], listener)


def prepare_apply(target: Target, listener: Listener) -> None:
    """What must be there before anything is applied: an image that can be run, and a place for the state."""
    _require_image(target)
    bootstrap(target, listener)


def destroy(target: Target, listener: Listener) -> None:
    """Destroys every unit, dependents first; the state bucket and its history stay. Nothing there is nothing to do.

    A workflow leaves the unit that lets it in: an administrator destroys that.

    Raises:
        PipelineError: the environment is protected; said before anything is destroyed, not half-way.
    """
    name = target.environment.name
    if not has_state_bucket(target):
        return
    if target.environment.protected:
        raise PipelineError(
            f"{name} is protected: set deletion_protection = false and force_destroy = true "
            f"in live/{name}/env.hcl, make apply ENV={name}, then destroy it"
        )
    _run_all(target, "destroy", [] if target.administers else ["--filter", f"!./{environments.ACCESS_UNIT}"], listener)


def _require_image(target: Target) -> None:
    """What a release names must be in the registry that it is run from, or the functions would fail at their start."""
    release, name = target.environment.release, target.environment.name
    if release is None:
        return
    if target.cloud is Cloud.AWS:
        if release.image == "worktree" and source_tree.stands_in():
            raise PipelineError(
                f"live/{name}/release.json has no image that AWS could run: make build-push ENV={name} CLOUD=aws, "
                "with credentials of the registry's account (README, Into your own accounts)"
            )
        _require_in_registry(target, source_tree.recorded() if release.image == "worktree" else release.image)
    elif release.image != "worktree" and functions.chosen() is functions.Functions.IMAGE:
        try:
            image_store.find(Folder(ROOT), release.image, REPOSITORY)
        except PipelineError as error:
            raise PipelineError(f"live/{name}/release.json: {error}") from None


def _require_in_registry(target: Target, digest: str) -> None:
    registry, name = environments.load(environments.SHARED), target.environment.name
    try:
        answer = target.client("ecr").batch_get_image(
            registryId=registry.account_id, repositoryName=REPOSITORY, imageIds=[{"imageDigest": digest}]
        )
    except ClientError as error:
        raise PipelineError(
            f"the registry in account {registry.account_id} cannot be asked for the image of {name}: {error}"
        ) from None
    if not answer["images"]:
        raise PipelineError(
            f"the registry in account {registry.account_id} has no {digest}, which live/{name}/release.json names: "
            f"make build-push ENV={name} CLOUD=aws, or name an image that is there"
        )


def outputs(target: Target) -> dict[str, dict[str, Any]]:
    """Every unit's outputs by unit name, read from the state files; a unit that was never applied has none.

    Raises:
        PipelineError: nothing of the environment is applied.
    """
    found = {
        unit: {name: output["value"] for name, output in state["outputs"].items()}
        for unit, state in states(target).items()
    }
    if not any(found.values()):
        name = target.environment.name
        raise PipelineError(f"{name} is not deployed: make apply ENV={name}")
    return found


def states(target: Target) -> dict[str, dict[str, Any]]:
    """The state of every unit of the environment that was ever applied, as Terraform keeps it."""
    found = {unit: read_beside_state(target, f"{unit}/{_STATE}") for unit in target.environment.units}
    return {unit: json.loads(state) for unit, state in found.items() if state is not None}


def orphans(target: Target) -> list[str]:
    """Units whose folder is gone while their state still names resources: what they deployed, nobody looks after."""
    location = _state_location(target, "")
    prefix = location.key.removesuffix(_STATE).rstrip("/") + "/"
    pages = target.client("s3").get_paginator("list_objects_v2").paginate(Bucket=location.bucket, Prefix=prefix)
    keys = [each["Key"].removeprefix(prefix) for page in pages for each in page.get("Contents", [])]
    gone = {key.removesuffix(f"/{_STATE}") for key in keys if key.endswith(f"/{_STATE}")} - {*target.environment.units}
    left = {unit: json.loads(read_beside_state(target, f"{unit}/{_STATE}") or b"{}") for unit in gone}
    return sorted(unit for unit, state in left.items() if state.get("resources"))


def read_beside_state(target: Target, name: str) -> bytes | None:
    """An object of the environment's part of the state bucket; None if there is none.

    Raises:
        PipelineError: it may not be read, or the bucket does not answer.
    """
    location = _state_location(target, "")
    try:
        key = location.key.removesuffix(_STATE) + name
        return bytes(target.client("s3").get_object(Bucket=location.bucket, Key=key)["Body"].read())
    except ClientError as error:
        if error.response["Error"]["Code"] in {"NoSuchKey", "NoSuchBucket", "404"}:
            return None
        raise PipelineError(f"the state of {target.environment.name} cannot be read: {error}") from None


def write_beside_state(target: Target, name: str, content: bytes) -> None:
    location = _state_location(target, "")
    key = location.key.removesuffix(_STATE) + name
    target.client("s3").put_object(Bucket=location.bucket, Key=key, Body=content, ContentType="application/json")


def versions() -> dict[str, str]:
    """What plans are made with."""
    environment = {**os.environ, **tool_variables()}
    told = subprocess.run(
        ["terraform", "version", "-json"], capture_output=True, text=True, env=environment, check=True
    )
    return {
        "provider aws": str(json.loads((ROOT / "tools.json").read_text())["terraform-provider-aws"]),
        "terraform": str(json.loads(told.stdout[told.stdout.index("{") :])["terraform_version"]),
        "terragrunt": ask("--version").split()[-1].removeprefix("v"),
    }


def has_state_bucket(target: Target) -> bool:
    try:
        bucket = _state_location(target, "").bucket
        target.client("s3").head_bucket(Bucket=bucket)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
            return False
        raise PipelineError(f"the state bucket of {target.environment.name} cannot be reached: {error}") from None
    return True


def _state_location(target: Target, unit: str) -> StateLocation:
    location = _rendered_state_location(target.environment.directory)
    return StateLocation(location.bucket, "/".join(filter(None, [location.key, unit, _STATE])))


def _independent_unit(directory: Path) -> Path:
    """A unit that depends on no other, which can be read without anybody's outputs. All share one state bucket."""
    names = (file.parent.name for file in sorted(directory.glob("*/terragrunt.hcl")))
    name = next(name for name in names if "dependency " not in (LIVE / f"_units/{name}.hcl").read_text())
    return directory / name


@cache
def _rendered_state_location(directory: Path) -> StateLocation:
    """Where the root configuration puts state, asked of Terragrunt so that it is written down once only."""
    unit = str(_independent_unit(directory))
    config = json.loads(ask("render", "--json", "--working-dir", unit))["remote_state"]["config"]
    return StateLocation(config["bucket"], config["key"].rsplit("/", 2)[0])


def ask(*arguments: str) -> str:
    """What Terragrunt prints of the files, without any cloud."""
    command = ["terragrunt", *arguments, "--log-level", "error"]
    environment = {**os.environ, **tool_variables()}
    finished = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if finished.returncode:
        raise PipelineError(f"`{' '.join(command)}` failed:\n{finished.stderr.strip()}")
    return finished.stdout


def _run_all(target: Target, command: str, options: list[str], listener: Listener, *more: str) -> None:
    directory = str(LIVE / target.environment.name)
    run = ["run", "--all", *FAST_OUTPUTS, "--working-dir", directory, *options]
    _run(target, command, [*run, "--", command, "-input=false", *more], listener)


def _run(target: Target, name: str, arguments: list[str], listener: Listener) -> None:
    """Runs Terragrunt, hands on what it prints, keeps it in a log, and raises with the log's errors if it fails."""
    log_file = BUILD / "logs" / f"{target.environment.name}-{name}.log"
    log_file.parent.mkdir(parents=True, exist_ok=True)
    with _patience(), log_file.open("w", buffering=1) as log:  # line by line, for those who watch it
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
        raise PipelineError(
            f"terragrunt {name} of {target.environment.name} failed; the whole log: {log_file.relative_to(ROOT)}"
        )


@contextmanager
def _patience() -> Iterator[None]:
    """Ctrl-C within is raised when all is done; pressed again, at once.

    It reaches Terraform too, which ends what it has begun and writes its state. An exception in the middle of reading
    what Terraform prints would lose lines; Python goes on reading when a handler returns. Threads besides the first are
    never interrupted: who started them waits for them.
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
        say("interrupted: Terraform ends what it has begun (Ctrl-C again: it is left alone, its lock stays)")

    before = signal.signal(signal.SIGINT, press)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        raise KeyboardInterrupt
