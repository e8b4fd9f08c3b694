"""Reads and writes registries with crane: https://github.com/google/go-containerregistry/tree/main/cmd/crane."""

import base64
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imagepipe.errors import PipelineError
from imagepipe.tools import tool_variables

#: Seconds after which a registry counts as out of reach.
LOOKUP_SECONDS = 20


def digest(name: str, platform: str | None = None) -> str | None:
    """Return the digest of a public image, or None if its registry does not answer.

    Args:
        platform: such as linux/amd64; None for an index of all platforms.
    """
    options = [f"--platform={platform}"] if platform else []
    finished = _crane("digest", *options, name, timeout=LOOKUP_SECONDS)
    return finished.stdout.strip() if finished.returncode == 0 else None


def config(name: str) -> dict[str, Any]:
    """Read the configuration of a public image."""
    return dict(json.loads(_require_success(_crane("config", name), f"the configuration of {name} cannot be read")))


@dataclass(frozen=True)
class Registry:
    """One registry to push to.

    Args:
        host: `host[:port]`.
        variables: environment variables that hold the login.
    """

    host: str
    variables: dict[str, str] = field(default_factory=dict, repr=False)

    def digest(self, image: str) -> str | None:
        """Return the digest of `repository:tag` or `repository@digest`, or None if there is no such image.

        Raises:
            PipelineError: the registry does not answer, or refuses access.
        """
        finished = self._crane("manifest", image)
        if finished.returncode == 0:
            return _require_success(self._crane("digest", image), image).strip()
        message = finished.stderr
        if any(sign in message for sign in ("MANIFEST_UNKNOWN", "NAME_UNKNOWN", "NOT_FOUND", "status code 404")):
            return None
        raise PipelineError(
            f"the registry {self.host} does not answer ({_last_line(message)}): check REGISTRY, CLOUD and the network"
        )

    def push(self, folder: Path, image: str) -> str:
        """Push an image layout as `repository:tag`, and return its digest in the registry.

        Layers come first and the manifest last, so an interrupted push leaves no image that can be pulled.
        """
        finished = self._crane("push", str(folder), image)
        if finished.returncode:
            raise PipelineError(
                f"the push to {self.host} failed; nothing was recorded, run it again: {_last_line(finished.stderr)}"
            )
        return finished.stdout.strip().rsplit("@", 1)[1]

    def pull(self, image: str, folder: Path) -> None:
        """Pull an image into an image layout, and verify the digest of every blob."""
        _require_success(
            self._crane("pull", "--format=oci", image, str(folder)), f"{image} cannot be pulled from {self.host}"
        )

    def config(self, image: str) -> dict[str, Any]:
        """Read the configuration of an image."""
        return dict(
            json.loads(_require_success(self._crane("config", image), f"{image} cannot be read from {self.host}"))
        )

    def artifact(self, image: str) -> dict[str, Any]:
        """Read the one blob of an artifact, which is JSON."""
        manifest = json.loads(
            _require_success(self._crane("manifest", image), f"{image} cannot be read from {self.host}")
        )
        blob = f"{image.rsplit(':', 1)[0]}@{manifest['layers'][0]['digest']}"
        return dict(json.loads(_require_success(self._crane("blob", blob), f"{blob} cannot be read from {self.host}")))

    def _crane(self, command: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        full = [f"{self.host}/{argument}" if _is_image(argument) else argument for argument in arguments]
        return _crane(command, *full, variables=self.variables)


def _is_image(argument: str) -> bool:
    return not argument.startswith(("-", "/")) and ("@sha256:" in argument or ":" in argument)


@contextmanager
def ecr(client: Any, account_id: str, region: str) -> Iterator[Registry]:
    """Log in to the account's registry while the block lasts. The token is stored only for that time."""
    data = client.get_authorization_token()["authorizationData"][0]
    host = f"{account_id}.dkr.ecr.{region}.amazonaws.com"
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps({"auths": {host: {"auth": data["authorizationToken"]}}}))
        user, _, _ = base64.b64decode(data["authorizationToken"]).decode().partition(":")
        if user != "AWS":
            raise PipelineError(
                f"ECR returned a token for the user {user!r} instead of AWS: run it again, and report it if it stays"
            )
        yield Registry(host, {"DOCKER_CONFIG": folder})


def _crane(
    *arguments: str, variables: dict[str, str] | None = None, timeout: float | None = None
) -> "subprocess.CompletedProcess[str]":
    command = ["crane", *arguments]
    environment = {**os.environ, **tool_variables(), **(variables or {})}
    try:
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"no answer in {timeout} s")
    except FileNotFoundError:
        raise PipelineError("crane is missing: run make setup") from None


def _require_success(finished: "subprocess.CompletedProcess[str]", failure: str) -> str:
    if finished.returncode:
        raise PipelineError(f"{failure}: {_last_line(finished.stderr)}")
    return finished.stdout


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1].removeprefix("Error: ")[:300] if lines else "no error output"
