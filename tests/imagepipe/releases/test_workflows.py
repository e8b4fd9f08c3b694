"""The workflows below .github/: what they call exists, what they may do is little, and it is pinned."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.core import TyperCommand, TyperGroup, TyperOption
from typer.main import get_command

import github_events
from github_events import DEPENDABOT, Pull
from imagepipe import cli
from imagepipe.live import environments
from imagepipe.live.roles import Role, subject
from imagepipe.releases import proposal, workflows

ROOT = Path(__file__).resolve().parents[3]
FILES = sorted((ROOT / ".github/workflows").glob("*.yml"))

#: What a job with credentials of AWS must not be able to do on GitHub as well.
WRITES = {"actions", "contents", "issues", "pull-requests"}

#: Set by the runner: https://docs.github.com/actions/reference/workflows-and-actions/variables
RUNNER = {"GITHUB_OUTPUT", "GITHUB_SHA", "GITHUB_STEP_SUMMARY", "RUNNER_TEMP"}

#: Stands before the name of a file in place of a command.
OUTPUT = ">"

MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z0-9-]+):", MAKEFILE, re.MULTILINE))
VARIABLES = set(re.findall(r"\$\(([A-Z_]+)\)|\(call (?:option|flag),([A-Z_]+),|\$\(if \$\(([A-Z_]+)\)", MAKEFILE))
MAKE_VARIABLES = {name for names in VARIABLES for name in names if name}


def load(file: Path) -> dict[Any, Any]:
    return dict(yaml.safe_load(file.read_text()))


def jobs() -> Iterator[tuple[str, dict[Any, Any], dict[str, Any]]]:
    """Every job with its name, as file/job, and its workflow."""
    for file in FILES:
        workflow = load(file)
        for name, job in workflow["jobs"].items():
            yield f"{file.stem}/{name}", workflow, job


def steps() -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    for name, _, job in jobs():
        for step in job.get("steps", []):
            yield name, job, step


def commands(script: str) -> Iterator[list[str]]:
    """The commands of a script, as words; assignments, where output goes and what joins them are left out."""
    for line in script.replace("\\\n", " ").splitlines():
        reader = shlex.shlex(line, posix=True, punctuation_chars=True)
        reader.whitespace_split = True
        command: list[str] = []
        for word in [*reader, ";"]:
            if word in {"&&", "||", "|", ";", "{", "}", ">", ">>"}:
                if command and command != [OUTPUT]:
                    yield command
                command = [OUTPUT] if word in {">", ">>"} else []
            elif command != [OUTPUT] and (command or not re.fullmatch(r"\w+=.*", word)):
                command.append(word)


def job(name: str) -> dict[str, Any]:
    return next(outcome for item, _, outcome in jobs() if item == name)


# --- what they call exists --------------------------------------------------------------------------------------------


def test_every_workflow_is_there() -> None:
    assert {file.stem for file in FILES} >= {
        "apply",
        "ci",
        "drift",
        "image",
        "nightly",
        "plan",
        "promote",
        "promote-check",
        "release",
    }


def test_every_command_exists_with_what_it_is_given() -> None:
    app, seen = get_command(cli.app), 0
    for name, job, step in steps():
        given = {**job.get("env", {}), **step.get("env", {})}
        for words in commands(step.get("run", "")):
            if words[0] == "make":
                targets = {target for word in words[1:] if "=" not in word for target in values(word, given, job)}
                assert targets <= TARGETS, name
                assert {word.split("=")[0] for word in words[1:] if "=" in word} <= MAKE_VARIABLES, name
            elif words[0] == ".venv/bin/imagepipe":
                check(app, words[1:], given, name)
            elif words[0] == "bash":
                assert (ROOT / words[1]).exists(), name
            else:
                assert words[0] in {"[", "cat", "echo", "exit", "gh", "git", "jq", "mkdir"}, f"{name}: {words}"
            seen += 1
    assert seen > 40


def values(word: str, given: dict[str, str], job: dict[str, Any]) -> list[str]:
    """A word as it is, or every value that a variable takes from the job's matrix."""
    if not word.startswith("$"):
        return [word]
    key = given[word[1:]].removeprefix("${{ matrix.").removesuffix(" }}")
    return list(job["strategy"]["matrix"][key])


