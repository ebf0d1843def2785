"""The page of a report, read as a browser reads it; and what may decide its bytes."""

import os
import pickle
import re
import subprocess
import sys
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from report.by_hand import by_hand, run
from report.conftest import Make, small_config

from bp_pipeline.report import Sweep, write_report
from bp_pipeline.report.command import command_line
from bp_pipeline.report.findings import Findings
from bp_pipeline.report.networks import best_and_stalled

ENDS = [10, 11, 12, None]


class Page(HTMLParser):
    """The cells of each table of a page by its class, and what other elements hold."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: list[tuple[str, list[list[str]]]] = []
        self.metas: list[dict[str, str | None]] = []
        self._cell: list[str] | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "meta":
            self.metas.append(dict(attrs))
        elif tag == "table":
            self.tables.append((dict(attrs).get("class") or "", []))
        elif tag == "tr":
            self.tables[-1][1].append([])
        elif tag in ("td", "th"):
            self._cell = []

    def handle_data(self, data: str) -> None:
        if self._cell is not None:
            self._cell.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th") and self._cell is not None:
            self.tables[-1][1][-1].append("".join(self._cell).strip())
            self._cell = None

    def cells(self, kind: str) -> list[list[str]]:
        [table] = [rows for of_kind, rows in self.tables if of_kind == f"heat {kind}"]
        return table


def page_of(sweep: Sweep, folder: Path) -> str:
    folder.mkdir(exist_ok=True, parents=True)
    write_report(Findings(sweep), folder)
    return (folder / "report.html").read_text(encoding="utf-8")


def test_heat_maps_hold_rates_and_epochs(tmp_path: Path) -> None:
    ones = {"init": "ones", "init__name": "constant", "init__noise": 0.0}
    sweep = by_hand(
        run(ENDS, 0.1), run([80, 90, None, None], 1.0), run([2] * 4, 0.1, **ones), run(ENDS, 10.0)
    )
    page = Page(page_of(sweep, tmp_path))
    head = ["learning rate", "0.1", "1", "10"]
    assert page.cells("rates") == [
        head, ["normal", "75", "50", "75"], ["ones†", "100", "–", "–"]
    ]  # fmt: skip
    assert page.cells("epochs") == [
        head, ["normal", "11", "90", "11"], ["ones†", "2", "–", "–"]
    ]  # fmt: skip


def test_rows_of_a_wide_grid_are_parted_and_short(tmp_path: Path) -> None:
    runs = [
        run(ENDS, network__hidden=f"[{width}]", task__bits=bits)
        for width in range(1, 31)
        for bits in (2, 3)
    ]
    text = page_of(by_hand(*runs), tmp_path)
    folded = re.findall(r"<summary>(bits.*?)</summary>", text)
    assert folded == ["bits 2: 30 rows", "bits 3: 30 rows"]
    maps = [rows for kind, rows in Page(text).tables if kind == "heat rates"]
    for rows in maps:
        assert [row[0] for row in rows[1:]] == [f"hidden=[{width}]" for width in range(1, 31)]
    few = page_of(by_hand(*runs[:24]), tmp_path)
    assert len([kind for kind, _ in Page(few).tables if kind == "heat rates"]) == 1


def test_the_page_is_made_for_phones_and_loads_nothing(sweep: Sweep, tmp_path: Path) -> None:
    text = page_of(sweep, tmp_path)
    viewports = [meta["content"] for meta in Page(text).metas if meta.get("name") == "viewport"]
    assert viewports == ["width=device-width, initial-scale=1"]
    assert "@import" not in text
    assert re.findall(r"url\((?!#)[^)]*", text) == []


def test_the_page_and_its_text_have_the_command(sweep: Sweep, tmp_path: Path) -> None:
    command = command_line(sweep)
    assert command is not None
    text = page_of(sweep, tmp_path)
    assert re.findall(r"<pre>(.*?)</pre>", unescape(text)) == [command]
    assert f"\n    {command}\n" in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_no_line_of_a_headline_ends_within_an_interval(sweep: Sweep, tmp_path: Path) -> None:
    headlines = re.findall(r"<h[12]>(.*?)</h[12]>", page_of(sweep, tmp_path))
    assert any("\u00a0–\u2060\u00a0" in headline for headline in headlines)
    assert not any(re.search(r" [–%]|– ", headline) for headline in headlines)


def test_the_network_shown_as_stalled_stalled(sweep: Sweep) -> None:
    converged, stalled = best_and_stalled(Findings(sweep))
    for network, is_far in ((converged, False), (stalled, True)):
        outputs, _, _ = network.end()
        errors = np.abs(outputs - network.config.truth_table.targets)
        assert (errors.max() >= network.config.training.tolerance) == is_far
    assert (converged.outcome, stalled.outcome) == ("converged", "stalled")
    assert np.isnan(stalled.epochs_to_converge)


def test_paths_of_weights_stay_where_they_are(make_sweep: Make, tmp_path: Path) -> None:
    folder = tmp_path / "private"
    folder.mkdir()
    for name in ("one", "two"):
        np.savez(folder / f"{name}.npz", layer_1=np.ones((12, 3, 3)), layer_2=np.ones((12, 4, 1)))
    paths = [f"{folder}/{name}.npz" for name in ("one", "two")]
    sweep = make_sweep(*(small_config({"init.path": path}, init="given") for path in paths))
    text = page_of(sweep, tmp_path / "report").replace(command_line(sweep) or "-", "")
    assert "one.npz" in text
    assert "private" not in text


OTHER_PROCESS = """
import pickle, sys
from contextlib import nullcontext
from pathlib import Path
from bp_pipeline.report import Sweep, write_report
from bp_pipeline.report.findings import Findings
values, runs, out = pickle.load(open(sys.argv[1], "rb"))
artifacts = lambda run_id: nullcontext(Path(runs) / run_id)
Path(out).mkdir()
write_report(Findings(Sweep(**values, artifacts=artifacts)), Path(out))
"""


def test_nothing_around_a_sweep_decides_a_byte(
    sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the folder, nor settings of Matplotlib, language and hashing, nor names in MLflow."""
    settings = "xtick.major.size: 20\naxes.labelsize: 30\npatch.edgecolor: red\n"
    (tmp_path / "matplotlibrc").write_text(settings)
    with sweep.artifacts("0") as first:
        runs = first.parent
    renamed = sweep.runs.iloc[::-1].assign(name="renamed").reset_index(drop=True)
    values = {"run_id": "other", "name": "renamed", "digest": sweep.digest, "runs": renamed}
    values["n_jobs"] = sweep.n_jobs
    pickled, out = tmp_path / "sweep.pickle", tmp_path / "out"
    pickled.write_bytes(pickle.dumps((values, str(runs), str(out))))
    environment = {
        **os.environ, "MATPLOTLIBRC": str(tmp_path), "LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0",
        "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "MPLBACKEND": "pdf",
    }  # fmt: skip
    subprocess.run(
        [sys.executable, "-c", OTHER_PROCESS, str(pickled)],
        check=True, cwd=tmp_path, env=environment,
    )  # fmt: skip
    monkeypatch.chdir(tmp_path.parent)
    page_of(sweep, tmp_path / "here")
    written = {path.name: path.read_bytes() for path in (tmp_path / "here").iterdir()}
    assert {path.name: path.read_bytes() for path in out.iterdir()} == written
    for name, content in written.items():
        assert str(tmp_path).encode() not in content, name
        assert str(tmp_path.parent).encode() not in content, name


def test_latex_has_only_signs_that_pdflatex_knows(sweep: Sweep, tmp_path: Path) -> None:
    page_of(sweep, tmp_path)
    for path in tmp_path.glob("*.tex"):
        text = path.read_text(encoding="utf-8")
        assert text.isascii(), path.name
        assert not re.search(r"(?<!\$)[<>|]", text), path.name
    assert r"$\ge$" in "".join(path.read_text("utf-8") for path in tmp_path.glob("*.tex"))


def test_a_renamed_sweep_keeps_its_page(sweep: Sweep, tmp_path: Path) -> None:
    assert page_of(replace(sweep, name="x"), tmp_path / "a") == page_of(sweep, tmp_path / "b")
