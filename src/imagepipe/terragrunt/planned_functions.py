"""Refuses planned functions that could not start, or that would end every image badly.

The planned environment of each function is read by the code that reads it when the function starts
(image_processor/settings.py), so that no setting passes here and breaks there. A release that names an image is judged
by the code of the commit that the image was built from: going back to an older release must not fail by newer rules.
"""

import io
import json
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from image_processor import settings
from imagepipe.errors import PipelineError
from imagepipe.live.environments import ROOT, WORKTREE, Environment, Release

#: A unit's plan, as `terraform show -json` writes it.
Plan = dict[str, Any]

_SOURCES = "lambda-image/src"

#: Judges functions, given as JSON, by the package in a folder.
_JUDGE = """
import json, sys
sys.path.insert(0, sys.argv[1])
from image_processor import settings
print(json.dumps([
    [function[0], problem]
    for function in json.load(sys.stdin) if function[0] in settings.READERS
    for problem in settings.problems(*function)
]))
"""


@dataclass(frozen=True)
class Function:
    """A planned or deployed function."""

    service: str
    variables: dict[str, str]
    memory_mb: int
    timeout_seconds: int


def refuse_broken(environment: Environment, plans: dict[str, Plan]) -> None:
    """Refuse plans of an environment with a function whose settings break it.

    Args:
        plans: by unit.

    Raises:
        PipelineError: with one line for every problem.
    """
    wrong = [problem for plan in plans.values() for problem in problems(plan, environment.release)]
    if wrong:
        raise PipelineError(
            f"live/{environment.name}/env.hcl sets what would break later: correct it\n" + "\n".join(wrong)
        )


def problems(plan: Plan, release: Release | None = None) -> Iterator[str]:
    """Yield a sentence for everything that is wrong with the functions that a plan leaves behind."""
    functions = []
    for change in plan.get("resource_changes", []):
        after = change["change"].get("after")
        if change["type"] != "aws_lambda_function" or not after:
            continue
        variables = _variables(after)
        if _variables(change["change"].get("after_unknown") or {}):
            yield f"{change['address']}: its environment is known after an apply only: make it of inputs alone"
        else:
            service = variables.get("SERVICE_NAME", "")
            functions.append(Function(service, variables, after["memory_size"], after["timeout"]))
    for service, problem in judged(functions, release):
        yield f"{service}: {problem}"


def _variables(function: dict[str, Any]) -> Any:
    blocks = function.get("environment") or [{}]
    return blocks[0].get("variables") or {} if isinstance(blocks, list) else blocks


def judged(functions: list[Function], release: Release | None) -> list[tuple[str, str]]:
    """Return service and problem of every function that breaks.

    Args:
        release: names the image that the functions run; None for the image of this checkout.
    """
    given = [astuple(function) for function in functions]
    if given and release and release.build and release.image != WORKTREE:
        verdict = _judged_by(release.build.commit, given)
        if verdict is not None:
            return verdict
    return [
        (service, problem)
        for service, *rest in given
        if service in settings.READERS
        for problem in settings.problems(service, *rest)
    ]


def _judged_by(commit: str, given: list[Any]) -> list[tuple[str, str]] | None:
    """Return the verdict of a commit's own code, which runs without credentials; None if it cannot be had.

    Only a commit that this checkout contains is run: it was reviewed like the checkout itself.
    """
    if _git("merge-base", "--is-ancestor", commit, "HEAD") is None:
        return None
    archive = _git("archive", commit, _SOURCES)
    if archive is None:
        return None
    with tempfile.TemporaryDirectory(prefix="release-") as folder:
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(folder, filter="data")
        sources = Path(folder) / _SOURCES
        if not (sources / "image_processor/settings.py").exists():
            return []  # older than these rules: its modules alone judge it
        finished = subprocess.run(
            [sys.executable, "-I", "-c", _JUDGE, str(sources)],
            input=json.dumps(given), env={}, capture_output=True, text=True, check=False,
        )  # fmt: skip
    if finished.returncode:
        return None
    return [(service, problem) for service, problem in json.loads(finished.stdout)]


def _git(*arguments: str) -> bytes | None:
    """Return what git prints, or None if it refuses."""
    finished = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=False)
    return None if finished.returncode else finished.stdout