def check(command: TyperCommand | TyperGroup, words: list[str], given: dict[str, str], name: str) -> None:
    """That there is such a command with such options, and that what it must have is given by option or variable."""
    while isinstance(command, TyperGroup):
        assert words[0] in command.commands, f"{name}: imagepipe has no {words[0]}"
        command, words = command.commands[words[0]], words[1:]
    known = {
        option: parameter for parameter in command.params for option in [*parameter.opts, *parameter.secondary_opts]
    }
    used = {word for word in words if word.startswith("--")}
    assert used <= known.keys(), f"{name}: {command.name} has no {used - known.keys()}"
    for parameter in command.params:
        if parameter.required and isinstance(parameter, TyperOption):
            assert used & {*parameter.opts} or str(parameter.envvar) in {*given, *RUNNER}, (
                f"{name}: {command.name}: {parameter.name}"
            )


def test_variables_that_commands_read_are_those_that_they_know() -> None:
    """A variable with a slip in its name would be no error anywhere: the command would take its default."""
    app = get_command(cli.app)
    known = {*MAKE_VARIABLES, "GH_TOKEN"} | {str(envvar) for envvar in envvars(app)}
    for name, _, job in jobs():
        read = {word for step in job.get("steps", []) for word in re.findall(r"\$(\w+)", step.get("run", ""))}
        for step in [job, *job.get("steps", [])]:
            for variable in step.get("env", {}):
                assert variable in known | read or variable.startswith("GIT_"), f"{name}: nobody reads {variable}"
        given = {variable for step in [job, *job.get("steps", [])] for variable in step.get("env", {})}
        assert read - {"code"} <= given | RUNNER, f"{name}: {read - given - RUNNER} is not set"


def envvars(command: TyperCommand | TyperGroup) -> Iterator[str]:
    if isinstance(command, TyperGroup):
        for item in command.commands.values():
            yield from envvars(item)
    for parameter in command.params:
        yield from [parameter.envvar] if isinstance(parameter.envvar, str) else parameter.envvar or []


def test_every_make_target_sets_up_what_it_needs_before_a_command_is_called_directly() -> None:
    for name, _, job in jobs():
        called = [words for step in job.get("steps", []) for words in commands(step.get("run", ""))]
        programs = [words[0] for words in called]
        if ".venv/bin/imagepipe" in programs:
            assert "make" in programs[: programs.index(".venv/bin/imagepipe")], name


def test_files_that_jobs_hand_on_lie_where_the_program_leaves_them() -> None:
    folders = {workflows.PLANS, workflows.REVIEWED, workflows.DRIFT, proposal.RESULT}
    folders = {str(folder.relative_to(ROOT)) for folder in folders}
    folders.add("build/fuzz")  # of benchmarks/fuzz
    uploaded, fetched = set(), set()
    for name, _, step in steps():
        if "-artifact@" in step.get("uses", ""):
            path = str(step["with"]["path"])
            assert any(path == folder or path.startswith(f"{folder}/") for folder in folders), f"{name}: {path}"
            kind = re.sub(r"\$\{\{.*?\}\}", "dev", str(step["with"].get("name", step["with"].get("pattern"))))
            (uploaded if "upload" in step["uses"] else fetched).add(kind)
    for pattern in fetched:
        assert any(re.fullmatch(pattern.replace("*", ".*"), name) for name in uploaded), pattern


# --- what they may do is little ---------------------------------------------------------------------------------------


def test_nothing_is_permitted_but_job_by_job() -> None:
    for name, workflow, job in jobs():
        assert workflow["permissions"] == {}, name
        assert isinstance(job["permissions"], dict), name


def test_every_job_ends() -> None:
    for name, _, job in jobs():
        assert "uses" in job or 0 < job["timeout-minutes"] <= 60, name


def test_who_holds_credentials_of_aws_writes_nothing_on_github() -> None:
    for name, _, job in jobs():
        granted = {permission for permission, level in job["permissions"].items() if level == "write"}
        assert "id-token" not in granted or not granted & WRITES, name
        takes_a_role = any("configure-aws-credentials" in step.get("uses", "") for step in job.get("steps", []))
        assert takes_a_role == ("id-token" in granted), name


def test_no_long_lived_key_is_used() -> None:
    for file in FILES:
        assert not re.findall(r"\bsecrets\b", file.read_text()), file.name


