"""Plans of the modules, made with the real provider and without any cloud."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tftest

MODULES = ("api", "ci-access", "compute", "monitoring", "registry", "storage")

ACCOUNT = "333333333333"
REGION = "eu-west-1"
NAMES = {"account_id": ACCOUNT, "name_prefix": "image-pipeline-prod", "region": REGION}

# Lets the provider make plans offline. As an override it also completes the provider block of an example.
OFFLINE_PROVIDER = {
    "provider": {
        "aws": {
            "region": REGION,
            "access_key": "test",
            "secret_key": "test",
            "skip_credentials_validation": True,
            "skip_metadata_api_check": True,
            "skip_requesting_account_id": True,
        }
    }
}

#: What a resource will look like, as far as the plan knows.
Values = dict[str, Any]

#: Values by address.
Resources = dict[str, Values]


class Workspace:
    """A copy of the modules that Terraform may write to. The provider is set up once and linked."""

    def __init__(self, modules: Path, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(modules, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".terraform*"))
        self._initialised: Path | None = None

    def plan(self, directory: str, variables: Values) -> tftest.TerraformPlanOutput:
        """The plan of a module or an example, named by its folder."""
        path = self._prepared(directory)
        file = written(path / "variables.tfvars.json", variables)
        return tftest.TerraformTest(str(path)).plan(output=True, refresh=False, tf_var_file=file)

    def refusal(self, directory: str, variables: Values) -> str:
        """What Terraform says when it refuses to plan."""
        return errors(self._prepared(directory), variables)

    def _prepared(self, directory: str) -> Path:
        path = self.folder / directory
        if (path / ".terraform").exists():
            return path
        provider = "provider_override.tf.json" if "examples" in path.parts else "provider.tf.json"
        (path / provider).write_text(json.dumps(OFFLINE_PROVIDER))
        if self._initialised is None:
            terraform(path, "init", "-backend=false")
            self._initialised = path
        else:
            (path / ".terraform").mkdir()
            (path / ".terraform/providers").symlink_to(self._initialised / ".terraform/providers")
            shutil.copy(self._initialised / ".terraform.lock.hcl", path)
            terraform(path, "get")
        return path


def terraform(directory: Path, *arguments: str) -> None:
    finished = subprocess.run(["terraform", *arguments, "-no-color"], cwd=directory, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr


def written(file: Path, variables: Values) -> str:
    file.write_text(json.dumps(variables))
    return file.name


def errors(directory: Path, variables: Values) -> str:
    """All error messages of a plan that must fail, unwrapped."""
    file = written(directory / "wrong.tfvars.json", variables)
    command = ["terraform", "plan", "-json", "-refresh=false", f"-var-file={file}"]
    finished = subprocess.run(command, cwd=directory, capture_output=True, text=True)
    assert finished.returncode == 1, f"not refused: {variables}"
    diagnostics = [json.loads(line).get("diagnostic", {}) for line in finished.stdout.splitlines()]
    return "\n".join(diagnostic["detail"] for diagnostic in diagnostics if diagnostic.get("severity") == "error")


def resources(plan: tftest.TerraformPlanOutput) -> Resources:
    return {address: resource["values"] for address, resource in plan.resources.items()}


def statements(policy: str) -> dict[str, Any]:
    """Statements of a policy document by their Sid; actions, resources and condition values always as lists."""

    def listed(value: Any) -> list[Any]:
        return value if isinstance(value, list) else [value]

    return {
        statement["Sid"]: statement
        | {name: sorted(listed(statement[name])) for name in ("Action", "Resource") if name in statement}
        | {
            "Condition": {
                operator: {key: listed(value) for key, value in keys.items()}
                for operator, keys in statement.get("Condition", {}).items()
            }
        }
        for statement in json.loads(policy)["Statement"]
    }


def assert_denies_insecure_transport(policy: str, action: str, *arns: str) -> None:
    statement = statements(policy)["DenyInsecureTransport"]
    assert statement["Effect"] == "Deny"
    assert statement["Principal"] in ("*", {"AWS": "*"})
    assert statement["Action"] == [action]
    assert statement["Resource"] == sorted(arns)
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": ["false"]}}


@pytest.fixture(scope="session")
def workspace(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace(root / "modules", tmp_path_factory.mktemp("modules"))


@pytest.fixture(scope="session")
def planned(workspace: Workspace) -> Callable[..., Resources]:
    """Plans a module; the same question twice costs one plan."""
    known: dict[str, Resources] = {}

    def plan(module: str, **variables: Any) -> Resources:
        question = json.dumps([module, variables], sort_keys=True)
        if question not in known:
            known[question] = resources(workspace.plan(module, variables))
        return known[question]

    return plan
