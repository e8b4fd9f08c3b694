"""build-push: by digest, once, and nothing half done. Against a real registry on loopback."""

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from imagepipe import localcloud
from imagepipe.container import REPOSITORY, base, sbom
from imagepipe.container import registry as registries
from imagepipe.container.layout import Layout
from imagepipe.container.registry import Registry
from imagepipe.errors import PipelineError
from imagepipe.live import environments
from imagepipe.localcloud import addresses, image_registry
from imagepipe.releases import publish_image as release
from imagepipe.terragrunt import units as terragrunt
from imagepipe.terragrunt.target import Cloud, Target

from .conftest import Clone


@pytest.fixture(scope="module")
def pushed(clone: Clone) -> str:
    """What build-push said the first time, with the registry unit deployed."""
    clone.imagepipe("bootstrap", "--env", "shared")
    clone.terragrunt("apply", "-auto-approve", unit="shared/registry")
    return clone.imagepipe("build-push", "--env", "dev").stderr


@pytest.fixture
def registry(clone: Clone, pushed: str) -> Registry:
    return Registry(image_registry.up(clone.top))


def named(clone: Clone) -> dict[str, Any]:
    return dict(json.loads((clone.top / "live/dev/release.json").read_text()))


def test_release_names_digest_commit_platform_and_versions(clone: Clone, pushed: str) -> None:
    content = named(clone)
    assert content["image"] == clone.image.digest
    assert content["modules"] == "worktree"
    assert content["build"]["commit"] == clone.record["source"]["commit"]
    assert content["build"]["platform"] == clone.record["platform"]
    assert content["build"]["recipe"] == clone.record["recipe"]
    assert content["build"]["dirty"] is False
    assert environments.Release.model_validate(content)


def test_image_can_be_pulled_back_by_its_digest(clone: Clone, registry: Registry, tmp_path: Path) -> None:
    registry.pull(f"{REPOSITORY}@{clone.image.digest}", tmp_path / "pulled")
    pulled = Layout(tmp_path / "pulled")
    assert pulled.digest == clone.image.digest
    assert [layer.diff_id for layer in pulled.layers()] == pulled.config["rootfs"]["diff_ids"]


def test_bill_of_materials_refers_to_the_image(clone: Clone, registry: Registry) -> None:
    tag = f"{REPOSITORY}:sbom-{clone.image.digest[7:23]}"
    manifest = json.loads(registry._crane("manifest", tag).stdout)
    assert manifest["subject"]["digest"] == clone.image.digest
    assert registry.artifact(tag)["metadata"]["component"]["version"] == clone.image.digest


def test_emulated_ecr_knows_it_by_the_tag_that_is_kept(clone: Clone, pushed: str) -> None:
    cloud = localcloud.up(clone.top).environment("444444444444", "eu-west-1")
    client = boto3.Session(cloud["AWS_ACCESS_KEY_ID"], "local", region_name="eu-west-1").client(
        "ecr", endpoint_url=cloud["AWS_ENDPOINT_URL"], verify=cloud["AWS_CA_BUNDLE"]
    )
    (details,) = client.describe_images(repositoryName=REPOSITORY, imageIds=[{"imageDigest": clone.image.digest}])[
        "imageDetails"
    ]
    assert details["imageTags"] == [f"release-{clone.image.digest[7:23]}"]


def test_second_time_builds_nothing_pushes_nothing_and_changes_nothing(clone: Clone, pushed: str) -> None:
    before = (clone.top / "live/dev/release.json").read_bytes()
    finished = clone.imagepipe("build-push", "--env", "dev").stderr
    assert "nothing changed" in finished
    assert f"has {clone.image.digest} already" in finished
    assert "pushing" not in finished
    assert (clone.top / "live/dev/release.json").read_bytes() == before


def test_it_tells_which_packages_differ_from_what_runs(clone: Clone, registry: Registry) -> None:
    bom = registry.artifact(f"{REPOSITORY}:sbom-{clone.image.digest[7:23]}")
    versions = sbom.versions(bom)
    (botocore,) = (part for part in bom["components"] if part["name"] == "botocore")
    bom["components"] = [part for part in bom["components"] if part["name"] != "six"]
    botocore["version"] = "9.9"
    said: list[str] = []
    changed = json.dumps(bom).encode()
    release._compare(registry, clone.image.digest, f"sha256:{'1' * 64}", changed, "HEAD", said.append)
    assert said == [f"  botocore: {versions['botocore']} → 9.9", f"  six: {versions['six']} → gone"]


def test_changes_that_are_not_committed_are_refused_unless_said(clone: Clone, pushed: str, tmp_path: Path) -> None:
    before = named(clone)
    shutil.copytree(clone.top / "build", tmp_path / "build")
    file = clone.top / "lambda-image/src/image_processor/__init__.py"
    text = file.read_text()
    file.write_text(text + "# changed\n")
    try:
        refused = clone.imagepipe("build-push", "--env", "staging", check=False)
        assert refused.returncode == 1
        assert "DIRTY=1" in refused.stderr
        clone.imagepipe("build-push", "--env", "staging", DIRTY="1")
        released = json.loads((clone.top / "live/staging/release.json").read_text())
        assert released["build"]["dirty"] is True
        assert released["image"] != before["image"]
    finally:
        file.write_text(text)
        clone.git("checkout", "--", "live/staging/release.json")
        shutil.rmtree(clone.top / "build")
        (tmp_path / "build").rename(clone.top / "build")
    assert named(clone) == before


