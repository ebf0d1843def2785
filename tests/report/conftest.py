"""Sweeps to report: trained here and written by the tracking's own functions, without a store."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from bs4 import BeautifulSoup
from runs import make_config

from bp_pipeline.config.schema import RunConfig
from bp_pipeline.digests import digest_json
from bp_pipeline.ensemble import RunResult, train_runs
from bp_pipeline.report import Findings, write_report
from bp_pipeline.report.sweep_data import Sweep, assemble, complete, grid_axes, grid_places
from bp_pipeline.report.sweep_reader import read_files
from bp_pipeline.tracking import run_files

SMALL = {
    "engine": "numpy", "threads": 1, "replicates": 12, "training.epochs": 150,
    "training.record": 12, "optimizer.learning_rate": 3.0,
}  # fmt: skip
Make = Callable[..., Sweep]


def small_config(changes: Mapping[str, Any] | None = None, **options: str) -> RunConfig:
    return make_config({**SMALL, **(changes or {})}, options)


def sweep_of(configs: Sequence[RunConfig], folder: Path) -> Sweep:
    """Train runs, and read them as from a store; a run's id is its number."""
    rows: list[dict[str, Any]] = []
    for number, result in sorted(train_runs(configs), key=lambda pair: pair[0]):
        assert isinstance(result, RunResult)
        config, run_id = configs[number], str(number)
        (folder / run_id).mkdir(parents=True)
        run_files.write_config(folder / run_id, config)
        run_files.write_result(folder / run_id, result)
        digests = {"bp.code_digest": "c" * 64, "bp.version": "0.1.0"}
        digests["bp.result_digest"] = result.result_digest
        status = {"run_id": run_id, "name": f"run {run_id}", "status": "FINISHED"}
        # A store keeps lists as text.
        params = {k: str(v) if isinstance(v, list) else v for k, v in config.params().items()}
        rows.append({**status, **params, **digests})
    digest = digest_json(sorted(config.config_digest for config in configs))
    return sweep_in(folder, pd.DataFrame(rows), digest=digest)


def sweep_in(folder: Path, runs: pd.DataFrame, **changes: Any) -> Sweep:
    """Read the files of runs from folders that are named after them."""

    @contextmanager
    def open_files(run_id: str) -> Iterator[Path]:
        yield folder / run_id

    places = grid_places(complete(runs), grid_axes(runs))
    values = {
        "run_id": "parent", "name": "a sweep", "digest": "", "n_jobs": len(runs),
        "command": "bp train -m 'init=ones,normal'",
    }  # fmt: skip
    tables = read_files(open_files, places["run_ids"])[:2]
    return assemble(runs, *tables, open_files=open_files, **{**values, **changes})


def report_of(sweep: Sweep, folder: Path) -> dict[str, str]:
    """Write a report, and return the text of each of its files."""
    folder.mkdir(parents=True, exist_ok=True)
    write_report(Findings(sweep), folder)
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}


def page_of(sweep: Sweep, folder: Path) -> BeautifulSoup:
    """Write a report, and read its page."""
    return BeautifulSoup(report_of(sweep, folder)["report.html"], "html.parser")


@pytest.fixture
def make_sweep(tmp_path: Path) -> Make:
    return lambda *configs: sweep_of(configs, tmp_path / "runs")


@pytest.fixture(scope="session")
def runs_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder in which the files of `sweep` are."""
    return tmp_path_factory.mktemp("sweep")


@pytest.fixture(scope="session")
def sweep(runs_folder: Path) -> Sweep:
    """Train a grid of 2 activations, 3 inits, of which one draws nothing, and 2 learning rates."""
    configs = [
        small_config({"optimizer.learning_rate": rate}, activation=activation, init=init)
        for activation in ("tanh", "sigmoid")
        for init in ("ones", "uniform", "normal")
        for rate in (1.0, 3.0)
    ]
    return sweep_of(configs, runs_folder)
