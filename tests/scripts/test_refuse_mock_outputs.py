"""No saved plan with mock outputs is applied, nor one that cannot be read."""

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts/refuse_mock_outputs.sh"


def run(tmp_path: Path, show: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The script, with a Terraform that does this for `show -json`."""
    terraform, plan = tmp_path / "terraform", tmp_path / "tfplan"
    terraform.write_text(f"#!/usr/bin/env bash\n{show}\n")
    terraform.chmod(0o755)
    plan.write_text("a plan")
    return subprocess.run(
        [SCRIPT, *(arguments or ("apply", "-input=false", str(plan)))],
        env={"PATH": "/usr/bin:/bin", "TG_CTX_TF_PATH": str(terraform)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_plan_without_mock_outputs_passes(tmp_path: Path) -> None:
    assert run(tmp_path, """echo '{"format_version": "1.2"}'""").returncode == 0


def test_an_apply_without_a_saved_plan_passes(tmp_path: Path) -> None:
    assert run(tmp_path, "exit 1", "apply", "-auto-approve").returncode == 0


@pytest.mark.parametrize(
    ("show", "reason"),
    [
        ('echo \'{"url": "https://mock-output.invalid"}\'', "made with mock outputs"),
        # The word comes early in much output: whoever stops reading there ends the writer by a signal.
        ("echo mock-output; for i in {1..20000}; do echo many lines of a plan; done", "made with mock outputs"),
        ("exit 1", "cannot be read"),
        ("echo '{}'; exit 1", "cannot be read"),
        ("exit 0", "cannot be read"),
    ],
)
def test_what_has_mock_outputs_or_cannot_be_read_is_refused(tmp_path: Path, show: str, reason: str) -> None:
    """A `terraform show` that failed, or was cut off in a pipe, let the plan pass."""
    finished = run(tmp_path, show)
    assert finished.returncode == 1
    assert reason in finished.stderr