#: What the jobs of a pull request that reaches an environment and changes a release put out.
OUTPUTS = {
    "choose": {"environments": '[{"name":"prod"}]'},
    "witness": {"environments": '[{"name":"staging"}]', "again": "[]"},
}

#: Jobs that are started for a pull request of a member with a credential, whoever reviews it afterwards.
CREDENTIALS = {"plan/plan", "promote-check/ask"}


def with_credentials(pull: Pull) -> dict[str, str]:
    """The subjects of the tokens that jobs get for a pull request, by job."""
    return {
        f"{file.stem}/{name}": str(granted.subject)
        for file in FILES
        for action in ("opened", "edited")
        for name, granted in github_events.started(load(file), pull, OUTPUTS, action).items()
        if granted.subject
    }


@pytest.mark.parametrize(
    ("pull", "jobs_with_credentials"),
    [
        (Pull(10), CREDENTIALS),
        (Pull(11, base="evil"), set()),
        (Pull(12, repository="mallory/pictures"), set()),
        (Pull(13, author=DEPENDABOT), set()),
    ],
    ids=["member", "onto another branch", "fork", "dependabot"],
)
def test_who_gets_credentials_before_a_review(pull: Pull, jobs_with_credentials: set[str]) -> None:
    """A pull request onto any branch got the plan role and the key of plans, and so did Dependabot's."""
    assert with_credentials(pull).keys() == jobs_with_credentials


def test_the_plan_role_trusts_the_environment_plan_and_no_other_job_of_a_pull_request() -> None:
    for environment in environments.load_all():
        wanted = subject(environment, Role.PLAN).split(":", 2)[2]
        for given in with_credentials(Pull(10)).values():
            assert given.split(":", 2)[2] == wanted == "environment:plan"


def test_what_a_pull_request_installs_is_installed_where_there_is_nothing_to_take() -> None:
    """Jobs with credentials start after one without has found that nothing to install is changed."""
    workflow = {name: item for name, _, item in jobs()}
    for name in CREDENTIALS:
        file = name.split("/")[0]
        before = workflow[f"{file}/{workflow[name]['needs']}"]
        assert "id-token" not in before["permissions"]
        assert any("imagepipe ci" in step.get("run", "") for step in before["steps"])


def test_a_required_check_answers_whatever_has_happened() -> None:
    """GitHub takes a required check that is skipped for one that has passed."""
    for check in ("plan/planned", "promote-check/promote-check"):
        file, name = check.split("/")
        for pull in (Pull(10), Pull(12, repository="mallory/pictures"), Pull(13, author=DEPENDABOT)):
            for action in load(ROOT / f".github/workflows/{file}.yml")[True]["pull_request"]["types"]:
                started = github_events.started(load(ROOT / f".github/workflows/{file}.yml"), pull, OUTPUTS, action)
                assert name in started, (check, action)


def test_the_title_of_a_plan_says_whose_it_is() -> None:
    """The title is what apply chooses a run by: several pull requests may have one head."""
    workflow = load(ROOT / ".github/workflows/plan.yml")
    assert github_events.title(workflow, Pull(10)) == "plan of #10 onto main"
    assert github_events.title(workflow, Pull(11, base="evil")) == "plan of #11 onto evil"


def test_nobody_outside_writes_a_comment_and_no_workflow_runs_for_a_stranger() -> None:
    for pull in (Pull(12, repository="mallory/pictures"), Pull(11, base="evil")):
        for file in FILES:
            for granted in github_events.started(load(file), pull, OUTPUTS, "opened").values():
                assert not granted.writes
    for file in FILES:
        assert "pull_request_target" not in file.read_text()
        assert "workflow_run" not in file.read_text()


def test_only_the_main_branch_is_applied_released_and_promoted() -> None:
    for name in ("apply/choose", "drift/choose", "image/build-push", "promote/promote", "release/release"):
        assert job(name)["if"] == "github.ref == 'refs/heads/main'", name


def test_no_value_from_outside_is_written_into_a_script() -> None:
    for name, _, step in steps():
        assert "${{" not in step.get("run", ""), name


def test_make_expands_no_value_from_outside() -> None:
    """Make takes the value of a variable for something to expand, and hands it to a shell."""
    outside = re.compile(r"\$\{\{[^}]*(labels|inputs\.|head\.ref|title|body)")
    for name, job, step in steps():
        if any(words[0] == "make" for words in commands(step.get("run", ""))):
            assert not outside.search(json.dumps({**job.get("env", {}), **step.get("env", {})})) or step["run"] in {
                "make runtime"
            }, name


