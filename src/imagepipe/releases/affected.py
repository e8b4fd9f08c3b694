"""Units that a change reaches: by what they read, by the modules they are made of, and by what they depend on.

Terragrunt's own filter by git does not see a root file of this name, nor anything inside a module but its .tf files
(gruntwork-io/terragrunt issue 6952). What it does know exactly, and tells in half a second without any cloud, is which
files each unit's configuration reads; the rest is set arithmetic.
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

#: Local modules that a module calls. What else Terraform may read lies in the module's own folder.
_CALL = re.compile(r'^\s*source\s*=\s*"\.\./(?P<name>[\w-]+)', re.MULTILINE)

#: How a unit's definition shows that it takes the image.
_TAKES_IMAGE = "local.context.image_uri"


@dataclass(frozen=True)
class Unit:
    """One unit as Terragrunt reads it, with paths relative to the repository's top."""

    name: str  # like dev/storage
    dependencies: frozenset[str]
    reads: frozenset[str]  # files, and folders that end in a slash

    @property
    def environment(self) -> str:
        return self.name.split("/")[0]

    @property
    def short(self) -> str:
        """The unit's name within its environment."""
        return self.name.split("/", 1)[1]

    @property
    def needs(self) -> list[str]:
        """What it depends on, by name within its environment: no unit reads another environment's state."""
        return [name.split("/", 1)[1] for name in self.dependencies]


@dataclass(frozen=True)
class Affected:
    """A unit that a change reaches, and the first thing through which it does."""

    unit: str
    because: str


def since(ref: str) -> list[Affected]:
    """Units that the checkout may change beside what it had in common with a ref; uncommitted changes count.

    Raises:
        PipelineError: no such ref, or the configuration of a unit cannot be read.
    """
    return affected(units(), repository.changed(repository.merge_base(ref)))


def removed(ref: str) -> list[str]:
    """Units that a ref has and the checkout has not. What they deployed stays until somebody destroys it."""
    listed = repository.git("ls-tree", "-r", "--name-only", repository.merge_base(ref), "--", "live").splitlines()
    before = {
        str(PurePosixPath(each).parent.relative_to("live")) for each in listed if each.endswith("/terragrunt.hcl")
    }
    return sorted(name for name in before if not (LIVE / name / "terragrunt.hcl").exists())


def affected(units: Iterable[Unit], changed: Iterable[str]) -> list[Affected]:
    """Units that read a changed file, or depend on such a unit; those come first that others depend on."""
    files = sorted(file for file in changed if not _is_documentation(file))
    found: dict[str, str] = {}
    for unit in in_order(units):
        if reason := _first_read(unit, files):
            found[unit.name] = reason
        elif through := sorted(unit.dependencies & found.keys()):
            found[unit.name] = f"depends on {through[0]}"
    return [Affected(name, because) for name, because in found.items()]


def in_order(units: Iterable[Unit]) -> list[Unit]:
    """Units so that each comes after what it depends on, otherwise by name."""
    known = {unit.name: unit for unit in units}
    graph = {name: sorted(known[name].dependencies & known.keys()) for name in sorted(known)}
    return [known[name] for name in TopologicalSorter(graph).static_order()]


def units() -> list[Unit]:
    """Every unit below live/."""
    options = ["--working-dir", str(LIVE), "--json", "--dependencies", "--reading"]
    return [_unit(each) for each in json.loads(runner.ask("find", *options))]


def _unit(found: dict[str, Any]) -> Unit:
    name = str(found["path"])
    environment = name.split("/")[0]
    reads = {_from_top(file) for file in found.get("reading") or []}
    # What lies beside the units is everybody's there, even what is read only if it exists.
    reads |= {f"live/{name}/", f"live/{environment}/env.hcl", f"live/{environment}/release.json"}
    modules = {file.split("/")[1] for file in reads if file.startswith("modules/")}
    reads |= {f"modules/{module}/" for module in _with_calls(modules)}
    definition = LIVE / "_units" / f"{name.split('/')[1]}.hcl"
    if _builds_from_worktree(environment) and definition.exists() and _TAKES_IMAGE in definition.read_text():
        reads.add("lambda-image/")
    return Unit(name, frozenset(found.get("dependencies") or []), frozenset(reads))


def _builds_from_worktree(environment: str) -> bool:
    release = environments.load(environment).release
    return release is not None and release.image == environments.WORKTREE


def _with_calls(modules: set[str]) -> set[str]:
    """Modules with every local module that they call, and those call."""
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            for file in (ROOT / "modules" / module).glob("*.tf"):
                waiting += _CALL.findall(file.read_text())
    return found


def _from_top(file: str) -> str:
    """Terragrunt tells of files as seen from live/."""
    return str((LIVE / file).resolve().relative_to(ROOT)) if not Path(file).is_absolute() else file


def _first_read(unit: Unit, files: list[str]) -> str | None:
    folders = tuple(each for each in unit.reads if each.endswith("/"))
    return next((file for file in files if file in unit.reads or file.startswith(folders)), None)


def _is_documentation(file: str) -> bool:
    """Markdown anywhere, and a module's examples and tests: Terragrunt does not even copy them."""
    return file.endswith(".md") or bool(re.match(r"modules/[^/]+/(examples|tests)/", file))
