"""What becomes of Terragrunt's run when somebody presses Ctrl-C."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from imagepipe import terragrunt

#: Takes its time to stop, as Terraform does, and says that it did.
PROGRAM = """#!/bin/sh
echo begun
sleep 0.3
echo state written
exit 1
"""


def test_ctrl_c_waits_until_terraform_has_written_its_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "terragrunt"
    program.write_text(PROGRAM)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(terragrunt, "BUILD", tmp_path)
    lines: list[str] = []

    def listen(line: str) -> None:
        lines.append(line)
        if line == "begun":
            raise KeyboardInterrupt

    target: Any = SimpleNamespace(environment=SimpleNamespace(name="dev"), process_environment=None)
    with pytest.raises(KeyboardInterrupt):
        terragrunt._run(target, "apply", [], listen)
    assert lines == ["begun", "state written"]
    assert (tmp_path / "logs/dev-apply.log").read_text() == "begun\nstate written\n"
    assert "Terraform ends what it has begun" in capsys.readouterr().err
