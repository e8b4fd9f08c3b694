"""What workflows do beside planning and applying, against a stand-in of GitHub."""

import base64
import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import github_events
import stand_in_gh
from clones import Clone
from github_events import Pull
from imagepipe.cli import ci
from imagepipe.errors import PipelineError
from imagepipe.releases import promotion, summary, workflows

HEAD, MERGE = "a" * 40, "b" * 40
RUN = "https://github.com/acme/pictures/actions/runs/9"
WORKFLOWS, SOMEBODY = {"login": "github-actions[bot]"}, {"login": "somebody"}


class Hub:
    """What the stand-in knows."""

    def __init__(self, file: Path) -> None:
        self.file = file
        file.write_text("{}")

    def set(self, **state: Any) -> None:
        self.file.write_text(json.dumps(self.state | state))

    @property
    def state(self) -> dict[str, Any]:
        return dict(json.loads(self.file.read_text()))

    def writes(self) -> list[str]:
        return [line for line in self.state.get("log", []) if not line.startswith("GET ")]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    program = tmp_path / "bin/gh"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{stand_in_gh.__file__}" "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("GITHUB_STAND_IN", str(tmp_path / "github.json"))
    monkeypatch.setenv("GITHUB_REPOSITORY", "acme/pictures")
    monkeypatch.setenv("GH_TOKEN", "of a job")
    return Hub(tmp_path / "github.json")


@pytest.fixture
def plans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "plans"
    monkeypatch.setattr(workflows, "PLANS", folder)
    return folder


@pytest.fixture
def reviewed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "reviewed"
    monkeypatch.setattr(workflows, "REVIEWED", folder)
    return folder


