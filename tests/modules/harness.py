"""Asks Terraform about a module: one plan for all that Python reads, one `terraform test` for all that is refused.

A start of Terraform with its AWS provider costs seconds, a module more within the same plan almost none. So every
module is planned once: for all inputs of its test file, with its weakenings, and with its examples, side by side in
one configuration. The answer is kept in pytest's cache beside a hash of everything that it depends on.
"""

import fcntl
import hashlib
import importlib
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import tftest

ROOT = Path(__file__).resolve().parents[2]
MODULES = ROOT / "modules"

#: Attributes of a resource as far as the plan knows them.
Values = dict[str, Any]

#: Values by address within the module.
Resources = dict[str, Values]

#: Lets the provider make plans offline.
PROVIDER = {
    "aws": {
        "region": "eu-west-1",
        "access_key": "test",
        "secret_key": "test",
        "skip_credentials_validation": True,
        "skip_metadata_api_check": True,
        "skip_requesting_account_id": True,
    }
}

#: An example's own provider: the shared one stands in for it.
_PROVIDER_BLOCK = re.compile(r'^provider "aws" \{.*?^\}\n+', re.MULTILINE | re.DOTALL)

#: One case of a test file, with the words above it that its message must hold, a line each.
_RUN = re.compile(r'(?P<words>(?:^# [^\n]+\n)*)^run "(?P<name>\w+)" \{.*?^\}\n', re.MULTILINE | re.DOTALL)

_EXPECTED = re.compile(r"^  expect_failures = .*\n", re.MULTILINE)


@dataclass(frozen=True)
class Change:
    """One line of a plan: what Terraform would do, and what the resource would look like then."""

    address: str
    actions: list[str]
    values: Values


@dataclass(frozen=True)
class Verdict:
    """What Terraform says about one case of a test file."""

    passed: bool  # refused where `expect_failures` says, or its assertions hold
    errors: str


def called(module: str) -> str:
    """Return a module's name in HCL, where a hyphen would be a minus."""
    return module.replace("-", "_")


def examples(module: str) -> list[str]:
    return sorted(folder.name for folder in (MODULES / module / "examples").iterdir() if folder.is_dir())


def cases(module: str, file: str) -> dict[str, list[str]]:
    """Return what the message must say, by case, of a file in the module's folder `tests`."""
    text = _test_file(module, file)
    return {match["name"]: re.findall(r"^# (.+)", match["words"], re.MULTILINE) for match in _RUN.finditer(text)}


def case_files(module: str) -> list[str]:
    return sorted(file.name for file in (MODULES / module / "tests").glob("*.tftest.hcl"))


def plans(module: str, cache: Path) -> dict[str, list[Change]]:
    """Plan a module once for everybody: all of `PLANS` in its test file, `weakened`, and `examples/<name>`.

    Raises:
        AssertionError: Terraform refuses one of them; the message says which and why.
    """
    questions = _questions(module)
    key = _hash(module, json.dumps([questions, _weakenings(module)], sort_keys=True))
    kept = _kept(cache / module / "plans", key, lambda: _plan(module, questions))
    return {name: [Change(**change) for change in changes] for name, changes in kept.items()}


def verdicts(module: str, file: str, cache: Path) -> dict[str, Verdict]:
    """Run the cases of a test file, each as it stands and once more for its message.

    `variables.tftest.hcl` needs the module's variables only: no provider is started, and a case takes 12 ms.
    """
    kept = _kept(cache / module / file, _hash(module), lambda: _verdicts(module, file))
    return {name: Verdict(**verdict) for name, verdict in kept.items()}


def _verdicts(module: str, file: str) -> dict[str, Values]:
    text = _test_file(module, file)
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if file == "variables.tftest.hcl":
            text = _PROVIDER_BLOCK.sub("", text)
            for source in (MODULES / module).glob("variables*.tf"):
                shutil.copy(source, folder)
            (folder / "tests").mkdir()
        else:
            shutil.copytree(MODULES / module, folder, dirs_exist_ok=True, ignore=_without("tests", "examples"))
            (folder / "tests").mkdir()
            _terraform(folder, "init", "-backend=false")
        _write_cases(folder / "tests", file, text)
        events = _test(folder)
    passed = {
        event["@testrun"]
        for event in events
        if event.get("@testfile") == f"tests/{file}" and event.get("test_run", {}).get("status") == "pass"
    }
    unexpected = _errors(events, f"tests/{file}")
    return {
        name: {"passed": name in passed, "errors": _errors(events, f"tests/_{name}.tftest.hcl") or unexpected}
        for name in cases(module, file)
    }


def _write_cases(folder: Path, file: str, text: str) -> None:
    """Write a test file as it is, and each refusal alone.

    Terraform prints no message of an expected error, and skips what comes after an unexpected one in the same file.
    """
    (folder / file).write_text(text)
    head = text[: next(_RUN.finditer(text)).start()]
    for match in filter(lambda match: _EXPECTED.search(match[0]), _RUN.finditer(text)):
        (folder / f"_{match['name']}.tftest.hcl").write_text(head + _EXPECTED.sub("", match[0]))


