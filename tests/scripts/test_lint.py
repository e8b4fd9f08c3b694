"""`make lint` refuses a breach of a wall, a room without a place, and a name that names nothing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IMAGE, COMMAND = "lambda-image/src/image_processor", "src/imagepipe"


@pytest.mark.parametrize(
    ("changes", "reported"),
    [
        (
            {
                f"{IMAGE}/records/items.py": "import pyvips\nfrom image_processor import handlers",
                f"{IMAGE}/decoder/light.py": "import botocore.session",
                f"{COMMAND}/live/environments.py": "from imagepipe import cli",
            },
            [
                "image_processor.records.items -> pyvips",
                "image_processor.records is not allowed to import image_processor.handlers",
                "image_processor.decoder.light -> botocore",
                "imagepipe.live is not allowed to import imagepipe.cli",
            ],
        ),
        ({f"{IMAGE}/new_room.py": "", f"{COMMAND}/another_room.py": ""}, ["new_room", "another_room"]),
    ],
    ids=["imports", "rooms"],
)
def test_a_breach_of_a_wall_is_refused_by_name(tmp_path: Path, changes: dict[str, str], reported: list[str]) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for source in ("src", "lambda-image/src"):
        shutil.copytree(ROOT / source, tmp_path / source, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name, text in changes.items():
        with (tmp_path / name).open("a") as file:
            file.write(f"\n{text}\n")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}/src{os.pathsep}{tmp_path}/lambda-image/src"}
    finished = subprocess.run(
        ["lint-imports", "--no-cache"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert finished.returncode == 1, finished.stdout + finished.stderr
    words = " ".join(finished.stdout.split())
    assert [line for line in reported if line not in words] == [], finished.stdout


@pytest.mark.parametrize(
    ("source", "refused"),
    [
        ("found = 1", True),
        ("def f(each): ...", True),
        ("self.told = 1", True),
        ("for each in (): ...", True),
        ("def asked(): ...", True),
        ("import os as news", True),
        ('"""found"""\nfounder = print(each, found)  # told', False),
    ],
)
def test_a_name_that_names_nothing_is_refused(tmp_path: Path, source: str, refused: bool) -> None:
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts/check_words.py", tmp_path / "scripts")
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    (tmp_path / "module.py").write_text(source)
    command = [sys.executable, "scripts/check_words.py", "module.py"]
    finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert finished.returncode == refused, finished.stderr
    assert ("module.py:1" in finished.stderr) == refused
