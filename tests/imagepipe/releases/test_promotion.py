"""Back goes only what came to a good end: the history of main names what was refuted as well."""

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from imagepipe.errors import PipelineError
from imagepipe.live import environments
from imagepipe.live.environments import Release
from imagepipe.releases import promotion, proposal, record, repository, running, snapshot
from imagepipe.releases.record import DeploymentRecord, Steps
from imagepipe.terragrunt.target import Cloud

R0, R1, R2 = (Release(image=f"sha256:{digit * 64}", modules=f"v1.{digit}.0") for digit in "012")
NAMES = [record.name_of(release.image, release.modules) for release in (R0, R1, R2)]


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """prod was released R0, R1, R2 and, because R2 was refuted, R1 again."""

    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=Test", "-c", "user.email=test@example.com"]
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    file = tmp_path / "live/prod/release.json"
    file.parent.mkdir(parents=True)
    git("init", "--initial-branch=main")
    for release in (R0, R1, R2, R1):
        file.write_text(release.model_dump_json())
        git("add", "--all")
        git("commit", "--message", f"Release {release.modules}")
        git("tag", "--force", release.modules)
    monkeypatch.setattr(repository, "ROOT", tmp_path)
    return file


@pytest.fixture
def proposed(history: Path, monkeypatch: pytest.MonkeyPatch) -> list[Release]:
    """The releases that a branch was made for."""
    releases: list[Release] = []
    monkeypatch.setattr(proposal, "propose", lambda branch, name, release, title, body: releases.append(release))
    return releases


def test_previous_is_the_newest_that_came_to_a_good_end(proposed: list[Release]) -> None:
    """It was the one before in the history of main: R2, which had just been refuted."""
    promotion.rollback("prod", "previous", NAMES[:2], lambda _: "")
    assert proposed == [R0]


def test_what_runs_while_main_names_a_refuted_release_is_previous(history: Path, proposed: list[Release]) -> None:
    history.write_text(R2.model_dump_json())
    subprocess.run(
        ["git", "-c", "user.name=T", "-c", "user.email=t@example.com", "commit", "--quiet", "-am", "Release R2 again"],
        cwd=history.parents[2],
        check=True,
    )
    promotion.rollback("prod", "previous", NAMES[:2], lambda _: "")
    assert proposed == [R1]


@pytest.mark.parametrize(("to", "ran"), [("v1.2.0", NAMES[:2]), ("previous", []), ("previous", [NAMES[1]])])
def test_what_never_came_to_a_good_end_is_not_gone_back_to(proposed: list[Release], to: str, ran: list[str]) -> None:
    with pytest.raises(PipelineError, match=f"prod ran no other release to a good end at {to}; earlier releases of"):
        promotion.rollback("prod", to, ran, lambda _: "")
    assert proposed == []


class Waiting(PipelineError):
    """The release has to wait, like any that was not here before."""


@pytest.fixture
def judged(history: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """promote-check, where staging has not run anything for long enough."""

    def not_yet(_: Any) -> None:
        raise Waiting("staging has run this for 1 hour")

    monkeypatch.setattr(running, "release_of", not_yet)
    monkeypatch.setattr(snapshot, "take", lambda _: None)
    monkeypatch.setattr(promotion, "target", lambda *_: None)
    return history


def check(release: Release, ran: list[str]) -> list[str]:
    return promotion._check_origin(environments.load("prod"), release, Cloud.LOCAL, ran)


def test_only_what_came_to_a_good_end_need_not_wait(judged: Path) -> None:
    """A refuted release passed without a soak, alarms or a smoke test."""
    assert check(R0, NAMES[:2])[-1] == "prod ran this release to a good end: a rollback, which need not wait"
    with pytest.raises(Waiting):
        check(R2, NAMES[:2])
    with pytest.raises(Waiting):
        check(R0, [])


def test_a_release_that_is_refuted_later_is_no_longer_one_that_came_to_a_good_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(record, "write", lambda *_: None)
    deployment = DeploymentRecord(
        commit="c" * 40, dirty=False, image=R1.image, modules=R1.modules, plan=None, status="applying", who="x",
        started=datetime.now(UTC), ran=NAMES[:2],
    )  # fmt: skip
    target: Any = None
    Steps(target, deployment).end("failed", "errors of the new version")
    assert deployment.ran == NAMES[:1]
    Steps(target, deployment).end("failed")
    Steps(target, deployment).end("succeeded")
    assert deployment.ran == NAMES[:2]
    assert json.loads(deployment.model_dump_json())["ran"] == NAMES[:2]
