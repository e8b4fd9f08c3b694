"""The image into the registry and its digest into release.json; nothing is recorded before it is true."""

import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from imagepipe.container import REPOSITORY, base, build, layout, registry, sbom
from imagepipe.container.layout import Layout
from imagepipe.container.registry import Registry
from imagepipe.errors import PipelineError
from imagepipe.files import write_atomically
from imagepipe.live import environments
from imagepipe.live.environments import ROOT, Environment, Release
from imagepipe.localcloud import image_registry
from imagepipe.terragrunt.target import Cloud, Target

#: From the mildest to the worst, as ECR names them.
SEVERITIES = ("INFORMATIONAL", "LOW", "MEDIUM", "HIGH", "CRITICAL")
_SCAN_PAUSE_SECONDS = 3.0

Say = Callable[[str], None]


def build_push(
    environment: Environment, shared: Target, runs: Target | None, *, dirty: bool, host: str, say: Say
) -> bool:
    """Builds the image for an environment, pushes it by digest, and writes live/<env>/release.json.

    Args:
        shared: the account of the registry.
        runs: the account of the environment, to compare with what runs there; without, with what is released to it.
        dirty: whether changes that are not committed may be released; the release says so.
        host: another registry than the account's own, as host:port.

    Returns:
        Whether release.json changed.

    Raises:
        PipelineError: nothing was recorded; the message says what to do.
    """
    source = build.source()
    if source.dirty and not dirty:
        raise PipelineError(
            "lambda-image/ holds changes that are not committed: commit them, or say DIRTY=1, which the release records"
        )
    image = build.image(environment.platform, say)
    if shared.cloud is not Cloud.LOCAL and image["base"]["kind"] == base.STAND_IN:
        raise PipelineError(
            "the image stands on Debian packages that nobody updates, good for trying things out only: build where "
            f"{base.pinned().split('@')[0]} can be had"
        )
    digest = image["digest"]
    with _registry(shared, host) as found:
        _push(found, digest, say)
        bom = _attach_bom(found, digest, say)
        _tell_local_cloud(shared, digest, host)
        _wait_for_scan(shared, digest, say)
        before = _running_digest(runs) if runs else _released_digest(environment)
        _compare(found, before, digest, bom, image["source"]["commit"], say)
    # For whoever signs: the name that the digest has there, and the bill of materials.
    (build.BUILD / "pushed.json").write_text(
        json.dumps({"name": f"{found.host}/{REPOSITORY}", "digest": digest}) + "\n"
    )
    (build.BUILD / "sbom.cdx.json").write_bytes(bom)
    return _record(environment, image, say)


@contextmanager
def _registry(shared: Target, host: str) -> Iterator[Registry]:
    if host:
        yield Registry(host)
    elif shared.cloud is Cloud.LOCAL:
        yield Registry(image_registry.up(ROOT))
    else:
        environment = shared.environment
        with registry.ecr(shared.client("ecr"), environment.account_id, environment.region) as found:
            yield found


def _push(found: Registry, digest: str, say: Say) -> None:
    # Lambda and the registry's lifecycle rules go by digest and by tag: what is released carries a tag that is kept.
    tag = f"{REPOSITORY}:release-{digest.removeprefix('sha256:')[:16]}"
    if found.digest(tag) == digest:
        say(f"{found.host} has {digest} already")
        return
    say(f"pushing to {found.host}/{tag}")
    if (pushed := found.push(build.IMAGE, tag)) != digest:
        raise PipelineError(f"{found.host} has {pushed} where {digest} was pushed: nothing was recorded")


def _attach_bom(found: Registry, digest: str, say: Say) -> bytes:
    """Attaches the bill of materials as an artifact that refers to the image, outside the image's own manifest."""
    image = Layout(build.IMAGE)
    bom = sbom.describe(image)
    tag = f"{REPOSITORY}:sbom-{digest.removeprefix('sha256:')[:16]}"
    with tempfile.TemporaryDirectory() as scratch:
        artifact = layout.artifact(Path(scratch) / "sbom", bom, sbom.MEDIA_TYPE, image.descriptor)
        if found.digest(tag) != artifact.digest:
            found.push(artifact.folder, tag)
            say(f"bill of materials attached: {artifact.digest}")
    return bom


def _tell_local_cloud(shared: Target, digest: str, host: str) -> None:
    """The emulated ECR learns of what lies in the registry beside it."""
    if shared.cloud is not Cloud.LOCAL or host:
        return
    manifest = Layout(build.IMAGE).blob(digest).decode()
    try:
        shared.client("ecr").put_image(
            repositoryName=REPOSITORY,
            imageManifest=manifest,
            imageManifestMediaType=layout.MANIFEST_TYPE,
            imageTag=f"release-{digest.removeprefix('sha256:')[:16]}",
        )
    except ClientError as error:
        if error.response["Error"]["Code"] == "RepositoryNotFoundException":
            raise PipelineError("the registry is not deployed: make apply ENV=shared YES=1") from None
        if error.response["Error"]["Code"] not in {"ImageAlreadyExistsException", "ImageTagAlreadyExistsException"}:
            raise


