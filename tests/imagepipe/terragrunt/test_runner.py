"""What becomes of Terragrunt's run when somebody presses Ctrl-C."""

import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from imagepipe.terragrunt import runner

#: Takes its time to stop, as Terraform does, and says that it did.
STOPS = """#!/bin/sh
echo begun
sleep 0.3
echo state written
exit 1
"""

#: Says something, and is interrupted in the same moment.
INTERRUPTED = """#!/bin/sh
echo said
kill -INT $PPID
sleep 0.02
"""

#: Has said all, and is about to end.
SILENT = """#!/bin/sh
exec >&- 2>&-
sleep 0.1
kill -INT $PPID
sleep 0.1
"""

#: Has much to say.
TALKS = """#!/bin/sh
seq 1 100000
"""

TARGET: Any = SimpleNamespace(environment=SimpleNamespace(name="dev"), process_environment=None)

Install = Callable[[str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """A Terragrunt of our own, and its logs below `tmp_path`."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(runner, "BUILD", tmp_path)

    def write(program: str) -> None:
        (tmp_path / "terragrunt").write_text(program)
        (tmp_path / "terragrunt").chmod(0o755)

    return write


def test_ctrl_c_waits_until_terraform_has_written_its_state(
    tmp_path: Path, install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    install(STOPS)
    lines: list[str] = []

    def listen(line: str) -> None:
        lines.append(line)
        if line == "begun":
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        runner.run(TARGET, "apply", [], listen)
    assert lines == ["begun", "state written"]
    assert (tmp_path / "logs/dev-apply.log").read_text() == "begun\nstate written\n"
    assert "Terraform ends what it has begun" in capsys.readouterr().err


def test_ctrl_c_again_waits_for_nothing(install: Install) -> None:
    install(STOPS)
    before = signal.getsignal(signal.SIGINT)
    lines: list[str] = []

    def listen(line: str) -> None:
        lines.append(line)
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        runner.run(TARGET, "apply", [], listen)
    assert lines == ["begun"]
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_takes_nothing_from_the_log(tmp_path: Path, install: Install) -> None:
    """It may come when a line was read from the pipe and is not yet written."""
    install(INTERRUPTED)
    for _ in range(60):
        with pytest.raises(KeyboardInterrupt):
            runner.run(TARGET, "apply", [], lambda _: None)
        assert (tmp_path / "logs/dev-apply.log").read_text() == "said\n"


def test_ctrl_c_after_the_last_word_ends_it(install: Install) -> None:
    install(SILENT)
    with pytest.raises(KeyboardInterrupt):
        runner.run(TARGET, "apply", [], lambda _: None)


def test_other_threads_run_it_too(install: Install) -> None:
    """As the demo does, which deploys two environments at once."""
    install(TALKS)
    lines: list[str] = []
    with ThreadPoolExecutor(1) as pool:
        pool.submit(runner.run, TARGET, "apply", [], lines.append).result()
    assert len(lines) == 100_000


def test_a_full_disk_ends_it(install: Install, tmp_path: Path) -> None:
    install(TALKS)
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/dev-apply.log").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        runner.run(TARGET, "apply", [], lambda _: None)
