"""The digest that stands for the image where none is built."""

import json
from pathlib import Path

import pytest

from imagepipe.container import source_tree
from imagepipe.errors import PipelineError
from imagepipe.live.environments import Environment, Release
from imagepipe.terragrunt import units as terragrunt
from imagepipe.terragrunt.target import Cloud, Target


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A source tree of two files, and nothing built from it."""
    (tmp_path / "lambda-image").mkdir()
    (tmp_path / "lambda-image/a.py").write_text("a")
    (tmp_path / "lambda-image/b.py").write_text("b")
    monkeypatch.setattr(source_tree, "IMAGE_SOURCE", tmp_path / "lambda-image")
    monkeypatch.setattr(source_tree, "BUILT_IMAGE", tmp_path / "build/image.json")
    return tmp_path / "lambda-image"


def test_digest_changes_with_contents_names_and_nothing_else(folder: Path) -> None:
    before = source_tree.digest()
    assert before.startswith("sha256:")
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__/a.pyc").write_text("x")
    assert source_tree.digest() == before
    (folder / "b.py").rename(folder / "c.py")
    renamed = source_tree.digest()
    (folder / "c.py").write_text("c")
    assert len({before, renamed, source_tree.digest()}) == 3


def test_digest_is_recorded_where_hcl_finds_it(folder: Path) -> None:
    source_tree.record_digest()
    assert json.loads(source_tree.BUILT_IMAGE.read_text())["digest"] == source_tree.digest()


@pytest.mark.parametrize("recorded", [False, True])
def test_aws_gets_no_digest_that_no_registry_knows(folder: Path, recorded: bool) -> None:
    if recorded:
        source_tree.record_digest()
    release = Release(image="worktree", modules="worktree")
    dev = Environment("dev", "111111111111", "eu-west-1", release, protected=False, platform="linux/amd64")
    with pytest.raises(PipelineError, match=r"live/dev/release\.json has no image that AWS could run"):
        terragrunt.apply(Target(dev, Cloud.AWS, {}), print)
