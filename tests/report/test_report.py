"""The files of a report: complete, escaped, and there for small, odd and broken sweeps."""

import re
import shutil
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest
from bs4 import BeautifulSoup
from report.by_hand import by_hand, run
from report.conftest import Make, report_of, small_config, sweep_in

from bp_pipeline.report import Findings, Sweep, describe, print_report

HOSTILE = r"<script>alert(1)</script> & 100 % _$\{x}^~#|`"
LEARNING_RATE = "optimizer.learning_rate"


@pytest.fixture(scope="module")
def files(sweep: Sweep, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return report_of(sweep, tmp_path_factory.mktemp("report"))


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


def test_labels_are_text_wherever_they_go(make_sweep: Make, tmp_path: Path) -> None:
    first, second = small_config(), small_config(activation="sigmoid")
    hostile = {**first.labels, "activation": HOSTILE, "init": HOSTILE}
    sweep = make_sweep(first.model_copy(update={"labels": hostile}), second)
    files = report_of(replace(sweep, name=HOSTILE), tmp_path / "report")
    assert "<script" not in files["report.html"]
    assert "&lt;script&gt;" in files["report.html"]
    assert "<script" not in files["report.md"]
    assert "<script" not in "".join(describe(Findings(sweep)))
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
    sweep = make_sweep(*CASES[case])
    page = BeautifulSoup(report_of(sweep, tmp_path / "report")["report.html"], "html.parser")
    print_report(Findings(sweep))
    assert not re.search(r"\b(nan|inf|None|NaT)\b", page.body.get_text())
    assert page.select("svg") or case in ("diverged", "one replicate, no weights", "no epochs")


@pytest.mark.parametrize("status", ["FAILED", "KILLED", "RUNNING"])
def test_a_sweep_without_results_has_a_report_too(status: str, tmp_path: Path) -> None:
    for runs in ([run([1], status=status), run([1], 3.0, status=status)], []):
        sweep = by_hand(*runs, n_jobs=12)
        files = report_of(sweep, tmp_path)
        assert "0 of 12 runs" in files["report.html"]
        assert set(files) == {"report.html", "report.md"}
        print_report(Findings(sweep))
        assert describe(Findings(sweep))


def test_runs_that_did_not_finish_are_only_counted(
    sweep: Sweep, runs_folder: Path, tmp_path: Path
) -> None:
    status = ["FAILED", "KILLED", "RUNNING", *["FINISHED"] * 9]
    unfinished = sweep_in(runs_folder, sweep.runs.assign(status=status))
    assert "9 of 12 runs finished" in report_of(unfinished, tmp_path)["report.md"]


@pytest.mark.parametrize(
    "lost", ["*", "curves.npz", "replicates.parquet", "weights", "config.yaml"]
)
def test_missing_files_leave_gaps(lost: str, make_sweep: Make, tmp_path: Path) -> None:
    sweep = make_sweep(small_config(), small_config(activation="sigmoid"))
    for path in (tmp_path / "runs").glob(f"*/{lost}"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    files = report_of(sweep_in(tmp_path / "runs", sweep.runs), tmp_path / "report")
    table = pd.read_csv(StringIO(files["summary.csv"]))
    assert table["activation"].tolist() == ["sigmoid", "tanh"]
    assert table["solved/rate"].isna().all() == (lost in ("*", "replicates.parquet"))


def test_half_written_files_leave_gaps(make_sweep: Make, tmp_path: Path) -> None:
    sweep = make_sweep(small_config(), small_config(activation="sigmoid"))
    for path in (tmp_path / "runs").rglob("*.*"):
        path.write_bytes(path.read_bytes()[:40])
    files = report_of(sweep_in(tmp_path / "runs", sweep.runs), tmp_path / "report")
    assert pd.read_csv(StringIO(files["summary.csv"]))["solved/rate"].isna().all()


def test_latex_has_only_signs_that_pdflatex_knows(files: dict[str, str]) -> None:
    tables = [text for name, text in files.items() if name.endswith(".tex")]
    for text in tables:
        assert text.isascii()
        assert not re.search(r"(?<!\$)[<>|]", text)
    assert r"$\ge$" in "".join(tables)


def test_a_description_says_it_in_a_paragraph(sweep: Sweep) -> None:
    finding, text = describe(Findings(sweep))
    assert finding.startswith("Best is ")
    numbers = re.findall(r"\d+", text)
    assert numbers[:3] == ["12", "100", "144"]  # runs, networks that differ, networks
    assert "| tanh" in text