@pytest.fixture
def drift(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "drift"
    folder.mkdir()
    monkeypatch.setattr(workflows, "DRIFT", folder)
    return folder


# --- which environments -----------------------------------------------------------------------------------------------


def test_environments_come_in_the_order_of_applying_with_roles_of_their_own_accounts() -> None:
    environments = workflows.matrix(["prod", "shared", "dev"])
    assert [entry["name"] for entry in environments] == ["shared", "dev", "prod"]
    assert [entry["serves"] for entry in environments] == [False, True, True]
    assert environments[1]["plan_role"] == "arn:aws:iam::111111111111:role/image-pipeline-dev-ci-plan"
    assert environments[2]["apply_role"] == "arn:aws:iam::333333333333:role/image-pipeline-prod-ci-apply"


def test_an_unknown_environment_is_named() -> None:
    with pytest.raises(PipelineError, match="no environment 'qa': choose among shared, dev, staging, prod"):
        workflows.matrix(["dev", "qa"])


def test_output_is_one_line_for_the_runner() -> None:
    assert workflows.for_output("environments", [{"name": "dev"}]) == 'environments=[{"name":"dev"}]'


@pytest.mark.parametrize("chosen", ["", "dev", "[1]", '[{"title":"dev"}]'])
def test_what_is_no_list_of_environments_is_named(chosen: str) -> None:
    with pytest.raises(PipelineError, match="must be the output of imagepipe ci environments"):
        ci.drift(chosen)


# --- one comment per environment --------------------------------------------------------------------------------------


def bodies(hub: Hub) -> list[str]:
    return [comment["body"] for comment in hub.state.get("comments", [])]


def test_comments_are_made_once_and_then_updated_in_place(hub: Hub, plans: Path) -> None:
    plans.mkdir()
    for text in ("first", "second"):
        for name in ("dev", "prod"):
            (plans / f"{name}.md").write_text(f"<!-- plan:{name} -->\n{text} of {name}\n")
        workflows.comment(7, ["dev", "prod"], HEAD, RUN)
    where = f"\n`aaaaaaaaaaaa` merged into `main`, in [this run]({RUN}).\n"
    texts = ["<!-- plan:dev -->\nsecond of dev\n", "<!-- plan:prod -->\nsecond of prod\n"]
    assert bodies(hub) == [text + where for text in texts]
    assert len(hub.writes()) == 4

    assert workflows.comment(7, ["dev", "prod"], HEAD, RUN) == ["dev: as it was", "prod: as it was"]
    assert len(hub.writes()) == 4


def test_a_comment_says_when_its_environment_is_reached_no_more_or_its_plan_failed(hub: Hub, plans: Path) -> None:
    ours = {"issue": 7, "user": WORKFLOWS}
    hub.set(
        comments=[
            {"id": 1, "body": "<!-- plan:dev -->\n", **ours},
            {"id": 2, "body": "<!-- plan:staging -->\n", **ours},
        ]
    )
    workflows.comment(7, ["dev", "prod"], HEAD, RUN)
    dev, staging, prod = bodies(hub)
    assert f"The plan failed, and [the run]({RUN}) says why." in dev
    assert "No change of this pull request reaches `staging` any more." in staging
    assert "Plan of `prod` at `aaaaaaaaaaaa`" in prod
    assert "shared" not in "".join(bodies(hub))


def test_what_others_wrote_is_left_alone_though_it_looks_the_same(hub: Hub, plans: Path) -> None:
    plans.mkdir()
    (plans / "dev.md").write_text("<!-- plan:dev -->\nours\n")
    theirs = [{"id": 1, "issue": 7, "user": user, "body": "<!-- plan:dev -->\ntheirs"} for user in (SOMEBODY, None)]
    hub.set(comments=theirs)
    workflows.comment(7, ["dev"], HEAD, RUN)
    *others, ours = bodies(hub)
    assert others == ["<!-- plan:dev -->\ntheirs", "<!-- plan:dev -->\ntheirs"]
    assert ours.startswith("<!-- plan:dev -->\nours\n")


# --- the bundle of what was merged ------------------------------------------------------------------------------------


def archive(**files: bytes) -> str:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in files.items():
            file.writestr(name, content)
    return base64.b64encode(buffer.getvalue()).decode()


MERGED = Pull(7)
PLANNING = yaml.safe_load((workflows.ROOT / ".github/workflows/plan.yml").read_text())


def run(number: int, pull: Pull = MERGED, **different: Any) -> dict[str, Any]:
    """A run of the workflow `plan` for a pull request, as GitHub lists it."""
    return {
        "display_title": github_events.title(PLANNING, pull),
        # GitHub lists pull requests that are open now: this one is merged.
        "pull_requests": [],
        "id": number,
        "run_number": number,
        "path": ".github/workflows/plan.yml",
        "event": "pull_request",
        "head_sha": pull.head,
        "head_repository": {"full_name": pull.repository},
        "conclusion": "success",
        "html_url": f"https://github.com/acme/pictures/actions/runs/{number}",
        **different,
    }


def pull(**different: Any) -> dict[str, Any]:
    return {
        "number": 7,
        "state": "closed",
        "merged_at": "2026-11-25T01:00:00Z",
        "merge_commit_sha": MERGE,
        "head": {"sha": HEAD, "ref": "better"},
        "base": {"ref": "main"},
        **different,
    }


def artifact(number: int, name: str, *, expired: bool = False) -> dict[str, Any]:
    return {"id": number, "name": name, "expired": expired}


@pytest.fixture
def merged(hub: Hub) -> Hub:
    """#7, merged with plans of dev and prod, the third time it was planned."""
    hub.set(
        pulls=[pull()],
        runs=[run(1, conclusion="failure"), run(2), run(3)],
        artifacts={
            "2": [artifact(20, "plan-dev")],
            "3": [artifact(30, "summary-dev"), artifact(31, "plan-dev"), artifact(32, "plan-prod")],
        },
        zips={"20": archive(dev=b"older"), "31": archive(dev=b"of dev"), "32": archive(prod=b"of prod")},
    )
    return hub


def test_the_bundles_of_the_merged_head_are_found(merged: Hub, reviewed: Path) -> None:
    assert workflows.fetch_bundles(MERGE, ["dev", "prod"]) == "bundles of #7 at aaaaaaaaaaaa: dev, prod"
    assert {file.name: file.read_bytes() for file in reviewed.iterdir()} == {"dev": b"of dev", "prod": b"of prod"}


@pytest.mark.parametrize(
    "different",
    [
        {"head_repository": {"full_name": "mallory/pictures"}},
        {"head_repository": None},
        {"path": ".github/workflows/ci.yml"},
        {"conclusion": "skipped"},
        {"conclusion": "cancelled"},
        {"conclusion": None},
        {"event": "push"},
        {"head_sha": "c" * 40},
        {"display_title": "plan of #8 onto main"},
        {"display_title": "plan of #7 onto evil"},
    ],
)
def test_no_other_run_is_taken_for_a_plan(merged: Hub, reviewed: Path, different: dict[str, Any]) -> None:
    merged.set(
        runs=[*merged.state["runs"], run(4, **different)],
        artifacts=merged.state["artifacts"] | {"4": [artifact(40, "plan-dev")]},
        zips=merged.state["zips"] | {"40": archive(dev=b"another")},
    )
    workflows.fetch_bundles(MERGE, ["dev"])
    assert (reviewed / "dev").read_bytes() == b"of dev"


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({"pulls": []}, "bbbbbbbbbbbb came to main by no pull request, so its plan was not reviewed"),
        ({"pulls": [pull(merged_at=None)]}, "came to main by no pull request"),
        ({"pulls": [pull(base={"ref": "other"})]}, "came to main by no pull request"),
        ({"pulls": [pull(merge_commit_sha="c" * 40, head={"sha": MERGE, "ref": "x"})]}, "came to main by no pull"),
        ({"runs": []}, "#7 was merged at aaaaaaaaaaaa, which has no plan"),
        ({"runs": [run(2), run(3, conclusion="failure")]}, "#7 was merged although its plan failed"),
        ({"artifacts": {"3": [artifact(31, "plan-dev")]}}, "#7 at aaaaaaaaaaaa has no plan of prod"),
        ({"artifacts": {"3": [artifact(31, "plan-dev"), artifact(32, "plan-prod", expired=True)]}}, "or none that is"),
    ],
)
def test_a_merge_without_all_its_bundles_is_refused_and_none_is_left(
    merged: Hub, reviewed: Path, state: dict[str, Any], reason: str
) -> None:
    merged.set(**state)
    with pytest.raises(PipelineError, match=reason) as refused:
        workflows.fetch_bundles(MERGE, ["dev", "prod"])
    assert str(refused.value).endswith("Run the workflow apply by hand: it plans what main holds and applies that")
    assert not reviewed.exists()


