"""What every test may count on: the tools of `make setup`, and no AWS settings of whoever runs the tests."""

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

import clones
from imagepipe.tools import tool_variables

ROOT = Path(__file__).resolve().parent.parent

for name in [name for name in os.environ if name.startswith(("AWS_", "TG_", "TERRAGRUNT_"))]:
    del os.environ[name]
# Commands start by the hundred, from clones whose modules nobody has compiled yet.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
os.environ.update(tool_variables())
# Read when the handlers are imported.
os.environ.update(SERVICE_NAME="processor", METRICS_NAMESPACE="image-pipeline-test")


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's top."""
    return ROOT


@pytest.fixture(scope="session")
def copy_working_tree(root: Path) -> Callable[..., None]:
    """Copies what git tracks or would track, all of it or what matches some patterns, into another folder."""
    return partial(clones.copy_working_tree, root)


#: Folders whose tests share one deployment, and run one after another because of it.
SHARING = frozenset({"chaos", "local"})

#: What several workers begin with: the longest, and what waits for nobody while the first makes what others copy.
FIRST = ("e2e/test_releases.py", "chaos", "local", "image", "e2e")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order what several workers share, by its folder or file in FIRST; the last ones decide how long all takes."""

    def place(item: pytest.Item) -> int:
        path = item.path.relative_to(ROOT / "tests").as_posix()
        return next((place for place, prefix in enumerate(FIRST) if path.startswith(prefix)), len(FIRST))

    if hasattr(config, "workerinput"):
        items.sort(key=place)


class _Together(LoadScopeScheduling):  # type: ignore[misc]
    """What stays in one process when several share the tests: a deployment's tests, or else a file's."""

    def _split_scope(self, nodeid: str) -> str:
        _, folder, *_ = file = nodeid.split("::")[0].split("/")
        return folder if folder in SHARING else "/".join(file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return _Together(config, log)


def pytest_sessionstart() -> None:
    """A missing tool fails the run at once, by name; nothing is skipped for it."""
    missing = [
        tool for tool in ("git", "terraform", "terragrunt", "tflint", "terraform-docs") if not shutil.which(tool)
    ]
    if missing:
        pytest.exit(f"missing: {', '.join(missing)}; run make setup", returncode=2)
