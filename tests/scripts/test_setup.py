"""The bootstrap of a clone: what it takes, what it refuses, and that it does nothing twice."""

import hashlib
import importlib.util
import io
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


def test_download_is_taken_when_its_sha256_is_listed(setup: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    sums = f"{hashlib.sha256(b'program').hexdigest()}  tool_linux\n".encode()
    serve(setup, monkeypatch, {"tool_linux": b"program", "sums": sums})
    assert setup.download("https://example.com/tool_linux", "https://example.com/sums") == b"program"


def test_download_with_another_sha256_is_refused(setup: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    sums = f"{hashlib.sha256(b'program').hexdigest()}  tool_linux\n".encode()
    serve(setup, monkeypatch, {"tool_linux": b"tampered", "sums": sums})
    with pytest.raises(setup.SetupError, match="does not have the SHA-256"):
        setup.download("https://example.com/tool_linux", "https://example.com/sums")


def test_sha256_of_another_file_in_the_list_does_not_count(setup: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    sums = f"{hashlib.sha256(b'program').hexdigest()}  tool_linux_old\n".encode()
    serve(setup, monkeypatch, {"tool_linux": b"program", "sums": sums})
    with pytest.raises(setup.SetupError):
        setup.download("https://example.com/tool_linux", "https://example.com/sums")


def test_site_out_of_reach_is_no_error_yet(setup: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(setup, monkeypatch, {})
    assert setup.download("https://example.com/tool", "https://example.com/sums") is None


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
    with pytest.raises(setup.SetupError, match=r"^terragrunt: .* install Go 1\.26, or put terragrunt 1\.1\.3 on PATH$"):
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
