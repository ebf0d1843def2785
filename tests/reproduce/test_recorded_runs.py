"""Verification of a real store: each verdict, told by spoiling what a run left behind."""

import json
import os
import pickle
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from commands import BP, run_bp
from mlflow import MlflowClient
from mlflow.entities import Run
from stores import Store

import bp_pipeline
from bp_pipeline.config.errors import ConfigError
from bp_pipeline.reproduce import Request, recorded_runs, reproduce
from bp_pipeline.tracking import NothingYet, RunsToVerify, TrackingError

TANH, RELU = "tanh", "relu"


@pytest.fixture
def verify(store: Store, tmp_path: Path) -> Callable[..., dict[str, dict[str, Any]]]:
    """Verify the sweep, or some of its runs; give the verdicts by name."""

    def run(*names: str, **request: Any) -> dict[str, dict[str, Any]]:
        runs = [store.runs[name] for name in names or store.runs]
        file = tmp_path / "verdicts.json"
        status = reproduce(Request(runs=runs, json=file, **request))
        verdicts = json.loads((tmp_path / "verdicts.json").read_text())
        assert status == any(verdict["verdict"] != "identical" for verdict in verdicts)
        return {verdict["name"]: verdict for verdict in verdicts}

    return run


def newest_reproduction(client: MlflowClient) -> Run:
    experiment = client.get_experiment_by_name("bp_pipeline/reproductions")
    assert experiment is not None
    return client.search_runs([experiment.experiment_id])[0]


# ------------------------------------------------------------------------------------ identical


@pytest.mark.parametrize("engine", ["numpy", "compiled", None])
def test_what_nobody_touched_is_identical(
    engine: str | None, verify: Any, store: Store, capsys: pytest.CaptureFixture
) -> None:
    verdicts = verify(engine=engine)
    printed = capsys.readouterr().out.split()
    assert set(store.runs.values()) <= set(printed)  # which begin alike
    assert {name: verdict["run_id"] for name, verdict in verdicts.items()} == store.runs
    assert {verdict["verdict"] for verdict in verdicts.values()} == {"identical"}


def test_the_command_line(store: Store, tmp_path: Path) -> None:
    command = ["reproduce", store.runs[TANH], "--json", tmp_path / "verdicts.json"]
    done = run_bp(*command, cwd=tmp_path)
    assert (done.returncode, done.stderr.splitlines()[0]) == (0, "1 run to train again, 5 networks")
    assert TANH in done.stdout
    assert done.stdout.splitlines()[-1] == "1 run: 1 identical"
    [verdict] = json.loads((tmp_path / "verdicts.json").read_text())
    assert (verdict["run_id"], verdict["verdict"]) == (store.runs[TANH], "identical")


def test_a_verification_is_a_run_of_its_own_and_marks_what_it_verified(
    verify: Any, store: Store, tanh: Path
) -> None:
    (tanh / "curves.npz").unlink()
    before = datetime.now(UTC).replace(microsecond=0)
    verify()
    client = MlflowClient()
    run = newest_reproduction(client)
    assert run.info.status == "FINISHED"
    assert run.data.metrics == {"identical": 3, "drifted": 0, "corrupt": 0, "missing": 1}
    assert run.info.artifact_uri.startswith(str(store.folder))
    table = json.loads((Path(run.info.artifact_uri) / "verdicts.json").read_text())
    at = table["columns"].index("run_id")
    assert {row[at] for row in table["data"]} == set(store.runs.values())
    note = run.data.tags["mlflow.note.content"]
    assert all(f"/runs/{run_id}" in note for run_id in store.runs.values())
    assert note.startswith("- missing")
    tags = client.get_run(store.runs[TANH]).data.tags
    assert tags["bp.reproduced"] == "missing"
    assert datetime.fromisoformat(tags["bp.reproduced_at"]) >= before


# ---------------------------------------------------------------------------- corrupt, missing


# What is spoiled in one run each, so that one command tells of all.


