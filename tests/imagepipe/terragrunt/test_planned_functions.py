"""Functions that would break once they run are refused while they are only planned."""

import json
from pathlib import Path
from typing import Any

import pytest

from clones import Clone
from function_variables import PROCESSOR
from imagepipe.errors import PipelineError
from imagepipe.live import environments
from imagepipe.live.environments import Release
from imagepipe.terragrunt import planned_functions, runner, state, units
from imagepipe.terragrunt.target import Cloud, Target

VARIABLES = {"SERVICE_NAME": "processor", **PROCESSOR}


def plan(
    variables: dict[str, str] | None = None, *, memory_mb: int = 1769, unknown: Any = None, **more: Any
) -> dict[str, Any]:
    """Return a plan with one function, as `terraform show -json` writes it."""
    environment = [{"variables": VARIABLES | (variables or {})}]
    change = {
        "actions": ["create"],
        "after": {"environment": environment, "memory_size": memory_mb, "timeout": 60},
        "after_unknown": {"environment": [{"variables": unknown or {}}]},
    }
    name = 'aws_lambda_function.function["processor"]'
    return {"resource_changes": [{"address": name, "type": "aws_lambda_function", "change": change | more}]}


def test_a_function_in_order_passes() -> None:
    assert [*planned_functions.problems(plan())] == []


def test_a_function_that_goes_and_other_resources_are_not_judged() -> None:
    gone = plan({"RECIPE": "?"}, actions=["delete"], after=None)
    bucket = {"resource_changes": [{"address": "b", "type": "aws_s3_bucket", "change": {"after": {"bucket": "b"}}}]}
    assert [*planned_functions.problems(gone), *planned_functions.problems(bucket)] == []


def test_all_that_is_wrong_is_said_at_once_with_the_file_to_correct() -> None:
    recipe = json.dumps({"animation": {"effort": 9}})
    plans = {"compute": plan({"RECIPE": recipe}), "storage": {}, "other": plan(memory_mb=499)}
    with pytest.raises(PipelineError) as refused:
        planned_functions.refuse_broken(environments.load("prod"), plans)
    head, *lines = str(refused.value).splitlines()
    assert head == "live/prod/env.hcl sets what would break later: correct it"
    assert "processor: Animation.effort must be a whole number from 0 to 6" in lines[0]
    assert "processor: processor.memory_mb must be at least 636" in lines[1]


def test_an_environment_that_nobody_knows_before_the_apply_is_refused() -> None:
    (problem,) = planned_functions.problems(plan(unknown={"RECIPE": True}))
    assert "its environment is known after an apply only" in problem


@pytest.fixture
def dev(monkeypatch: pytest.MonkeyPatch) -> Target:
    """Dev, whose plan of every unit holds a function with too little memory."""

    def run_all(_: Target, command: str, options: list[str], *__: Any) -> None:
        assert command == "plan", "something is applied"
        folder = Path(options[options.index("--json-out-dir") + 1])
        for unit in environments.load("dev").units:
            (folder / unit).mkdir(parents=True)
            (folder / unit / "tfplan.json").write_text(json.dumps(plan(memory_mb=128) if unit == "compute" else {}))

    monkeypatch.setattr(runner, "run_all", run_all)
    monkeypatch.setattr(state, "has_state_bucket", lambda _: True)
    monkeypatch.setattr(units, "require_image", lambda _: None)
    return Target(environments.load("dev"), Cloud.LOCAL, {})


def test_a_plan_is_refused_whoever_asks_for_it(dev: Target) -> None:
    """Terraform accepted it, and every image would have been rejected for good."""
    with pytest.raises(PipelineError, match=r"live/dev/env.hcl sets what would break later.*\n.*memory_mb"):
        units.plan(dev, print)


def test_a_direct_apply_is_refused_before_it_begins(dev: Target) -> None:
    with pytest.raises(PipelineError, match="sets what would break later"):
        units.prepare_apply(dev, print)


def test_a_comparison_with_what_is_deployed_is_not_refused(dev: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drift is read from the same plans. It must show what is wrong, above all where something is."""
    monkeypatch.setattr(state, "outputs", lambda _: {})
    assert units.plan_deployed(dev, print)["compute"]


STRICT = """
READERS = {"processor": None}

def problems(service, variables, memory_mb, timeout_seconds):
    yield f"an older rule about {memory_mb}"
"""


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clone:
    """A repository with a commit before these rules, one with a stricter rule, and one that is on no branch of ours."""
    clone = Clone(tmp_path)
    settings = tmp_path / "lambda-image/src/image_processor/settings.py"
    settings.parent.mkdir(parents=True)
    (settings.parent / "__init__.py").write_text("")
    clone.begin()
    settings.write_text(STRICT)
    clone.git("add", "--all")
    clone.git("commit", "--quiet", "--message", "Strict")
    clone.git("checkout", "--quiet", "-b", "foreign")
    settings.write_text("raise SystemExit('code that nobody reviewed')")
    clone.git("commit", "--quiet", "--all", "--message", "Foreign")
    clone.git("checkout", "--quiet", "main")
    monkeypatch.setattr(planned_functions, "ROOT", tmp_path)
    return clone


def release(clone: Clone, ref: str) -> Release:
    build = {
        "commit": clone.git("rev-parse", ref),
        "dirty": False,
        "platform": "linux/amd64",
        "recipe": "r",
        "time": "t",
        "version": "1",
    }
    return Release.model_validate({"image": f"sha256:{'a' * 64}", "modules": "v1", "build": build})


@pytest.mark.parametrize(
    ("ref", "words"),
    [
        ("main", ["processor: an older rule about 499"]),
        ("main~", []),  # an image that is older than all rules can be gone back to
        ("foreign", ["processor: processor.memory_mb must be at least 636"]),
    ],
)
def test_an_image_is_judged_by_the_code_that_it_was_built_from(history: Clone, ref: str, words: list[str]) -> None:
    """Going back to an older release must not fail by rules that came after it; foreign code is not run."""
    wrong = [*planned_functions.problems(plan(memory_mb=499), release(history, ref))]
    assert len(wrong) == len(words)
    assert all(problem.startswith(start) for problem, start in zip(wrong, words, strict=True))
