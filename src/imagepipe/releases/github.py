"""GitHub's API through its own command `gh`, which every runner has.

The token is in GH_TOKEN, the repository in GITHUB_REPOSITORY, as in any job of a workflow.
"""

import json
import os
import re
import subprocess
from typing import Any

from imagepipe.errors import PipelineError
from imagepipe.live.environments import ROOT

#: The author of everything that a job writes with its token. Comments and issues of others are left alone.
AUTHOR = "github-actions[bot]"


def repository() -> str:
    """Return the repository that workflows run for, like owner/name.

    Raises:
        PipelineError: this runs outside a workflow.
    """
    name = os.environ.get("GITHUB_REPOSITORY", "")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise PipelineError(f"GITHUB_REPOSITORY is {name!r}: set it to owner/name outside of a workflow")
    return name


def call(method: str, path: str, **fields: Any) -> Any:
    """Send one request and return its answer.

    Args:
        path: below the repository.
        fields: of the request's body.

    Raises:
        PipelineError: GitHub refuses; the message holds its reason.
    """
    arguments = ["--method", method, *(["--input", "-"] if fields else [])]
    answer = _gh(arguments, path, json.dumps(fields).encode() if fields else b"")
    return json.loads(answer) if answer else None


def every(path: str, key: str = "") -> list[dict[str, Any]]:
    """Return all entries of a list, page after page.

    Args:
        key: holds the entries, in lists that are objects.
    """
    text = _gh(["--paginate"], f"{path}{'&' if '?' in path else '?'}per_page=100", b"").decode().strip()
    entries = []
    while text:  # documents one after another: a page each or, with a later gh, lists in one
        page, end = json.JSONDecoder().raw_decode(text)
        entries += page[key] if key else page
        text = text[end:].lstrip()
    return entries


def raw(path: str) -> bytes:
    """Return the content of a file."""
    return _gh([], path, b"")


def _gh(arguments: list[str], path: str, content: bytes) -> bytes:
    command = ["gh", "api", *arguments, f"repos/{repository()}/{path}"]
    try:
        finished = subprocess.run(command, cwd=ROOT, input=content, capture_output=True, check=False)
    except FileNotFoundError:
        raise PipelineError("gh is not on PATH: install it from https://cli.github.com") from None
    if finished.returncode:
        said = " ".join(finished.stderr.decode().split()).removeprefix("gh: ") or "gh wrote no reason"
        raise PipelineError(f"GitHub, asked for {path.split('?')[0]}: {said}")
    return finished.stdout
