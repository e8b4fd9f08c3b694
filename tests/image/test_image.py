"""The image that is built: the same for everybody, small, and such that Lambda takes it."""

import io
import json
import re
import shlex
import shutil
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePath

import pytest

from imagepipe.container import base, build, sbom
from imagepipe.container.layout import CONFIG_TYPE, LAYER_TYPE, MANIFEST_TYPE
from imagepipe.live.environments import ROOT

from .conftest import CANARY, FOREIGN, Clone, Run

#: What any function's process imports before its first event. Every name is a part of a cold start, so this list is
#: meant to be hard to grow. libvips is not on it: images are decoded in a process of their own.
PACKAGES = {"awslambdaric", "botocore", "dateutil", "image_processor", "jmespath", "urllib3"}
#: Come along with those above.
COMPANIONS = {"runtime_client", "simplejson", "six", "snapshot_restore_py"}


#: e_machine of ELF's header: https://www.sco.com/developers/gabi/latest/ch4.eheader.html
ELF_MACHINES = {"linux/amd64": 62, "linux/arm64": 183}


def files(clone: Clone, *, base: bool = False) -> Iterator[tuple[str, tarfile.TarInfo, bytes]]:
    """Every file above the base, or of all layers."""
    layers = list(clone.image.layers())
    for layer in layers if base else layers[-1:]:
        with tarfile.open(fileobj=io.BytesIO(layer.tar)) as archive:
            for member in archive:
                content = archive.extractfile(member) if member.isfile() else None
                yield member.name.removeprefix("./"), member, content.read() if content else b""


def test_two_clones_build_the_same_digest(clone: Clone, other_clone: Clone) -> None:
    assert other_clone.image.digest == clone.image.digest
    assert other_clone.record == clone.record


def test_second_build_only_says_what_there_is(clone: Clone) -> None:
    before = (clone.image.folder / "index.json").stat().st_mtime_ns
    finished = clone.imagepipe("build", "--platform", build.native_platform()).stderr
    assert "nothing changed" in finished
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


def test_every_program_and_library_is_of_the_image_s_platform(clone: Clone, foreign_clone: Clone) -> None:
    for components in (clone, foreign_clone):
        assert components.image.platform == components.record["platform"]
        machines = {
            name: int.from_bytes(content[18:20], "little")
            for name, _, content in files(components, base=True)
            if content.startswith(b"\x7fELF")
        }
        assert len([name for name in machines if name.startswith("var/task/")]) > 10
        assert set(machines.values()) == {ELF_MACHINES[components.record["platform"]]}
    assert foreign_clone.record["platform"] == FOREIGN


def test_nothing_of_the_builders_machine_is_in_it(clone: Clone, other_clone: Clone) -> None:
    for name, member, content in files(other_clone):
        assert name.startswith(("usr/", "var/task/")) or member.isdir(), name
        assert (member.uid, member.gid, member.uname) == (0, 0, "")
        assert CANARY.encode() not in content, name
        for folder in (clone.top, other_clone.top):
            assert str(folder).encode() not in content, name
    assert CANARY not in json.dumps(other_clone.image.config)


def test_no_layer_holds_secrets_histories_or_compilers(clone: Clone) -> None:
    secrets = r"id_(rsa|ed25519|ecdsa)|.*\.(key|p12|pfx)|\.(netrc|pgpass|env|git|npmrc|pypirc)|pip\.conf|credentials"
    histories = r"\.[^/]*history"
    compilers = r"(cc1|ld|as|(.*-)?(gcc|g\+\+|clang)(-\d+)?)"
    seen = 0
    for name, _, content in files(clone, base=True):
        seen += 1
        assert not re.search(rf"(^|/)({secrets}|{histories})$", name), name
        assert not re.search(rf"(^|/)(s?bin|libexec)/(.*/)?{compilers}$", name), name
        assert not re.search(rb"-----BEGIN ([A-Z]+ )?PRIVATE KEY-----\r?\n[A-Za-z0-9+/]{32}", content), name
    assert seen > 1000


def test_there_is_nothing_to_build_or_install_with(run: Run) -> None:
    for program in ("pip", "pip3", "gcc", "cc", "make", "curl", "git"):
        assert run("sh", "-c", f"command -v {program}").stdout == ""
    assert run("python", "-m", "pip", "--version").returncode != 0
    assert run("python", "-m", "ensurepip", "--version").returncode != 0


