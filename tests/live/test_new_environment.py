"""A fourth environment is a copy of a folder with its own env.hcl: nothing else in the repository is edited."""

import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clones import Clone

ACCOUNT = "555555555555"

UNITS = ("api", "ci-access", "compute", "monitoring", "storage")


@pytest.fixture(scope="module")
def clone(
    root: Path, tmp_path_factory: pytest.TempPathFactory, copy_working_tree: Callable[..., None]
) -> Iterator[Clone]:
    """A clone with live/qa, which is not committed: between dev and staging, and silent about whether apply asks."""
    clone = Clone(tmp_path_factory.mktemp("new") / "clone")
    copy_working_tree(clone.top)
    clone.use_tools(root)
    clone.begin()
    shutil.copytree(clone.top / "live/dev", clone.top / "live/qa")
    file = clone.top / "live/qa/env.hcl"
    text = file.read_text().replace('"dev"', '"qa"').replace("111111111111", ACCOUNT)
    file.write_text(re.sub(r"  ask_first = .*\n", "", re.sub(r"order = \d+", "order = 15", text)))
    yield clone
    clone.imagepipe("down", check=False)


def environments(clone: Clone, *options: str) -> list[dict[str, str]]:
    printed = clone.imagepipe("ci", "environments", *options).stdout
    return list(json.loads(printed.removeprefix("environments=")))


def test_workflows_take_it_in_its_place(clone: Clone) -> None:
    listed = environments(clone)
    assert [environment["name"] for environment in listed] == ["shared", "dev", "qa", "staging", "prod"]
    assert listed[2]["apply_role"] == f"arn:aws:iam::{ACCOUNT}:role/image-pipeline-qa-ci-apply"
    assert listed[2]["serves"] is True


def test_a_change_reaches_it(clone: Clone) -> None:
    reached = json.loads(clone.imagepipe("affected", "--base", "HEAD", "--json").stdout)["units"]
    assert {*reached} == {*(f"qa/{unit}" for unit in UNITS), "shared/registry"}
    assert [environment["name"] for environment in environments(clone, "--base", "HEAD")] == ["shared", "qa"]


def test_no_release_skips_it(clone: Clone) -> None:
    refused = clone.imagepipe("promote", "--from", "dev", "--to", "staging", check=False)
    assert refused.stderr.strip() == (
        "imagepipe: a release does not go from dev to staging: FROM=dev TO=qa, FROM=qa TO=staging, FROM=staging TO=prod"
    )


def test_apply_asks_because_env_hcl_does_not_say(clone: Clone) -> None:
    refused = clone.imagepipe("apply", "--env", "qa", check=False)
    assert refused.returncode == 1
    assert re.search(rf"Apply to qa \(account {ACCOUNT}, .*YES=1", refused.stderr)


#: Promotes from one environment to the next and checks the branch. AWS is replaced by what an environment would answer.
PROMOTION = """
import sys
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from imagepipe.live import environments
from imagepipe.releases import promotion, release_files, repository, snapshot
from imagepipe.releases.aliases import Alias
from imagepipe.releases.record import DeploymentRecord
from imagepipe.terragrunt.target import Cloud

source, to = sys.argv[1:]
release = release_files.release_at("main", source)
quiet = SimpleNamespace(get_paginator=lambda _: SimpleNamespace(paginate=lambda **_: []))
now, commit = datetime.now(UTC), repository.commit("main")
record = DeploymentRecord(
    commit=commit, dirty=False, image=release.image, modules=commit, plan=None, status="succeeded", who="test",
    started=now - timedelta(hours=1), finished=now - timedelta(hours=1), smoked=now,
)
functions = {"api": {"name": "x-api", "alias": "live"}}
present = snapshot.Snapshot(
    SimpleNamespace(environment=environments.load(source), client=lambda _: quiet),
    {"compute": {"serial": 1, "outputs": {"functions": {"value": functions}}}},
    record,
    (Alias("api", "x-api", "live", "1", release.image, {}),),
    now,
)
proposal = promotion.promote(present, to, lambda _: "the plan")
print(proposal.branch)
repository.git("switch", "--quiet", "--detach", proposal.branch)
promotion.target = lambda environment, cloud: environment.name
promotion.snapshot.take = {source: present}.__getitem__
promotion.require_in_registry = lambda *_: None
print(*promotion.check("main", Cloud.LOCAL, ran=[]), sep="\\n")
repository.git("switch", "--quiet", "main")
"""


def test_a_release_goes_through_it(clone: Clone) -> None:
    build = {
        "commit": clone.git("rev-parse", "HEAD"), "dirty": False, "platform": "linux/amd64", "recipe": "1",
        "time": "2026-11-25T01:00:00+00:00", "version": "1",
    }  # fmt: skip
    release = {"build": build, "image": f"sha256:{'1' * 64}", "modules": "worktree"}
    (clone.top / "live/dev/release.json").write_text(json.dumps(release))
    clone.git("add", "--all")
    clone.git("commit", "--quiet", "--message", "A new environment, and an image for dev")
    for source, to in (("dev", "qa"), ("qa", "staging")):
        printed = clone.run([sys.executable, "-c", PROMOTION, source, to], clone.top, {}, True).stdout
        assert printed.startswith(f"promote/{to}\n")
        assert f"every function of {source} runs" in printed
        clone.git("merge", "--quiet", "--no-ff", "--no-edit", f"promote/{to}")
    assert json.loads((clone.top / "live/staging/release.json").read_text())["image"] == release["image"]


def test_it_is_planned(clone: Clone) -> None:
    """One unit stands for all: the files of units are the same in every environment."""
    clone.imagepipe("bootstrap", "--env", "qa")
    printed = clone.imagepipe("plan", "--env", "qa", "--units", "storage").stdout
    assert re.search(r"plan of qa\b", printed)
    assert re.search(r"storage\s+│\s+\d+ │", printed), printed