def test_the_bundle_of_another_pull_request_with_the_same_head_is_not_taken(merged: Hub, reviewed: Path) -> None:
    """Somebody opens the reviewed branch once more, onto a branch of his own whose code makes the plan: the latest run
    of the head is his."""
    evil = Pull(8, base="evil")
    merged.set(
        pulls=[pull(number=8, merged_at=None, merge_commit_sha=None, base={"ref": "evil"}), *merged.state["pulls"]],
        runs=[*merged.state["runs"], run(9, evil)],
        artifacts=merged.state["artifacts"] | {"9": [artifact(90, "plan-dev")]},
        zips=merged.state["zips"] | {"90": archive(dev=b"of code that nobody has reviewed")},
    )
    workflows.fetch_bundles(MERGE, ["dev"])
    assert (reviewed / "dev").read_bytes() == b"of dev"


def test_an_artifact_that_holds_anything_else_is_refused(merged: Hub, reviewed: Path) -> None:
    merged.set(zips={"31": archive(dev=b"", prod=b"")})
    with pytest.raises(PipelineError, match="holds dev, prod, and not its bundle alone"):
        workflows.fetch_bundles(MERGE, ["dev"])


def test_what_github_says_is_wrong_is_told(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PipelineError, match=r"GitHub, asked for actions/runs/9/artifacts: Not Found \(HTTP 404\)"):
        workflows.github.every("actions/runs/9/artifacts", "artifacts")
    monkeypatch.delenv("GITHUB_REPOSITORY")
    with pytest.raises(PipelineError, match="GITHUB_REPOSITORY is ''"):
        workflows.github.raw("x")


def test_what_comes_in_waves_goes_on_with_the_environments_that_are_left(hub: Hub) -> None:
    workflows.go_on("staging", ["dev", "staging", "prod"])
    (started,) = hub.state["dispatches"]
    assert started == {"workflow": "apply.yml", "ref": "main", "inputs": {"environments": "staging,prod"}}


# --- one issue per environment ----------------------------------------------------------------------------------------


def test_an_issue_is_opened_updated_and_closed_as_drift_comes_and_goes(hub: Hub, drift: Path) -> None:
    (drift / "dev.md").write_text("")
    (drift / "prod.md").write_text("a queue\n")
    assert workflows.report_drift(["dev", "prod"]) == ["dev: no drift", "prod: opened"]
    assert workflows.report_drift(["dev", "prod"]) == ["dev: no drift", "prod: as it was"]
    (drift / "prod.md").write_text("a queue and a table\n")
    assert workflows.report_drift(["dev", "prod"]) == ["dev: no drift", "prod: updated"]
    (only,) = hub.state["issues"]
    assert (only["title"], only["state"]) == ("Drift in prod", "open")
    assert only["body"] == "<!-- drift:prod -->\na queue and a table\n"

    (drift / "prod.md").unlink()
    assert workflows.report_drift(["prod"]) == ["prod: not compared"]
    (drift / "prod.md").write_text("\n")
    assert workflows.report_drift(["prod"]) == ["prod: closed"]
    (only,) = hub.state["issues"]
    assert (only["state"], only["state_reason"]) == ("closed", "completed")

    (drift / "prod.md").write_text("again\n")
    assert workflows.report_drift(["prod"]) == ["prod: opened"]
    assert [issue["state"] for issue in hub.state["issues"]] == ["closed", "open"]


