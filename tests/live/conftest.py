"""The Terragrunt layer as Terragrunt sees it: every unit rendered once, without any cloud."""

import json
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from imagepipe.live import environments

ENVIRONMENTS = tuple(environments.release_order())


def terragrunt(*arguments: str, cwd: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    finished = subprocess.run(["terragrunt", *arguments], cwd=cwd, capture_output=True, text=True)
    assert not check or finished.returncode == 0, finished.stderr
    return finished


#: Without these options Terragrunt asks Terraform for the outputs of every dependency, in vain, then takes the mocks.
_RENDER = ("--json", "--log-level=error", "--experiment=optional-dependency-outputs", "--no-dependency-outputs")


def render(unit: Path) -> dict[str, Any]:
    """Return a unit's configuration as Terragrunt renders it, with mock outputs of its dependencies."""
    return dict(json.loads(terragrunt("render", *_RENDER, cwd=unit).stdout))


def render_all(live: Path, pattern: str = "*/*") -> dict[str, dict[str, Any]]:
    """Return rendered configurations by unit, named like `dev/storage`."""
    folders = sorted(file.parent for file in live.glob(f"{pattern}/terragrunt.hcl"))
    with ThreadPoolExecutor(2) as pool:
        return dict(zip((str(folder.relative_to(live)) for folder in folders), pool.map(render, folders), strict=True))


@pytest.fixture(scope="session")
def units(root: Path) -> dict[str, Any]:
    return render_all(root / "live")


@pytest.fixture
def copy(copy_working_tree: Callable[..., None], tmp_path: Path) -> Path:
    """A repository of its own with the Terragrunt layer and the modules, for tests that change files."""
    copy_working_tree(tmp_path, "live", "modules", "scripts", "*.hcl", "*.json")
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    return tmp_path
