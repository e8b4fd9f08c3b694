"""Terraform's state in the state bucket: where it is, what the units put out, and files kept beside it."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from imagepipe.errors import PipelineError
from imagepipe.live.environments import LIVE
from imagepipe.terragrunt import runner
from imagepipe.terragrunt.target import Target

#: A unit's state is called so, below the unit's own path.
_STATE = "terraform.tfstate"

State = dict[str, Any]


@dataclass(frozen=True)
class Location:
    """The place of an environment's states and of their locks."""

    bucket: str
    lock_table: str
    #: Of the environment, without a slash at its end.
    prefix: str


def outputs(target: Target) -> dict[str, dict[str, Any]]:
    """Return every unit's outputs by unit, read from the state files; a unit that was never applied has none.

    Raises:
        PipelineError: no unit of the environment is applied.
    """
    values = {unit: outputs_in(state) for unit, state in states(target).items()}
    if not any(values.values()):
        name = target.environment.name
        raise PipelineError(f"{name} is not deployed: make apply ENV={name}")
    return values


def outputs_in(state: State) -> dict[str, Any]:
    """Return the values of a state's outputs by name."""
    return {name: output["value"] for name, output in state["outputs"].items()}


def states(target: Target) -> dict[str, State]:
    """Return the state of every unit of the environment that was ever applied, as Terraform keeps it."""
    contents = {unit: read_beside_state(target, f"{unit}/{_STATE}") for unit in target.environment.units}
    return {unit: json.loads(content) for unit, content in contents.items() if content is not None}


def orphans(target: Target) -> list[str]:
    """Return units whose folder is gone while their state still names resources."""
    place = location(target)
    prefix = f"{place.prefix}/"
    pages = target.client("s3").get_paginator("list_objects_v2").paginate(Bucket=place.bucket, Prefix=prefix)
    keys = [entry["Key"].removeprefix(prefix) for page in pages for entry in page.get("Contents", [])]
    gone = {key.removesuffix(f"/{_STATE}") for key in keys if key.endswith(f"/{_STATE}")} - {*target.environment.units}
    left = {unit: json.loads(read_beside_state(target, f"{unit}/{_STATE}") or b"{}") for unit in gone}
    return sorted(unit for unit, state in left.items() if state.get("resources"))


def read_beside_state(target: Target, name: str) -> bytes | None:
    """Return an object of the environment's part of the state bucket, or None if there is none.

    Raises:
        PipelineError: the object may not be read, or the bucket does not answer.
    """
    place = location(target)
    try:
        answer = target.client("s3").get_object(Bucket=place.bucket, Key=f"{place.prefix}/{name}")
        return bytes(answer["Body"].read())
    except ClientError as error:
        if error.response["Error"]["Code"] in {"NoSuchKey", "NoSuchBucket", "404"}:
            return None
        raise PipelineError(
            f"the state of {target.environment.name} cannot be read: {error}; use credentials that may read "
            f"s3://{place.bucket}/{place.prefix}"
        ) from None


def write_beside_state(target: Target, name: str, content: bytes) -> None:
    """Write an object, JSON by content, into the environment's part of the state bucket."""
    place = location(target)
    key = f"{place.prefix}/{name}"
    target.client("s3").put_object(Bucket=place.bucket, Key=key, Body=content, ContentType="application/json")


def has_state_bucket(target: Target) -> bool:
    """Tell whether the state bucket exists.

    Raises:
        PipelineError: it may not be looked at, or does not answer.
    """
    bucket = location(target).bucket
    try:
        target.client("s3").head_bucket(Bucket=bucket)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
            return False
        raise PipelineError(
            f"the state bucket {bucket} of {target.environment.name} cannot be reached: {error}; use credentials of "
            f"account {target.environment.account_id}"
        ) from None
    return True


def independent_unit(directory: Path) -> Path:
    """Return a unit that depends on no other, so that Terragrunt reads it without outputs of others."""
    names = (file.parent.name for file in sorted(directory.glob("*/terragrunt.hcl")))
    name = next(name for name in names if "dependency " not in (LIVE / f"_units/{name}.hcl").read_text())
    return directory / name


def location(target: Target) -> Location:
    """Return where the root configuration keeps the states of an environment."""
    return _rendered_location(target.environment.directory)


@cache
def _rendered_location(directory: Path) -> Location:
    """Ask Terragrunt where the root configuration keeps state. All units of an environment share a bucket."""
    unit = str(independent_unit(directory))
    config = json.loads(runner.ask("render", "--json", "--working-dir", unit))["remote_state"]["config"]
    return Location(config["bucket"], config["dynamodb_table"], config["key"].rsplit("/", 2)[0])
