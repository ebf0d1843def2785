"""What a reader sees and does on the playground's page, in Chromium."""

import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from hydra.core.override_parser.overrides_parser import OverridesParser
from playwright.sync_api import Browser, Locator, Page, expect
from runs import make_config

from bp_pipeline.config.compose import compose
from bp_pipeline.config.errors import ConfigError
from bp_pipeline.config.schema import RunConfig
from bp_pipeline.ensemble import RunResult, train_runs
from bp_pipeline.playground import ARTICLE, RecordedResult, write_playground

DIGEST = re.compile(r"[0-9a-f]{64}")
Open = Callable[..., Page]

expect.set_options(timeout=60_000)  # milliseconds, for a machine that does much else


@cache
def composed(*overrides: str) -> RunConfig:
    [job] = compose([*overrides, "tracking=off"]).jobs
    return job.config


def trained(config: RunConfig) -> RunResult:
    [(_, result)] = train_runs([config])
    assert isinstance(result, RunResult), result
    return result


@pytest.fixture
def open_page(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    """Open the page that starts from a config; what it asks for or complains of is a failure."""
    complaints: list[str] = []
    context = browser.new_context(viewport={"width": 1440, "height": 1000})
    path = tmp_path / "playground.html"

    def open_page(
        config: RunConfig | None = None, recorded: RecordedResult | None = None, address: str = ""
    ) -> Page:
        if config is not None:
            write_playground(config, path, recorded)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text))
        page.on("request", lambda request: complaints.extend(_foreign(request.url)))
        page.goto(path.as_uri() + address)
        return page

    yield open_page
    context.close()
    assert complaints == []


def _foreign(url: str) -> list[str]:
    return [] if url.startswith(("file:", "blob:", "data:")) else [url]


def enter(page: Page, key: str, text: str) -> Locator:
    field = page.locator(f"[data-key='{key}']")
    field.fill(text)
    field.press("Tab")
    return field


def digest_of(page: Page) -> str:
    shown = page.locator("#digest")
    expect(shown).to_have_text(DIGEST)
    return shown.inner_text()


def asked(page: Page) -> RunConfig:
    """Compose what the page's command asks for."""
    program, command, *overrides = shlex.split(page.locator("#command").inner_text())
    assert (program, command) == ("bp", "train")
    return composed(*overrides)


def reasons(page: Page) -> list[str]:
    return page.locator("#why li").evaluate_all("items => items.map(item => item.dataset.reason)")


@pytest.fixture
def article(open_page: Open) -> Page:
    return open_page(composed(*ARTICLE))


@pytest.fixture
def few(open_page: Open) -> Page:
    """Open the article's page with so few replicates that they are soon trained."""
    return open_page(composed(*ARTICLE, "replicates=3"))


