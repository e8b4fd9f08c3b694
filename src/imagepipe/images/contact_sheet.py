"""Draws one picture of many images: the thumbnail of each, or why it has none, with its name underneath."""

from pathlib import Path
from xml.sax.saxutils import escape

import pyvips

TILE = 240  # pixels
CAPTION = 34
COLUMNS = 5
PAPER = [250, 250, 248]


def draw(tiles: list[tuple[str, bytes | str]], file: Path) -> None:
    """Write a JPEG of tiles, row by row.

    Args:
        tiles: caption and, below it, an encoded picture or the reason why there is none.
    """
    sheet = pyvips.Image.arrayjoin([_tile(*tile) for tile in tiles], across=COLUMNS, shim=12, background=PAPER)
    file.parent.mkdir(parents=True, exist_ok=True)
    margin = (12, 12, sheet.width + 24, sheet.height + 24)
    sheet.embed(*margin, background=PAPER).jpegsave(str(file), Q=88)


def _tile(caption: str, content: bytes | str) -> pyvips.Image:
    if isinstance(content, bytes):
        picture = pyvips.Image.thumbnail_buffer(content, TILE, height=TILE, size="down").colourspace("srgb")
        picture = picture.flatten(background=[225, 225, 220]) if picture.hasalpha() else picture
    else:
        picture = _text(content.replace("_", " ").lower(), "sans 14", [150, 40, 40])
    picture = picture.gravity("centre", TILE, TILE, extend="background", background=[238, 238, 234])
    label = _text(caption, "sans 9", [60, 60, 60]).gravity(
        "centre", TILE, CAPTION, extend="background", background=PAPER
    )
    return picture.join(label, "vertical").cast("uchar").copy(interpretation="srgb")


def _text(words: str, font: str, colour: list[int]) -> pyvips.Image:
    mask = pyvips.Image.text(escape(words), font=font, width=TILE - 16, align="centre", dpi=96)
    if mask.height > TILE:
        mask = mask.crop(0, 0, mask.width, TILE)
    background = [238, 238, 234]
    return (mask / 255).bandjoin([mask / 255] * 2) * [
        c - b for c, b in zip(colour, background, strict=True)
    ] + background
