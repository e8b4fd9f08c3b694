"""The engine as a command: any files, in any state, in one run."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from imagepipe.images import samples

SOURCE = Path(__file__).parents[2] / "lambda-image" / "src"
JPEG = bytes(samples.landscape(120, 80, 1).jpegsave_buffer())
PNG = bytes(samples.landscape(60, 90, 2).pngsave_buffer())
FORMATS = [{"format": "webp", "quality": 30}, {"format": "jpeg"}]
RECIPE = {"variants": [{"width": 64, "formats": FORMATS}]}


def run(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    command = [sys.executable, "-m", "image_processor", *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, cwd=cwd)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(RECIPE))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "in"
    path.mkdir()
    return path


def records(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {Path(item["path"]).name: item for item in lines}


def test_record_has_source_variants_and_cost(folder: Path, recipe: Path, tmp_path: Path) -> None:
    (folder / "a.jpg").write_bytes(JPEG)
    done = run(folder, "--out", tmp_path / "out", "--recipe", recipe, "--json")
    assert done.returncode == 0, done.stderr
    record = records(done)["a.jpg"]
    assert (record["status"], record["reason"]) == ("READY", None)
    source = record["source"]
    assert (source["format"], source["width"], source["height"], source["bytes"]) == ("jpeg", 120, 80, len(JPEG))
    assert {"sha256", "phash", "palette", "placeholder", "blurriness", "exif", "orientation"} <= source.keys()
    assert 0 < record["seconds"] < 60
    assert record["peak_memory_bytes"] > 10_000_000
    for variant in record["variants"]:
        data = Path(variant["path"]).read_bytes()
        picture = samples.pyvips.Image.new_from_buffer(data, "")
        assert (picture.width, picture.height, len(data)) == (variant["width"], variant["height"], variant["bytes"])
        assert variant["format"] in ("webp", "jpeg")


def test_nothing_odd_stops_the_run(folder: Path, recipe: Path, tmp_path: Path) -> None:
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "er" / "good.png").write_bytes(PNG)
    (folder / "empty.jpg").touch()
    (folder / "text.jpg").write_text("Dear all,")
    (folder / "half.jpg").write_bytes(JPEG[: len(JPEG) // 2])
    (folder / "dangling.jpg").symlink_to("nowhere")
    (folder / "self.jpg").symlink_to("self.jpg")
    (folder / "deep" / "loop").symlink_to("..")
    (folder / "link.jpg").symlink_to("deep/er/good.png")
    os.mkfifo(folder / "pipe.jpg")
    (folder / "new\nline ü.jpg").write_bytes(JPEG)
    with open(folder / "hole.jpg", "wb") as hole:
        hole.truncate(1 << 40)
    (Path(os.fsdecode(os.fsencode(folder) + b"/\xff\xfe.jpg"))).write_bytes(JPEG)
    (folder / ("n" * 251 + ".jpg")).write_bytes(JPEG)
    done = run(folder, "--out", folder / "out", "--recipe", recipe, "--json", "--jobs", 2)
    assert done.returncode == 3, done.stderr
    outcome = records(done)
    assert len(outcome) == len(done.stdout.splitlines()) == 12
    reasons = {name: record["reason"] for name, record in outcome.items() if record["status"] != "READY"}
    assert reasons == {
        "empty.jpg": "EMPTY",
        "text.jpg": "NOT_AN_IMAGE",
        "half.jpg": "TRUNCATED",
        "dangling.jpg": "UNREADABLE",
        "self.jpg": "UNREADABLE",
        "pipe.jpg": "UNREADABLE",
        "hole.jpg": "TOO_LARGE_BYTES",
    }
    again = run(folder, "--out", folder / "out", "--recipe", recipe, "--json")
    assert records(again).keys() == outcome.keys(), "what it wrote is not what it reads"


def test_files_of_the_same_name_do_not_write_over_each_other(folder: Path, recipe: Path, tmp_path: Path) -> None:
    paths = [folder / "one" / "a.jpg", folder / "two" / "a.jpg"]
    for path, data in zip(paths, (JPEG, PNG), strict=True):
        path.parent.mkdir()
        path.write_bytes(data)
    done = run(*paths, paths[0], "--out", tmp_path / "out", "--recipe", recipe, "--json")
    written = [variant["path"] for line in done.stdout.splitlines() for variant in json.loads(line)["variants"]]
    assert len(written) == len(set(written)) >= 3
    assert all(Path(path).is_file() for path in written)


def test_what_cannot_be_written_is_that_images_failure_only(folder: Path, recipe: Path, tmp_path: Path) -> None:
    (folder / "a.jpg").write_bytes(JPEG)
    (folder / "b.jpg").write_bytes(JPEG)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.jpg").touch()
    done = run(folder, "--out", tmp_path / "out", "--recipe", recipe, "--json")
    assert done.returncode == 3
    assert {name: record["status"] for name, record in records(done).items()} == {"a.jpg": "FAILED", "b.jpg": "READY"}


def test_people_get_a_line_per_file_and_a_sum(folder: Path, recipe: Path, tmp_path: Path) -> None:
    (folder / "a.jpg").write_bytes(JPEG)
    (folder / "b\x1b[2J.jpg").touch()
    done = run(folder, "--out", tmp_path / "out", "--recipe", recipe, "--jobs", 1)
    assert "jpeg 120 × 80" in done.stdout
    assert r"b\x1b[2J.jpg: EMPTY, the object has no bytes" in done.stdout
    assert done.stderr.strip() == "1 ready, 1 rejected"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["a.jpg"], "required: --out"),
        (["missing.jpg", "--out", "out"], "missing.jpg: no such file or folder"),
        (["nothing", "--out", "out"], "there are no files in nothing"),
        (["a.jpg", "--out", "out", "--jobs", "0"], "--jobs must be from 1 to 64"),
        (["a.jpg", "--out", "a.jpg"], "File exists"),
        (["a.jpg", "--out", "out", "--recipe", "missing.json"], "missing.json"),
        (["a.jpg", "--out", "out", "--recipe", "wrong.json"], "Recipe has no colour"),
        (["a.jpg", "--out", "out", "--limits", "wrong.json"], "Limits has no colour"),
    ],
)
def test_wrong_use_is_said_in_a_line(tmp_path: Path, arguments: list[str], words: str) -> None:
    (tmp_path / "a.jpg").write_bytes(JPEG)
    (tmp_path / "nothing").mkdir()
    (tmp_path / "wrong.json").write_text('{"colour": 1}')
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr.splitlines()[-1]
    assert done.stdout == ""


def test_reader_that_has_seen_enough_is_no_error(folder: Path, recipe: Path, tmp_path: Path) -> None:
    for number in range(12):
        (folder / f"{number}.jpg").write_bytes(b"")
    command = f"{sys.executable} -m image_processor {folder} --out {tmp_path / 'out'} --json | head -1"
    done = subprocess.run(
        command, shell=True, env={**os.environ, "PYTHONPATH": str(SOURCE)}, capture_output=True, text=True, timeout=60
    )
    assert len(done.stdout.splitlines()) == 1
    assert "Traceback" not in done.stderr