def test_the_page_is_one_small_file_that_loads_nothing(tmp_path: Path) -> None:
    write_playground(composed(*ARTICLE), tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text("utf-8")
    assert len(text.encode()) < 300_000
    assert re.findall(r"\b(?:src|href)=|@import|url\(|\bimport\b.*\bfrom\b", text) == []
    assert "default-src 'none'" in text
    assert "unsafe" not in text


def test_it_opens_on_the_article_which_never_learns(article: Page) -> None:
    assert asked(article).config_digest == composed(*ARTICLE).config_digest
    assert reasons(article) == ["linear", "equal", "regression"]
    expect(article.locator("#as-it-is")).to_have_attribute("aria-pressed", "true")
    article.locator("#end").click()
    expect(article.locator("#status")).to_contain_text("stalled")
    assert digest_of(article) == trained(composed(*ARTICLE)).result_digest


def test_it_says_what_it_opens_on_and_that_it_needs_scripts(
    browser: Browser, tmp_path: Path
) -> None:
    frame = '<iframe sandbox="" src="page.html" width="1200" height="900"></iframe>'
    (tmp_path / "outer.html").write_text(frame, encoding="utf-8")
    page = browser.new_page()
    for words, begins in (([*ARTICLE], "Press Play"), ([], "opens on tanh")):
        write_playground(composed(*words), tmp_path / "page.html")
        page.goto((tmp_path / "outer.html").as_uri())
        shown = page.frame_locator("iframe")
        expect(shown.locator("header")).to_contain_text(begins)
        expect(shown.locator("noscript p")).to_be_visible()
    page.close()


def test_each_correction_is_a_button(article: Page) -> None:
    made = []
    for button in article.locator("[data-correction]").all():
        button.click()
        expect(button).to_have_attribute("aria-pressed", "true")
        config = asked(article)
        made.append((config.loss.name, config.activation.name, config.labels["init"]))
        assert digest_of(article) == trained(config).result_digest
    assert made == [
        ("logistic", "identity", "ones"),
        ("logistic", "tanh", "ones"),
        ("logistic", "tanh", "glorot_uniform"),
    ]
    expect(article.locator("#as-it-is")).to_have_attribute("aria-pressed", "false")
    article.locator("#end").click()
    expect(article.locator("#outcome")).to_have_text("converged")
    expect(article.locator("#why li")).to_have_class("fine")
    article.locator("[data-correction='1']").click()
    assert asked(article).activation.name == "identity"
    article.locator("#as-it-is").click()
    assert asked(article).config_digest == composed(*ARTICLE).config_digest


def test_epochs_go_forwards_and_back_with_the_same_bits(few: Page) -> None:
    few.locator("[data-correction='1']").click()
    equations, timeline = few.locator("#equations"), few.locator("#timeline")
    timeline.fill("120")
    expect(few.locator("#status")).to_contain_text("epoch 120")
    there = equations.inner_text()
    few.locator("#step").click()
    expect(few.locator("#status")).to_contain_text("epoch 121")
    assert equations.inner_text() != there
    few.locator("h1").click()
    for key in ("ArrowLeft", "ArrowLeft", "ArrowRight"):
        few.keyboard.press(key)
    expect(few.locator("#status")).to_contain_text("epoch 120")
    assert equations.inner_text() == there
    few.evaluate("for (const id of ['back', 'back', 'step']) document.getElementById(id).click()")
    expect(few.locator("#status")).to_contain_text("epoch 119")
    few.keyboard.press("Home")
    expect(few.locator("#status")).to_contain_text("epoch 0")
    few.keyboard.press(" ")
    expect(few.locator("#play")).to_have_text("Pause")
    expect(timeline).not_to_have_value("0")
    few.keyboard.press(" ")
    expect(few.locator("#play")).to_have_text("Play")


def test_a_click_on_a_unit_or_weight_shows_its_equations(few: Page) -> None:
    few.locator("svg .unit[data-about=Z1]").click()
    expect(few.locator("#equations")).to_contain_text("W10·X0 + W11·X1 + W12·X2")
    few.locator("svg .label[data-about=V02]").click()
    expect(few.locator("#about")).to_have_value("V02")
    few.get_by_label("Sample 3").check()
    expect(few.locator("#equations")).to_contain_text("∂L/∂V02")
    few.get_by_label("Equations of").select_option("W10")
    expect(few.locator("#equations")).to_contain_text("X0·δ_Z1")


def test_a_page_that_plays_is_drawn_to_the_end(open_page: Open) -> None:
    """Pictures take turns while it plays; when it stops, all of them are of its last epoch."""
    epochs = 300
    page = open_page(
        make_config({"network.hidden": [16, 16], "training.epochs": epochs, "replicates": 3})
    )
    page.get_by_label("epochs/s").select_option("2000")
    page.locator("#play").click()
    expect(page.locator("#status")).to_contain_text(f"epoch {epochs}")
    why = page.locator("#why")
    expect(why).to_contain_text("of all 3")  # which train behind what is shown
    shown = ("#equations", "#outputs", "#diagram", "#why")
    texts = [page.locator(place).text_content() for place in shown]
    surface = page.evaluate("document.getElementById('surface').toDataURL()")
    assert page.locator("#curve").get_attribute("aria-label").endswith(f"epoch {epochs}")
    page.reload()  # its address says which epoch
    expect(page.locator("#status")).to_contain_text(f"epoch {epochs}")
    expect(why).to_contain_text("of all 3")
    assert [page.locator(place).text_content() for place in shown] == texts
    assert page.evaluate("document.getElementById('surface').toDataURL()") == surface


def test_a_long_table_of_outputs_is_shown_in_part(open_page: Open) -> None:
    page = open_page(composed("task=parity", "task.bits=7", "training.epochs=2", "replicates=1"))
    expect(page.locator("#rows")).to_contain_text("64 of 128")
    expect(page.locator("#outputs tbody tr")).to_have_count(64)


WRONG_ENTRIES = [
    ("optimizer.learning_rate", "-1"),
    ("optimizer.learning_rate", "0"),
    ("optimizer.learning_rate", "fast"),
    ("optimizer.learning_rate", "nan"),
    ("optimizer.momentum", "1"),
    ("optimizer.momentum", "-0.5"),
    ("network.hidden", "[0]"),
    ("network.hidden", "[3,2.5]"),
    ("network.hidden", "[x]"),
    ("seed", "-1"),
    ("seed", "9223372036854775808"),
    ("seed", "1.5"),
    ("replicates", "0"),
    ("training.epochs", "-3"),
]


def test_a_wrong_entry_is_answered_beside_it_in_the_pipelines_words(open_page: Open) -> None:
    page = open_page(make_config({"replicates": 3}))
    before = page.locator("#command").inner_text()
    for key, text in WRONG_ENTRIES:
        field = page.locator(f"[data-key='{key}']")
        right = field.input_value()
        enter(page, key, text)
        value = OverridesParser.create().parse_override(f"{key}={text}").value()
        with pytest.raises(ConfigError) as refused:
            make_config({key: value})
        told = page.locator(f"[id='{key}-error']")
        expect(told).to_have_text(beside(page, key, str(refused.value)))
        expect(field).to_have_attribute("aria-invalid", "true")
        assert page.locator("#command").inner_text() == before
        advice = told.inner_text().partition(" Try ")[2].rstrip(".")
        enter(page, key, advice or right)
        expect(field).to_have_attribute("aria-invalid", "false")
        enter(page, key, right)


def beside(page: Page, key: str, message: str) -> str:
    """Say of a field what the pipeline says of its key: its label, and an example to type."""
    label = page.locator(f"label[for='{key}']").inner_text()
    place, rest = re.fullmatch(r"`([^`]*)` (.*)", message).groups()  # type: ignore[union-attr]
    item = re.search(r"\[(\d+)\]", place)
    which = f", number {int(item[1]) + 1}," if item else ""
    example = re.sub(r"Try `[^=]*=\[?([^]`]*)\]?`", r"Try \1", rest)
    return f"{label}{which} {example}"


@pytest.mark.parametrize(
    ("group", "option", "switched"),
    [("loss", "logistic", "network.output"), ("network.output", "identity", "loss")],
)
def test_what_an_entry_switches_beside_it_is_said(
    open_page: Open, group: str, option: str, switched: str
) -> None:
    page = open_page(composed(*(ARTICLE if group == "loss" else []), "replicates=3"))
    other = page.locator(f"[data-key='{switched}']")
    before, label = other.input_value(), page.locator(f"label[for='{switched}']").inner_text()
    page.locator(f"[data-key='{group}']").select_option(option)
    expect(page.locator("#switched")).to_contain_text(f"{label} was switched to")
    assert other.input_value() != before
    asked(page)
    enter(page, "seed", "3")
    expect(page.locator("#switched")).to_be_empty()


def test_the_reasons_numbers_are_those_that_the_page_shows(article: Page) -> None:
    said = article.locator("[data-reason=regression]").inner_text()
    for buttons, counted in (([1, 2], "99"), ([0], "92")):
        for button in buttons:
            article.locator(f"[data-correction='{button}']").click()
        expect(article.locator("#outcomes")).to_contain_text(f"{counted} converged")
        assert counted in said
        expect(article.locator("[data-reason=unknown]")).to_contain_text(f"{counted} converged")


def test_nothing_is_promised_of_a_replicate_that_stalls(open_page: Open) -> None:
    config = make_config({"network.hidden": [2], "replicates": 30})
    stalled = trained(config).outcome.tolist().index("stalled")
    page = open_page(config)
    digest_of(page)
    enter(page, "replicate", str(stalled))
    page.locator("#end").click()
    [reason] = page.locator("#why li").all()
    expect(reason).to_contain_text("This replicate stalled")
    expect(reason).not_to_have_class("fine")


def test_another_replicate_is_shown_without_training_all_again(article: Page) -> None:
    digest = digest_of(article)
    enter(article, "replicate", "3")
    assert article.locator("#digest").inner_text() == digest
    assert asked(article).config_digest == composed(*ARTICLE).config_digest
    article.wait_for_timeout(500)  # after which training would have begun
    assert article.locator("#digest").inner_text() == digest


def test_what_diverged_is_told_as_such(open_page: Open) -> None:
    page = open_page(composed(*ARTICLE, "optimizer.learning_rate=3", "replicates=2"))
    page.locator("#end").click()
    expect(page.locator("#outcome")).to_have_text("diverged")
    expect(page.locator("#of-sample")).to_contain_text("if there were an epoch 3")
    assert reasons(page) == ["diverged"]
    expect(page.locator("svg .link:not(.lost)")).to_have_count(0)
    alpha = "canvas => canvas.getContext('2d').getImageData(canvas.width / 2, 9, 1, 1).data[3]"
    assert page.locator("#surface").evaluate(alpha) == 0


def test_a_correction_while_it_plays_plays_on(few: Page) -> None:
    few.get_by_label("epochs/s").select_option("10")
    few.locator("#play").click()
    few.locator("[data-correction='1']").click()
    expect(few.locator("#play")).to_have_text("Pause")
    expect(few.locator("#timeline")).not_to_have_value("0")


def test_inputs_and_bias_units_answer(few: Page) -> None:
    few.get_by_label("Sample 2").check()
    for unit, value in (("X1", "1"), ("X2", "0"), ("X0", "1"), ("Z0", "1")):
        few.locator(f"svg .unit[data-about={unit}]").click()
        expect(few.locator("#equations")).to_contain_text(f"its value is {value}")


def test_it_says_which_updates_came_before_the_equations(open_page: Open) -> None:
    page = open_page(composed(*ARTICLE, "replicates=3"))
    which = page.locator("#of-sample")
    page.get_by_label("Sample 2").check()
    expect(which).to_contain_text("samples 0 to 1")
    page.locator("[data-key=optimizer]").select_option("batch_gd")
    expect(which).to_contain_text("one update for all 4 samples")


def test_a_large_network_is_drawn_in_part(open_page: Open) -> None:
    page = open_page(make_config({"network.hidden": [1000], "training.epochs": 20000}))
    expect(page.locator("#undrawn")).to_contain_text("1,001")
    assert page.locator("svg .unit").count() < 40
    expect(page.locator("#train")).to_be_visible()
    expect(page.locator("#done")).to_contain_text("minute")


def test_numbers_fit_their_circles(open_page: Open) -> None:
    page = open_page(composed(*ARTICLE, "init=uniform", "init.scale=0.0004", "replicates=3"))
    page.get_by_label("Sample 1").check()
    wide = "all => all.map(c => c.parentNode.lastChild.getBBox().width / 2 / c.r.baseVal.value)"
    for epoch in ("0", "3", "300", "2000"):
        page.locator("#timeline").fill(epoch)
        expect(page.locator("#where")).to_contain_text(f"epoch {int(epoch):,} of")
        assert max(page.locator("svg circle").evaluate_all(wide)) < 0.95


def test_the_command_is_copied_and_that_is_said(open_page: Open) -> None:
    page = open_page(make_config({"replicates": 3}))
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator("#copy").click()
    expect(page.locator("#copy")).to_have_text("Copied")
    command = page.locator("#command").inner_text()
    assert page.evaluate("navigator.clipboard.readText()") == command


def test_on_a_phone_play_and_outputs_are_seen_after_a_correction(few: Page) -> None:
    few.set_viewport_size({"width": 400, "height": 800})
    few.locator("[data-correction='2']").click()
    for place in ("#play", "#outputs tbody tr:last-child"):
        expect(few.locator(place)).to_be_in_viewport()
    few.locator("#to-settings").click()
    expect(few.locator("[data-key=task]")).to_be_in_viewport()


def test_a_replicate_that_is_not_there_is_refused(article: Page) -> None:
    enter(article, "replicate", "100")
    expect(article.locator("[id='replicate-error']")).to_contain_text("0 to 99, got 100")
    enter(article, "replicate", "99")
    expect(article.locator("[id='replicate-error']")).to_be_empty()


@pytest.mark.parametrize(
    "overrides",
    [
        "activation=softplus init=he_normal network.hidden=[4,3] optimizer.momentum=0.9",
        "task=parity task.bits=4 network.hidden=[5] seed=9223372036854775807 replicates=2",
        "init=constant init.value=-0.25 init.noise=1e-05 loss=squared_error replicates=2",
        "activation=leaky_relu activation.slope=0.2 training.tolerance=0.1 loss.reduction=sum",
        "task=table task.inputs=[[0.5],[1]] task.targets=[[0,1],[1,0]] network.bias=false",
    ],
)
def test_the_command_trains_what_the_page_trains(open_page: Open, overrides: str) -> None:
    config = composed("replicates=2", *overrides.split(), "training.epochs=100")
    page = open_page(config)
    assert asked(page).config_digest == config.config_digest
    assert digest_of(page) == trained(config).result_digest


def test_given_weights_come_with_the_page(open_page: Open) -> None:
    given = Path(__file__).parents[2] / "experiments/published/trask.npz"
    config = composed(
        "init=given", f"init.path={given}", "network.bias=false", "network.hidden=[4]",
        "task=table", "task.inputs=[[0,0,1],[0,1,1],[1,0,1],[1,1,1]]",
    )  # fmt: skip
    page = open_page(config)
    assert asked(page).config_digest == config.config_digest
    digest = digest_of(page)
    assert digest == trained(config).result_digest
    enter(page, "network.hidden", "5")
    expect(page.locator("[id='network.hidden-error']")).to_contain_text("`init.path` must hold")
    enter(page, "network.hidden", "4")
    other = open_page(address=page.evaluate("location.hash"))
    assert digest_of(other) == digest


def test_an_address_is_a_state(open_page: Open) -> None:
    page = open_page(composed(*ARTICLE, "replicates=5"))
    page.locator("[data-key='activation']").select_option("sigmoid")
    enter(page, "network.hidden", "4, 2")
    enter(page, "replicate", "3")
    page.get_by_label("Sample 2").check()
    page.get_by_label("Equations of").select_option("w[2][1, 2]")
    page.locator("#timeline").fill("77")
    expect(page.locator("#status")).to_contain_text("epoch 77")
    expect(page).to_have_url(re.compile("epoch=77"))
    shown = [page.locator(place).inner_text() for place in ("#command", "#status", "#equations")]
    other = open_page(address=page.evaluate("location.hash"))
    expect(other.locator("#status")).to_contain_text("epoch 77")
    assert [
        other.locator(place).inner_text() for place in ("#command", "#status", "#equations")
    ] == shown


def test_an_address_that_is_no_state_is_refused(open_page: Open) -> None:
    page = open_page(composed(*ARTICLE), address="#activation=tanhh")
    expect(page.locator("#problem")).to_contain_text("`activation` must be one of")
    page = open_page(address="#colour=red")
    expect(page.locator("#problem")).to_contain_text("`colour` must")


def recorded_of(config: RunConfig) -> RecordedResult:
    result = trained(config)
    return RecordedResult("a run", result.result_digest, result.arrays)


def test_a_recorded_result_is_compared(open_page: Open) -> None:
    config = make_config({"replicates": 4, "training.epochs": 300})
    recorded = recorded_of(config)
    page = open_page(config, recorded)
    expect(page.locator("#verdict")).to_have_class("identical")
    enter(page, "seed", "1")
    digest_of(page)
    expect(page.locator("#verdict")).not_to_have_class("identical")


def test_a_wrong_digest_is_told_as_such(open_page: Open) -> None:
    config = make_config({"replicates": 4, "training.epochs": 300})
    recorded = recorded_of(config)
    page = open_page(config, replace(recorded, digest="0" * 64))
    expect(page.locator("#verdict")).to_have_class("differs")


def test_the_first_replicate_and_epoch_that_differ_are_named(open_page: Open) -> None:
    config = make_config({"replicates": 4, "training.epochs": 300, "training.record": 10})
    recorded = recorded_of(config)
    loss = recorded.arrays["loss"].copy()
    loss[2, 5] = np.nextafter(loss[2, 5], 1)
    loss[3, 0] = 7
    wrong = replace(recorded, digest="0" * 64, arrays={**recorded.arrays, "loss": loss})
    page = open_page(config, wrong)
    verdict = page.locator("#verdict")
    expect(verdict).to_have_class("differs")
    expect(verdict).to_contain_text(f"replicate 2, at epoch {recorded.arrays['epochs'][5]}")
    expect(verdict).to_contain_text(repr(float(loss[2, 5])))


def test_it_trains_in_a_frame_without_an_origin(browser: Browser, tmp_path: Path) -> None:
    """As MLflow shows the files of a run."""
    config = make_config({"replicates": 3, "training.epochs": 100})
    write_playground(config, tmp_path / "page.html", recorded_of(config))
    frame = '<iframe sandbox="allow-scripts" src="page.html" width="1200" height="900"></iframe>'
    (tmp_path / "outer.html").write_text(frame, encoding="utf-8")
    context = browser.new_context()
    page = context.new_page()
    page.goto((tmp_path / "outer.html").as_uri())
    expect(page.frame_locator("iframe").locator("#verdict")).to_have_class("identical")
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_screen_shows_all_of_it_to_everyone(
    browser: Browser, tmp_path: Path, scheme: str
) -> None:
    config = make_config({"network.hidden": [4, 4], "replicates": 3})
    write_playground(config, tmp_path / "page.html")
    context = browser.new_context(viewport={"width": 400, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    page.goto((tmp_path / "page.html").as_uri())
    expect(page.locator("#digest")).to_have_text(DIGEST)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    assert Axe().run(page).response["violations"] == []
    context.close()


def test_every_control_has_a_name(few: Page) -> None:
    tree = few.locator("main").aria_snapshot()
    controls = re.findall(r"- (button|combobox|textbox|slider|radio|progressbar|img)\b(.*)", tree)
    assert len(controls) > 25
    assert [kind for kind, rest in controls if '"' not in rest] == []
