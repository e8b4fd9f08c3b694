"""The image that is built: the same for everybody, small, and such that Lambda takes it."""

import io
import json
import re
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from imagepipe.image import build, sbom
from imagepipe.image.layout import CONFIG_TYPE, LAYER_TYPE, MANIFEST_TYPE

from .conftest import Clone

Run = Callable[..., subprocess.CompletedProcess[str]]

#: What any function's process imports before its first event. Every name is a part of a cold start, so this list is
#: meant to be hard to grow. libvips is not on it: images are decoded in a process of their own.
PACKAGES = {"awslambdaric", "botocore", "dateutil", "image_processor", "jmespath", "urllib3"}
#: Come along with those above.
COMPANIONS = {"runtime_client", "simplejson", "six", "snapshot_restore_py"}


def files(clone: Clone) -> Iterator[tuple[str, tarfile.TarInfo, bytes]]:
    """Every file above the base."""
    *_, top = clone.image.layers()
    with tarfile.open(fileobj=io.BytesIO(top.tar)) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isfile() else None
            yield member.name, member, content.read() if content else b""


def test_two_clones_build_the_same_digest(clone: Clone, other_clone: Clone) -> None:
    assert other_clone.image.digest == clone.image.digest
    assert other_clone.record == clone.record


def test_second_build_only_says_what_there_is(clone: Clone) -> None:
    before = (clone.image.folder / "index.json").stat().st_mtime_ns
    told = clone.imagepipe("build", "--platform", build.native_platform()).stderr
    assert "nothing changed" in told
    assert (clone.image.folder / "index.json").stat().st_mtime_ns == before


def test_record_says_what_it_is_and_what_it_is_from(clone: Clone) -> None:
    record = clone.record
    assert record["digest"] == clone.image.digest
    assert record["platform"] == build.native_platform()
    assert record["base"]["digest"].startswith("sha256:")
    assert record["source"]["commit"] == clone.git("rev-parse", "HEAD")
    assert record["source"]["dirty"] is False
    assert 0 < record["bytes"]["compressed_above_base"] < record["bytes"]["compressed"]


def test_manifest_is_of_one_platform_and_of_types_that_lambda_takes(clone: Clone) -> None:
    index = json.loads((clone.image.folder / "index.json").read_text())
    assert [entry["mediaType"] for entry in index["manifests"]] == [MANIFEST_TYPE]
    manifest = clone.image.manifest
    assert manifest["config"]["mediaType"] == CONFIG_TYPE
    assert {layer["mediaType"] for layer in manifest["layers"]} == {LAYER_TYPE}


def test_labels_name_commit_version_recipe_and_licence(clone: Clone) -> None:
    labels = clone.image.config["config"]["Labels"]
    assert labels["org.opencontainers.image.revision"] == clone.git("rev-parse", "HEAD")
    assert labels["org.opencontainers.image.licenses"] == "MIT"
    assert re.fullmatch(r"\d+\.\d+\.\d+", labels["org.opencontainers.image.version"])
    assert labels["image-processor.recipe"] == clone.record["recipe"]


def test_runtime_client_is_the_entry_point(clone: Clone) -> None:
    assert clone.image.config["config"]["Entrypoint"] == ["python", "-m", "awslambdaric"]


def test_nothing_of_the_builders_machine_is_in_it(clone: Clone) -> None:
    authority = Path("/etc/ssl/certs/ca-certificates.crt")
    own = authority.read_bytes() if authority.exists() else b"\0never\0"
    for name, member, content in files(clone):
        assert name.startswith(("usr/", "var/task/")) or member.isdir(), name
        assert (member.uid, member.gid, member.uname) == (0, 0, "")
        assert own not in content, name
        assert str(clone.top).encode() not in content, name
        assert not re.search(r"(^|/)(\.git|\.env|pip\.conf|id_rsa|.*\.pem|.*_history|tests?)$", name) or name.endswith(
            "botocore/cacert.pem"
        ), name


def test_there_is_nothing_to_build_or_install_with(run: Run) -> None:
    for program in ("pip", "pip3", "gcc", "cc", "make", "curl", "git"):
        assert run("sh", "-c", f"command -v {program}").stdout == ""
    assert run("python", "-m", "pip", "--version").returncode != 0
    assert run("python", "-m", "ensurepip", "--version").returncode != 0


