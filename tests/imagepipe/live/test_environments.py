"""env.hcl and release.json: what is accepted, and what is said of the rest."""

from datetime import timedelta
from pathlib import Path

import pytest

from imagepipe.errors import PipelineError
from imagepipe.live import environments

ENV = 'locals {\n  environment = "dev"\n  account_id  = "111111111111"\n  region      = "eu-west-1"\n  order = 10\n}\n'
RELEASE = '{"image": "worktree", "modules": "worktree"}'


@pytest.fixture
def dev(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A live folder with one good environment in it."""
    folder = tmp_path / "live/dev"
    folder.mkdir(parents=True)
    (folder / "env.hcl").write_text(ENV)
    (folder / "release.json").write_text(RELEASE)
    monkeypatch.setattr(environments, "ROOT", tmp_path)
    monkeypatch.setattr(environments, "LIVE", tmp_path / "live")
    return folder


def test_good_files_are_read(dev: Path) -> None:
    environment = environments.load("dev")
    assert (environment.account_id, environment.region) == ("111111111111", "eu-west-1")
    assert environment.release is not None
    assert environment.release.image == "worktree"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("111111111111", "1111", "live/dev/env.hcl: account_id: String should match pattern"),
        ("eu-west-1", "Ireland", "live/dev/env.hcl: region: String should match pattern"),
        ('"dev"', '"qa"', "environment is 'qa', but its folder is 'dev'"),
        ('account_id  = "111111111111"', "", "live/dev/env.hcl: account_id: Field required"),
        ('"eu-west-1"', "", r"live/dev/env.hcl: Unexpected token .* at line 4"),
    ],
)
def test_malformed_env_hcl_is_named_with_its_field(dev: Path, old: str, new: str, message: str) -> None:
    (dev / "env.hcl").write_text(ENV.replace(old, new))
    with pytest.raises(PipelineError, match=message) as raised:
        environments.load("dev")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ("dev-eu", "live/dev and live/dev-eu begin alike, .* call one of them otherwise, like eu-dev for dev-eu"),
        ("tfstate", "live/tfstate begins like tflock or tfstate, the names of the state"),
        ("tflock-eu", "live/tflock-eu begins like tflock or tfstate, the names of the state"),
    ],
)
def test_environment_that_roles_of_another_would_reach_is_refused(dev: Path, other: str, message: str) -> None:
    (dev.parent / other).mkdir()
    (dev.parent / other / "env.hcl").write_text(ENV.replace('"dev"', f'"{other}"').replace("10", "20"))
    with pytest.raises(PipelineError, match=message):
        environments.load("dev")


@pytest.mark.parametrize("other", ["dev2", "eu-dev", "de"])
def test_environment_that_merely_looks_alike_is_accepted(dev: Path, other: str) -> None:
    (dev.parent / other).mkdir()
    (dev.parent / other / "env.hcl").write_text(ENV.replace('"dev"', f'"{other}"').replace("10", "20"))
    assert environments.names() == ["dev", other]


def test_a_rollout_is_at_once_where_nothing_is_said_of_it(dev: Path) -> None:
    assert (environments.load("dev").canary_percent, environments.load("dev").bake) == (0, timedelta())
    (dev / "env.hcl").write_text(ENV.replace("}", "  rollout = { canary_percent = 10, bake_minutes = 0.5 }\n}"))
    assert (environments.load("dev").canary_percent, environments.load("dev").bake) == (10, timedelta(seconds=30))


@pytest.mark.parametrize(
    ("rollout", "message"),
    [
        ("{ canary_percent = 10 }", "rollout.bake_minutes: Field required"),
        (
            "{ canary_percent = 51, bake_minutes = 1 }",
            "rollout.canary_percent: Input should be less than or equal to 50",
        ),
        (
            "{ canary_percent = 10, bake_minutes = 60 }",
            "rollout.bake_minutes: Input should be less than or equal to 45",
        ),
        ("{ canary_percent = 10, bake_minutes = 0 }", "rollout: .* bake_minutes must be more than 0"),
        ("{ canary_percent = 0, bake_minutes = 0, canary = 5 }", "rollout.canary: Extra inputs are not permitted"),
    ],
)
def test_a_malformed_rollout_is_named_with_its_field(dev: Path, rollout: str, message: str) -> None:
    (dev / "env.hcl").write_text(ENV.replace("}", f"  rollout = {rollout}\n}}"))
    with pytest.raises(PipelineError, match=f"live/dev/env.hcl: {message}"):
        environments.load("dev")


def test_a_misspelt_block_is_named_and_the_data_of_units_is_known(dev: Path) -> None:
    (dev.parent / "_units").mkdir()
    (dev.parent / "_units/ci-access.hcl").write_text("")
    (dev / "env.hcl").write_text(ENV.replace("}", "  ci_access = {}\n}"))
    environments.load("dev")
    (dev / "env.hcl").write_text(ENV.replace("}", "  promtion = { soak_hours = 24 }\n}"))
    with pytest.raises(PipelineError, match=r"live/dev/env.hcl: promtion is unknown: .* ci_access, .* promotion, "):
        environments.load("dev")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "live/dev/release.json is not JSON"),
        ('{"modules": "worktree"}', "live/dev/release.json: image: Field required"),
        ('{"image": "latest", "modules": "worktree"}', r"image: String should match pattern .* \(found 'latest'\)"),
        ('{"image": "sha256:abc", "modules": "worktree"}', "image: String should match pattern"),
        ('{"image": "worktree", "modules": "--upload-pack=x"}', '"worktree", or a tag, branch or commit'),
        ('{"image": "worktree", "modules": ""}', '"worktree", or a tag, branch or commit'),
    ],
)
def test_malformed_release_is_named_with_its_field(dev: Path, content: str, message: str) -> None:
    (dev / "release.json").write_text(content)
    with pytest.raises(PipelineError, match=message):
        environments.load("dev")


def test_missing_release_is_named(dev: Path) -> None:
    (dev / "release.json").unlink()
    with pytest.raises(PipelineError, match=r"live/dev/release.json is missing"):
        environments.load("dev")


def test_unknown_environment_names_the_known_ones(dev: Path) -> None:
    with pytest.raises(PipelineError, match="no environment 'qa': ENV is one of dev"):
        environments.load("qa")


def add(live: Path, name: str, order: str) -> None:
    (live / name).mkdir()
    (live / name / "env.hcl").write_text(ENV.replace('"dev"', f'"{name}"').replace("  order = 10\n", order))


def test_no_environment_has_the_name_of_that_in_which_pull_requests_are_planned(dev: Path) -> None:
    """Its apply role would trust jobs of pull requests."""
    other = dev.with_name("plan")
    other.mkdir()
    (other / "env.hcl").write_text(ENV.replace('"dev"', '"plan"').replace("10", "20"))
    with pytest.raises(PipelineError, match="live/plan: choose another name"):
        environments.names()


def test_order_is_the_one_of_a_release(root: Path) -> None:
    assert environments.names() == ["shared", "dev", "staging", "prod"]
    assert environments.release_order() == ["dev", "staging", "prod"]


def test_a_new_environment_has_its_place_by_its_own_file_alone(dev: Path) -> None:
    for name, order in (
        ("shared", ""),
        ("prod", "  order = 30\n"),
        ("alpha", "  order = 5\n"),
        ("qa", "  order = 15\n"),
    ):
        add(dev.parent, name, order)
    assert environments.names() == ["shared", "alpha", "dev", "qa", "prod"]
    assert [environments.environment_before(name) for name in environments.release_order()] == [
        None,
        "alpha",
        "dev",
        "qa",
    ]


def test_two_environments_in_one_place_are_named(dev: Path) -> None:
    add(dev.parent, "qa", "  order = 10\n")
    with pytest.raises(PipelineError, match=r"live/dev/env.hcl and live/qa/env.hcl both have order = 10: change one"):
        environments.names()


def test_an_environment_without_a_place_is_named(dev: Path) -> None:
    add(dev.parent, "qa", "")
    with pytest.raises(PipelineError, match=r"live/qa/env.hcl: order is missing: a number, lower than"):
        environments.names()


def test_an_environment_that_does_not_say_so_is_asked_about(dev: Path) -> None:
    assert environments.load("dev").ask_first
    (dev / "env.hcl").write_text(ENV.replace("}", "  ask_first = false\n}"))
    assert not environments.load("dev").ask_first


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "live/project.json: .*No such file"),
        ("{", "live/project.json: Expecting property name"),
        ('{"name": "Images"}', r"live/project.json: name: String should match pattern"),
        ("{}", "live/project.json: name: Field required"),
    ],
)
def test_a_malformed_project_name_is_named(dev: Path, content: str | None, message: str) -> None:
    environments.project.cache_clear()
    if content is not None:
        (dev.parent / "project.json").write_text(content)
    try:
        with pytest.raises(PipelineError, match=message):
            environments.project()
    finally:
        environments.project.cache_clear()


def add_unit(live: Path, name: str, unit: str) -> None:
    (live / name / unit).mkdir()
    (live / name / unit / "terragrunt.hcl").write_text("")


def test_a_second_identity_provider_in_an_account_is_refused_before_aws_does(dev: Path) -> None:
    """AWS refused it with EntityAlreadyExists in the middle of an apply; the files were never compared."""
    add(dev.parent, "qa", "  order = 15\n")
    for name in ("dev", "qa"):
        add_unit(dev.parent, name, "ci-access")
    with pytest.raises(
        PipelineError, match=r"live/dev/env.hcl and live/qa/env.hcl both create .* account 111111111111"
    ):
        environments.names()
    file = dev.parent / "qa/env.hcl"
    file.write_text(file.read_text().replace("}", "  ci_access = { create_oidc_provider = false }\n}"))
    (dev.parent / "_units").mkdir()
    (dev.parent / "_units/ci-access.hcl").write_text("")
    assert environments.names() == ["dev", "qa"]


def test_an_account_of_one_digit_is_a_placeholder(dev: Path) -> None:
    assert environments.load("dev").is_placeholder
    (dev / "env.hcl").write_text(ENV.replace("111111111111", "111111111112"))
    assert not environments.load("dev").is_placeholder


@pytest.mark.parametrize(
    ("more", "silent"),
    [
        ("", False),
        ("  monitoring = { alarm_emails = [] }\n", False),
        ('  monitoring = { alarm_emails = ["on-call@example.com"] }\n', True),
        ("  ask_first = false\n", True),
    ],
)
def test_an_environment_that_is_guarded_and_calls_nobody_says_so(dev: Path, more: str, silent: bool) -> None:
    """Prod had alarms, as the documentation led there, and nobody was called by them."""
    add_unit(dev.parent, "dev", "monitoring")
    (dev.parent / "_units").mkdir()
    (dev.parent / "_units/monitoring.hcl").write_text("")
    (dev / "env.hcl").write_text(ENV.replace("}", more + "}"))
    warnings = environments.load("dev").warnings
    assert warnings == [] if silent else "monitoring.alarm_emails of live/dev/env.hcl" in warnings[0]


def test_concurrency_is_what_both_queues_may_use(dev: Path, root: Path) -> None:
    (dev.parent / "_units").mkdir()
    (dev.parent / "_units/compute.hcl").write_text("")
    compute = '  compute = { architecture = "arm64", processor = { maximum_concurrency = 40 } }\n'
    (dev / "env.hcl").write_text(ENV.replace("}\n", compute + "}\n"))
    text = (root / "modules/compute/variables-processor.tf").read_text()
    assert "backfill_concurrency = optional(number, 2)" in text
    assert "maximum_concurrency  = optional(number, 10)" in text
    assert environments.load("dev").concurrency == 42
    (dev / "env.hcl").write_text(ENV.replace("}\n", '  compute = { architecture = "arm64" }\n}\n'))
    assert environments.load("dev").concurrency == 12
