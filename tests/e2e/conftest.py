"""A clone of its own, its three environments and the registry on its own local cloud, deployed once for all tests here.

dev runs the working tree, staging a tag and prod a commit of the clone: every form that a release may have.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import pytest
from imagepipe.image import build

ENVIRONMENTS = {"shared": "444444444444", "dev": "111111111111", "staging": "222222222222", "prod": "333333333333"}
REGION = "eu-west-1"

#: What people have who type `run-all`.
OLDER_TERRAGRUNT = "terragrunt-0.89"


@dataclass(frozen=True)
class Clone:
    """The repository as somebody has it who has just cloned it, with the tools already there."""

    top: Path
    variables: dict[str, str] = field(default_factory=dict, compare=False)

    def imagepipe(self, *arguments: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "imagepipe", *arguments]
        return self._run(command, self.top, environment, check)

    def terragrunt(
        self, *arguments: str, unit: str, check: bool = True, program: str = "terragrunt"
    ) -> subprocess.CompletedProcess[str]:
        """Plain Terragrunt in live/<unit>, with what `make env` prints and nothing else."""
        variables = self.exports(unit.split("/")[0])
        return self._run([program, *arguments], self.top / "live" / unit, variables, check)

    def exports(self, environment: str) -> dict[str, str]:
        return _exports(self, environment)

    def client(self, environment: str, service: str, **credentials: str) -> Any:
        """A boto3 client with the account's own credentials, or with those given."""
        variables = self.exports(environment)
        own = {
            "aws_access_key_id": variables["AWS_ACCESS_KEY_ID"],
            "aws_secret_access_key": variables["AWS_SECRET_ACCESS_KEY"],
        }
        session = boto3.Session(**(credentials or own), region_name=REGION)
        return session.client(service, endpoint_url=variables["AWS_ENDPOINT_URL"], verify=variables["AWS_CA_BUNDLE"])

    def outputs(self, environment: str) -> dict[str, str]:
        return dict(json.loads(self.imagepipe("outputs", "--env", environment, "--json").stdout))

    def git(self, *arguments: str) -> str:
        return self._run(["git", *arguments], self.top, {}, True).stdout.strip()

    def _run(
        self, command: list[str], cwd: Path, environment: dict[str, str], check: bool
    ) -> subprocess.CompletedProcess[str]:
        sources = f"{self.top}/scripts{os.pathsep}{self.top}/lambda-image/src"
        finished = subprocess.run(
            command,
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": sources, **environment},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        assert not check or finished.returncode == 0, f"{' '.join(command)}\n{finished.stdout}\n{finished.stderr}"
        return finished


@cache
def _exports(clone: Clone, environment: str) -> dict[str, str]:
    printed = clone.imagepipe("env", "--env", environment).stdout
    script = f"{printed}\nenv -0"
    before = {"HOME": os.environ["HOME"]}
    shown = subprocess.run(["bash", "-c", script], env=before, capture_output=True, text=True, check=True).stdout
    return dict(line.split("=", 1) for line in shown.split("\0") if "=" in line)


def make_clone(root: Path, top: Path, copy_working_tree: Callable[..., None]) -> Clone:
    """A repository with one commit, the working tree as it is, and the tag v0.0.1."""
    copy_working_tree(top)
    for installed in (".venv", ".tools"):
        (top / installed).symlink_to(root / installed)
    clone = Clone(top)
    clone.git("init", "--quiet", "--initial-branch=main")
    clone.git("config", "user.name", "Test")
    clone.git("config", "user.email", "test@example.com")
    clone.git("add", "--all")
    clone.git("commit", "--quiet", "--message", "First")
    clone.git("tag", "v0.0.1")
    return clone


@pytest.fixture(scope="session")
def clone(
    root: Path, tmp_path_factory: pytest.TempPathFactory, copy_working_tree: Callable[..., None]
) -> Iterator[Clone]:
    clone = make_clone(root, tmp_path_factory.mktemp("e2e") / "clone", copy_working_tree)
    functions = os.environ.get("FUNCTIONS") or "image"  # as it ships, unless somebody is in a hurry
    if functions == "image":
        if (root / "build/base").exists():
            shutil.copytree(root / "build/base", clone.top / "build/base")
        else:
            clone.imagepipe("base", "--platform", build.native_platform())
    clone.imagepipe("up", "--functions", functions)
    digest = json.loads((clone.top / "build/image.json").read_text())["digest"]
    for environment, ref in (("staging", "v0.0.1"), ("prod", clone.git("rev-parse", "HEAD"))):
        release = {"image": digest, "modules": ref}
        (clone.top / "live" / environment / "release.json").write_text(json.dumps(release, indent=2) + "\n")
    clone.git("commit", "--quiet", "--all", "--message", "Release to staging and prod")
    try:
        yield clone
    finally:
        clone.imagepipe("down", check=False)


@pytest.fixture(scope="session")
def early_plan(clone: Clone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plan of staging's functions, saved while nothing existed that they depend on."""
    file = tmp_path_factory.mktemp("plans") / "early.tfplan"
    clone.imagepipe("bootstrap", "--env", "staging")
    clone.terragrunt("plan", f"-out={file}", unit="staging/compute")
    return file


@pytest.fixture(scope="session")
def deployed(clone: Clone, early_plan: Path) -> Clone:
    """All of it applied: dev and shared by plain Terragrunt, in either spelling; the rest by imagepipe."""

    def apply(environment: str) -> None:
        if environment == "dev":
            clone.imagepipe("bootstrap", "--env", "dev")
            clone.terragrunt("run", "--all", "apply", unit="dev")
        elif environment == "shared":
            clone.imagepipe("bootstrap", "--env", "shared")
            clone.terragrunt("run-all", "apply", unit="shared", program=OLDER_TERRAGRUNT)
        else:
            clone.imagepipe("apply", "--env", environment, "--yes")

    with ThreadPoolExecutor(len(ENVIRONMENTS)) as pool:
        list(pool.map(apply, ENVIRONMENTS))
    return clone
