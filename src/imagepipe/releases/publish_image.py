"""Pushes the image to the registry, then writes its digest into release.json."""

import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from imagepipe.container import REPOSITORY, base, build, layout, sbom
from imagepipe.container.layout import Layout
from imagepipe.container.registry import Registry, ecr
from imagepipe.errors import PipelineError
from imagepipe.files import write_atomically
from imagepipe.live.environments import ROOT, WORKTREE, Environment, Release
from imagepipe.localcloud import image_registry
from imagepipe.releases import image_scan, snapshot
from imagepipe.terragrunt.target import Cloud, Target

Say = Callable[[str], None]


def build_push(
    environment: Environment, shared: Target, runs: Target | None, *, dirty: bool, host: str, say: Say
) -> bool:
    """Build the image for an environment, push it by digest, and write live/<env>/release.json.

    Args:
        shared: the account of the registry.
        runs: the account of the environment, to compare with what runs there; without, with what is released to it.
        dirty: whether uncommitted changes may be released; the release says so.
        host: another registry than the account's own, as host:port.

    Returns:
        Whether release.json changed.

    Raises:
        PipelineError: release.json is unchanged; the message says what to do.
    """
    source = build.source()
    if source.dirty and not dirty:
        raise PipelineError(
            "lambda-image/ holds changes that are not committed: commit them, or set DIRTY=1, which the release records"
        )
    image = build.image(environment.platform, say)
    if shared.cloud is not Cloud.LOCAL and image["base"]["kind"] == base.STAND_IN:
        raise PipelineError(
            "the image stands on Debian packages without updates, which are for trials only: build where "
            f"{base.pinned_name().split('@')[0]} can be had"
        )
    digest = image["digest"]
    with _registry(shared, host) as registry:
        _push(registry, digest, say)
        bom = _attach_bom(registry, digest, say)
        _tell_local_cloud(shared, digest, host)
        image_scan.wait(shared, digest, say)
        before = _running_digest(runs, say) if runs else _released_digest(environment)
        _compare(registry, before, digest, bom, image["source"]["commit"], say)
    # What the workflow image signs: the name that the digest has there, and the bill of materials.
    (build.BUILD / "pushed.json").write_text(
        json.dumps({"name": f"{registry.host}/{REPOSITORY}", "digest": digest}) + "\n"
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
        with ecr(shared.client("ecr"), environment.account_id, environment.region) as registry:
            yield registry


def _push(registry: Registry, digest: str, say: Say) -> None:
    # Lambda names images by digest; the registry's lifecycle rule deletes images without a tag.
    tag = f"{REPOSITORY}:release-{digest.removeprefix('sha256:')[:16]}"
    if registry.digest(tag) == digest:
        say(f"{registry.host} has {digest} already")
        return
    say(f"pushing to {registry.host}/{tag}")
    if (stored := registry.push(build.IMAGE, tag)) != digest:
        raise PipelineError(
            f"{registry.host} stored {stored} where {digest} was pushed, and release.json is unchanged: push again"
        )


def _attach_bom(registry: Registry, digest: str, say: Say) -> bytes:
    """Attach the bill of materials as an artifact that refers to the image, outside the image's own manifest."""
    image = Layout(build.IMAGE)
    bom = sbom.describe(image)
    tag = f"{REPOSITORY}:sbom-{digest.removeprefix('sha256:')[:16]}"
    with tempfile.TemporaryDirectory() as scratch:
        artifact = layout.artifact(Path(scratch) / "sbom", bom, sbom.MEDIA_TYPE, image.descriptor)
        if registry.digest(tag) != artifact.digest:
            registry.push(artifact.folder, tag)
            say(f"bill of materials attached: {artifact.digest}")
    return bom


def _tell_local_cloud(shared: Target, digest: str, host: str) -> None:
    """Register the image with the emulated ECR, which does not see the registry beside it."""
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


def _released_digest(environment: Environment) -> str | None:
    """Return the digest that release.json names, or None."""
    image = environment.release.image if environment.release else WORKTREE
    return None if image == WORKTREE else image


def _running_digest(runs: Target, say: Say) -> str | None:
    """Return the digest of the image that the environment's functions run, or None if it is not deployed."""
    digests = sorted({*snapshot.take(runs).running_digests.values()})
    if len(digests) > 1:
        say(f"the functions run {len(digests)} different images, compared with the first: make apply mends it")
    return digests[0] if digests else None


def _compare(registry: Registry, running: str | None, digest: str, bom: bytes, commit: str, say: Say) -> None:
    """Say what changes for the environment: packages, and commits to lambda-image/."""
    if running == digest:
        say("the environment runs this very image")
        return
    if running is None:
        say("the environment runs nothing yet")
        return
    tag = f"{REPOSITORY}:sbom-{running.removeprefix('sha256:')[:16]}"
    if registry.digest(tag) is None:
        say(f"the environment runs {running}, which this registry does not know")
        return
    before, after = (
        sbom.versions(document)
        for document in (registry.artifact(f"{REPOSITORY}:sbom-{running[7:23]}"), json.loads(bom))
    )
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            say(f"  {name}: {before.get(name, 'not there')} → {after.get(name, 'gone')}")
    labels = registry.config(f"{REPOSITORY}@{running}")["config"].get("Labels", {})
    old = labels.get("org.opencontainers.image.revision", "").removesuffix("-dirty")
    command = ["git", "-C", str(ROOT), "log", "--format=%h %s", f"{old}..{commit}", "--", "lambda-image"]
    for line in subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines():
        say(f"  {line}")


def _record(environment: Environment, image: dict[str, Any], say: Say) -> bool:
    """Write release.json if its content changes. Return whether it does."""
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
