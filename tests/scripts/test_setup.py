"""The bootstrap of a clone: what it takes, what it refuses, and that it does nothing twice."""

import hashlib
import importlib.util
import io
import json
import re
import subprocess
import sys
import tarfile
import urllib.error
import zipfile
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def setup(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """scripts/setup.py with an empty .tools folder of its own."""
    spec = importlib.util.spec_from_file_location("setup_under_test", root / "scripts/setup.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "TOOLS", tmp_path / ".tools")
    monkeypatch.setattr(module, "BIN", tmp_path / ".tools/bin")
    module.BIN.mkdir(parents=True)
    return module


def serve(setup: ModuleType, monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes]) -> None:
    """Lets `urlopen` find these files by the last part of their address, and nothing else."""

    def urlopen(url: str, timeout: float) -> io.BytesIO:
        name = url.rsplit("/", 1)[1]
        if name not in files:
            raise urllib.error.URLError("out of reach")
        return io.BytesIO(files[name])

    monkeypatch.setattr(setup.urllib.request, "urlopen", urlopen)


def archive(kind: str, name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w") as file:
            file.writestr(name, content)
    else:
        with tarfile.open(fileobj=buffer, mode="w:gz") as file:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            file.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def test_debian_packages_are_installed_only_where_they_are_missing(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[str, ...]] = []
    monkeypatch.setattr(setup, "OS", "linux")
    monkeypatch.setattr(setup, "run", lambda *command: ran.append(tuple(map(str, command))))
    monkeypatch.setattr(setup.os, "geteuid", lambda: 0)
    there = {"apt-get", "buildah", "bwrap", "docker-registry", "mmdebstrap"}
    monkeypatch.setattr(setup.shutil, "which", lambda name: f"/usr/bin/{name}" if name in there else None)
    setup.install_image_programs()
    assert ran == []
    there -= {"bwrap", "mmdebstrap"}
    setup.install_image_programs()
    assert ran[-1][-2:] == ("bubblewrap", "mmdebstrap")


def test_what_cannot_be_installed_is_named(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(setup, "OS", "linux")
    monkeypatch.setattr(setup.shutil, "which", lambda name: None)
    setup.install_image_programs()
    assert "install buildah, bubblewrap, docker-registry, mmdebstrap" in capsys.readouterr().err


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_download_of_the_pinned_content_is_taken(setup: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(setup, monkeypatch, {"tool_linux": b"program"})
    assert setup.download("https://example.com/tool_linux", sha256(b"program")) == b"program"


def test_changed_asset_is_refused_by_name_whatever_its_own_list_says(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who can replace a file of a release can replace the list beside it: only the repository's digest counts."""
    pin = {"module": "example.com/tool", "version": "1.0.0", "asset": "tool_{os}", "checksums": "sums"}
    pin["sha256"] = {setup.PLATFORM: sha256(b"program")}
    monkeypatch.setitem(setup.PINS["go-tools"], "tool", pin)
    listed = f"{sha256(b'malicious')}  tool_{setup.OS}\n".encode()
    serve(setup, monkeypatch, {f"tool_{setup.OS}": b"malicious", "sums": listed})
    monkeypatch.setattr(setup, "on_path", lambda name: None)
    with pytest.raises(
        setup.SetupError, match=rf"tool_{setup.OS} has the SHA-256 .* tools.json pins .*: not installed"
    ):
        setup.install_go_tool("tool")
    assert not (setup.BIN / "tool").exists()


def test_changed_terraform_is_refused_by_name(setup: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    asset = setup.release_file(setup.PINS["terraform"], "asset", "linux_amd64").rpartition("/")[2]
    monkeypatch.setattr(setup, "PLATFORM", "linux_amd64")
    listed = f"{sha256(b'malicious')}  {asset}\n".encode()
    serve(setup, monkeypatch, {asset: b"malicious", asset.replace("linux_amd64.zip", "SHA256SUMS"): listed})
    monkeypatch.setattr(setup, "on_path", lambda name: None)
    monkeypatch.setattr(setup, "release_file", lambda pin, key: f"https://example.com/{asset}")
    with pytest.raises(setup.SetupError, match=r"terraform_1.*_linux_amd64.zip has the SHA-256 .* not installed"):
        setup.install_terraform()


def test_tool_without_a_pinned_release_is_built_and_never_downloaded(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = []
    monkeypatch.setattr(setup, "PLATFORM", "plan9_mips")
    monkeypatch.setattr(setup, "on_path", lambda name: None)
    monkeypatch.setattr(setup, "build_with_go", lambda name, pin, reason: built.append(reason))
    monkeypatch.setattr(setup, "fetch", pytest.fail)
    setup.install_go_tool("crane")
    assert built == ["tools.json pins no release of it for plan9_mips"]


def test_terraform_without_a_pinned_release_names_the_fix(setup: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "PLATFORM", "plan9_mips")
    monkeypatch.setattr(setup, "on_path", lambda name: None)
    with pytest.raises(setup.SetupError, match=r"no Terraform .* for plan9_mips.* put one there, or run .*--pin"):
        setup.install_terraform()


def test_programs_that_deploy_are_pinned_where_workflows_run(setup: ModuleType) -> None:
    for pin in (setup.PINS["terraform"], setup.PINS["go-tools"]["terragrunt"], setup.PINS["go-tools"]["crane"]):
        assert re.fullmatch("[0-9a-f]{64}", pin["sha256"]["linux_amd64"])
    digests = [d for pin in (setup.PINS["terraform"], *setup.PINS["go-tools"].values()) for d in pin["sha256"].values()]
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in digests)
    assert len(set(digests)) == len(digests)


def test_pinning_writes_the_hashes_of_the_lists(
    setup: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pins, lock = tmp_path / "tools.json", tmp_path / "provider.lock.hcl"
    lock.write_text("# Ours.\n\nprovider {}\n")
    pin = {"module": "example.com/tool", "version": "2.0.0", "asset": "tool_{os}_{arch}", "checksums": "sums"}
    monkeypatch.setattr(setup, "PINS", {"terraform": pin, "go-tools": {}, "terraform-provider-aws": "5.0.0"})
    monkeypatch.setattr(setup, "PINS_FILE", pins)
    monkeypatch.setattr(setup, "PROVIDER_LOCK", lock)
    serve(setup, monkeypatch, {"sums": b"aa *dist/tool_linux_amd64\nbb  tool_linux_arm64.old\ncc  tool_darwin_arm64\n"})

    def lock_providers(program: Path, folder: str, *arguments: str, env: dict[str, str]) -> None:
        assert arguments[:2] == ("providers", "lock")
        assert len(arguments) == 6
        written = "# Maintained by terraform.\n\nprovider {\n  new\n}\n"
        (Path(folder.partition("=")[2]) / ".terraform.lock.hcl").write_text(written)

    monkeypatch.setattr(setup, "run", lock_providers)
    setup.pin_all()
    assert json.loads(pins.read_text())["terraform"]["sha256"] == {"linux_amd64": "aa", "darwin_arm64": "cc"}
    assert lock.read_text() == "# Ours.\n\nprovider {\n  new\n}\n"


def test_pinning_without_a_list_writes_nothing(
    setup: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup, "PINS_FILE", tmp_path / "tools.json")
    serve(setup, monkeypatch, {})
    with pytest.raises(setup.SetupError, match=r"SHA256SUMS is out of reach: --pin needs it"):
        setup.pin_all()
    assert not (tmp_path / "tools.json").exists()


def test_changed_provider_in_a_mirror_is_refused_by_name(
    setup: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mirror of the machine is a folder that anybody on it may have written to."""
    folder = tmp_path / "share" / setup.provider_place()
    folder.mkdir(parents=True)
    (folder / "terraform-provider-aws").write_bytes(b"program")
    lock = tmp_path / "provider.lock.hcl"
    lock.write_text(f'hashes = ["{setup.package_hash(folder)}"]')
    monkeypatch.setattr(setup, "PROVIDER_LOCK", lock)
    monkeypatch.setattr(setup, "MIRROR_PLACES", (tmp_path / "share",))
    setup.install_provider()
    (folder / "terraform-provider-aws").write_bytes(b"malicious")
    with pytest.raises(setup.SetupError, match=rf"the AWS provider in {folder} has the hash h1:.* not used"):
        setup.install_provider()


def test_download_that_terraform_has_checked_is_trusted_where_the_lock_has_no_hash_of_the_platform(
    setup: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """linux_arm64 has only a zh:, which is that of the package; a unit is checked by h1:, that of its files."""
    lock = tmp_path / "provider.lock.hcl"
    lock.write_text('provider {\n  hashes = [\n    "zh:aa",\n  ]\n}\n')
    monkeypatch.setattr(setup, "PROVIDER_LOCK", lock)
    monkeypatch.setattr(setup, "LOCAL_LOCK", tmp_path / "local.lock.hcl")
    monkeypatch.setattr(setup, "MIRROR_PLACES", ())
    folder = setup.TOOLS / "providers" / setup.provider_place()

    def download(*command: object, env: dict[str, str]) -> None:
        assert "init" in command
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "terraform-provider-aws").write_bytes(b"program")

    monkeypatch.setattr(setup, "run", download)
    setup.install_provider()
    assert setup.LOCAL_LOCK.read_text() == lock.read_text().replace(
        '    "zh:aa",', f'    "{setup.package_hash(folder)}",\n    "zh:aa",'
    )
    (folder / "terraform-provider-aws").write_bytes(b"malicious")
    with pytest.raises(setup.SetupError, match="not used"):
        setup.check_provider(folder)


def test_locked_provider_is_the_installed_one_and_another_is_refused_by_terraform(
    root: Path, setup: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the hashes are Terraform's own, and a unit ends at init when its provider has other bytes."""
    needed = {"aws": {"source": "hashicorp/aws", "version": setup.PINS["terraform-provider-aws"]}}
    (tmp_path / "main.tf.json").write_text(json.dumps({"terraform": {"required_providers": needed}}))
    lock = (root / "provider.lock.hcl").read_text()
    command = [root / ".tools/bin/terraform", f"-chdir={tmp_path}", "init", "-input=false", "-lockfile=readonly"]
    monkeypatch.setenv("TF_CLI_CONFIG_FILE", str(root / ".tools/terraform.rc"))

    def init(text: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / ".terraform.lock.hcl").write_text(text)
        return subprocess.run(command, capture_output=True, text=True)

    assert init(lock).returncode == 0
    other = re.sub(r'"h1:.{8}', '"h1:AAAAAAAA', lock)
    refused = init(other)
    assert refused.returncode != 0
    assert "checksums" in refused.stderr


@pytest.mark.parametrize(("asset", "kind"), [("tool.zip", "zip"), ("tool.tar.gz", "tar"), ("tool_linux_amd64", None)])
def test_every_kind_of_release_file_becomes_a_program(setup: ModuleType, asset: str, kind: str | None) -> None:
    script = b"#!/bin/sh\necho ran\n"
    setup.unpack(archive(kind, "tool", script) if kind else script, asset, "tool")
    assert subprocess.run([setup.BIN / "tool"], capture_output=True, text=True).stdout == "ran\n"


def test_program_on_path_of_the_pinned_version_is_linked(
    setup: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "elsewhere/terragrunt"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho terragrunt version v{setup.PINS['go-tools']['terragrunt']['version']}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    setup.install_go_tool("terragrunt")
    assert (setup.BIN / "terragrunt").resolve() == program


def test_neither_release_nor_go_is_one_line_that_names_the_fix(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(setup, monkeypatch, {})
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(
        setup.SetupError,
        match=r"^terragrunt: github.com is out of reach, .* install Go 1\.26, or put terragrunt 1\.1\.3 on PATH$",
    ):
        setup.install_go_tool("terragrunt")


def test_terraform_that_does_not_fit_is_not_taken(
    setup: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "old/terraform"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho \'{"terraform_version": "1.10.9"}\'\n')
    program.chmod(0o755)
    serve(setup, monkeypatch, {})
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    with pytest.raises(setup.SetupError, match=r"PATH has no Terraform >= 1\.11\.0, < 2\.0\.0"):
        setup.install_terraform()


def test_mirror_is_found_by_search(setup: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    version = setup.PINS["terraform-provider-aws"]
    folder = tmp_path / "share/some/plugins"
    (folder / f"registry.terraform.io/hashicorp/aws/{version}/{setup.OS}_{setup.ARCH}").mkdir(parents=True)
    monkeypatch.setattr(setup, "MIRROR_PLACES", (tmp_path / "nowhere", tmp_path / "share"))
    assert setup.find_mirror() == folder


def test_mirror_with_another_version_is_none(
    setup: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "share/registry.terraform.io/hashicorp/aws/4.0.0/linux_amd64").mkdir(parents=True)
    monkeypatch.setattr(setup, "MIRROR_PLACES", (tmp_path / "share",))
    assert setup.find_mirror() is None


def test_second_run_installs_nothing(setup: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = []
    monkeypatch.setattr(
        setup, "steps", lambda: {"terragrunt": (lambda: "1", lambda: True, lambda: installed.append("terragrunt"))}
    )
    monkeypatch.setattr(sys, "argv", ["setup.py"])
    setup.main()
    setup.main()
    assert installed == ["terragrunt"]


def test_requirements_are_pinned_with_hashes_and_name_no_index(root: Path) -> None:
    for file in (root / "requirements.txt", root / "lambda-image/requirements.txt"):
        text = file.read_text()
        assert "://" not in text
        assert "index" not in text
        packages = [line for line in text.splitlines() if line and line[0].isalnum()]
        assert packages
        assert all("==" in line and line.endswith("\\") for line in packages)
