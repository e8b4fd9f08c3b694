"""Three environments and the registry on a local cloud: applied once in a run, a copy of all of it for every file here.

dev runs the working tree, staging a tag and prod a commit of the clone: every form that a release may have.
"""

import json
import os
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

import pytest

import saved
from clones import Clone
from once import once

ENVIRONMENTS = {"shared": "444444444444", "dev": "111111111111", "staging": "222222222222", "prod": "333333333333"}

#: What people have who type `run-all`.
OLDER_TERRAGRUNT = "terragrunt-0.89"

#: In a clone: a plan of staging's functions, saved while nothing existed that they depend on.
EARLY_PLAN = "build/early.tfplan"


@pytest.fixture(scope="session")
def applied(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with everything applied and its local cloud stopped; to be copied only."""

    functions = os.environ.get("FUNCTIONS") or "image"  # as it ships, unless somebody is in a hurry

    def make(top: Path) -> None:
        clone = (
            saved.copy(saved.with_image(root, tmp_path_factory), top)
            if functions == "image"
            else saved.without_image(root, top)
        )
        try:
            clone.imagepipe("up", "--functions", functions)
            _release(clone)
            _apply(clone)
        finally:
            clone.imagepipe("down")

    # What lies for long is not what a release meets: alarms, sessions and certificates age.
    return once(root, tmp_path_factory, f"applied-{functions}", str(date.today()), make)


@pytest.fixture(scope="module")
def deployed(applied: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    """A clone of this file's own, with everything deployed."""
    clone = saved.copy(applied, tmp_path_factory.mktemp("e2e") / "clone")
    clone.imagepipe("up")
    try:
        yield clone
    finally:
        clone.imagepipe("down", check=False)


def _release(clone: Clone) -> None:
    """Let staging run a tag and prod a commit."""
    image = json.loads((clone.top / "build/image.json").read_text())
    for environment, ref in (("staging", "v0.0.1"), ("prod", clone.git("rev-parse", "HEAD"))):
        release = {
            "image": image["digest"],
            "modules": ref,
            **({"build": build_of(image)} if "source" in image else {}),
        }
        (clone.top / "live" / environment / "release.json").write_text(json.dumps(release, indent=2) + "\n")
    clone.git("commit", "--quiet", "--all", "--message", "Release to staging and prod")


def build_of(image: dict[str, Any]) -> dict[str, Any]:
    """What build-push would say of it in a release."""
    source = image["source"]
    return {
        "commit": source["commit"],
        "dirty": source["dirty"],
        "platform": image["platform"],
        "recipe": image["recipe"],
        "time": "2026-01-01T00:00:00+00:00",
        "version": source["version"],
    }


def _apply(clone: Clone) -> None:
    """Apply dev and shared by plain Terragrunt, in either spelling, and the rest by imagepipe.

    An administrator applies what lets workflows in, and what may not be erased. The rest is applied with the rights of
    a workflow, and no more.
    """

    def apply(environment: str) -> None:
        clone.imagepipe("bootstrap", "--env", environment)
        if environment == "staging":
            clone.terragrunt("plan", f"-out={clone.top / EARLY_PLAN}", unit="staging/compute")
        clone.terragrunt("apply", "-auto-approve", unit=f"{environment}/ci-access")
        if environment == "prod":  # force_destroy = false
            clone.terragrunt("apply", "-auto-approve", unit="prod/storage")
        if environment == "dev":
            clone.terragrunt("run", "--all", "apply", unit="dev", role="apply")
        elif environment == "shared":
            clone.terragrunt("run-all", "apply", unit="shared", program=OLDER_TERRAGRUNT, role="apply")
        else:
            clone.imagepipe("apply", "--env", environment, "--yes", ROLE="apply")
        if environment != "shared":  # the roles name the API by its id
            clone.terragrunt("apply", "-auto-approve", unit=f"{environment}/ci-access")

    with ThreadPoolExecutor(len(ENVIRONMENTS)) as pool:
        list(pool.map(apply, ENVIRONMENTS))


#: Files whose tests are the steps of one story, each of which goes on from where the one before left.
STORIES = frozenset({"test_canary.py", "test_releases.py"})

_BROKEN = pytest.StashKey[set[Path]]()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a step of a story after an earlier one failed: its failure would say no more."""
    if item.path in item.config.stash.get(_BROKEN, set()):
        pytest.skip("an earlier step of this story failed")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember the story in which a step failed."""
    report = yield
    if report.failed and item.path.name in STORIES:
        item.config.stash.setdefault(_BROKEN, set()).add(item.path)
    return report
