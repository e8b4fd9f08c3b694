"""Make the pictures of README.md and docs/ from real output: `make docs-pictures`.

Runs the demo on the local cloud, then reads back what it made with the same commands that people use. Nothing is drawn
that the pipeline has not produced; only captions are added.
"""

import io
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyvips
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs/img"
IMAGEPIPE = ROOT / ".venv/bin/imagepipe"
CONTACT_SHEET = ROOT / "build/demo/contact-sheet.jpg"

#: Key of the sample whose variants are shown.
SUBJECT = "photos/morning.jpg"

COLUMNS = 116  # characters
FONTS = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
#: Background, text, then the eight normal and the eight bright colours of a terminal.
THEME = TerminalTheme(
    (24, 26, 31),
    (208, 211, 217),
    [
        *((24, 26, 31), (224, 108, 117), (126, 199, 120), (229, 178, 80)),
        *((97, 160, 239), (198, 120, 221), (86, 182, 194), (208, 211, 217)),
    ],
)

#: Pixels of the ladder's picture. It is shown at half its size, so that it stays sharp on dense screens.
SCALE = 0.19
GAP, MARGIN = 28, 40
PAPER, INK = [250, 250, 248], [38, 40, 46]


def main() -> None:
    """Write every picture anew."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    demo = run("demo")
    session = demo.partition("dashboard image-pipeline")[0].removesuffix("\x1b[3m")
    write_terminal(PICTURES / "demo.svg", "make demo", f"$ make demo\n{session.rstrip()}")
    write_terminal(PICTURES / "dashboard.svg", "imagepipe dashboard", run("dashboard"))
    sheet = pyvips.Image.new_from_file(str(CONTACT_SHEET))
    sheet.webpsave(str(PICTURES / "contact-sheet.webp"), Q=72, effort=6)
    draw_ladder(PICTURES / "ladder.webp")
    for file in sorted(PICTURES.iterdir()):
        print(f"{file.stat().st_size / 1000:6.1f} KB  {file.relative_to(ROOT)}")


def run(*arguments: str) -> str:
    """Return what a command of imagepipe prints, colours included, its notes among the results."""
    environment = {**os.environ, "COLUMNS": str(COLUMNS), "FORCE_COLOR": "1", "TTY_INTERACTIVE": "0"}
    environment |= {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
    finished = subprocess.run(
        [IMAGEPIPE, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if finished.returncode:
        sys.exit(f"imagepipe {' '.join(arguments)} failed:\n{finished.stdout}")
    return re.sub(r"\x1b\[\?[0-9]+[hl]", "", finished.stdout)


def write_terminal(file: Path, title: str, output: str) -> None:
    """Write output with its colours as an SVG that loads no font from anywhere."""
    words = Text.from_ansi(output.strip("\n"))
    width = max(line.cell_len for line in words.split())
    console = Console(record=True, width=width, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(words)
    svg = console.export_svg(title=title, theme=THEME, unique_id=file.stem)
    svg = re.sub(r"\s*(@font-face \{.*?\}|<!--.*?-->)", "", svg, flags=re.DOTALL)
    file.write_text(re.sub(r"Fira Code(, monospace)?", FONTS, svg), encoding="utf-8")


def draw_ladder(file: Path) -> None:
    """Draw one source beside its variants, all at one scale, with their figures above them."""
    with tempfile.TemporaryDirectory() as folder:
        records: list[dict[str, Any]] = json.loads(quiet("list", "--json", "--limit", "100"))
        record = next(record for record in records if record["source"]["key"] == SUBJECT)
        quiet("download", record["image_id"], "--to", folder)
        source, variants = record["source"], best_variants(record)
        pictures = [(source["width"], ROOT / ".local/samples" / SUBJECT)]
        pictures += [(variant["width"], Path(folder) / SUBJECT / Path(variant["key"]).name) for variant in variants]
        shown = [
            pyvips.Image.thumbnail(str(path), round(width * SCALE), size="down").colourspace("srgb")
            for width, path in pictures
        ]
        sheet = on_one_line(shown)
        words = "\n".join(figures(source, variants, record))
        sheet = sheet.insert(text(words), shown[0].width + MARGIN + GAP, MARGIN)
        sheet.webpsave(str(file), Q=84, effort=6)


def quiet(*arguments: str) -> str:
    """Return the results of a command without its notes."""
    return subprocess.run([IMAGEPIPE, *arguments], capture_output=True, text=True, check=True).stdout


def best_variants(record: dict[str, Any]) -> list[dict[str, Any]]:
    """List the variants that a current browser gets, widest first, the square thumbnail last."""
    by_size: dict[str, dict[str, Any]] = {}
    for name, variant in record["variants"].items():
        size = name.rpartition("-")[0]
        if size not in by_size or variant["bytes"] < by_size[size]["bytes"]:
            by_size[size] = {**variant, "name": name}
    return sorted(by_size.values(), key=lambda variant: (variant["name"].startswith("thumb"), -variant["width"]))


def figures(source: dict[str, Any], variants: list[dict[str, Any]], record: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of the table: the source, each variant, and what it took."""
    total = sum(variant["bytes"] for variant in record["variants"].values())
    yield f"{'source':<16}{source['width']:>5} × {source['height']:<6}{source['bytes'] / 1000:>7,.0f} KB"
    yield ""
    for variant in variants:
        size = f"{variant['width']:>5} × {variant['height']:<6}"
        yield f"{variant['name']:<16}{size}{variant['bytes'] / 1000:>7,.1f} KB"
    yield ""
    took = record["timings"]["processing_ms"]
    yield f"{len(record['variants'])} files with their fallbacks, {total / 1000:,.0f} KB, made in {took:,} ms"


def on_one_line(pictures: list[pyvips.Image]) -> pyvips.Image:
    """Join pictures side by side on a common ground line."""
    height = max(picture.height for picture in pictures)
    width = sum(picture.width for picture in pictures) + GAP * (len(pictures) - 1)
    sheet = pyvips.Image.black(width + 2 * MARGIN, height + 2 * MARGIN, bands=3) + PAPER
    left = MARGIN
    for picture in pictures:
        sheet = sheet.insert(picture, left, MARGIN + height - picture.height)
        left += picture.width + GAP
    return sheet.cast("uchar").copy(interpretation="srgb")


def text(words: str) -> pyvips.Image:
    """Draw words in ink on paper."""
    mask = pyvips.Image.text(words, font="monospace 16", dpi=96, spacing=6)
    drawn = (mask / 255).bandjoin([mask / 255] * 2) * [ink - paper for ink, paper in zip(INK, PAPER, strict=True)]
    return (drawn + PAPER).cast("uchar").copy(interpretation="srgb")


if __name__ == "__main__":
    main()
