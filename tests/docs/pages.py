"""Markdown pages of the repository, taken apart: headings as GitHub anchors them, links, commands."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parents[2]

#: Languages of fenced blocks that hold commands for a shell.
SHELLS = frozenset({"sh", "bash"})
PROGRAMS = ("make", "imagepipe", "image-processor", "aws", "terragrunt")


@dataclass(frozen=True)
class Command:
    """A command that a page shows."""

    page: Path
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}: {' '.join(self.words)}"


def all_pages() -> list[Path]:
    """List the pages that people read."""
    folders = (
        ROOT.glob("*.md"),
        ROOT.glob("docs/**/*.md"),
        ROOT.glob("modules/*/README.md"),
        ROOT.glob(".github/*.md"),
    )
    return sorted(page for pages in folders for page in pages)


@cache
def tokens(page: Path) -> list[Token]:
    """Return the tokens of a page, those within paragraphs included."""
    markdown = MarkdownIt("commonmark").enable("table")
    return [part for token in markdown.parse(page.read_text()) for part in (token, *(token.children or ()))]


@cache
def anchors(page: Path) -> frozenset[str]:
    """Return the anchors that GitHub gives to a page's headings."""
    slugs: dict[str, int] = {}
    result = set()
    stream = tokens(page)
    for token, following in pairwise(stream):
        if token.type == "heading_open":
            words = "".join(part.content for part in following.children or ())
            slug = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
            result.add(f"{slug}-{slugs[slug]}" if slug in slugs else slug)
            slugs[slug] = slugs.get(slug, 0) + 1
    return frozenset(result)


def links(page: Path) -> Iterator[str]:
    """Yield the targets of a page's links and pictures."""
    for token in tokens(page):
        if target := token.attrGet("href") or token.attrGet("src"):
            yield str(target)


def commands(page: Path) -> Iterator[Command]:
    """Yield the commands of this repository in fenced blocks and in inline code."""
    for token in tokens(page):
        if token.type == "fence" and token.info.split(" ")[0] in SHELLS:
            yield from _commands(page, token.content.replace("\\\n", " "))
        elif token.type == "code_inline" and token.content.startswith(tuple(f"{name} " for name in PROGRAMS)):
            yield from _commands(page, token.content)


def _commands(page: Path, text: str) -> Iterator[Command]:
    for line in text.splitlines():
        for match in re.finditer(rf"(?<![\w/.=-])(?:\.venv/bin/)?({'|'.join(PROGRAMS)})(?=\s)", line):
            if line.lstrip().startswith("#") or " # " in line[: match.start()]:
                continue
            lexer = shlex.shlex(_first(line[match.start() :]).removeprefix(".venv/bin/"), posix=True)
            lexer.whitespace_split, lexer.commenters = True, ""
            yield Command(page, tuple(lexer))


def _first(line: str) -> str:
    """Return the command that a line begins with, up to what ends it outside of quotes."""
    quote = ""
    for place, sign in enumerate(line):
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "'\"":
            if sign not in line[place + 1 :]:
                return line[:place]  # the end of what the command stands in
            quote = sign
        elif sign in ";)`" or (sign in "#|&" and line[place - 1] == " "):
            return line[:place]
    return line
