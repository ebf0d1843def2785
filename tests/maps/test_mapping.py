"""`bp map` as people use it: real commands on a real store, broken off, shown, and told."""

import json
import os
import shlex
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup
from commands import run_bp
from mlflow import MlflowClient
from PIL import Image
from some_maps import drawn, make_map

from bp_pipeline.arrays import read_arrays, write_arrays
from bp_pipeline.maps import Map, load_map
from bp_pipeline.maps.boundary import measure_boundary
from bp_pipeline.maps.pixels import MapResult

SMALL = ("map.resolution=[32,24]", "training.epochs=40")


def start(folder: Path, *words: str, **others: str) -> subprocess.Popen[str]:
    command = [Path(sys.executable).with_name("bp"), *words]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW")}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=folder, text=True, env={**environment, **others}, **pipes)


def bp(folder: Path, *words: str, code: int = 0) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW")}
    done = run_bp(*words, cwd=folder, environment=environment, code=code)
    return done.stdout if code == 0 else done.stderr


def loaded(folder: Path, run: str | None = None) -> Map:
    return load_map(run, uri=f"sqlite:///{folder}/mlflow.db")


def artifacts(folder: Path, map_: Map) -> Path:
    [found] = folder.glob(f"mlruns/*/{map_.run_id}/artifacts")
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Draw a map."""
    folder = tmp_path_factory.mktemp("drawn")
    bp(folder, "map", *SMALL)
    return folder


def test_a_map_is_one_run_with_its_files_and_measures(folder):
    map_ = loaded(folder)
    found = {path.name for path in artifacts(folder, map_).iterdir()}
    assert found == {"config.yaml", "environment.json", "map.npz", "map.png", "weights"}
    arrays = read_arrays(artifacts(folder, map_) / "map.npz")
    shapes = {name: array.shape for name, array in arrays.items()}
    four = ("outcome", "epochs_to_converge", "final_loss", "solved")
    assert shapes == {"x": (32,), "y": (24,), **dict.fromkeys(four, (24, 32))}
    assert map_.metrics["solved/rate"] == arrays["solved"].mean()
    outcomes = [map_.metrics[f"{name}/rate"] for name in ("stalled", "converged", "diverged")]
    assert sum(outcomes) == pytest.approx(1)
    assert map_.metrics["boundary/pixels"] == measure_boundary(arrays["solved"]).pixels
    assert map_.metrics["boundary/ulp_flips"] >= 0
    assert "boundary/dimension" not in map_.metrics  # of 24 pixels


def test_mlflow_describes_a_map(folder):
    map_ = loaded(folder)
    store = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    tags = store.get_run(map_.run_id).data.tags
    assert (tags["bp.kind"], tags["bp.command"]) == ("map", map_.command)
    said = tags["mlflow.note.content"]
    assert f"solved {100 * map_.metrics['solved/rate']:.1f}\u00a0%" in said  # on one line
    assert said.endswith(map_.verdict()[-1])


def test_a_picture_says_what_it_is(folder):
    map_ = loaded(folder)
    with Image.open(artifacts(folder, map_) / "map.png") as picture:
        assert picture.text["Command"] == map_.command == shlex.join(["bp", "map", *SMALL])
        assert picture.text["bp.result_digest"] == map_.result.result_digest
        assert picture.text["bp.config_digest"] == map_.config.config_digest


def test_a_complete_map_is_left_alone_and_shown(folder):
    before = loaded(folder)
    assert before.run_id in bp(folder, "map", *SMALL)
    assert loaded(folder).run_id == before.run_id
    assert len(list(folder.glob("mlruns/*/*/artifacts"))) == 1


def test_a_map_is_loaded_by_the_beginning_of_its_id_or_name(folder):
    map_ = loaded(folder)
    for name in (map_.run_id[:8], map_.name, map_.name[:6]):
        assert loaded(folder, name).run_id == map_.run_id


def test_what_names_no_map_alone_is_refused(tmp_path):
    bp(tmp_path, "map", *SMALL)
    bp(tmp_path, "train", "-m", "seed=0,1", "replicates=2", "training.epochs=5", "engine=numpy")
    map_ = loaded(tmp_path)
    assert map_.run_id in bp(tmp_path, "report", map_.config.config_digest[:8])
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    client.set_tag(map_.run_id, "mlflow.runName", "seedling")
    assert "reports/seed-" in bp(tmp_path, "report", "seed")
    client.set_tag(map_.run_id, "mlflow.runName", "seed")
    assert "fits both" in bp(tmp_path, "report", "seed", code=2)
    assert "There is no sweep ''" in bp(tmp_path, "report", "", code=2)


def test_its_page_carries_picture_values_and_command(folder):
    map_ = loaded(folder)
    bp(folder, "report", map_.run_id, "--out", "shown")
    page = BeautifulSoup((folder / "shown" / "map.html").read_text(encoding="utf-8"), "html.parser")
    assert page.find("img")["src"].startswith("data:image/png;base64,")
    assert {code.text for code in page.find_all("code")} >= {map_.run_id, map_.command}
    assert (folder / "shown" / "map.png").is_file()


def test_maps_of_several_stores_are_refused(tmp_path):
    said = bp(tmp_path, "map", "-m", *SMALL, "tracking=local,off", code=2)
    assert "`tracking` must be the same" in said
    assert not [*tmp_path.iterdir()]


def test_refusals_come_before_anything_trains(tmp_path):
    errors = bp(tmp_path, "map", "map.x.low=0", "--zoom", "1", code=2)
    assert errors.startswith("`map.x.low` must ")
    assert "`map`" in bp(tmp_path, "train", "map=initial_weights", code=2)
    assert "--zoom" in bp(tmp_path, "map", "--zoom", "0", code=2)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "reports").touch()
    [line] = bp(tmp_path, "map", "map.resolution=8", "tracking=off", code=2).splitlines()
    assert line.startswith("The map would be nowhere")


def wait_for_a_file(process: subprocess.Popen[str], folder: Path, pattern: str) -> list[Path]:
    """Wait until there is such a file, or the process has ended."""
    while process.poll() is None and not list(folder.glob(pattern)):
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.05)
    return list(folder.glob(pattern))


@pytest.fixture(scope="module")
def undisturbed() -> MapResult:
    """Draw the map below without a stop."""
    compiled = {"training.epochs": 500, "engine": "compiled"}
    return drawn(make_map(compiled, resolution=160), threads=2)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_map_that_was_stopped_goes_on_from_its_shards(tmp_path, number, undisturbed):
    words = ("map", "map.resolution=160")  # two shards
    process = start(tmp_path, *words)
    kept = wait_for_a_file(process, tmp_path, "mlflow.db.unfinished/*/*.npz")
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == (130 if number == signal.SIGINT else -number)
    kept = [path for path in kept[0].parent.glob("*.npz") if ".new." not in path.name]
    n_kept = sum(len(read_arrays(path)["outcome"]) for path in kept)
    again = run_bp(*words, cwd=tmp_path, code=0)
    assert f"{160**2 - n_kept:,} networks to train" in again.stderr
    assert list((tmp_path / "mlflow.db.unfinished").iterdir()) == []
    assert loaded(tmp_path).result.result_digest == undisturbed.result_digest


def test_zooms_are_maps_of_their_own(tmp_path):
    words = ("map.resolution=160", "training.epochs=30", "engine=numpy")
    printed = bp(tmp_path, "map", *words, "--zoom", "2")
    assert len(list(tmp_path.glob("reports/*/map.png"))) == 3
    name = loaded(tmp_path).name.removesuffix(" · zoom 2")
    whole, first, second = (
        loaded(tmp_path, f"{name}{zoom}") for zoom in ("", " · zoom 1", " · zoom 2")
    )
    for outer, inner in ((whole, first), (first, second)):
        for before, after in zip(outer.config.map.axes(), inner.config.map.axes(), strict=True):
            assert before.low < after.low < after.high < before.high
    assert "median" in printed


def verdict_on(folder: Path, run_id: str, code: int) -> dict[str, Any]:
    bp(folder, "reproduce", run_id, "--json", "verdicts.json", code=code)
    [verdict] = json.loads((folder / "verdicts.json").read_text(encoding="utf-8"))
    return verdict


def test_a_map_is_verified_like_any_run(folder):
    map_ = loaded(folder)
    verdict = verdict_on(folder, map_.run_id, code=0)
    assert verdict["verdict"] == "identical"
    assert verdict["result_digest"] == map_.result.result_digest


def test_a_map_that_comes_out_otherwise_or_was_altered_is_told(tmp_path):
    bp(tmp_path, "map", *SMALL)
    map_ = loaded(tmp_path)
    config, arrays = artifacts(tmp_path, map_) / "config.yaml", map_.result.arrays
    before = config.read_text(encoding="utf-8")
    config.write_text(before.replace("seed: 0", "seed: 1", 1), encoding="utf-8")
    verdict = verdict_on(tmp_path, map_.run_id, code=1)
    assert verdict["verdict"] == "corrupt"
    assert "config.yaml" in verdict["reason"]
    config.write_text("", encoding="utf-8")
    for command, said in (("report", "config.yaml of map"), ("explain", "got the map")):
        told = bp(tmp_path, command, map_.run_id, code=2)
        assert (len(told.splitlines()), said in told, "must it" in told) == (1, True, False)
    config.write_text(before, encoding="utf-8")
    arrays["solved"][3, 4] ^= True
    write_arrays(artifacts(tmp_path, map_) / "map.npz", arrays)
    assert verdict_on(tmp_path, map_.run_id, code=1)["verdict"] == "corrupt"


@pytest.mark.parametrize(
    ("name", "table"), [("solved/rate", "latest_metrics"), ("boundary/pixels", "metrics")]
)
def test_an_altered_measure_is_corrupt(folder, name, table):
    map_ = loaded(folder)

    def change(sign: str) -> None:
        with closing(sqlite3.connect(folder / "mlflow.db")) as database, database:
            database.execute(
                f"UPDATE {table} SET value = value {sign} 0.25 WHERE run_uuid = ? AND key = ?",
                (map_.run_id, name),
            )

    change("+")
    try:
        verdict = verdict_on(folder, map_.run_id, code=1)
        told = bp(folder, "report", map_.run_id, code=1)
    finally:
        change("-")
    assert (verdict["verdict"], name in verdict["reason"]) == ("corrupt", True)
    assert map_.run_id in told
    assert (map_.corrupt, name in told) == ("", True)
