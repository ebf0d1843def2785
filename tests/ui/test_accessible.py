"""Whom the report's page shuts out: axe-core, colours, phones and paper, in a real browser."""

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page
from report.by_hand import by_hand, run

from bp_pipeline.report import Findings, write_report

DEFICIENCIES = ("deuteranopia", "achromatopsia")


@pytest.fixture(scope="module")
def report(store: Path) -> Path:
    [folder] = (store / "reports").iterdir()
    return folder / "report.html"


@pytest.fixture(scope="module")
def sheet(browser: Browser, report: Path) -> Iterator[Page]:
    """Open the report at the width of a laptop."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(report.as_uri())
    yield page
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(scheme: Any, sheet: Page) -> None:
    sheet.emulate_media(color_scheme=scheme)
    assert Axe().run(sheet).response["violations"] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_numbers_on_colours_have_contrast(scheme: Any, sheet: Page) -> None:
    """Measure what axe leaves undecided: cells whose colour is mixed."""
    sheet.emulate_media(color_scheme=scheme)
    ratios = sheet.eval_on_selector_all(
        ".heat td",
        """cells => {
            const canvas = document.createElement('canvas').getContext('2d');
            const luminance = colour => {
                canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
                const rgb = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
                const linear = rgb.map(v => v / 255)
                    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
                return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
            };
            return cells.map(cell => {
                const style = getComputedStyle(cell);
                const transparent = style.backgroundColor === 'rgba(0, 0, 0, 0)';
                const paper = getComputedStyle(document.body).backgroundColor;
                const both = [style.color, transparent ? paper : style.backgroundColor];
                const [low, high] = both.map(luminance).sort((a, b) => a - b);
                return (high + 0.05) / (low + 0.05);
            });
        }""",
    )
    assert len(ratios) > 20
    assert min(ratios) >= 4.5


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_lines_are_told_apart_without_colours(deficiency: str, sheet: Page) -> None:
    """Compare what two entries of a legend look like to who cannot tell their colours apart."""
    sheet.emulate_media(color_scheme="light")
    session = sheet.context.new_cdp_session(sheet)
    session.send("Emulation.setEmulatedVisionDeficiency", {"type": deficiency})
    try:
        lines = sheet.locator(".legend >> nth=0").locator("svg").all()
        assert len(lines) > 1
        pictures = [line.screenshot() for line in lines]
    finally:
        session.send("Emulation.setEmulatedVisionDeficiency", {"type": "none"})
    dashes = [line.locator("path").get_attribute("stroke-dasharray") for line in lines]
    assert all(one != other for one, other in combinations(pictures, 2))
    assert len(set(dashes)) == len(dashes)  # not by their shade alone


@pytest.mark.parametrize("width", [400, 800, 1440])
def test_nothing_is_wider_than_the_window(width: int, sheet: Page) -> None:
    sheet.set_viewport_size({"width": width, "height": 900})
    assert sheet.evaluate("document.documentElement.scrollWidth") <= width


def test_on_paper_every_table_is_open_and_whole(browser: Browser, tmp_path: Path) -> None:
    runs = [run([10, None], network__hidden=f"[{width}]") for width in range(1, 51)]
    write_report(Findings(by_hand(*runs)), tmp_path)
    page = browser.new_page(viewport={"width": 720, "height": 1000})  # A4 but for its margins
    page.goto((tmp_path / "report.html").as_uri())
    found = []
    for media in ("screen", "print"):
        page.emulate_media(media=media)
        cut = page.eval_on_selector_all(
            "table", "ts => ts.filter(t => t.scrollWidth > t.closest('main').clientWidth).length"
        )
        hidden = page.eval_on_selector_all(
            "tbody", "bodies => bodies.filter(body => !body.checkVisibility()).length"
        )
        found.append((cut > 0, hidden > 0))
    page.close()
    assert found[0][1]  # there is a folded table
    assert found[1] == (False, False)