def test_every_module_has_byte_code_that_is_never_checked(clone: Clone) -> None:
    sources, compiled = set(), {}
    for name, _, content in files(clone):
        if name.endswith(".py"):
            sources.add(name)
        elif name.endswith(".pyc"):
            compiled[name] = content
    assert sources
    tags = {re.sub(r"__pycache__/(.+)\.cpython-\d+\.pyc", r"\1.py", name) for name in compiled}
    assert sources <= tags
    for name, content in compiled.items():
        assert int.from_bytes(content[4:8], "little") == 0b01, name  # hash-based, not checked: PEP 552


def test_it_works_with_a_read_only_root_as_anybody(run: Run) -> None:
    program = (
        "import os, pyvips; assert os.getuid() == 993;"
        "open('/tmp/x', 'w').write('x');"
        "print(pyvips.Image.black(8, 8).heifsave_buffer(compression='av1')[4:12])"
    )
    finished = run("python", "-c", program)
    assert finished.stdout.strip() == "b'ftypavif'", finished.stderr
    assert "Read-only file system" in run("sh", "-c", "touch /var/task/x").stderr


def test_tmp_is_as_large_as_the_function_says(run: Run) -> None:
    assert "No space left" in run("sh", "-c", "head -c 600M /dev/zero > /tmp/x").stderr


@pytest.mark.parametrize("entry", ["queue", "http", "stream"])
def test_start_imports_nothing_that_a_request_does_not_need(run: Run, entry: str) -> None:
    program = f"""
import sys, awslambdaric.bootstrap, image_processor.handlers.{entry}
from image_processor import aws
aws.s3(), aws.dynamodb(), aws.events()
for name, module in list(sys.modules.items()):
    origin = getattr(getattr(module, "__spec__", None), "origin", None) or ""
    if origin.startswith("/var/task/"):
        print(name.split(".")[0])
"""
    finished = run("python", "-c", program, AWS_DEFAULT_REGION="eu-west-1")
    assert finished.returncode == 0, finished.stderr
    assert set(finished.stdout.split()) - COMPANIONS == PACKAGES


def test_botocore_knows_what_the_functions_ask_for_and_nothing_else(clone: Clone, run: Run) -> None:
    operations = json.loads((clone.top / "lambda-image/operations.json").read_text())
    program = (
        "import botocore.session as s, json; x = s.get_session();"
        "print(json.dumps({n: sorted(x.get_service_model(n).operation_names) for n in x.get_available_services()}))"
    )
    finished = run("python", "-c", program)
    assert json.loads(finished.stdout) == {service: sorted(wanted) for service, wanted in operations.items()}


def test_bill_of_materials_names_packages_wheels_and_what_is_inside_them(clone: Clone) -> None:
    bom = json.loads(sbom.describe(clone.image))
    assert bom["bomFormat"] == "CycloneDX"
    assert bom["metadata"]["component"]["version"] == clone.image.digest
    found = {component["name"]: component for component in bom["components"]}
    assert found["libc6"]["purl"].startswith("pkg:deb/debian/libc6@")
    assert found["botocore"]["purl"].startswith("pkg:pypi/botocore@")
    inside = {part["name"] for part in found["pyvips-binary"]["components"]}
    assert {"libaom", "mozjpeg"} <= inside
    assert any(name.startswith("libvips") for name in inside)


def test_unknown_platform_is_refused(clone: Clone) -> None:
    refused = clone.imagepipe("build", "--platform", "linux/riscv64", check=False)
    assert refused.returncode == 1
    assert "PLATFORM must be one of linux/amd64, linux/arm64" in refused.stderr


def test_without_a_base_the_fix_is_named_and_the_last_image_stays(clone: Clone) -> None:
    if clone.record["base"]["kind"] != "stand-in":
        pytest.skip("the public base is in reach here")
    other = {"linux/amd64": "linux/arm64", "linux/arm64": "linux/amd64"}[build.native_platform()]
    before = clone.record
    refused = clone.imagepipe("build", "--platform", other, check=False)
    assert refused.returncode == 1
    assert f"make base PLATFORM={other}" in refused.stderr
    assert clone.record == before


def test_build_that_fails_leaves_the_last_image_and_nothing_else(clone: Clone) -> None:
    before, there = clone.record, sorted((clone.top / "build").iterdir())
    requirements = clone.top / "lambda-image/requirements.txt"
    text = requirements.read_text()
    requirements.write_text(re.sub(r"(--hash=sha256:)\w\w", r"\g<1>00", text))
    try:
        refused = clone.imagepipe("build", "--platform", build.native_platform(), check=False)
    finally:
        requirements.write_text(text)
    assert refused.returncode == 1
    assert "pip could not install" in refused.stderr
    assert clone.record == before
    assert sorted((clone.top / "build").iterdir()) == there
