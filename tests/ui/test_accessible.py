"""Whom our pages shut out: axe-core, colours, phones and paper, in a real browser."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from commands import run_bp
from playwright.sync_api import Browser, Page, expect
from report.by_hand import by_hand, run
from user import environment

from bp_pipeline.report import Findings, compare_two, write_comparison, write_report

SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
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


@pytest.fixture(scope="module")
def pages(store: Path, report: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Make one page of each kind."""
    folder = tmp_path_factory.mktemp("pages")
    words = {
        "map": ["map", "map.resolution=[4,3]", "training.epochs=20"],
        "step": ["explain", "init=normal", "--format=html", "--out", str(folder / "step.html")],
        "deep": ["explain", "network.hidden=[4,3]", "--format=html"],
    }
    words["deep"] += ["--out", str(folder / "deep.html")]
    for command in words.values():
        run_bp(*command, cwd=folder, environment=environment(), code=0)
    sweeps = [by_hand(run([10, None] * 20, 1.0, optimizer__momentum=m)) for m in (0.0, 0.9)]
    write_comparison(compare_two(*sweeps), folder)
    [drawn] = folder.glob("reports/*/map.html")
    [playground] = report.parent.glob("playground-*.html")
    made = {name: folder / f"{name}.html" for name in ("comparison", "step", "deep")}
    return {**made, "report": report, "map": drawn, "playground": playground}


@pytest.mark.parametrize("name", ["report", "comparison", "step", "deep", "map", "playground"])
def test_axe_finds_nothing(name: str, pages: dict[str, Path], browser: Browser) -> None:
    """A narrow window too, where tables scroll; both themes."""
    page = browser.new_page()
    page.goto(pages[name].as_uri())
    found = []
    for width in (400, 1440):
        page.set_viewport_size({"width": width, "height": 900})
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            found += Axe().run(page).response["violations"]
    page.close()
    assert found == []


def test_a_wide_diagram_is_whole_on_a_laptop(pages: dict[str, Path], browser: Browser) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(pages["step"].as_uri())
    hidden = "place => place.scrollWidth - place.clientWidth"
    assert page.locator(".figure .wide").evaluate(hidden) == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280
    expect(page.locator(".figure .hint")).to_be_hidden()
    page.set_viewport_size({"width": 400, "height": 800})
    expect(page.locator(".figure .hint")).to_be_visible()
    page.close()


@contextmanager
def on_paper(path: Path, browser: Browser, **options: Any) -> Iterator[Page]:
    """Open a page as it is printed."""
    page = browser.new_page(**options)
    page.goto(path.as_uri())
    page.emulate_media(media="print", color_scheme=options.get("color_scheme"))
    yield page
    page.close()


def test_paper_is_white_whatever_the_theme(pages: dict[str, Path], browser: Browser) -> None:
    for name in ("report", "step", "map", "playground"):
        with on_paper(pages[name], browser, color_scheme="dark") as page:
            body = page.locator("body")
            colours = [
                body.evaluate(f"body => getComputedStyle(body).{key}")
                for key in ("backgroundColor", "color")
            ]
        light = [int(re.findall(r"\d+", colour)[0]) for colour in colours]
        assert light[0] > 250
        assert light[1] < 50


@pytest.mark.parametrize("name", ["report", "comparison", "step", "deep", "map", "playground"])
def test_paper_has_margins_and_no_row_is_cut(
    name: str, pages: dict[str, Path], browser: Browser
) -> None:
    with on_paper(pages[name], browser) as page:
        margins = page.evaluate(
            """[...document.styleSheets].flatMap(sheet => [...sheet.cssRules])
            .filter(rule => rule instanceof CSSPageRule)
            .map(rule => parseFloat(rule.style.margin))"""
        )
        cut = page.eval_on_selector_all(
            "tr, .scroll:not(:has(tr:nth-child(13))), .frame",
            "all => all.filter(one => getComputedStyle(one).breakInside !== 'avoid').length",
        )
    assert [margin > 0 for margin in margins] == [True]
    assert cut == 0


def test_a_map_is_whole_on_paper_and_without_what_is_for_a_pointer(
    pages: dict[str, Path], browser: Browser
) -> None:
    with on_paper(pages["map"], browser, viewport={"width": 720, "height": 400}) as page:
        hidden = page.locator(".frame").evaluate("frame => frame.scrollHeight - frame.clientHeight")
        assert hidden <= 0
        for place in ("button", "#pixel"):
            expect(page.locator(place)).to_be_hidden()


@pytest.mark.parametrize("name", ["report", "comparison", "step", "deep", "map", "playground"])
def test_swatches_keep_their_colours_on_paper(
    name: str, pages: dict[str, Path], browser: Browser
) -> None:
    """Heat maps, and whatever is empty but for its background, which browsers leave out else."""
    with on_paper(pages[name], browser) as page:
        colourless = page.eval_on_selector_all(
            "main :empty, .heat td",
            """elements => elements.filter(element => {
                const style = getComputedStyle(element);
                return style.backgroundColor !== 'rgba(0, 0, 0, 0)' && element.checkVisibility()
                    && !element.matches('input, select, progress, canvas')
                    && style.printColorAdjust !== 'exact';
            }).map(element => element.outerHTML)""",
        )
    assert colourless == []


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