@pytest.mark.parametrize("which", ["clone", "foreign_clone"])
def test_every_module_has_byte_code_that_is_never_checked(request: pytest.FixtureRequest, which: str) -> None:
    sources, compiled = set(), {}
    for name, _, content in files(request.getfixturevalue(which)):
        if name.endswith(".py"):
            sources.add(name)
        elif name.endswith(".pyc"):
            compiled[name] = content
    assert sources
    tags = {re.sub(r"__pycache__/(.+)\.cpython-\d+\.pyc", r"\1.py", name) for name in compiled}
    assert sources <= tags
    for name, content in compiled.items():
        assert int.from_bytes(content[4:8], "little") == 0b01, name  # hash-based, not checked: PEP 552


@pytest.mark.parametrize("user", ["1", "993", "65534", "2000000"])
def test_it_works_with_a_read_only_root_as_anybody(run: Run, user: str) -> None:
    program = (
        "import os, pyvips; print(os.getuid());"
        "open('/tmp/x', 'w').write('x');"
        "print(pyvips.Image.black(8, 8).heifsave_buffer(compression='av1')[4:12])"
    )
    finished = run("python", "-c", program, options=("--uid", user, "--gid", user))
    assert finished.stdout.split() == [user, "b'ftypavif'"], finished.stderr
    assert "Read-only file system" in run("sh", "-c", "touch /var/task/x").stderr


def test_tmp_is_as_large_as_the_function_says(run: Run) -> None:
    assert "No space left" in run("sh", "-c", "head -c 600M /dev/zero > /tmp/x").stderr


#: What Terraform and Lambda would set.
FUNCTION = {
    "AWS_ACCESS_KEY_ID": "a",
    "AWS_SECRET_ACCESS_KEY": "b",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "EVENT_BUS": "bus",
    "MAX_RECEIVE_COUNT": "5",
    "PROCESSED_BUCKET": "processed",
    "QUEUE_URLS": "{}",
    "TABLE_NAME": "table",
    "UPLOAD_BUCKET": "uploads",
    "VISIBILITY_TIMEOUT_SECONDS": "360",
}


@pytest.mark.parametrize(("memory", "processors"), [("1769", 1), ("3008", 2), ("10240", 6)])
def test_memory_setting_bounds_threads_arenas_and_decoding(run: Run, memory: str, processors: int) -> None:
    program = r"""
import os, resource
from image_processor.handlers.queue import _processor
sandbox = _processor()._sandbox
sandbox.held()
worker = f"/proc/{sandbox.process.pid}"
variables = dict(entry.split("=", 1) for entry in open(f"{worker}/environ").read().split("\0") if entry)
(address_space,) = (line.split()[3] for line in open(f"{worker}/limits") if line.startswith("Max address space"))
print(variables["VIPS_CONCURRENCY"], variables["MALLOC_ARENA_MAX"], os.environ["MALLOC_ARENA_MAX"], address_space)
"""
    finished = run("python", "-c", program, **FUNCTION, AWS_LAMBDA_FUNCTION_MEMORY_SIZE=memory)
    threads, *arenas, address_space = finished.stdout.split()
    assert (int(threads), arenas) == (processors, ["2", "2"]), finished.stderr
    assert 0 < int(address_space) < 2 * int(memory) * 1024 * 1024


def test_decoder_of_the_image_is_confined_under_a_filter_like_lambdas(run: Run) -> None:
    """Lambda refuses `prctl`, which a filter of one's own needs: other walls must hold."""
    program = """
from image_processor.decoder.process import Level
from image_processor.decoder.sandbox import Sandbox
from image_processor.recipe import Limits
print(Level.of(Sandbox(Limits()).held()))
"""
    finished = run("python", "-c", program)
    assert finished.stdout.strip() == "descriptors", finished.stderr


