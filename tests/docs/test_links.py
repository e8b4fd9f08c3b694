"""Links of the documentation lead somewhere."""

from pathlib import Path
from urllib.parse import unquote

import pytest

from .pages import ROOT, all_pages, anchors, links

PAGES = all_pages()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_anchors_resolve(page: Path) -> None:
    broken = [target for target in links(page) if "://" not in target and not resolves(page, target)]
    assert broken == []


def resolves(page: Path, target: str) -> bool:
    path, _, anchor = unquote(target).partition("#")
    file = (page.parent / path).resolve() if path else page
    if not file.is_relative_to(ROOT) or not file.exists():
        return False
    return not anchor or (file.suffix == ".md" and anchor in anchors(file))


def test_a_broken_link_does_not_resolve() -> None:
    assert resolves(ROOT / "README.md", "docs/images.md#reasons-for-rejection")
    assert not resolves(ROOT / "README.md", "docs/images.md#reasons-for-nothing")
    assert not resolves(ROOT / "README.md", "docs/no-such-page.md")


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page not in reached:
            reached.add(page)
            targets = [target.partition("#")[0] for target in links(page) if "://" not in target]
            waiting += [(page.parent / target).resolve() for target in targets if target.endswith(".md")]
    assert [page for page in PAGES if page.is_relative_to(ROOT / "docs") and page not in reached] == []