def _wait_for_scan(shared: Target, digest: str, say: Say) -> None:
    """Waits for the registry's scan and refuses what it finds at or above the level that live/shared/env.hcl names.

    Raises:
        PipelineError: findings, a scan that failed, or none in time.
    """
    policy = environments.image_scan()
    if shared.cloud is Cloud.LOCAL:
        say("the local cloud does not scan images: not checked")
        return
    client = shared.client("ecr")
    deadline = time.monotonic() + policy.timeout_seconds
    while True:
        try:
            answer = client.describe_image_scan_findings(repositoryName=REPOSITORY, imageId={"imageDigest": digest})
            status = answer["imageScanStatus"]["status"]
        except client.exceptions.ScanNotFoundException:
            answer, status = {}, "PENDING"
        if status in {"COMPLETE", "ACTIVE"}:
            break
        if status not in {"IN_PROGRESS", "PENDING"}:
            raise PipelineError(
                f"the scan of {digest} ended as {status}: {answer['imageScanStatus'].get('description')}"
            )
        if time.monotonic() > deadline:
            raise PipelineError(f"no scan of {digest} after {policy.timeout_seconds} s: run it again, or look into ECR")
        time.sleep(_SCAN_PAUSE_SECONDS)
    judge_findings(answer.get("imageScanFindings", {}).get("findingSeverityCounts", {}), policy.refuse_from)
    say("scanned: nothing at or above " + policy.refuse_from)


def judge_findings(counts: dict[str, int], refuse_from: str) -> None:
    """Raises PipelineError for findings at or above a level."""
    refused = SEVERITIES[SEVERITIES.index(refuse_from) :]
    if found := {severity: counts[severity] for severity in refused[::-1] if counts.get(severity)}:
        told = ", ".join(f"{count} {severity}" for severity, count in found.items())
        raise PipelineError(
            f"the scan found {told}; {refuse_from} and above are refused (live/shared/env.hcl): update the base "
            "(make base) or the packages (make requirements), and look into ECR for which they are"
        )


def _released_digest(environment: Environment) -> str | None:
    """What release.json names, if it is an image that a registry may know."""
    image = environment.release.image if environment.release else "worktree"
    return None if image == "worktree" else image


def _running_digest(runs: Target) -> str | None:
    """What the environment's processor runs behind its alias; None if it is not deployed."""
    name = f"{runs.environment.prefix}-processor"
    try:
        found = runs.client("lambda").get_function(FunctionName=name, Qualifier="live")
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceNotFoundException":
            return None
        raise
    return str(found["Code"]["ImageUri"]).partition("@")[2]


def _compare(found: Registry, running: str | None, digest: str, bom: bytes, commit: str, say: Say) -> None:
    """Says what changes for the environment: packages, and commits to lambda-image/."""
    if running == digest:
        say("the environment runs this very image")
        return
    if running is None:
        say("the environment runs nothing yet")
        return
    tag = f"{REPOSITORY}:sbom-{running.removeprefix('sha256:')[:16]}"
    if found.digest(tag) is None:
        say(f"the environment runs {running}, which this registry does not know")
        return
    before, after = (
        sbom.versions(each) for each in (found.artifact(f"{REPOSITORY}:sbom-{running[7:23]}"), json.loads(bom))
    )
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            say(f"  {name}: {before.get(name, 'not there')} → {after.get(name, 'gone')}")
    labels = found.config(f"{REPOSITORY}@{running}")["config"].get("Labels", {})
    old = labels.get("org.opencontainers.image.revision", "").removesuffix("-dirty")
    command = ["git", "-C", str(ROOT), "log", "--format=%h %s", f"{old}..{commit}", "--", "lambda-image"]
    for line in subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines():
        say(f"  {line}")


def _record(environment: Environment, image: dict[str, Any], say: Say) -> bool:
    """Writes release.json, in one step and only if it says something else now."""
    file = environment.directory / "release.json"
    before = json.loads(file.read_text())
    source = image["source"]
    made = {
        "commit": source["commit"],
        "dirty": source["dirty"],
        "platform": image["platform"],
        "recipe": image["recipe"],
        "version": source["version"],
    }
    known = {name: value for name, value in before.get("build", {}).items() if name != "time"}
    if before["image"] == image["digest"] and known == made:
        say(f"live/{environment.name}/release.json names it already")
        return False
    moment = datetime.now(UTC).isoformat(timespec="seconds")
    after = {**before, "build": {**made, "time": moment}, "image": image["digest"]}
    Release.model_validate(after)
    write_atomically(file, json.dumps(after, indent=2, sort_keys=True) + "\n")
    say(f"live/{environment.name}/release.json: {before['image']} → {image['digest']}")
    return True
