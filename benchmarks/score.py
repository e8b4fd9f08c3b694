"""SSIMULACRA2 of pictures against one shared reference: full resolution, linear light, Lanczos3.

The judge is `ssimulacra2_rs`, built with cargo where there is one, else the Python package `ssimulacra2`, which is
twenty times slower. Both go under build/bench; neither is part of the project.
"""

import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import pyvips

BUILD = Path(__file__).resolve().parents[1] / "build/bench"
RUST, PYTHON = "ssimulacra2_rs", "ssimulacra2==0.3.0"


@cache
def judge() -> list[str]:
    """Return the command that takes two PNG files and prints their score last; install it at the first call."""
    program = BUILD / "tools/bin" / RUST
    if program_on_path := shutil.which(RUST):
        return [program_on_path, "image"]
    if not program.exists() and shutil.which("cargo"):
        print("building ssimulacra2_rs, once: some minutes", file=sys.stderr)
        command = [
            "cargo",
            "install",
            RUST,
            "--version",
            "0.5.2",
            "--no-default-features",
            "--root",
            str(BUILD / "tools"),
        ]
        subprocess.run(command, check=False, capture_output=True, timeout=1800)
    if program.exists():
        return [str(program), "image"]
    folder = BUILD / "tools/python"
    if not folder.exists():
        subprocess.run(["uv", "pip", "install", "--quiet", "--target", folder, PYTHON], check=True)
    return [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(folder)!r}); {_COMPARE}"]


_COMPARE = "from ssimulacra2 import compute_ssimulacra2 as s; print(s(sys.argv[1], sys.argv[2]))"


def reference(file: Path, width: int, height: int) -> pyvips.Image:
    """Scale an upright image with libvips at full resolution in exact linear light, whatever CPU it costs."""
    image = pyvips.Image.new_from_file(str(file)).autorot()
    if image.interpretation != "srgb" or "icc-profile-data" in image.get_fields():
        image = image.icc_transform("srgb", embedded=True, intent="relative", black_point_compensation=True)
    return image.thumbnail_image(width, height=height, size="force", linear=True, no_rotate=True)


def score(original: pyvips.Image, picture: pyvips.Image) -> float:
    """Return SSIMULACRA2: 100 is identical, 90 indistinguishable by eye, 70 high quality."""
    with tempfile.TemporaryDirectory() as folder:
        files = [f"{folder}/reference.png", f"{folder}/picture.png"]
        for image, name in zip((original, picture), files, strict=True):
            image.colourspace("srgb")[:3].cast("uchar").pngsave(name, compression=1, keep="none")
        run = subprocess.run([*judge(), *files], check=True, capture_output=True, text=True)
    return float(run.stdout.split()[-1])
