"""The files of a report: complete, escaped, and the same bytes for the same sweep."""

import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest
from report.conftest import Make, small_config

from bp_pipeline.report import Sweep, describe, write_report
from bp_pipeline.report.findings import Findings
from bp_pipeline.report.terminal import print_report

HOSTILE = r"<script>alert(1)</script> & 100 % _$\{x}^~#|`"
LEARNING_RATE = "optimizer.learning_rate"


def report_of(sweep: Sweep, folder: Path) -> dict[str, str]:
    folder.mkdir(parents=True, exist_ok=True)
    write_report(Findings(sweep), folder)
    print_report(Findings(sweep))
    describe(Findings(sweep))
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}


@pytest.fixture(scope="module")
def files(sweep: Sweep, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return report_of(sweep, tmp_path_factory.mktemp("report"))


class Page(HTMLParser):
    """What a page holds: tags, ids, and everything it would load from elsewhere."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href", "xlink:href") and not (value or "").startswith("#"):
                self.loaded.append(value or "")


def test_the_page_is_self_contained(files: dict[str, str]) -> None:
    page = Page(files["report.html"])
    assert page.loaded == []
    assert "script" not in page.tags
    assert "url(http" not in files["report.html"]
    assert page.tags.count("svg") >= 4
    assert len(page.ids) == len(set(page.ids))


def test_every_table_has_its_three_files(files: dict[str, str]) -> None:
    names = {name.split(".")[0] for name in files} - {"report"}
    tables = {"rates", "median_epochs", "best_learning_rates", "factors", "summary"}
    assert names == tables | {"activation_tests", "init_tests"}
    assert set(files) == {f"{name}.{kind}" for name in names for kind in ("csv", "md", "tex")} | {
        "report.html",
        "report.md",
    }
    table = pd.read_csv(StringIO(files["summary.csv"]))
    assert len(table) == 12
    assert "run_id" not in table


def test_the_same_sweep_gives_the_same_bytes(
    sweep: Sweep, files: dict[str, str], tmp_path: Path
) -> None:
    # Another store: other run ids, in another order.
    moved = sweep.runs.assign(run_id=[f"{99 - int(run_id)}" for run_id in sweep.runs["run_id"]])
    other = replace(
        sweep,
        run_id="another",
        runs=moved.iloc[::-1].reset_index(drop=True),
        artifacts=lambda run_id: sweep.artifacts(f"{99 - int(run_id)}"),
    )
    assert report_of(other, tmp_path) == files


def test_labels_are_text_wherever_they_go(make_sweep: Make, tmp_path: Path) -> None:
    first, second = small_config(), small_config(activation="sigmoid")
    hostile = {**first.labels, "activation": HOSTILE, "init": HOSTILE}
    sweep = make_sweep(first.model_copy(update={"labels": hostile}), second)
    files = report_of(replace(sweep, name=HOSTILE), tmp_path / "report")
    assert "<script" not in files["report.html"]
    assert "&lt;script&gt;" in files["report.html"]
    assert "<script" not in files["report.md"]
    assert "<script" not in describe(Findings(sweep))
    assert r"\& 100 \% \_\$\textbackslash" in files["summary.tex"]
    rows = [line for line in files["rates.md"].splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1
    assert HOSTILE in set(pd.read_csv(tmp_path / "report" / "summary.csv")["init"])


CASES = {
    "one run": [small_config()],
    "one key": [small_config({LEARNING_RATE: rate}) for rate in (0.1, 1.0, 3.0)],
    "a gap": [small_config({LEARNING_RATE: 1.0}), small_config(init="normal")],
    "none converged": [small_config({"training.epochs": 2}, init=i) for i in ("normal", "uniform")],
    "no epochs": [small_config({"training.epochs": 0}, init=i) for i in ("normal", "uniform")],
    "one deterministic": [small_config(init="ones"), small_config(init="constant")],
    "diverged": [
        small_config({LEARNING_RATE: 1e308}, activation="relu", init=i)
        for i in ("normal", "uniform")
    ],
    "online, momentum": [
        small_config({"optimizer.momentum": momentum}, optimizer=optimizer)
        for momentum in (0.0, 0.5)
        for optimizer in ("batch_gd", "online_gd")
    ],
    "parity": [small_config({"task.bits": bits}, task="parity") for bits in (2, 3)],
    "networks": [small_config({"network.hidden": h}) for h in ([], [2], [4, 3], [20])],
    "one replicate, no weights": [
        small_config({"replicates": 1, "training.record_weights": 0, LEARNING_RATE: rate})
        for rate in (1.0, 3.0)
    ],
    "no bias": [small_config({"network.bias": bias}) for bias in (True, False)],
    "two outputs": [
        small_config(
            {"task.inputs": [[0, 0], [1, 3]], "task.targets": [[0, 1], [1, 0]], LEARNING_RATE: r},
            task="table",
        )
        for r in (1.0, 3.0)
    ],
}


@pytest.mark.parametrize("case", CASES)
def test_small_and_odd_sweeps_have_a_report(case: str, make_sweep: Make, tmp_path: Path) -> None:
    page = report_of(make_sweep(*CASES[case]), tmp_path / "report")["report.html"]
    assert not re.search(
        r"\b(nan|inf|None|NaT)\b", re.sub(r"<style>.*?</style>", "", page, flags=re.S)
    )
    assert ("<svg" in page) or case in ("diverged", "one replicate, no weights", "no epochs")


@pytest.mark.parametrize("status", ["FAILED", "KILLED", "RUNNING"])
def test_a_sweep_without_results_has_a_report_too(
    status: str, sweep: Sweep, tmp_path: Path
) -> None:
    columns = ["run_id", "name", "status", "activation", "init"]
    unfinished = sweep.runs[columns].assign(status=status)
    for runs in (unfinished, unfinished.iloc[:0], pd.DataFrame(columns=columns[:3])):
        files = report_of(replace(sweep, runs=runs), tmp_path)
        assert "0 of 12 runs finished" in files["report.html"]


def test_runs_that_did_not_finish_are_only_counted(sweep: Sweep, tmp_path: Path) -> None:
    status = ["FAILED", "KILLED", "RUNNING", *["FINISHED"] * 9]
    files = report_of(replace(sweep, runs=sweep.runs.assign(status=status)), tmp_path)
    assert "9 of 12 runs finished" in files["report.md"]


@pytest.mark.parametrize(
    "lost", ["*", "curves.npz", "replicates.parquet", "weights", "config.yaml"]
)
def test_missing_files_leave_gaps(lost: str, make_sweep: Make, tmp_path: Path) -> None:
    sweep = make_sweep(small_config(), small_config(activation="sigmoid"))
    for path in (tmp_path / "runs").glob(f"*/{lost}"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert "tanh" in report_of(sweep, tmp_path / "report")["report.html"]


def test_half_written_files_leave_gaps(make_sweep: Make, tmp_path: Path) -> None:
    sweep = make_sweep(small_config(), small_config(activation="sigmoid"))
    for path in (tmp_path / "runs").rglob("*.*"):
        path.write_bytes(path.read_bytes()[:40])
    assert "tanh" in report_of(sweep, tmp_path / "report")["report.html"]


def test_a_description_says_it_in_a_paragraph(sweep: Sweep) -> None:
    text = describe(Findings(sweep))
    assert text.startswith(
        "All 12 runs finished; of 100 different networks among the 144 trained, "
    )
    assert "| tanh" in text