def test_issues_of_others_and_pull_requests_are_left_alone(hub: Hub, drift: Path) -> None:
    same = {"state": "open", "body": "<!-- drift:dev -->\n"}
    issue, pull_request = {"number": 1, "user": SOMEBODY, **same}, {"number": 2, "user": WORKFLOWS, **same}
    empty = {"number": 3, "user": WORKFLOWS, "state": "open", "body": None}
    hub.set(issues=[issue, {**pull_request, "pull_request": {}}, empty])
    (drift / "dev.md").write_text("")
    assert workflows.report_drift(["dev"]) == ["dev: no drift"]
    assert hub.writes() == []


def test_a_long_report_is_cut_by_whole_lines(hub: Hub, drift: Path) -> None:
    (drift / "dev.md").write_text("- a resource and what differs in it\n" * 5000)
    workflows.report_drift(["dev"])
    (issue,) = hub.state["issues"]
    assert len(issue["body"]) <= summary.LIMIT
    assert issue["body"].endswith("differs in it\n… and more: `make drift ENV=dev` shows all of it.\n")


# --- branches become pull requests ------------------------------------------------------------------------------------


@pytest.fixture
def clone(hub: Hub, copy_working_tree: Callable[..., None], root: Path, tmp_path: Path) -> Clone:
    """A clone of a repository in a folder, in which build-push has written a release for dev."""
    seed, remote = Clone(tmp_path / "seed"), tmp_path / "remote.git"
    copy_working_tree(seed.top)
    seed.begin()
    seed.git("clone", "--quiet", "--bare", ".", str(remote))
    clone = Clone(tmp_path / "clone")
    subprocess.run(["git", "clone", "--quiet", str(remote), clone.top], check=True)
    clone.git("config", "user.name", "Test")
    clone.git("config", "user.email", "test@example.com")
    clone.use_tools(root)
    release(clone, "1")
    return clone


def release(clone: Clone, digit: str) -> None:
    build = {
        "commit": clone.git("rev-parse", "HEAD"),
        "dirty": False,
        "platform": "linux/amd64",
        "recipe": "1",
        "time": "2026-11-25T01:00:00+00:00",
        "version": "1",
    }
    content = {"build": build, "image": f"sha256:{digit * 64}", "modules": "worktree"}
    (clone.top / "live/dev/release.json").write_text(json.dumps(content))


def remote(clone: Clone, branch: str) -> str:
    return clone.git("ls-remote", "origin", f"refs/heads/{branch}").split("\t")[0]


def test_an_image_becomes_a_pull_request_that_changes_one_file_and_a_newer_one_takes_its_place(
    clone: Clone, hub: Hub
) -> None:
    clone.imagepipe("ci", "offer", "--env", "dev")
    clone.git("checkout", "--quiet", "live")  # the job that opens it has a checkout of its own
    clone.git("branch", "--quiet", "-D", "image/dev")
    said = clone.imagepipe("ci", "propose").stderr
    assert "https://github.com/acme/pictures/pull/1" in said

    (pull,) = hub.state["pulls"]
    assert pull["title"] == "Release image 111111111111 to dev"
    assert (pull["head"]["ref"], pull["base"]["ref"]) == ("image/dev", "main")
    assert f"| image | `worktree` | `sha256:{'1' * 64}` |" in pull["body"]
    assert clone.git("diff", "--name-only", "origin/main", remote(clone, "image/dev")) == "live/dev/release.json"

    release(clone, "2")
    clone.git("fetch", "--quiet")
    clone.imagepipe("ci", "offer", "--env", "dev")
    clone.imagepipe("ci", "propose")
    (pull,) = hub.state["pulls"]
    assert pull["title"] == "Release image 222222222222 to dev"
    assert clone.git("log", "--format=%s", f"origin/main..{remote(clone, 'image/dev')}") == pull["title"]


