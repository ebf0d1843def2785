"""What a user sees in MLflow: a real browser on the real server, without a click at first."""

from urllib.parse import parse_qs

import pytest
from playwright.sync_api import Locator, Page, expect
from user import N_RUNS

expect.set_options(timeout=60_000)  # milliseconds, for a machine that does much else

COLUMNS = [
    "activation",
    "init",
    "optimizer.learning_rate",
    "solved/rate",
    "epochs_to_converge/median",
    "final_loss/median",
]


def card(page: Page, title: str) -> Locator:
    """Find a chart by its title, and bring it into view, since MLflow draws no others."""
    found = page.get_by_test_id("experiment-view-compare-runs-card").filter(has_text=title).first
    found.scroll_into_view_if_needed()
    return found


def test_the_link_shows_charts_with_every_run_of_the_sweep(
    page: Page, links: dict[str, str]
) -> None:
    page.set_viewport_size({"width": 1440, "height": 4000})  # MLflow draws what is in view
    page.goto(links["charts"])
    expect(page.get_by_text(f"{N_RUNS} matching runs")).to_be_visible()
    expect(page.get_by_text(f"All {N_RUNS} runs")).to_be_visible()
    for curves in ("loss/median", "converged/fraction"):
        lines = card(page, curves).locator(".scatterlayer .trace path.js-line")
        expect(lines.nth(N_RUNS - 1)).to_be_attached()
    shapes = card(page, "loss/median").locator("path.js-line")
    assert len(set(shapes.evaluate_all("lines => lines.map(line => line.getAttribute('d'))"))) == (
        N_RUNS
    )
    points = card(page, "log10 vs. solved/rate").locator(".scatterlayer .point")
    expect(points).to_have_count(N_RUNS)
    colours = points.evaluate_all("points => points.map(point => point.style.fill)")
    assert len(set(colours)) == 2  # one for each activation
    parallel = card(page, "Parallel Coordinates")
    for axis in ("activation", "init", "solved/rate"):
        expect(parallel.get_by_text(axis).first).to_be_visible()
    side_by_side = card(page, "Show differences only")
    for key in COLUMNS:
        expect(side_by_side.get_by_text(key, exact=True).first).to_be_attached()


def test_the_sweep_is_in_the_menu_of_saved_views(page: Page, links: dict[str, str]) -> None:
    experiment, _, query = links["charts"].partition("?")
    run_id = parse_qs(query)["viewStateShareKey"][0]
    page.goto(f"{experiment}?workflowType=machine_learning")
    page.get_by_test_id("saved-views-trigger").click()
    view = page.get_by_test_id(f"saved-views-item-{run_id}")
    expect(view).to_contain_text(f"optimizer.learning_rate · {run_id[:8]}")
    view.click()
    expect(page.get_by_text(f"{N_RUNS} matching runs")).to_be_visible()
    expect(page.locator("[role=columnheader][col-id='metrics.`solved/rate`']")).to_be_visible()


def test_the_table_has_the_columns_that_matter_best_run_first(
    page: Page, links: dict[str, str]
) -> None:
    page.goto(links["table"])
    page.set_viewport_size({"width": 1900, "height": 1000})
    for kind, keys in {"params": COLUMNS[:3], "metrics": COLUMNS[3:]}.items():
        for key in keys:
            head = page.locator(f"[role=columnheader][col-id='{kind}.`{key}`']")
            expect(head).to_be_visible()
            expect(head).to_contain_text(key)
    rates = page.locator("[role=gridcell][col-id='metrics.`solved/rate`']")
    expect(rates).to_have_count(N_RUNS)
    values = [float(text) for text in rates.all_inner_texts()]
    assert values == sorted(values, reverse=True)


def test_on_a_small_screen_the_table_shows_the_rate_beside_the_name(
    page: Page, links: dict[str, str]
) -> None:
    page.set_viewport_size({"width": 1024, "height": 768})
    page.goto(links["table"])
    head = page.locator("[role=columnheader][col-id='metrics.`solved/rate`']")
    expect(head).to_be_in_viewport(ratio=0.9)


@pytest.mark.heavy
def test_two_selected_runs_compare_side_by_side(page: Page, links: dict[str, str]) -> None:
    page.goto(links["table"])
    boxes = page.get_by_role("checkbox", name="Press Space to toggle row selection")
    expect(boxes).to_have_count(N_RUNS)
    boxes.nth(0).check()
    boxes.nth(1).check()
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_text("Comparing 2 Runs from 1 Experiment")).to_be_visible()
    expect(page.get_by_text("solved/rate", exact=True).first).to_be_attached()


@pytest.mark.heavy
def test_the_description_leads_to_the_comparison(page: Page, links: dict[str, str]) -> None:
    page.goto(links["sweep"])
    description = page.get_by_role("link", name="Compare its runs")
    with page.context.expect_page() as opened:
        description.click()
    expect(opened.value.get_by_text(f"All {N_RUNS} runs")).to_be_visible()


def test_the_report_opens_in_the_artifact_viewer_with_its_pictures(
    page: Page, links: dict[str, str]
) -> None:
    page.goto(links["sweep"])
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="Read its report").click()
    pictures = opened.value.frame_locator("iframe").locator("svg[role=img]")
    expect(pictures.first).to_be_visible()
    box = pictures.first.bounding_box()
    assert box is not None
    assert min(box["width"], box["height"]) > 100
