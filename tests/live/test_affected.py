"""Units that `imagepipe affected` names, beside those whose rendered configuration or module a change really alters."""

import hashlib
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clones import Clone

from .conftest import ENVIRONMENTS, render_all, terragrunt


def _edit(file: str, old: str, new: str) -> Callable[[Path], None]:
    def edit(top: Path) -> None:
        text = (top / file).read_text()
        assert re.search(old, text), f"{file} holds no {old}"
        (top / file).write_text(re.sub(old, new, text, count=1))

    edit.__name__ = f"edit {file}"
    return edit


def _add(file: str, content: str) -> Callable[[Path], None]:
    def add(top: Path) -> None:
        (top / file).parent.mkdir(parents=True, exist_ok=True)
        (top / file).write_text(content)

    add.__name__ = f"add {file}"
    return add


#: Changes as people make them, each of which alters what it is read by; and some that alter nothing.
CHANGES = [
    *(
        _edit(f"live/{name}/env.hcl", "visibility_timeout_seconds = 360", "visibility_timeout_seconds = 720")
        for name in ("dev", "staging", "prod")
    ),
    _edit("live/staging/release.json", '"modules": "worktree"', '"modules": "v0.0.1"'),
    _edit("live/github.json", "your--organisation", "acme"),
    _edit("live/_units/api.hcl", "inputs = merge\\(", 'inputs = merge({ probe = "x" }, '),
    _edit("live/project.json", "image-pipeline", "image-works"),
    _edit("live/_units/context.hcl", "-tflock", "-locks"),
    _edit("live/dev/monitoring/terragrunt.hcl", "\\Z", '\ninputs = { probe = "x" }\n'),
    _edit("terragrunt.hcl", "-lock-timeout=5m", "-lock-timeout=9m"),
    _edit("tools.json", '"terraform-provider-aws": "5.100.0"', '"terraform-provider-aws": "5.99.0"'),
    _edit("provider.lock.hcl", "h1:.{8}", "h1:AAAAAAAA"),
    _edit("modules/compute/roles.tf", "\\Z", "\n# changed\n"),
    _add("modules/monitoring/templates/dashboard.json", "{}"),
    _add("modules/storage/examples/basic/other.tf", "# an example"),
    _add("modules/storage/tests/other.tftest.hcl", "# a test"),
    _add("modules/storage/README.md", "# Storage"),
    _add("docs/page.md", "# Page"),
    _add("tests/test_new.py", ""),
]


@pytest.fixture(scope="module")
def clone(root: Path, tmp_path_factory: pytest.TempPathFactory, copy_working_tree: Callable[..., None]) -> Clone:
    made = Clone(tmp_path_factory.mktemp("affected") / "clone")
    copy_working_tree(made.top)
    made.begin()
    made.git("tag", "v0.0.1")
    return made


@pytest.fixture(scope="module")
def before(clone: Clone) -> dict[str, Any]:
    return made_of(clone)


def made_of(clone: Clone) -> dict[str, Any]:
    """Return all that a unit is made of, by unit: what Terragrunt renders, and the files of its module."""
    rendered = _rendered(clone)
    return {unit: (configuration, _module(clone.top, configuration)) for unit, configuration in rendered.items()}


#: Rendered units by a hash of what Terragrunt could read: everything below live/, HCL and JSON anywhere.
_RENDERED: dict[str, dict[str, Any]] = {}


def _rendered(clone: Clone) -> dict[str, Any]:
    readable = clone.git("ls-files", "--cached", "--others", "--exclude-standard", "live", "*.hcl", "*.json")
    digest = hashlib.sha256()
    for file in sorted({*readable.splitlines()}):
        digest.update(f"{file}\0".encode() + (clone.top / file).read_bytes())
    key = digest.hexdigest()
    if key not in _RENDERED:
        _RENDERED[key] = render_all(clone.top / "live")
    return _RENDERED[key]


