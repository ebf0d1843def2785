"""The page of a report, read as a browser reads it; and what may decide its bytes."""

import json
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from bs4 import BeautifulSoup, Tag
from report.by_hand import by_hand, run
from report.conftest import Make, page_of, report_of, small_config, sweep_in

from bp_pipeline.report import Findings, Sweep, choose_champion
from bp_pipeline.report import page as page_module
from bp_pipeline.report.networks import best_and_stalled
from bp_pipeline.report.sections import outline

ENDS = [10, 11, 12, None]


@pytest.fixture(scope="module")
def written(sweep: Sweep, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the report of the shared sweep, which tests only read."""
    folder = tmp_path_factory.mktemp("written")
    report_of(sweep, folder)
    return folder


@pytest.fixture(scope="module")
def page(written: Path) -> BeautifulSoup:
    """Return its page."""
    return BeautifulSoup((written / "report.html").read_text(encoding="utf-8"), "html.parser")


def cells(table: Tag) -> list[list[str]]:
    return [[cell.get_text() for cell in row.select("th, td")] for row in table.select("tr")]


def heat_map(page: Tag, kind: str) -> list[list[str]]:
    [table] = page.select(f"table.heat.{kind}")
    return cells(table)


def test_heat_maps_hold_rates_and_epochs(tmp_path: Path) -> None:
    ones = {"init": "ones", "init__name": "constant", "init__noise": 0.0}
    sweep = by_hand(
        run(ENDS, 0.1), run([80, 90, None, None], 1.0), run([2] * 4, 0.1, **ones), run(ENDS, 10.0)
    )
    page = page_of(sweep, tmp_path)
    head = ["learning rate", "0.1", "1", "10"]
    assert heat_map(page, "rates") == [
        head, ["normal", "75", "50", "75"], ["ones†", "100", "–", "–"]
    ]  # fmt: skip
    assert heat_map(page, "epochs") == [
        head, ["normal", "11", "90", "11"], ["ones†", "2", "–", "–"]
    ]  # fmt: skip
    [introduction] = page.select("#grid > p:not(.eyebrow)")  # never alone on a sheet of paper
    assert "†" in introduction.get_text()


def test_rows_of_a_wide_grid_are_parted_and_short(tmp_path: Path) -> None:
    runs = [
        run(ENDS, network__hidden=f"[{width}]", optimizer__momentum=momentum, activation=activation)
        for activation in ("tanh", "relu")
        for width in range(1, 31)
        for momentum in (0.0, 0.5)
    ]
    page = page_of(by_hand(*runs), tmp_path)
    folded = [summary.get_text() for summary in page.select("#grid summary")]
    assert folded == 2 * ["momentum 0: 30 rows", "momentum 0.5: 30 rows"]
    for table in page.select("table.heat.rates"):
        assert [row[0] for row in cells(table)[1:]] == [f"hidden=[{w}]" for w in range(1, 31)]
    few = page_of(by_hand(*runs[:24]), tmp_path)
    assert not few.select("#grid details")


def test_a_sweep_over_tasks_is_told_task_by_task(tmp_path: Path) -> None:
    runs = [
        run([10] * n + [None] * (4 - n), rate, task=task, task__name="parity", task__bits=bits)
        for task, bits, n in (("xor", None, 4), ("parity", 2, 3), ("parity", 3, 1))
        for rate in (0.1, 1.0)
    ]
    page = page_of(by_hand(*runs), tmp_path)
    names = [section["id"] for section in page.select("section")]
    kinds = ["grid", "survival", "loss", "tests"]
    of_parts = [f"{kind}{part}" for part in ("", "-1", "-2") for kind in kinds]
    assert names == [*of_parts, "runs", "definitions", "setting", "basis"]
    topics = [page.select_one(f"#grid{n} .eyebrow").get_text() for n in ("", "-1", "-2")]
    assert [topic.split(" · ")[1] for topic in topics] == [
        "parity, bits 2",
        "parity, bits 3",
        "xor",
    ]
    for n, rate in (("", "75"), ("-1", "25"), ("-2", "100")):
        assert heat_map(page.select_one(f"#grid{n}"), "rates")[1] == ["normal", rate, rate]
    assert re.findall(r"\d+\W+%", page.h1.get_text()) == ["75\u00a0%", "25\u00a0%", "100\u00a0%"]


def test_panels_and_headlines_are_about_what_varies(tmp_path: Path) -> None:
    runs = [
        run([10] * n + [None] * (4 - n), network__hidden=hidden, optimizer__momentum=momentum)
        for hidden, n in (("[2]", 1), ("[10]", 3))
        for momentum in (0.0, 0.5)
    ]
    for some, titles in (
        (runs, ["hidden layers [2]", "hidden layers [10]"]),
        (runs[::2], ["tanh"]),
    ):
        page = page_of(by_hand(*some), tmp_path)
        assert [tag.get_text() for tag in page.select("#grid h3")] == titles
        headline = page.select_one("#grid h2").get_text()
        assert re.findall(r"(\[\d+\]) to (\d+)", headline) == [("[10]", "75"), ("[2]", "25")]


def test_the_page_is_self_contained_and_made_for_phones(page: BeautifulSoup) -> None:
    [viewport] = page.select("meta[name=viewport]")
    assert viewport["content"] == "width=device-width, initial-scale=1"
    assert not page.select("script, link, img, iframe")
    for name in ("src", "href", "xlink:href"):
        links = {str(tag[name]) for tag in page.find_all(attrs={name: True})}
        assert {link for link in links if link[0] != "#"} <= {"playground-xor.html"}
    assert "@import" not in str(page)
    assert re.findall(r"url\((?!#)[^)]*", str(page)) == []
    assert len(page.select("svg")) >= 4
    ids = [tag["id"] for tag in page.select("[id]")]
    assert len(ids) == len(set(ids))


def test_the_page_defines_its_words_and_prints_the_whole_setting(page: BeautifulSoup) -> None:
    facts = {
        section: {
            name.get_text(): value.get_text()
            for name, value in zip(
                page.select(f"#{section} dt"), page.select(f"#{section} dd"), strict=True
            )
        }
        for section in ("definitions", "setting")
    }
    assert {"converged", "solved", "stalled", "diverged", "nats", "95 % interval", "p"} <= {
        *facts["definitions"]
    }
    setting = facts["setting"]
    expected = {"loss": "logistic", "loss.reduction": "mean", "optimizer.momentum": "0"}
    expected |= {"network.output": "sigmoid", "training.tolerance": "0.4"}
    expected |= {"optimizer.learning_rate": "1, 3", "network.hidden": "[3]"}
    assert {key: setting[key] for key in expected} == expected
    assert "bound 1" in setting["init uniform"]
    assert not {"engine", "threads", "tracking.uri"} & {*setting}


def test_a_long_table_is_not_listed_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_module, "MOST_LISTED", 5)
    sweep = by_hand(*(run(ENDS, rate) for rate in range(1, 13)))
    [table] = page_of(sweep, tmp_path).select("#runs table")
    assert len(cells(table)) == 1 + 5
    assert len((tmp_path / "summary.csv").read_text(encoding="utf-8").splitlines()) == 1 + 12


def test_every_picture_says_what_it_shows(page: BeautifulSoup) -> None:
    pictures = page.select("figure svg")
    assert pictures
    for picture in pictures:
        told = [page.find(id=name).get_text() for name in picture["aria-labelledby"].split()]
        assert len(told) == 2
        assert all(told)


def test_curves_of_convergence_are_about_what_converged(tmp_path: Path) -> None:
    """Networks that converge and lose it again have converged, though they do not solve."""
    replicates = by_hand(run(ENDS), run(ENDS, 3.0)).replicates.assign(solved=False)
    made = by_hand(run(ENDS), run(ENDS, 3.0), replicates=replicates)
    page = page_of(made, tmp_path)
    [survival] = page.select("#survival figure svg")
    assert "25 %" in survival.find("desc").get_text()
    assert len(page.select("#survival .legend li svg path")) == 2


def test_sections_come_in_one_order_everywhere(
    sweep: Sweep, written: Path, page: BeautifulSoup
) -> None:
    sections = outline(Findings(sweep)).sections
    assert [tag["id"] for tag in page.select("section")] == [part.name for part in sections]
    text = (written / "report.md").read_text(encoding="utf-8")
    assert len(re.findall(r"^## ", text, re.MULTILINE)) == len(sections)
    titles = [table.title for part in sections for table in part.tables]
    assert re.findall(r"^### (.*)", text, re.MULTILINE) == titles


@pytest.mark.parametrize("command", ["bp train -m 'init=ones,normal' seed=<1>", None])
def test_the_page_and_its_text_have_the_command(command: str | None, tmp_path: Path) -> None:
    page = page_of(by_hand(run(ENDS), command=command), tmp_path)
    assert [tag.get_text() for tag in page.select("pre")] == [command] * (command is not None)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert re.findall(r"^    (\S.*)", text, re.MULTILINE) == [command] * (command is not None)


def test_no_line_of_a_headline_ends_within_an_interval(page: BeautifulSoup) -> None:
    headlines = [tag.get_text() for tag in page.select("h1, h2")]
    assert any("\u00a0–\u2060\u00a0" in headline for headline in headlines)
    assert not any(re.search(r" [–%]|– ", headline) for headline in headlines)


def test_the_network_shown_as_stalled_stalled(sweep: Sweep) -> None:
    converged, stalled = best_and_stalled(Findings(sweep)).networks
    for network, is_far in ((converged, False), (stalled, True)):
        errors = np.abs(network.outputs() - network.config.truth_table.targets)
        assert (errors.max() >= network.config.training.tolerance) == is_far
    assert (converged.outcome, stalled.outcome) == ("converged", "stalled")
    assert np.isnan(stalled.epochs_to_converge)


def test_networks_that_cannot_be_read_are_said_to_be(make_sweep: Make, tmp_path: Path) -> None:
    runs = make_sweep(small_config()).runs
    (tmp_path / "runs" / "0" / "weights" / "trajectory.npz").unlink()
    sweep = sweep_in(tmp_path / "runs", runs)
    shown = best_and_stalled(Findings(sweep))
    assert shown.unreadable
    assert not shown.networks
    page = page_of(sweep, tmp_path / "report")
    [section] = page.select("section#networks")
    assert all(sentence in section.get_text() for sentence in shown.unreadable)


def test_paths_of_weights_stay_where_they_are(make_sweep: Make, tmp_path: Path) -> None:
    folder = tmp_path / "private"
    folder.mkdir()
    for name in ("one", "two"):
        np.savez(folder / f"{name}.npz", layer_1=np.ones((12, 3, 3)), layer_2=np.ones((12, 4, 1)))
    paths = [f"{folder}/{name}.npz" for name in ("one", "two")]
    sweep = make_sweep(*(small_config({"init.path": path}, init="given") for path in paths))
    files = report_of(sweep, tmp_path / "report")
    assert "one.npz" in files["report.html"]
    assert not [name for name, text in files.items() if "private" in text]


OTHER_PROCESS = """
import pickle, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from report.conftest import report_of, sweep_in
runs, values, folder, out = pickle.load(open(sys.argv[1], "rb"))
report_of(sweep_in(folder, runs, **values), out)
"""


def test_nothing_around_a_sweep_decides_a_byte(
    sweep: Sweep, written: Path, runs_folder: Path, tmp_path: Path
) -> None:
    """Neither folders, nor settings of Matplotlib, language and hashing, nor order and names."""
    settings = "xtick.major.size: 20\naxes.labelsize: 30\npatch.edgecolor: red\n"
    (tmp_path / "matplotlibrc").write_text(settings)
    renamed = sweep.runs.iloc[::-1].assign(name="renamed").reset_index(drop=True)
    values = {"run_id": "other", "name": "renamed", "digest": sweep.digest}
    pickled, out = tmp_path / "sweep.pickle", tmp_path / "out"
    pickled.write_bytes(pickle.dumps((renamed, values, runs_folder, out)))
    environment = {
        **os.environ, "MATPLOTLIBRC": str(tmp_path), "LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0",
        "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "MPLBACKEND": "pdf",
    }  # fmt: skip
    tests = str(Path(__file__).resolve().parents[1])
    subprocess.run(
        [sys.executable, "-c", OTHER_PROCESS, str(pickled), tests],
        check=True, cwd=tmp_path, env=environment,
    )  # fmt: skip
    files = {path.name: path.read_bytes() for path in written.iterdir()}
    assert {path.name: path.read_bytes() for path in out.iterdir()} == files
    for name, content in files.items():
        assert str(tmp_path.parent).encode() not in content, name


def test_the_champions_playground_lies_beside_the_page(make_sweep: Make, tmp_path: Path) -> None:
    sweep = make_sweep(small_config(), small_config({"optimizer.learning_rate": 0.001}))
    link = page_of(sweep, tmp_path / "report").select_one("header a")["href"]
    champion = choose_champion(sweep, "xor")
    page = BeautifulSoup((tmp_path / "report" / link).read_text(encoding="utf-8"), "html.parser")
    assert page.find(id="recorded").text == champion.result_digest
    start = json.loads(page.find(id="data").string)["start"]
    assert start["replicate"] == champion.replicate
    assert start["config"]["optimizer"]["learning_rate"] == 3.0
    none = page_of(by_hand(run([None] * 4, 1.0)), tmp_path / "none")
    assert none.select("header a") == []
