"""Registries, by way of crane: https://github.com/google/go-containerregistry/tree/main/cmd/crane."""

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

#: A registry that has not answered by then is out of reach.
LOOKUP_SECONDS = 20


def digest(name: str, platform: str | None = None) -> str | None:
    """The digest that a public image's name stands for, on one platform; None where nobody answers for it."""
    options = [f"--platform={platform}"] if platform else []
    finished = _crane("digest", *options, name, timeout=LOOKUP_SECONDS)
    return finished.stdout.strip() if finished.returncode == 0 else None


def config(name: str) -> dict[str, Any]:
    """The configuration of a public image."""
    return dict(json.loads(_checked(_crane("config", name), f"the configuration of {name} cannot be read")))


@dataclass(frozen=True)
class Registry:
    """One registry that may be pushed to: `host[:port]`, and how to get in."""

    host: str
    variables: dict[str, str] = field(default_factory=dict, repr=False)

    def digest(self, image: str) -> str | None:
        """The digest of `repository:tag` or `repository@digest`; None if there is no such image.

        Raises:
            PipelineError: the registry does not answer, or refuses.
        """
        finished = self._crane("manifest", image)
        if finished.returncode == 0:
            return _checked(self._crane("digest", image), image).strip()
        words = finished.stderr
        if any(sign in words for sign in ("MANIFEST_UNKNOWN", "NAME_UNKNOWN", "NOT_FOUND", "status code 404")):
            return None
        raise PipelineError(f"the registry {self.host} does not answer: {_last_line(words)}")

    def push(self, folder: Path, image: str) -> str:
        """Pushes an image layout under `repository:tag` and returns the digest that the registry has for it now.

        Layers come first and the manifest last, so that a push which is cut off leaves nothing that can be pulled.
        """
        finished = self._crane("push", str(folder), image)
        if finished.returncode:
            raise PipelineError(
                f"the push to {self.host} failed; nothing was recorded, run it again: {_last_line(finished.stderr)}"
            )
        return finished.stdout.strip().rsplit("@", 1)[1]

    def pull(self, image: str, folder: Path) -> None:
        """Pulls an image into an image layout, each blob checked against its digest."""
        _checked(self._crane("pull", "--format=oci", image, str(folder)), f"{self.host} cannot give {image}")

    def config(self, image: str) -> dict[str, Any]:
        return dict(json.loads(_checked(self._crane("config", image), f"{self.host} cannot tell of {image}")))

    def artifact(self, image: str) -> dict[str, Any]:
        """The one blob of an artifact, which is JSON."""
        manifest = json.loads(_checked(self._crane("manifest", image), f"{self.host} cannot tell of {image}"))
        blob = f"{image.rsplit(':', 1)[0]}@{manifest['layers'][0]['digest']}"
        return dict(json.loads(_checked(self._crane("blob", blob), f"{self.host} cannot give {blob}")))

    def _crane(self, command: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        found = [f"{self.host}/{each}" if _is_image(each) else each for each in arguments]
        return _crane(command, *found, variables=self.variables)


def _is_image(argument: str) -> bool:
    return not argument.startswith(("-", "/")) and ("@sha256:" in argument or ":" in argument)


@contextmanager
def ecr(client: Any, account_id: str, region: str) -> Iterator[Registry]:
    """The account's own registry, logged in to as long as the block lasts; the token is kept nowhere else."""
    data = client.get_authorization_token()["authorizationData"][0]
    host = f"{account_id}.dkr.ecr.{region}.amazonaws.com"
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps({"auths": {host: {"auth": data["authorizationToken"]}}}))
        user, _, _ = base64.b64decode(data["authorizationToken"]).decode().partition(":")
        if user != "AWS":
            raise PipelineError(f"ECR gave a token for {user!r}, not for AWS")
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
        raise PipelineError("crane is missing: make setup installs it") from None


def _checked(finished: "subprocess.CompletedProcess[str]", failure: str) -> str:
    if finished.returncode:
        raise PipelineError(f"{failure}: {_last_line(finished.stderr)}")
    return finished.stdout


def _last_line(words: str) -> str:
    lines = words.strip().splitlines()
    return lines[-1].removeprefix("Error: ")[:300] if lines else "it said nothing"