def test_the_same_image_again_changes_nothing(clone: Clone, hub: Hub) -> None:
    for _ in range(2):
        clone.imagepipe("ci", "offer", "--env", "dev")
        clone.imagepipe("ci", "propose")
        before = remote(clone, "image/dev")
        clone.git("fetch", "--quiet")
    assert remote(clone, "image/dev") == before
    assert len(hub.state["pulls"]) == 1

    clone.git("push", "--quiet", "origin", "image/dev:main")
    clone.git("fetch", "--quiet")
    (clone.top / "build/promotion/branch.txt").unlink()
    assert "dev has that image already" in clone.imagepipe("ci", "offer", "--env", "dev").stderr
    assert not (clone.top / "build/promotion/branch.txt").exists()


def test_a_branch_that_somebody_else_has_pushed_is_not_overwritten(clone: Clone, hub: Hub) -> None:
    clone.imagepipe("ci", "offer", "--env", "dev")
    clone.git("push", "--quiet", "origin", "main:refs/heads/image/dev")
    clone.git("update-ref", "-d", "refs/remotes/origin/image/dev")  # it came after this clone was made
    refused = clone.imagepipe("ci", "propose", check=False)
    assert refused.returncode == 1
    assert "image/dev could not be pushed: somebody else may have changed it" in refused.stderr.strip().splitlines()[-1]
    assert remote(clone, "image/dev") == clone.git("rev-parse", "main")
    assert "pulls" not in hub.state


def test_the_witness_of_a_release_is_the_environment_before_it(clone: Clone) -> None:
    assert [promotion.witness(name) for name in ("dev", "staging", "prod")] == ["dev", "dev", "staging"]

    clone.git("checkout", "--quiet", "live")
    (clone.top / "live/prod/release.json").write_text('{"image": "worktree", "modules": "v1.0.0"}')
    other = clone.top / "requirements.txt"
    other.write_text(other.read_text() + "# more\n")
    clone.git("commit", "--quiet", "--all", "--message", "Prod, and what is installed")
    refused = clone.imagepipe("ci", "witness", "--base", "HEAD^", check=False)
    assert "a release changes live/prod/release.json and nothing else" in refused.stderr
    clone.git("reset", "--quiet", "--soft", "HEAD^")
    clone.git("restore", "--staged", "--worktree", "requirements.txt")
    clone.git("commit", "--quiet", "--message", "Prod alone", "live/prod/release.json")
    assert '"name":"staging"' in clone.imagepipe("ci", "witness", "--base", "HEAD^").stdout
    before = clone.git("log", "-2", "--format=%H", "--", "live/prod/release.json").split()[-1]
    clone.git("push", "--quiet", "origin", "HEAD:main")
    clone.git("fetch", "--quiet")
    clone.git("checkout", "--quiet", before, "--", "live/prod/release.json")
    clone.git("commit", "--quiet", "--message", "Prod as it was")
    said = clone.imagepipe("ci", "witness", "--base", "HEAD^").stdout
    assert [json.loads(line.split("=", 1)[1])[0]["name"] for line in said.splitlines()] == ["staging", "prod"]
    clone.git("commit", "--quiet", "--allow-empty", "--message", "Nothing")
    assert clone.imagepipe("ci", "witness", "--base", "HEAD^").stdout == "environments=[]\nagain=[]\n"


def test_what_is_installed_does_not_change_beside_what_is_planned(clone: Clone) -> None:
    """It would run with the credentials of the plan before anybody has reviewed it."""
    clone.git("checkout", "--quiet", "live")
    installed, module = clone.top / "requirements.txt", clone.top / "modules/api/main.tf"
    installed.write_text(installed.read_text() + "# one more\n")
    clone.git("commit", "--quiet", "--message", "Requirements alone", "requirements.txt")
    assert clone.imagepipe("ci", "environments", "--base", "HEAD^").stdout == "environments=[]\n"

    module.write_text(module.read_text() + "# and a module\n")
    clone.git("commit", "--quiet", "--message", "A module too", "modules/api/main.tf")
    assert '"name":"dev"' in clone.imagepipe("ci", "environments", "--base", "HEAD^").stdout
    refused = clone.imagepipe("ci", "environments", "--base", "HEAD~2", check=False)
    assert refused.returncode == 1
    assert "requirements.txt changes together with dev, staging, prod" in refused.stderr
    assert refused.stdout == ""
