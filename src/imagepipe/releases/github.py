"""GitHub's API, by way of its own command `gh`, which every runner has and which knows how to sign in.

The token is in GH_TOKEN, the repository in GITHUB_REPOSITORY, as in any job of a workflow.
"""

import json
import os
import re
import subprocess
from typing import Any

from imagepipe.errors import PipelineError
from imagepipe.live.environments import ROOT

#: Who writes with the token of a job. Nobody else's comment or issue is touched, whatever it says.
AUTHOR = "github-actions[bot]"


def repository() -> str:
    """The repository that workflows run for, like owner/name.

    Raises:
        PipelineError: this runs outside a workflow.
    """
    found = os.environ.get("GITHUB_REPOSITORY", "")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", found):
        raise PipelineError(f"GITHUB_REPOSITORY is {found!r}: a workflow has it; elsewhere say owner/name")
    return found


def call(method: str, path: str, **fields: Any) -> Any:
    """The answer to one request, below the repository.

    Raises:
        PipelineError: with what GitHub says is wrong.
    """
    arguments = ["--method", method, *(["--input", "-"] if fields else [])]
    answer = _gh(arguments, path, json.dumps(fields).encode() if fields else b"")
    return json.loads(answer) if answer else None


def every(path: str, key: str = "") -> list[dict[str, Any]]:
    """Everything that a list holds, page after page; in some lists it stands below a key."""
    text = _gh(["--paginate"], f"{path}{'&' if '?' in path else '?'}per_page=100", b"").decode().strip()
    found = []
    while text:  # documents one after another: a page each or, with a later gh, lists in one
        page, end = json.JSONDecoder().raw_decode(text)
        found += page[key] if key else page
        text = text[end:].lstrip()
    return found


def raw(path: str) -> bytes:
    """A file."""
    return _gh([], path, b"")


def _gh(arguments: list[str], path: str, content: bytes) -> bytes:
    command = ["gh", "api", *arguments, f"repos/{repository()}/{path}"]
    try:
        finished = subprocess.run(command, cwd=ROOT, input=content, capture_output=True, check=False)
    except FileNotFoundError:
        raise PipelineError("there is no gh on PATH: https://cli.github.com") from None
    if finished.returncode:
        said = " ".join(finished.stderr.decode().split()).removeprefix("gh: ") or "gh said nothing"
        raise PipelineError(f"GitHub, asked for {path.split('?')[0]}: {said}")
    return finished.stdout
