"""A clone of its own, its three environments and the registry on its own local cloud, deployed once for all tests here.

dev runs the working tree, staging a tag and prod a commit of the clone: every form that a release may have.
"""

import json
import os
import shutil
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from clones import Clone
from imagepipe.container import build

ENVIRONMENTS = {"shared": "444444444444", "dev": "111111111111", "staging": "222222222222", "prod": "333333333333"}

#: What people have who type `run-all`.
OLDER_TERRAGRUNT = "terragrunt-0.89"


def make_clone(root: Path, top: Path, copy_working_tree: Callable[..., None]) -> Clone:
    """A repository with one commit, the working tree as it is, and the tag v0.0.1."""
    copy_working_tree(top)
    clone = Clone(top)
    clone.use_tools(root)
    clone.begin()
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
    image = json.loads((clone.top / "build/image.json").read_text())
    for environment, ref in (("staging", "v0.0.1"), ("prod", clone.git("rev-parse", "HEAD"))):
        release = {
            "image": image["digest"],
            "modules": ref,
            **({"build": build_of(image)} if "source" in image else {}),
        }
        (clone.top / "live" / environment / "release.json").write_text(json.dumps(release, indent=2) + "\n")
    clone.git("commit", "--quiet", "--all", "--message", "Release to staging and prod")
    try:
        yield clone
    finally:
        clone.imagepipe("down", check=False)


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


@pytest.fixture(scope="session")
def early_plan(clone: Clone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plan of staging's functions, saved while nothing existed that they depend on."""
    file = tmp_path_factory.mktemp("plans") / "early.tfplan"
    clone.imagepipe("bootstrap", "--env", "staging")
    clone.terragrunt("plan", f"-out={file}", unit="staging/compute")
    return file


@pytest.fixture(scope="session")
def deployed(clone: Clone, early_plan: Path) -> Clone:
    """All of it applied: dev and shared by plain Terragrunt, in either spelling; the rest by imagepipe.

    An administrator applies what lets workflows in, and what may not be erased. The rest is applied with the rights of
    a workflow, and no more.
    """

    def apply(environment: str) -> None:
        clone.imagepipe("bootstrap", "--env", environment)
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
    return clone


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
