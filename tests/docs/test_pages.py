"""What the documentation says is what the code says: lengths, tables, lists, pictures."""

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import pytest

from image_processor.handlers import http
from image_processor.verdict import Reason
from imagepipe.releases import releases

from .pages import ROOT, all_pages, links

README = ROOT / "README.md"
PICTURES = ROOT / "docs/img"


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    """The program behind `make docs`."""
    spec = importlib.util.spec_from_file_location("docs_tables", ROOT / "docs/tables.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_readme_is_read_in_two_minutes() -> None:
    assert len(README.read_text().splitlines()) <= 150


def test_readme_says_early_what_was_never_tried() -> None:
    head = README.read_text().split("\n## ")[0]
    assert "nothing has been run against AWS" in head


def test_tables_follow_from_code_and_figures(tables: ModuleType) -> None:
    stale = [str(page) for page in tables.pages() if page.read_text() != tables.with_tables(page.read_text())]
    assert stale == [], "run make docs"


def test_every_table_is_shown_somewhere(tables: ModuleType) -> None:
    text = "".join(page.read_text() for page in all_pages())
    assert set(re.findall(r"<!-- table: ([\w-]+) -->", text)) == tables.TABLES.keys()


def test_costs_change_with_a_price(tables: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    before = tables.costs()
    monkeypatch.setitem(tables.PRICES, "s3_put", 2 * tables.PRICES["s3_put"])
    assert tables.costs() != before


def test_an_environment_at_rest_costs_what_its_metrics_and_polls_cost(tables: ModuleType) -> None:
    """The custom metrics are those that the functions add; the rest is above the free allowances."""
    sources = (ROOT / "lambda-image/src/image_processor/handlers").glob("*.py")
    names = set(re.findall(r'"([A-Z][a-z]+[A-Z]\w+)"', "".join(source.read_text() for source in sources)))
    assert tables.FIGURES["rest"]["custom_metrics"] == len(names), names
    assert sum(dollars for *_, dollars in tables.rest_items()) > 0.1


def test_reasons_are_those_of_the_code() -> None:
    section = (ROOT / "docs/images.md").read_text().split("## Reasons for rejection")[1].split("\n## ")[0]
    rows = set(re.findall(r"^\| `([A-Z_]+)` \|", section, re.MULTILINE))
    words = set(re.findall(r"`([A-Z_]+)`", section.split("\n\n", 2)[2]))
    assert rows | (words & {"PROCESSING_FAILED", "PROCESS_KILLED"}) == {reason.value for reason in Reason}


def test_routes_are_those_of_handler_and_gateway() -> None:
    page = re.findall(r"^\| `([A-Z]+ /[^`]*)` \|", (ROOT / "docs/api.md").read_text(), re.MULTILINE)
    gateway = re.findall(r'^    "([A-Z]+ /[^"]*)"\s*=', (ROOT / "modules/api/main.tf").read_text(), re.MULTILINE)
    assert sorted(page) == sorted(gateway)
    handled = sorted(f"{verb} {pattern}" for verb, pattern, *_ in http._ROUTES)
    assert sorted(re.sub(r"\{\w+\}", "([^/]+)", route) for route in page) == handled


def test_layout_names_what_exists() -> None:
    block = README.read_text().split("## Layout")[1].split("```")[1]
    names = re.findall(r"^(\S+)", block, re.MULTILINE)
    assert [name for name in names if not (ROOT / name).exists()] == []
    rooms = re.search(r"behind make: (.*)$", block, re.MULTILINE)
    assert rooms
    assert set(rooms[1].split()) == {path.parent.name for path in ROOT.glob("src/imagepipe/*/__init__.py")}
    modules = re.search(r"Terraform: (.*?),", block)
    assert modules
    assert set(modules[1].split()) == {path.name for path in (ROOT / "modules").iterdir() if path.is_dir()}


def test_pictures_are_small_and_shown() -> None:
    pictures = set(PICTURES.iterdir())
    assert sum(picture.stat().st_size for picture in pictures) <= 300_000
    shown = {(page.parent / target).resolve() for page in all_pages() for target in links(page)}
    assert pictures <= shown


def test_pictures_load_nothing_from_elsewhere() -> None:
    for picture in PICTURES.glob("*.svg"):
        text = picture.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://(?!127\.0\.0\.1|[\w.]+\.localhost)|@font-face|@import", text), picture.name


def test_changelog_has_notes_for_the_packages_version() -> None:
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version
    assert releases.notes(version[1])


def test_figures_say_how_they_were_measured() -> None:
    figures = json.loads((ROOT / "docs/figures.json").read_text())
    assert [name for name, data in figures.items() if name != "costs" and not data.get("measured")] == []


def test_prices_have_one_source(root: Path) -> None:
    prices = json.loads((root / "src/imagepipe/operations/prices.json").read_text())
    spelled = [f"{price:.10f}".rstrip("0") for price in prices["lambda_gb_second"].values()]
    sources = [file for folder in ("src", "docs") for file in (root / folder).rglob("*.py")]
    assert [file.name for file in sources if any(price in file.read_text() for price in spelled)] == []
