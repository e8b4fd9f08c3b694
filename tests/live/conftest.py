"""The Terragrunt layer as Terragrunt sees it: every unit rendered once, without any cloud."""

import json
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from imagepipe.live import environments

ENVIRONMENTS = tuple(environments.road())


def terragrunt(*arguments: str, cwd: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    finished = subprocess.run(["terragrunt", *arguments], cwd=cwd, capture_output=True, text=True)
    assert not check or finished.returncode == 0, finished.stderr
    return finished


def render_all(live: Path) -> dict[str, Any]:
    """Rendered configuration by unit, named like `dev/storage`."""

    def render(file: Path) -> Any:
        return json.loads(terragrunt("render", "--json", "--log-level", "error", cwd=file.parent).stdout)

    files = sorted(live.glob("*/*/terragrunt.hcl"))
    with ThreadPoolExecutor(4) as pool:
        rendered = pool.map(render, files)
    return {str(file.parent.relative_to(live)): unit for file, unit in zip(files, rendered, strict=True)}


@pytest.fixture(scope="session")
def units(root: Path) -> dict[str, Any]:
    return render_all(root / "live")


@pytest.fixture
def copy(copy_working_tree: Callable[..., None], tmp_path: Path) -> Path:
    """A repository of its own with the Terragrunt layer and the modules, for tests that change files."""
    copy_working_tree(tmp_path, "live", "modules", "scripts", "*.hcl", "*.json")
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    return tmp_path
