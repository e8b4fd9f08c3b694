"""Builds the part of the image above its base: wheels for the target, the package and byte code, without unused parts.

Uses the standard library and pip only, and runs on the Python of the image, which must make the byte code.
"""

import argparse
import compileall
import gzip
import importlib.util
import json
import os
import py_compile
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import Any

BUILD = Path(__file__).parent
SECRETS = Path("/run/secrets")
#: Folder in which Lambda expects a function's code.
TASK = "/var/task"

#: Version of Python that requirements.txt is resolved for and the package is tested with. The base must have it.
PYTHON = (3, 13)

#: Docker's names of architectures, and the wheels that run there: glibc 2.28 and older.
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
MANYLINUX = ("manylinux_2_28", "manylinux_2_24", "manylinux_2_17", "manylinux2014")

#: Packages without wheels and without compiled parts: the one built here fits every platform.
PURE_SOURCES = ("pyvips",)

#: Large parts of the standard library that no function uses.
STANDARD_LIBRARY_UNUSED = frozenset(
    {"asyncio", "curses", "dist-packages", "ensurepip", "idlelib", "mailbox.py", "pydoc.py", "pydoc_data", "sqlite3"}
    | {"site-packages", "test", "tkinter", "turtle.py", "turtledemo", "unittest", "venv", "wsgiref", "xmlrpc"}
)

#: Parts of packages that no function uses, as patterns below the task folder.
UNUSED = (
    *("bin", "**/tests", "**/test", "**/*.pyi", "dateutil/zoneinfo/*.tar.gz"),
    # pi-heif asks for Pillow and uses its core only: two thirds of its libraries are for other formats and for text.
    *(
        f"PIL/_{part}.*"
        for part in ("avif", "imagingcms", "imagingft", "imagingmath", "imagingmorph", "imagingtk", "webp")
    ),
    *(f"pillow.libs/lib{part}*" for part in ("avif-", "brotli", "freetype-", "harfbuzz-", "lcms2-", "png16-")),
    *(f"pillow.libs/lib{part}*" for part in ("sharpyuv-", "webp")),
)


def install(architecture: str, target: Path) -> None:
    """Install the pinned packages, every file checked against its hash: wheels of the target, and pure sources."""
    blocks = re.split(r"\n(?=[a-z])", (BUILD / "requirements.txt").read_text())
    pure, wheels = BUILD / "pure.txt", BUILD / "wheels.txt"
    pure.write_text("\n".join(block for block in blocks if block.split("==")[0] in PURE_SOURCES))
    wheels.write_text("\n".join(block for block in blocks if block.split("==")[0] not in PURE_SOURCES))

    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    platforms = [f"--platform={system}_{MACHINES[architecture]}" for system in MANYLINUX]
    pip("install", "--only-binary=:all:", f"--python-version={version}", *platforms, f"--target={target}", wheels)

    # Built with pinned tools, or the wheel's own metadata would change with their versions.
    pip("install", "--only-binary=:all:", f"--target={BUILD / 'tools'}", BUILD / "requirements-build.txt")
    pip("install", "--no-build-isolation", f"--target={BUILD / 'pure'}", pure, PYTHONPATH=str(BUILD / "tools"))
    shutil.copytree(BUILD / "pure", target, dirs_exist_ok=True)


def pip(command: str, *arguments: str | Path, **variables: str) -> None:
    """Run pip on a file of requirements, with the machine's own certificate authority and index, if it has any."""
    *options, requirements = map(str, arguments)
    for variable, secret in (("PIP_CERT", SECRETS / "ca"), ("PIP_CONFIG_FILE", SECRETS / "pip")):
        if secret.exists() and secret.stat().st_size:
            variables[variable] = str(secret)
    quiet = ("--quiet", "--disable-pip-version-check", "--root-user-action=ignore", "--no-cache-dir", "--no-compile")
    exact = ("--no-deps", "--require-hashes", *options, "--requirement", requirements)
    finished = subprocess.run(
        [sys.executable, "-m", "pip", command, *quiet, *exact], env={**os.environ, **variables}, check=False
    )
    if finished.returncode:
        sys.exit(f"assemble: pip could not install {requirements}, see above")


def remove_unused(target: Path) -> None:
    """Delete the parts of packages that no function uses."""
    for pattern in UNUSED:
        for path in sorted(target.glob(pattern)):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def prune_botocore(data: Path, operations: dict[str, tuple[str, ...]]) -> None:
    """Cut botocore's descriptions of AWS down to the operations used, without their documentation.

    What is left is read at every cold start; whole, it is two thirds of botocore's bytes.
    """
    shared = {"endpoints.json", "partitions.json", "sdk-default-configuration.json", "_retry.json"}
    for entry in sorted(data.iterdir()):
        if entry.is_dir() and entry.name not in operations:
            shutil.rmtree(entry)
        elif entry.is_file() and entry.name not in shared:
            entry.unlink()
    for service, wanted in operations.items():
        for file in sorted((data / service).rglob("*.json*")):
            content, name = _read(file), file.name.removesuffix(".gz").removesuffix(".json")
            file.unlink()
            if name not in {"service-2", "endpoint-rule-set-1", "paginators-1"}:
                continue
            model = json.loads(content)
            if name == "service-2":
                _keep_operations(model, wanted)
            elif name == "paginators-1":
                model["pagination"] = {name: page for name, page in model["pagination"].items() if name in wanted}
            _write(file.with_name(f"{name}.json"), model)  # unpacked: it is read at every start
    endpoints = json.loads((data / "endpoints.json").read_text())
    for partition in endpoints["partitions"]:
        partition["services"] = {name: service for name, service in partition["services"].items() if name in operations}
    _write(data / "endpoints.json", endpoints)