def _module(top: Path, rendered: dict[str, Any]) -> dict[str, str]:
    source = rendered["terraform"]["source"]
    if source.startswith("git::"):
        return {}  # what a ref holds does not change
    folder = Path(source.replace("//", "/"))
    beside = {"examples", "tests"}
    files = (file for file in folder.rglob("*") if file.is_file() and not beside & {*file.relative_to(folder).parts})
    return {
        str(file.relative_to(top)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
        if file.suffix != ".md" and not any(part.startswith(".terra") for part in file.parts)
    }


@dataclass(frozen=True)
class Graph:
    """What Terragrunt finds below live/, by one question: which units depend on which, and which files they read."""

    dependencies: dict[str, set[str]]
    reading: dict[str, set[str]]

    @classmethod
    def of(cls, clone: Clone) -> "Graph":
        units = json.loads(terragrunt("find", "--json", "--dependencies", "--reading", cwd=clone.top / "live").stdout)
        return cls(
            {unit["path"]: {*(unit.get("dependencies") or [])} for unit in units},
            {unit["path"]: {os.path.normpath(f"live/{file}") for file in unit["reading"]} for unit in units},
        )

    def with_dependents(self, units: set[str]) -> set[str]:
        while more := {unit for unit, needed in self.dependencies.items() if needed & units} - units:
            units = units | more
        return units

    def readers(self, files: set[str]) -> set[str]:
        return {unit for unit, reading in self.reading.items() if reading & files}


def named(clone: Clone) -> set[str]:
    return {*json.loads(clone.imagepipe("affected", "--base", "HEAD", "--json").stdout)["units"]}


@pytest.mark.parametrize("commit", [False, True], ids=["in the folder", "in a commit"])
def test_a_change_counts_before_it_is_committed_and_after(clone: Clone, commit: bool) -> None:
    _edit("modules/api/main.tf", "\\Z", "\n# changed\n")(clone.top)
    try:
        if commit:
            clone.git("commit", "--quiet", "--all", "--message", "Change")
        printed = clone.imagepipe("affected", "--base", "v0.0.1", "--json").stdout
    finally:
        clone.git("reset", "--quiet", "--hard", "v0.0.1")
    assert {*json.loads(printed)["units"]} == {
        f"{name}/{unit}" for name in ENVIRONMENTS for unit in ("api", "monitoring")
    }


#: By night there are more, and other ones each time: `make nightly-fuzz`.
EXAMPLES = int(os.environ.get("EXAMPLES", "6"))


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="EXAMPLES" not in os.environ,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(changes=st.lists(st.sampled_from(CHANGES), min_size=1, max_size=2, unique=True))
def test_named_units_are_those_that_change_and_their_dependents(
    clone: Clone, before: dict[str, Any], changes: list[Callable[[Path], None]]
) -> None:
    for change in changes:
        change(clone.top)
    try:
        after = made_of(clone)
        altered = {unit for unit in after if after[unit] != before.get(unit)}
        changed = {*clone.git("diff", "--name-only", "HEAD").splitlines()}
        affected, graph = named(clone), Graph.of(clone)
        assert graph.with_dependents(altered) <= affected
        # Some read a file but not what has changed in it: the registry reads account ids from the environments' files.
        assert affected <= graph.with_dependents(altered | graph.readers(changed))
    finally:
        clone.git("reset", "--quiet", "--hard", "v0.0.1")
        clone.git("clean", "--quiet", "-d", "--force")


def test_a_unit_that_is_gone_is_told_of(clone: Clone) -> None:
    (clone.top / "live/dev/monitoring/terragrunt.hcl").unlink()
    try:
        assert json.loads(clone.imagepipe("affected", "--base", "HEAD", "--json").stdout)["removed"] == [
            "dev/monitoring"
        ]
    finally:
        clone.git("reset", "--quiet", "--hard", "v0.0.1")


@pytest.mark.parametrize("ref", ["no-such-ref", "--output=x", "0" * 40])
def test_a_ref_that_does_not_exist_is_one_line(clone: Clone, ref: str) -> None:
    finished = clone.imagepipe("affected", f"--base={ref}", check=False)
    assert finished.returncode == 1
    assert finished.stderr.startswith(f"imagepipe: there is no commit '{ref}' in this clone")


def test_a_branch_without_a_common_commit_is_one_line(clone: Clone) -> None:
    other = clone.git("commit-tree", "HEAD^{tree}", "-m", "Unrelated")
    finished = clone.imagepipe("affected", "--base", other, check=False)
    assert "have no commit in common" in finished.stderr