def test_one_altered_bit_is_corrupt(verify: Any, each: dict[str, Path], change_array: Any) -> None:
    altered = [
        ("weights/initial.npz", "layer_1"),
        ("weights/final.npz", "layer_2"),
        ("weights/trajectory.npz", "layer_1"),
        ("curves.npz", "loss"),
    ]
    for folder, (file, array) in zip(each.values(), altered, strict=True):
        change_array(folder / file, array)
    told = {name: verdict["verdict"] for name, verdict in verify().items()}
    assert told == dict.fromkeys(each, "corrupt")


def test_altered_given_weights_are_corrupt(
    verify: Any, store: Store, given: Path, change_array: Any
) -> None:
    change_array(given / "weights" / "initial.npz", "layer_1")
    assert verify(store.given)[store.given]["verdict"] == "corrupt"


def test_half_a_file_is_corrupt(verify: Any, each: dict[str, Path]) -> None:
    files = ["replicates.parquet", "curves.npz", "weights/initial.npz", "weights/trajectory.npz"]
    for folder, file in zip(each.values(), files, strict=True):
        content = (folder / file).read_bytes()
        (folder / file).write_bytes(content[: len(content) // 2])
    told = {name: verdict["verdict"] for name, verdict in verify().items()}
    assert told == dict.fromkeys(each, "corrupt")


def test_another_runs_table_is_corrupt(verify: Any, tanh: Path, store: Store) -> None:
    other = store.artifacts(RELU) / "replicates.parquet"
    (tanh / "replicates.parquet").write_bytes(other.read_bytes())
    assert verify(TANH)[TANH]["verdict"] == "corrupt"


class Execute:
    """Pickled, it makes a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def test_pickled_weights_execute_nothing(verify: Any, tanh: Path, tmp_path: Path) -> None:
    proof = tmp_path / "executed"
    pickle.loads(pickle.dumps(Execute(proof)))
    assert proof.exists()  # so that it would have been seen
    proof.unlink()
    objects = np.empty(1, dtype=object)
    objects[0] = Execute(proof)
    np.savez(tanh / "weights" / "final.npz", layer_1=objects)
    assert verify(TANH)[TANH]["verdict"] == "corrupt"
    assert not proof.exists()


@pytest.mark.parametrize(
    "hostile",
    [
        (
            "seed: !!python/object/apply:os.mkdir ['{}']",
            "!!python/object/apply:os.mkdir ['{}']",
            "seed: {{_target_: pathlib.Path.touch, self: '{}'}}",
            "activation: {{name: tanh, _target_: os.system, command: 'touch {}'}}",
        ),
        ("replicates: ${{oc.env:{}}}", "seed: &a [*a, {}]", "- {}", ": : [{}"),
    ],
    ids=["calls", "others"],
)
def test_a_hostile_config_executes_nothing(
    hostile: tuple[str, ...], verify: Any, each: dict[str, Path], tmp_path: Path
) -> None:
    proof = tmp_path / "executed"
    for folder, form in zip(each.values(), hostile, strict=True):
        raw = yaml.safe_load((folder / "config.yaml").read_text())
        text = form.format(proof)
        changed = {key: value for key, value in raw.items() if not text.startswith(f"{key}:")}
        rest = "" if text.startswith(("-", ": :", "!!")) else yaml.safe_dump(changed)
        (folder / "config.yaml").write_text(f"{text}\n{rest}")
    told = {name: verdict["verdict"] for name, verdict in verify().items()}
    assert told == dict.fromkeys(each, "corrupt")
    assert not proof.exists()


def test_an_interpolation_stays_text(verify: Any, tanh: Path) -> None:
    raw = yaml.safe_load((tanh / "config.yaml").read_text())
    raw["tracking"]["experiment"] = "${oc.env:HOME}"
    (tanh / "config.yaml").write_text(yaml.safe_dump(raw))
    assert verify(TANH)[TANH]["verdict"] == "identical"


def test_what_is_gone_is_missing(verify: Any, each: dict[str, Path]) -> None:
    gone = dict(zip(each, ["config.yaml", "curves.npz", "weights/final.npz", "."], strict=True))
    for name, file in gone.items():
        if file == ".":
            shutil.rmtree(each[name])
        else:
            (each[name] / file).unlink()
    for name, verdict in verify().items():
        assert verdict["verdict"] == "missing"
        assert gone[name].removeprefix(".") in verdict["reason"]


def test_an_environment_that_is_gone_is_not_needed(verify: Any, tanh: Path) -> None:
    (tanh / "environment.json").unlink()
    assert verify(TANH)[TANH]["verdict"] == "identical"


# --------------------------------------------------------------------------------------- drifted


@pytest.mark.parametrize(
    ("section", "key", "value", "epoch", "array"),
    [
        ("optimizer", "learning_rate", 1.0000000000000002, 1, "trajectory/layer_1"),
        ("init", "scale", 1.1, 0, "initial_weights/layer_1"),
        ("activation", "name", "sigmoid", 0, "loss"),
        ("training", "epochs", 39, 39, "epochs"),
        ("training", "record_weights", 1, 0, "trajectory/layer_1"),
        ("network", "hidden", [2], 0, "initial_weights/layer_1"),
        ("network", "hidden", [3, 3], 0, "initial_weights"),
        (None, "replicates", 6, 0, "initial_weights/layer_1"),
        (None, "seed", 1, 0, "initial_weights/layer_1"),
    ],
)
def test_another_training_is_drifted_from_where_it_shows(
    section: str | None,
    key: str,
    value: Any,
    epoch: int,
    array: str,
    verify: Any,
    tanh: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recorded_runs, "disagreement", lambda *_: "")  # as if it trained otherwise
    raw = yaml.safe_load((tanh / "config.yaml").read_text())
    (raw[section] if section else raw)[key] = value
    (tanh / "config.yaml").write_text(yaml.safe_dump(raw))
    verdict = verify(TANH)[TANH]
    assert (verdict["verdict"], verdict["first_epoch"], verdict["array"]) == (
        "drifted",
        epoch,
        array,
    )
    assert set(verdict["differs"]) == {"config"}


@pytest.mark.parametrize(("key", "value"), [("tolerance", 0.4 + 2**-53), ("epochs", 39)])
def test_an_altered_config_is_corrupt(key: str, value: float, verify: Any, tanh: Path) -> None:
    raw = yaml.safe_load((tanh / "config.yaml").read_text())
    raw["training"][key] = value
    (tanh / "config.yaml").write_text(yaml.safe_dump(raw))
    verdict = verify(TANH)[TANH]
    assert verdict["verdict"] == "corrupt"
    assert f"training.{key}" in verdict["reason"]


def test_an_altered_final_loss_is_corrupt(verify: Any, tanh: Path) -> None:
    table = pd.read_parquet(tanh / "replicates.parquet")
    table.loc[0, "final_loss"] += 1e-9
    table.to_parquet(tanh / "replicates.parquet")
    verdict = verify(TANH)[TANH]
    assert (verdict["verdict"], "final_loss" in verdict["reason"]) == ("corrupt", True)


@pytest.mark.parametrize("table", ["latest_metrics", "metrics"])
@pytest.mark.parametrize(
    "changes",
    [
        [
            ("solved/rate", 0.25, "corrupt"),
            ("loss/p90", 1e-15, "corrupt"),
            ("optimizer.learning_rate/log10", 1e-15, "identical"),  # of another library's logarithm
        ],
        [
            ("weight_norm/median", 0.25, "corrupt"),
            ("optimizer.learning_rate/log10", 1e-9, "corrupt"),
            ("solved/rate_high", 1e-15, "identical"),
        ],
        [("solved/rate_high", 1e-9, "corrupt")],
    ],
    ids=["1e-15", "1e-9", "rate_high"],
)
def test_an_altered_metric_is_corrupt(
    changes: list[tuple[str, float, str]], table: str, verify: Any, store: Store
) -> None:
    """Whether it is the value that MLflow's tables show, or the first point of a chart."""
    where = f"FROM {table} WHERE run_uuid = ? AND key = ? ORDER BY step"
    altered = dict(zip((TANH, RELU, "sigmoid"), changes, strict=False))
    with closing(sqlite3.connect(store.folder / "mlflow.db")) as database:
        first = f"rowid = (SELECT rowid {where} LIMIT 1)"
        before = {
            run: database.execute(f"SELECT value {where}", (store.runs[run], name)).fetchone()[0]
            for run, (name, _, _) in altered.items()
        }

        def write(values: dict[str, float]) -> None:
            with database:
                for run, value in values.items():
                    database.execute(
                        f"UPDATE {table} SET value = ? WHERE {first}",
                        (value, store.runs[run], altered[run][0]),
                    )

        after = {run: before[run] + change for run, (_, change, _) in altered.items()}
        assert not before.items() & after.items()
        write(after)
        try:
            verdicts = verify(*altered)
        finally:
            write(before)
    for run, (name, _, expected) in altered.items():
        assert verdicts[run]["verdict"] == expected
        assert (name in verdicts[run]["reason"]) == (expected == "corrupt")


@pytest.mark.parametrize(
    "keys",
    [("seed", "replicates", "training.tolerance"), ("activation", "init", "task")],
    ids=["values", "options"],
)
def test_an_altered_param_is_corrupt(keys: tuple[str, ...], verify: Any, store: Store) -> None:
    """A number, or the option that a run is named after."""
    altered = dict(zip((TANH, RELU, "sigmoid"), keys, strict=True))
    with closing(sqlite3.connect(store.folder / "mlflow.db")) as database:

        def write(values: dict[str, str]) -> None:
            with database:
                for run, value in values.items():
                    where = "WHERE run_uuid = ? AND key = ?"
                    found = value, store.runs[run], altered[run]
                    database.execute(f"UPDATE params SET value = ? {where}", found)

        select = "SELECT value FROM params WHERE run_uuid = ? AND key = ?"
        before = {
            run: database.execute(select, (store.runs[run], key)).fetchone()[0]
            for run, key in altered.items()
        }
        write(dict.fromkeys(altered, "77"))
        try:
            verdicts = verify(*altered)
        finally:
            write(before)
    for run, key in altered.items():
        assert verdicts[run]["verdict"] == "corrupt"
        assert f"MLflow's {key} is 77" in verdicts[run]["reason"]


def test_a_point_that_no_file_has_is_corrupt(verify: Any, store: Store) -> None:
    """Not even one that is not a number, of an epoch that was not recorded."""
    which = "run_uuid = ? AND key = 'loss/median'", [store.runs[TANH]]
    with closing(sqlite3.connect(store.folder / "mlflow.db")) as database:
        found = database.execute(f"SELECT * FROM metrics WHERE {which[0]} LIMIT 1", which[1])
        columns, row = [name for name, *_ in found.description], list(found.fetchone())
        changed = {**dict(zip(columns, row, strict=True)), "step": 10**6, "is_nan": 1, "value": 0}
        with database:
            places = ", ".join("?" * len(columns))
            database.execute(f"INSERT INTO metrics VALUES ({places})", [*changed.values()])
        try:
            verdict = verify(TANH)[TANH]
        finally:
            with database:
                database.execute(
                    f"DELETE FROM metrics WHERE {which[0]} AND step = 1000000", which[1]
                )
    assert (verdict["verdict"], "step 1000000" in verdict["reason"]) == ("corrupt", True)


@pytest.mark.parametrize("end", ["min", "max"])
def test_a_curve_that_lost_an_end_is_corrupt(end: str, verify: Any, store: Store) -> None:
    of_curve = "FROM metrics WHERE run_uuid = ? AND key = 'loss/median'"
    with closing(sqlite3.connect(store.folder / "mlflow.db")) as database:
        where = f"{of_curve} AND step = (SELECT {end}(step) {of_curve})"
        found = database.execute(f"SELECT * {where}", [store.runs[TANH]] * 2)
        columns, [row] = [name for name, *_ in found.description], found.fetchall()
        database.execute(f"DELETE {where}", [store.runs[TANH]] * 2)
        database.commit()
        try:
            verdict = verify(TANH)[TANH]
        finally:
            values = ", ".join("?" * len(row))
            database.execute(f"INSERT INTO metrics ({', '.join(columns)}) VALUES ({values})", row)
            database.commit()
    assert (verdict["verdict"], "loss/median" in verdict["reason"]) == ("corrupt", True)


VERIFY_AND_DUMP = """
import sys, numpy as np
from bp_pipeline.cli import main
from bp_pipeline.ensemble.shards import train_runs
from bp_pipeline.tracking.run_files import read_config
from pathlib import Path
run_id, verdicts, artifacts, out = sys.argv[1:]
[(_, result)] = train_runs([read_config(Path(artifacts))])
np.savez(out, loss=result.loss, **{k: result.trajectory[k] for k in ("layer_1", "layer_2")})
sys.argv = ["bp", "reproduce", run_id, "--json", verdicts]
sys.exit(main())
"""


def test_one_reordered_sum_is_drifted_from_where_it_shows(store: Store, tmp_path: Path) -> None:
    package = Path(bp_pipeline.__file__).parent
    shutil.copytree(package, tmp_path / "bp_pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    network = tmp_path / "bp_pipeline" / "core" / "network.py"
    source = network.read_text()
    assert source.count("for i in range(1, len(w)):") == 1
    network.write_text(source.replace("range(1, len(w))", "reversed(range(1, len(w)))"))
    file, artifacts = tmp_path / "verdicts.json", store.artifacts(TANH)
    done = subprocess.run(
        [sys.executable, "-c", VERIFY_AND_DUMP, store.runs[TANH], file, artifacts, "again.npz"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    [verdict] = json.loads(file.read_text())
    assert verdict["verdict"] == "drifted"
    assert set(verdict["differs"]) == {"code"}

    again = np.load(tmp_path / "again.npz")
    curves, before = (
        np.load(artifacts / "curves.npz"),
        np.load(artifacts / "weights/trajectory.npz"),
    )
    first = next(
        at
        for at in range(len(curves["epoch"]))
        if not np.array_equal(again["loss"][:, at], curves["loss"][:, at])
        or any(
            not np.array_equal(again[name][:, at], before[name][:, at])
            for name in ("layer_1", "layer_2")
        )
    )
    assert verdict["first_epoch"] == curves["epoch"][first]
    assert 1 <= verdict["ulp"] <= verdict["largest_ulp"]


def test_what_differs_around_a_drift_is_named(
    verify: Any, tanh: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made_with = json.loads((tanh / "environment.json").read_text())
    made_with["packages"]["numpy"] = "1.0"
    made_with["cpu"]["model"] = "abacus"
    (tanh / "environment.json").write_text(json.dumps(made_with))
    raw = yaml.safe_load((tanh / "config.yaml").read_text())
    (tanh / "config.yaml").write_text(yaml.safe_dump({**raw, "seed": 1}))
    monkeypatch.setattr(recorded_runs, "disagreement", lambda *_: "")
    verdict = verify(TANH, engine="compiled")[TANH]
    assert set(verdict["differs"]) == {"config", "engine", "cpu model", "packages"}
    assert verdict["differs"]["engine"] == ["numpy", "compiled"]
    assert verdict["differs"]["packages"] == {"numpy": ["1.0", np.__version__]}
    assert f"numpy 1.0 → {np.__version__}" in capsys.readouterr().out


# ------------------------------------------------------------------------------ somebody else's


def test_a_store_that_may_only_be_read_is_verified_without_a_record(
    store: Store, tmp_path: Path
) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    with (
        closing(sqlite3.connect(store.folder / "mlflow.db")) as ours,
        closing(sqlite3.connect(theirs / "mlflow.db")) as copy,
    ):
        ours.backup(copy)  # with what other connections have not moved into the file yet
    (theirs / "mlflow.db").chmod(0o444)
    theirs.chmod(0o555)
    before = (theirs / "mlflow.db").read_bytes()
    # Root may write everywhere, but for these capabilities.
    bounded = ["setpriv", "--bounding-set", "-dac_override"] if os.geteuid() == 0 else []
    done = subprocess.run(
        [*bounded, BP, "reproduce", *store.runs.values()],
        env={**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{theirs}/mlflow.db"},
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "4 runs: 4 identical"
    assert "not recorded" in done.stderr.splitlines()[-1]
    assert [path.name for path in theirs.iterdir()] == ["mlflow.db"]
    assert (theirs / "mlflow.db").read_bytes() == before


# -------------------------------------------------------------------------------------- requests


def test_consecutive_seeds_walk_through_the_store(store: Store) -> None:
    tracker = RunsToVerify.open(None, "bp_pipeline")
    samples = [[run.run_id for run in tracker.sample(3, seed)] for seed in range(4)]
    assert samples == [[run.run_id for run in tracker.sample(3, seed)] for seed in range(4)]
    assert all(len(set(sample)) == 3 for sample in samples)
    assert set(samples[0] + samples[1]) == set(store.runs.values())
    assert len(tracker.sample(100, 0)) == len(store.runs)
    tracker.close()


def test_a_sample_is_no_row_of_neighbours(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    tracker = RunsToVerify.open(None, "bp_pipeline")
    [known] = tracker.find([store.runs[TANH]])
    many = [replace(known, run_id=f"{number:032x}") for number in range(100)]
    monkeypatch.setattr(tracker, "_find", lambda *_, **__: many)
    drawn = sorted(int(run.run_id, 16) for run in tracker.sample(10, 0))
    assert drawn[-1] - drawn[0] > 30
    tracker.close()


def test_runs_without_a_result_are_missing(store: Store, tmp_path: Path) -> None:
    client = MlflowClient()
    run = client.create_run(client.create_experiment("failures"), run_name="failed")
    failed = run.info.run_id
    client.set_terminated(failed, "FAILED")
    assert reproduce(Request(runs=[failed], json=tmp_path / "verdicts.json")) == 1
    [verdict] = json.loads((tmp_path / "verdicts.json").read_text())
    assert verdict["verdict"] == "missing"
    assert "FAILED" in verdict["reason"]
    with pytest.raises(NothingYet, match="nothing to verify"):
        reproduce(Request(sample=3, experiment="failures"))


def test_an_update_of_baselines_settles_nothing_else(
    store: Store, tanh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tanh / "curves.npz").unlink()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("bp_pipeline.reproduce.study_configs", lambda study: [])
    assert reproduce(Request(runs=[store.runs[TANH]], studies=["none"], update=True)) == 1


def test_unknown_runs_are_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match="There is no run 'nonsense'"):
        reproduce(Request(runs=[store.runs[TANH], "nonsense"]))
    with pytest.raises(TrackingError, match="There is no sweep"):
        reproduce(Request(sweep=store.runs[TANH]))
    with pytest.raises(TrackingError, match="is a sweep"):
        reproduce(Request(runs=[store.sweep]))
    for file in (tmp_path / "nowhere" / "verdicts.json", tmp_path):
        with pytest.raises(ConfigError, match="`--json` must name a file"):
            reproduce(Request(json=file))


def test_without_a_store_the_request_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    for request in (Request(), Request(sample=3), Request(sweep="abc", studies=[])):
        with pytest.raises(NothingYet, match="There is no store"):
            reproduce(request)
    done = run_bp("reproduce", "abc", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("There is no store")
    assert not list(tmp_path.iterdir())


READ = """
import sys
from bp_pipeline.cli import main
for words in (["list"], ["report"], ["explain", sys.argv[1]]):
    sys.argv = ["bp", *words]
    assert main() == 0, words
    assert "mlflow" not in sys.modules, words
"""


def test_reading_an_embedded_store_waits_for_no_mlflow(store: Store) -> None:
    command = [sys.executable, "-c", READ, store.runs[store.given]]
    subprocess.run(command, cwd=store.folder, check=True)
