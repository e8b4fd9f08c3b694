"""What becomes of Terragrunt's run when somebody presses Ctrl-C."""

import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from imagepipe.errors import PipelineError
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


#: Terragrunt's log of a plan that Terraform refuses, as it was written; it says the same twice.
REFUSED = """10:00:00.000 STDOUT [storage] terraform: No changes.
10:00:01.000 ERROR  Run failed: error occurred:

* Failed to execute "terraform plan" in ./compute/.terragrunt-cache/a/b/compute
  \x1b[31m╷\x1b[0m
  \x1b[31m│\x1b[0m Error: Resource precondition failed
  \x1b[31m│\x1b[0m \x1b[0m
  \x1b[31m│\x1b[0m   on main.tf line 134, in resource "aws_lambda_function" "function":
  \x1b[31m│\x1b[0m     ├────────────────
  \x1b[31m│\x1b[0m     │ each.key is "processor"
  \x1b[31m│\x1b[0m
  \x1b[31m│\x1b[0m The queue's visibility timeout is 43200 s; it must be at most 2160 s, 36
  \x1b[31m│\x1b[0m times the processor's timeout of 60 s.
  \x1b[31m╵\x1b[0m

10:00:01.000 STDERR [api] terraform: ╷
10:00:01.000 STDERR [api] terraform: │ Error: creating API: AccessDenied
10:00:01.000 STDERR [api] terraform: │
10:00:01.000 STDERR [api] terraform: │   with aws_apigatewayv2_api.images,
10:00:01.000 STDERR [api] terraform: │   on main.tf line 3
10:00:01.000 STDERR [api] terraform: ╵
"""
SENTENCE = (
    "Resource precondition failed: The queue's visibility timeout is 43200 s; it must be at most 2160 s, 36 times"
)


def test_errors_are_read_from_the_log_once_and_without_their_frame() -> None:
    first, second = runner.errors_in(REFUSED + REFUSED)
    assert first == f"{SENTENCE} the processor's timeout of 60 s."
    assert second == "creating API: AccessDenied"


def test_a_failure_is_said_with_its_reason(install: Install) -> None:
    """Workflows show no log: the sentence that names the remedy was on a machine that is gone."""
    install(f"#!/bin/sh\ncat <<'END'\n{REFUSED}END\nexit 1\n")
    with pytest.raises(PipelineError) as failed:
        runner.run(TARGET, "plan", [], lambda _: None)
    assert str(failed.value).startswith(f"terragrunt plan of dev failed: {SENTENCE}")
    assert "(1 more); the whole log: " in str(failed.value)
    assert "\n" not in str(failed.value)


def test_a_failure_without_an_error_of_terraform_names_the_log(install: Install) -> None:
    install("#!/bin/sh\nexit 1\n")
    with pytest.raises(PipelineError, match=r"^terragrunt plan of dev failed; the whole log: "):
        runner.run(TARGET, "plan", [], lambda _: None)