def _keep_operations(model: dict[str, Any], wanted: tuple[str, ...]) -> None:
    if unknown := set(wanted) - set(model["operations"]):
        sys.exit(f"assemble: botocore knows no operation {', '.join(sorted(unknown))}")
    model["operations"] = {name: model["operations"][name] for name in wanted}
    needed: set[str] = set()
    waiting = [shape for operation in model["operations"].values() for shape in _shapes(operation)]
    while waiting:
        if (shape := waiting.pop()) not in needed:
            needed.add(shape)
            waiting += _shapes(model["shapes"][shape])
    model["shapes"] = {name: shape for name, shape in model["shapes"].items() if name in needed}
    for part in ("operations", "shapes"):  # elsewhere botocore insists on finding documentation
        model[part] = _without_words(model[part])


def _shapes(part: Any) -> list[str]:
    """Return the names of the shapes that a part of a model refers to."""
    if isinstance(part, dict):
        return [
            name
            for key, value in part.items()
            for name in ([value] if key == "shape" and isinstance(value, str) else _shapes(value))
        ]
    return [name for item in part for name in _shapes(item)] if isinstance(part, list) else []


def _without_words(part: Any) -> Any:
    if isinstance(part, dict):
        return {
            key: _without_words(value)
            for key, value in part.items()
            if not (key in {"documentation", "documentationUrl"} and isinstance(value, str))
        }
    return [_without_words(item) for item in part] if isinstance(part, list) else part


def _read(file: Path) -> bytes:
    return gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()


def _write(file: Path, content: Any) -> None:
    file.write_text(json.dumps(content, separators=(",", ":")))


def compile_task(task: Path) -> None:
    """Compile the task folder to byte code that is never checked against its source.

    The folder is read-only: byte code made later could not be kept, and every cold start would compile again.
    """
    mode = PycInvalidationMode.UNCHECKED_HASH
    if not compileall.compile_dir(task, ddir=TASK, quiet=1, force=True, invalidation_mode=mode):
        sys.exit("assemble: not everything compiles with this Python")


def compile_standard_library(library: Path, base: Path, root: Path) -> None:
    """Compile the base's standard library to byte code.

    The public Python images leave it out to be small, and on Lambda nothing can be kept: every cold start would compile
    a good hundred modules. It is written where Python looks for it, and not where the base has some already.
    """
    for source in sorted((base / library.relative_to("/")).rglob("*.py")):
        name = source.relative_to(base)
        compiled = Path(importlib.util.cache_from_source(str(name)))
        parts = Path("/", name).relative_to(library).parts
        if parts[0] in STANDARD_LIBRARY_UNUSED or "test" in parts or (base / compiled).exists():
            continue
        (root / compiled).parent.mkdir(parents=True, exist_ok=True)
        mode = PycInvalidationMode.UNCHECKED_HASH
        py_compile.compile(str(source), str(root / compiled), f"/{name}", doraise=True, invalidation_mode=mode)


def require_python(base: Path) -> Path:
    """Return the base's folder of the standard library. Another Python would ignore our byte code."""
    wanted = ".".join(map(str, PYTHON))
    library = Path(sysconfig.get_path("stdlib"))
    if sys.version_info[:2] != PYTHON:
        sys.exit(
            f"assemble: the base has Python {sys.version.split()[0]} and the image is made for {wanted}: "
            f"make base BASE=<an image with Python {wanted}>, or change PYTHON in assemble.py and run the tests"
        )
    if not (base / library.relative_to("/") / "os.py").exists():
        sys.exit(f"assemble: the target's base has no Python {wanted} in {library}, where the builder's has: make base")
    return library


def main() -> None:
    """Build everything into the folder that the Dockerfile copies."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--architecture", choices=MACHINES, required=True)
    parser.add_argument("--base", type=Path, required=True, help="the target's base, unpacked")
    parser.add_argument("--into", type=Path, required=True)
    arguments = parser.parse_args()
    library = require_python(arguments.base)
    task = arguments.into / TASK[1:]
    install(arguments.architecture, task)
    shutil.copytree(BUILD / "src", task, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.pyc", "*.egg-info"))
    remove_unused(task)
    prune_botocore(task / "botocore/data", json.loads((BUILD / "operations.json").read_text()))
    compile_task(task)
    compile_standard_library(library, arguments.base, arguments.into)


if __name__ == "__main__":
    main()
