"""Units that a change reaches: by the files they read, by their modules, and by their dependencies.

Terragrunt's own filter by git misses a root file with this name, and files of a module other than .tf
(gruntwork-io/terragrunt issue 6952). It does list the files that each unit's configuration reads, in half a second and
without any cloud; this module compares that list with the changed files.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path, PurePosixPath
from typing import Any

from imagepipe.live import environments
from imagepipe.live.environments import LIVE, ROOT
from imagepipe.releases import repository
from imagepipe.terragrunt import runner

#: A call of another local module. Every other file that Terraform reads is in the module's own folder.
_CALL = re.compile(r'^\s*source\s*=\s*"\.\./(?P<name>[\w-]+)', re.MULTILINE)

#: Stands in the definition of a unit that runs the image.
_TAKES_IMAGE = "local.context.image_uri"


@dataclass(frozen=True)
class Unit:
    """One unit as Terragrunt reads it, with paths relative to the repository's top."""

    name: str  # like dev/storage
    dependencies: frozenset[str]
    reads: frozenset[str]  # files, and folders that end in a slash

    @property
    def environment(self) -> str:
        """The environment's name."""
        return self.name.split("/")[0]

    @property
    def short(self) -> str:
        """The unit's name within its environment."""
        return self.name.split("/", 1)[1]

    @property
    def needs(self) -> list[str]:
        """Names of its dependencies within its environment. No unit depends on one of another environment."""
        return [name.split("/", 1)[1] for name in self.dependencies]


@dataclass(frozen=True)
class Affected:
    """A unit that a change reaches, and the first reason."""

    unit: str
    because: str


def since(ref: str) -> list[Affected]:
    """Return the units reached by the checkout's changes since it left a ref; uncommitted changes count.

    Raises:
        PipelineError: there is no such ref, or the configuration of a unit cannot be read.
    """
    return affected(units(), repository.changed(repository.merge_base(ref)))


def removed(ref: str) -> list[str]:
    """Return units that exist at a ref and not in the checkout. Their resources stay until somebody destroys them."""
    listed = repository.git("ls-tree", "-r", "--name-only", repository.merge_base(ref), "--", "live").splitlines()
    before = {
        str(PurePosixPath(file).parent.relative_to("live")) for file in listed if file.endswith("/terragrunt.hcl")
    }
    return sorted(name for name in before if not (LIVE / name / "terragrunt.hcl").exists())


def affected(units: Iterable[Unit], changed: Iterable[str]) -> list[Affected]:
    """Return units that read a changed file or depend on such a unit, dependencies first."""
    files = sorted(file for file in changed if not _is_documentation(file))
    reasons: dict[str, str] = {}
    for unit in in_order(units):
        if reason := _first_read(unit, files):
            reasons[unit.name] = reason
        elif through := sorted(unit.dependencies & reasons.keys()):
            reasons[unit.name] = f"depends on {through[0]}"
    return [Affected(name, because) for name, because in reasons.items()]


def in_order(units: Iterable[Unit]) -> list[Unit]:
    """Return units in an order with dependencies first, otherwise by name."""
    known = {unit.name: unit for unit in units}
    graph = {name: sorted(known[name].dependencies & known.keys()) for name in sorted(known)}
    return [known[name] for name in TopologicalSorter(graph).static_order()]


def units() -> list[Unit]:
    """Return every unit below live/."""
    options = ["--working-dir", str(LIVE), "--json", "--dependencies", "--reading"]
    return [_unit(entry) for entry in json.loads(runner.ask("find", *options))]


def _unit(entry: dict[str, Any]) -> Unit:
    name = str(entry["path"])
    environment = name.split("/")[0]
    reads = {_from_top(file) for file in entry.get("reading") or []}
    # Terragrunt does not list a file that is read only if it exists.
    reads |= {f"live/{name}/", f"live/{environment}/env.hcl", f"live/{environment}/release.json"}
    modules = {file.split("/")[1] for file in reads if file.startswith("modules/")}
    reads |= {f"modules/{module}/" for module in _with_calls(modules)}
    definition = LIVE / "_units" / f"{name.split('/')[1]}.hcl"
    if _builds_from_worktree(environment) and definition.exists() and _TAKES_IMAGE in definition.read_text():
        reads.add("lambda-image/")
    return Unit(name, frozenset(entry.get("dependencies") or []), frozenset(reads))


def _builds_from_worktree(environment: str) -> bool:
    release = environments.load(environment).release
    return release is not None and release.image == environments.WORKTREE


def _with_calls(modules: set[str]) -> set[str]:
    """Return modules with the local modules that they call, directly or not."""
    known: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module not in known:
            known.add(module)
            for file in (ROOT / "modules" / module).glob("*.tf"):
                waiting += _CALL.findall(file.read_text())
    return known


def _from_top(file: str) -> str:
    """Return a file's path from the repository's top. Terragrunt lists files as seen from live/."""
    return str((LIVE / file).resolve().relative_to(ROOT)) if not Path(file).is_absolute() else file


def _first_read(unit: Unit, files: list[str]) -> str | None:
    folders = tuple(path for path in unit.reads if path.endswith("/"))
    return next((file for file in files if file in unit.reads or file.startswith(folders)), None)


def _is_documentation(file: str) -> bool:
    """Tell whether a file is Markdown, or an example or a test of a module: Terragrunt copies neither."""
    return file.endswith(".md") or bool(re.match(r"modules/[^/]+/(examples|tests)/", file))