# --- pinned, and one after another ------------------------------------------------------------------------------------


def test_actions_are_pinned_by_commit_with_their_version_and_each_in_one_version() -> None:
    pinned: dict[str, str] = {}
    for file in FILES:
        for used in re.findall(r"uses: (.+)", file.read_text()):
            if used.startswith("./"):
                assert (ROOT / used).exists()
                continue
            match = re.fullmatch(r"([\w-]+/[\w-]+)@([0-9a-f]{40}) # v\d+\.\d+\.\d+", used)
            assert match, f"{file.name}: {used}"
            assert pinned.setdefault(match[1], used) == used, f"{file.name}: {used}"
    assert len(pinned) >= 5


def test_every_workflow_says_what_may_run_beside_it() -> None:
    for name, workflow, job in jobs():
        for concurrency in filter(None, [workflow["concurrency"], job.get("concurrency")]):
            assert {*concurrency} >= {"group", "cancel-in-progress"}, name
            # actionlint is told to let this key pass, and so does not look at its value.
            assert concurrency.get("queue", "max") == "max", name
            assert "queue" not in concurrency or concurrency["cancel-in-progress"] is False, name


@pytest.mark.parametrize("name", ["apply/apply", "drift/compare"])
def test_an_environment_is_worked_on_by_one_at_a_time(name: str) -> None:
    outcome = job(name)
    assert outcome["concurrency"]["group"].endswith("-${{ matrix.environment.name }}")
    assert outcome["concurrency"]["cancel-in-progress"] is False


def test_environments_are_applied_one_after_another_and_none_after_one_that_failed() -> None:
    outcome = job("apply/apply")
    assert outcome["strategy"]["max-parallel"] == 1
    assert outcome["strategy"]["fail-fast"] is True
    assert outcome["environment"] == "${{ matrix.environment.name }}"


def test_what_workflows_offer_are_the_environments_that_there_are() -> None:
    """An input is free text, which the command judges: a new environment needs no edit here."""
    for file in FILES:
        triggers = load(file)[True]  # YAML takes on for True
        inputs = (triggers.get("workflow_dispatch") or {}).get("inputs") or {} if isinstance(triggers, dict) else {}
        for name, wanted in inputs.items():
            assert "options" not in wanted, f"{file.name}: {name}"
            assert wanted.get("default", "dev") in environments.names() or name == "VERSION", f"{file.name}: {name}"
    assert job("image/build-push")["environment"] == environments.SHARED


# --- what goes with them ----------------------------------------------------------------------------------------------


def test_owners_and_updates_name_what_is_there() -> None:
    for line in (ROOT / ".github/CODEOWNERS").read_text().splitlines():
        pattern = line.split()[0] if line and not line.startswith("#") else "*"
        assert list(ROOT.glob(pattern.strip("/"))), pattern
    for update in load(ROOT / ".github/dependabot.yml")["updates"]:
        assert update["cooldown"]["default-days"] >= 7
        for folder in update.get("directories", [update.get("directory")]):
            assert list(ROOT.glob(folder.strip("/") or "*")), folder


def test_settings_name_every_check_secret_and_environment_that_workflows_use() -> None:
    text = (ROOT / ".github/SETTINGS.md").read_text()
    required = re.findall(r"^ +- `([^`]+)`", text.split("Require status checks")[1].split("\n   - ")[0], re.MULTILINE)
    names = {job.get("name") for _, workflow, job in jobs() if "pull_request" in workflow[True]}
    assert required
    assert {*required} <= names
    for name in {str(item["environment"]) for _, _, item in jobs() if "environment" in item}:
        assert f"`{name}`" in text or "matrix" in name or name in environments.names()
    assert "live/*/env.hcl" in text
    assert "refs/pull/*/merge" in text


def test_waivers_of_the_linters_have_reasons() -> None:
    for rule in (ROOT / ".github/zizmor.yml").read_text().splitlines():
        assert "disable: true" not in rule or re.search(r"# \w+", rule), rule
    for file in FILES:
        assert not re.search(r"zizmor: ignore\[[\w-]+\]\s*$", file.read_text(), re.MULTILINE), file.name