@pytest.mark.parametrize("entry", ["queue", "http", "stream"])
def test_start_needs_no_network(run: Run, entry: str) -> None:
    variables = {**FUNCTION, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769"}
    finished = run("python", "-c", f"import image_processor.handlers.{entry}", options=("--unshare-net",), **variables)
    assert finished.returncode == 0, finished.stderr


def test_it_works_on_files_as_a_plain_container(run: Run) -> None:
    photo = "import pyvips; pyvips.Image.gaussnoise(800, 600).cast('uchar').jpegsave('/tmp/photo.jpg')"
    work = f'python -c "{photo}" && python -m image_processor /tmp/photo.jpg --out /tmp/variants --json'
    finished = run("sh", "-c", f"{work} && ls /tmp/variants/*", options=("--unshare-net",))
    assert finished.returncode == 0, finished.stderr
    record, *listed = finished.stdout.splitlines()
    assert json.loads(record)["status"] == "READY"
    assert any(name.endswith(".jpg") for name in listed)


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
    components = {component["name"]: component for component in bom["components"]}
    assert components["libc6"]["purl"].startswith("pkg:deb/debian/libc6@")
    assert components["botocore"]["purl"].startswith("pkg:pypi/botocore@")
    inside = {wheel: {part["name"]: part for part in components[wheel].get("components", [])} for wheel in components}
    assert {"libaom", "mozjpeg", "glib", "libpng", "libwebp", "librsvg-2.0"} <= inside["pyvips-binary"].keys()
    assert inside["pyvips-binary"]["libaom"]["purl"].startswith("pkg:generic/libaom@3.")
    assert "curl" in inside["awslambdaric"]
    for wheel, library in (("pi_heif", "libde265"), ("pillow", "libtiff"), ("pyvips-binary", "libvips")):
        assert any(name.startswith(library) and ".so" in name for name in inside[wheel]), wheel
    shipped = {PurePath(name).name for name, *_ in files(clone) if re.search(r"\.so(\.[\d.]+)?$", name)}
    assert shipped <= {name for parts in inside.values() for name in parts}


def test_unknown_platform_is_refused(clone: Clone) -> None:
    refused = clone.imagepipe("build", "--platform", "linux/riscv64", check=False)
    assert refused.returncode == 1
    assert "PLATFORM must be one of linux/amd64, linux/arm64" in refused.stderr


def test_without_a_base_the_fix_is_named_and_the_last_image_stays(clone: Clone, tmp_path: Path) -> None:
    if clone.record["base"]["kind"] != "stand-in":
        pytest.skip("the public base is in reach here")
    before = clone.record
    stand_in = clone.top / base.stand_in(build.native_platform().split("/")[1]).relative_to(ROOT)
    (tmp_path / "git").symlink_to(str(shutil.which("git")))
    stand_in.rename(tmp_path / "base")
    try:
        refused = clone.imagepipe("build", check=False, PATH=f"{tmp_path}:{clone.top / '.tools/bin'}")
    finally:
        (tmp_path / "base").rename(stand_in)
    assert refused.returncode == 1
    assert "is out of reach: making a stand-in" in refused.stderr
    assert "apt install mmdebstrap" in refused.stderr
    assert clone.record == before


@pytest.mark.parametrize(
    ("file", "pattern", "wrong", "words"),
    [
        ("requirements.txt", r"(--hash=sha256:)\w\w", r"\g<1>00", "pip could not install"),
        ("assemble.py", r"(?m)^PYTHON = .*", "PYTHON = (3, 12)", "the base has Python 3.13."),
        ("operations.json", "PutObject", "PutObjekt", "botocore knows no operation PutObjekt"),
    ],
)
def test_build_that_fails_leaves_the_last_image_and_nothing_else(
    clone: Clone, file: str, pattern: str, wrong: str, words: str
) -> None:
    before, there = clone.record, sorted((clone.top / "build").iterdir())
    changed = clone.top / "lambda-image" / file
    text = changed.read_text()
    changed.write_text(re.sub(pattern, wrong, text))
    try:
        refused = clone.imagepipe("build", "--platform", build.native_platform(), check=False)
    finally:
        changed.write_text(text)
    assert refused.returncode == 1
    assert words in refused.stderr
    assert clone.record == before
    assert sorted((clone.top / "build").iterdir()) == there


@pytest.mark.parametrize(
    ("megabytes", "kept"),
    [(100, ("base",)), (450, ("base",)), (1, ("base", "image"))],
    ids=["while the base is unpacked", "while packages are installed", "while the record is written"],
)
def test_full_disk_is_told_and_leaves_nothing_half_done(clone: Clone, megabytes: int, kept: tuple[str, ...]) -> None:
    folder = clone.top / "build"
    small = ["bwrap", "--dev-bind", "/", "/", "--cap-add", "ALL", "--size", str(megabytes * 1024 * 1024)]
    small += ["--tmpfs", str(folder)]
    for name in kept:
        if (folder / name).exists():
            small += ["--ro-bind", str(folder / name), str(folder / name)]
    build_it = [sys.executable, "-m", "imagepipe", "build", "--platform", build.native_platform()]
    fill = f"head -c {2**20 if megabytes == 1 else 0} /dev/zero > {shlex.quote(str(folder / 'filler'))}"
    script = f'{fill}; "$@"; code=$?; ls {shlex.quote(str(folder))}; exit $code'
    finished = clone.run([*small, "--", "sh", "-c", script, "sh", *build_it], clone.top, {"LC_ALL": "C"}, check=False)
    assert finished.returncode == 1, finished.stderr
    assert "the disk is full" in finished.stderr
    assert "Traceback" not in finished.stderr
    assert {*finished.stdout.split()} == {"filler", *(name for name in kept if (folder / name).exists())}
