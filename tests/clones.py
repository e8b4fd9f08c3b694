"""A clone of this repository as somebody has it who has just cloned it, with the tools already there."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import boto3

REGION = "eu-west-1"


@dataclass(frozen=True)
class Clone:
    top: Path

    def imagepipe(self, *arguments: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "imagepipe", *arguments]
        return self.run(command, self.top, environment, check)

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """imagepipe in a process group of its own, as a terminal has one, to be interrupted by os.killpg."""
        return subprocess.Popen(
            [sys.executable, "-m", "imagepipe", *arguments],
            cwd=self.top,
            env={**os.environ, "PYTHONPATH": self._sources, **environment},
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            # Where these tests run in a shell's background, Ctrl-C is ignored, and would be by all that they start.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - one thread starts it
        )

    def terragrunt(
        self, *arguments: str, unit: str, check: bool = True, program: str = "terragrunt", role: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Plain Terragrunt in live/<unit>, with what `make env` prints and nothing else; under a role as CI has it."""
        variables = self.exports(unit.split("/")[0], role)
        return self.run([program, *arguments], self.top / "live" / unit, variables, check)

    def exports(self, environment: str, role: str = "") -> dict[str, str]:
        return _exports(self, environment, role)

    def client(self, environment: str, service: str, role: str = "", **credentials: str) -> Any:
        """A boto3 client with the account's own credentials, those of a role of CI, or those given."""
        variables = self.exports(environment, role)
        own = {
            "aws_access_key_id": variables["AWS_ACCESS_KEY_ID"],
            "aws_secret_access_key": variables["AWS_SECRET_ACCESS_KEY"],
            "aws_session_token": variables.get("AWS_SESSION_TOKEN"),
        }
        session = boto3.Session(**(credentials or own), region_name=REGION)
        return session.client(  # type: ignore[call-overload]
            service, endpoint_url=variables["AWS_ENDPOINT_URL"], verify=variables["AWS_CA_BUNDLE"]
        )

    def outputs(self, environment: str) -> dict[str, str]:
        return dict(json.loads(self.imagepipe("outputs", "--env", environment, "--json").stdout))

    def git(self, *arguments: str) -> str:
        return self.run(["git", *arguments], self.top, {}, True).stdout.strip()

    def begin(self) -> None:
        """Makes a repository with one commit of what lies there."""
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("config", "user.name", "Test")
        self.git("config", "user.email", "test@example.com")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "First")

    def use_tools(self, root: Path) -> None:
        """Those of the clone that runs the tests, which take minutes to make."""
        for installed in (".venv", ".tools"):
            (self.top / installed).symlink_to(root / installed)

    @property
    def _sources(self) -> str:
        return f"{self.top}/src{os.pathsep}{self.top}/lambda-image/src"

    def run(
        self, command: list[str], cwd: Path, environment: dict[str, str], check: bool
    ) -> subprocess.CompletedProcess[str]:
        finished = subprocess.run(
            command,
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": self._sources, **environment},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        assert not check or finished.returncode == 0, f"{' '.join(command)}\n{finished.stdout}\n{finished.stderr}"
        return finished


@cache
def _exports(clone: Clone, environment: str, role: str) -> dict[str, str]:
    printed = clone.imagepipe("env", "--env", environment, ROLE=role).stdout
    script = f"{printed}\nenv -0"
    before = {"HOME": os.environ["HOME"]}
    shown = subprocess.run(["bash", "-c", script], env=before, capture_output=True, text=True, check=True).stdout
    return dict(line.split("=", 1) for line in shown.split("\0") if "=" in line)


def copy_working_tree(root: Path, top: Path, *patterns: str) -> None:
    """Copies what git tracks or would track, all of it or what matches some patterns, into another folder."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout.splitlines()
    for name in filter(lambda name: (root / name).is_file(), listed):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / name, top / name)