def _questions(module: str) -> dict[str, Values]:
    """Return the module's inputs by the name of the plan, as its test file declares them."""
    return dict(importlib.import_module(f"{__package__}.test_{called(module)}").PLANS)


def _weakenings(module: str) -> list[tuple[str, str, str]]:
    """Return file, text, and the text in its place, of every mutation that test_mutations.py knows."""
    mutations = importlib.import_module(f"{__package__}.test_mutations").MUTATIONS
    return [(file, before, after) for file, before, after, _ in mutations.get(module, [])]


def _plan(module: str, questions: dict[str, Values]) -> dict[str, list[Values]]:
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        calls = {name: {"source": f"./modules/{module}", **values} for name, values in questions.items()}
        shutil.copytree(MODULES / module, folder / "modules" / module, ignore=_without("tests"))
        for example in examples(module):
            path = f"modules/{module}/examples/{example}"
            for file in (folder / path).glob("*.tf"):
                file.write_text(_PROVIDER_BLOCK.sub("", file.read_text()))
            calls[f"example-{example}"] = {"source": f"./{path}"}
        if weakenings := _weakenings(module):
            calls["weakened"] = {"source": f"./modules/{module}-weakened", **questions["main"]}
            _weaken(module, weakenings, folder / f"modules/{module}-weakened")
        (folder / "main.tf.json").write_text(json.dumps({"provider": PROVIDER, "module": _literally(calls)}))
        _terraform(folder, "init", "-backend=false")
        try:
            plan = tftest.TerraformTest(str(folder)).plan(output=True, refresh=False)
        except tftest.TerraformTestError as error:
            raise AssertionError(f"{module} cannot be planned: {error.args[-1]}") from None
    return _by_call(plan.resource_changes.values())


def _weaken(module: str, weakenings: list[tuple[str, str, str]], copy: Path) -> None:
    """Put all mutations into one copy: they do not touch each other, and one plan is enough."""
    shutil.copytree(MODULES / module, copy, ignore=_without("tests", "examples"))
    for name, before, after in weakenings:
        text = (copy / name).read_text()
        assert before in text, f"{module}/{name} has no {before}"
        (copy / name).write_text(text.replace(before, after))


def _by_call(changes: Iterable[Values]) -> dict[str, list[Values]]:
    by_call: dict[str, list[Values]] = {}
    for change in changes:
        _, call, address = change["address"].split(".", 2)
        values = {"address": address, "actions": change["change"]["actions"], "values": change["change"].get("after")}
        by_call.setdefault(call, []).append(values)
    return by_call


def _literally(value: Any) -> Any:
    """Escape what Terraform would take for a template."""
    if isinstance(value, str):
        return value.replace("${", "$${").replace("%{", "%%{")
    if isinstance(value, dict):
        return {key: _literally(item) for key, item in value.items()}
    return [_literally(item) for item in value] if isinstance(value, list) else value


def _test_file(module: str, file: str) -> str:
    return (MODULES / module / "tests" / file).read_text()


def _test(folder: Path) -> list[dict[str, Any]]:
    finished = subprocess.run(["terraform", "test", "-json"], cwd=folder, capture_output=True, text=True)
    assert finished.stdout.startswith("{"), finished.stdout + finished.stderr
    return [json.loads(line) for line in finished.stdout.splitlines()]


def _errors(events: list[dict[str, Any]], file: str) -> str:
    errors = [
        event["diagnostic"]
        for event in events
        if event.get("diagnostic", {}).get("severity") == "error" and event.get("@testfile") == file
    ]
    return "\n".join(
        f"{error.get('range', {}).get('filename', 'Terraform')}: {error.get('detail') or error['summary']}"
        for error in errors
    )


def _terraform(folder: Path, *arguments: str) -> None:
    finished = subprocess.run(["terraform", *arguments, "-no-color"], cwd=folder, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr


def _without(*names: str) -> Any:
    return shutil.ignore_patterns(".terraform*", *names)


def _hash(module: str, questions: str = "") -> str:
    """Hash what an answer depends on: sources, versions, questions, and how they are asked."""
    digest = hashlib.sha256(questions.encode())
    sources = sorted(file for file in (MODULES / module).rglob("*") if file.is_file() and file.suffix != ".md")
    for file in [Path(__file__), ROOT / "tools.json", *sources]:
        if not any(part.startswith(".terraform") for part in file.parts):
            content = file.read_bytes()
            digest.update(f"{file.relative_to(ROOT)}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:16]


def _kept(folder: Path, key: str, ask: Callable[[], Values]) -> Values:
    """Return the answer that lies in a folder under this key, or ask; other workers wait for it meanwhile."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{key}.json"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not file.exists():
            answer = ask()
            for old in folder.glob("*.json"):
                old.unlink()
            file.write_text(json.dumps(answer))
    return dict(json.loads(file.read_text()))