def test_registry_that_does_not_answer_is_named_and_nothing_recorded(clone: Clone, pushed: str) -> None:
    before = (clone.top / "live/prod/release.json").read_bytes()
    refused = clone.imagepipe("build-push", "--env", "prod", "--registry", "127.0.0.1:1", check=False)
    assert refused.returncode == 1
    assert "127.0.0.1:1 does not answer" in refused.stderr
    assert (clone.top / "live/prod/release.json").read_bytes() == before


@contextmanager
def registry_at(storage: Path, port: int, *megabytes: int) -> Iterator["subprocess.Popen[bytes]"]:
    """Debian's registry with a storage folder of its own, or one of so many megabytes that is gone afterwards."""
    settings = storage.with_suffix(".yml")
    settings.write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: '{storage}'}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\n"
    )
    storage.mkdir(exist_ok=True)
    small = [part for size in megabytes for part in ("--size", str(size * 1024 * 1024), "--tmpfs", str(storage))]
    program = next(filter(None, map(shutil.which, image_registry.PROGRAMS)))
    command = ["bwrap", "--dev-bind", "/", "/", "--die-with-parent", *small, program, "serve", str(settings)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: image_registry._answers(port))
        yield process
    finally:
        process.kill()
        process.wait()


def wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_push_that_is_cut_off_half_way_records_nothing_and_goes_on_when_run_again(
    clone: Clone, pushed: str, tmp_path: Path
) -> None:
    file = clone.top / "live/prod/release.json"
    before = file.read_bytes()
    with addresses.listening_socket() as free:
        port = int(free.getsockname()[1])
    push = ("build-push", "--env", "prod", "--registry", f"127.0.0.1:{port}")
    try:
        with registry_at(tmp_path / "small", port, 20):
            refused = clone.imagepipe(*push, check=False)
            assert (refused.returncode, file.read_bytes()) == (1, before), refused.stderr
            assert "nothing was recorded, run it again" in refused.stderr

        storage = tmp_path / "whole"
        with registry_at(storage, port) as process, ThreadPoolExecutor() as pool:
            pushing = pool.submit(clone.imagepipe, *push, check=False)
            wait_until(lambda: any(part.stat().st_size for part in storage.rglob("_uploads/*/data")))
            process.kill()
            refused = pushing.result()
            assert (refused.returncode, file.read_bytes()) == (1, before), refused.stderr
            assert "nothing was recorded, run it again" in refused.stderr

        with registry_at(storage, port):
            assert Registry(f"127.0.0.1:{port}").digest(f"{REPOSITORY}@{clone.image.digest}") is None
            clone.imagepipe(*push)
            assert json.loads(file.read_text())["image"] == clone.image.digest
            assert Registry(f"127.0.0.1:{port}").digest(f"{REPOSITORY}@{clone.image.digest}") == clone.image.digest
    finally:
        file.write_bytes(before)


def test_environment_without_an_image_is_refused(clone: Clone) -> None:
    refused = clone.imagepipe("build-push", "--env", "shared", check=False)
    assert refused.returncode == 1
    assert "shared runs no container image" in refused.stderr


def test_image_on_a_stand_in_is_for_the_local_cloud_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the base's registry is out of reach for a moment, nobody notices what a release stands on."""
    dev, shared = environments.load("dev"), Target(environments.load("shared"), Cloud.AWS, {})
    made = {"digest": f"sha256:{'0' * 64}", "base": {"kind": base.STAND_IN}}
    monkeypatch.setattr(release.build, "image", lambda *_: made)
    with pytest.raises(PipelineError, match=f"build where {base.pinned_name().split('@')[0]} can be had"):
        release.build_push(dev, shared, None, dirty=True, host="127.0.0.1:1", say=print)


@mock_aws
def test_ecr_is_logged_in_to_with_a_token_that_is_kept_nowhere() -> None:
    client = boto3.client("ecr", region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="b")
    with registries.ecr(client, "444444444444", "eu-west-1") as details:
        settings = Path(details.variables["DOCKER_CONFIG"]) / "config.json"
        assert list(json.loads(settings.read_text())["auths"]) == ["444444444444.dkr.ecr.eu-west-1.amazonaws.com"]
    assert not settings.exists()


@mock_aws
def test_image_that_the_registry_does_not_have_is_refused_before_anything_is_applied(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("ecr", region_name="eu-west-1")
    account = boto3.client("sts", region_name="eu-west-1").get_caller_identity()["Account"]
    shared = replace(environments.load("shared"), account_id=account)
    monkeypatch.setattr(environments, "load", lambda _: shared)
    client.create_repository(repositoryName=REPOSITORY)
    missing = f"sha256:{'0' * 64}"
    released = environments.Release(image=missing, modules="worktree")
    dev = environments.Environment("dev", account, "eu-west-1", released, protected=False, platform="linux/amd64")
    with pytest.raises(PipelineError, match=f"has no {missing}, which live/dev/release.json names: make build-push"):
        terragrunt.apply(Target(dev, Cloud.AWS, {}), print)


def test_local_cloud_that_runs_images_refuses_a_release_it_has_no_image_of(clone: Clone, pushed: str) -> None:
    file = clone.top / "live/dev/release.json"
    before = file.read_text()
    clone.imagepipe("up", "--functions", "image")
    file.write_text(json.dumps(named(clone) | {"image": f"sha256:{'0' * 64}"}))
    try:
        refused = clone.imagepipe("apply", "--env", "dev", check=False)
        assert refused.returncode == 1
        assert "live/dev/release.json: image sha256:000" in refused.stderr
        assert "make build-push" in refused.stderr
    finally:
        file.write_text(before)
        clone.imagepipe("up", "--functions", "source")
