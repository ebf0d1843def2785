"""Pixels: the bits of a run with their values, however the map is cut and whatever trains it."""

from dataclasses import replace
from operator import itemgetter
from typing import Any

import numpy as np
import pytest
from runs import make_config
from some_maps import (
    FACTOR_0,
    FACTOR_1,
    MOMENTUM,
    PLANE_U,
    PLANE_V,
    RATE,
    SCALE,
    SMALL,
    drawn,
    make_map,
)

from bp_pipeline.arrays import write_arrays
from bp_pipeline.config.schema import RunConfig
from bp_pipeline.core.training import OUTCOMES
from bp_pipeline.ensemble import RunResult, train_runs
from bp_pipeline.maps.boundary import boundary_pixels, measure_boundary
from bp_pipeline.maps.options import MapConfig
from bp_pipeline.maps.pixel_shards import Drawing, KeptShards, count_ulp_flips
from bp_pipeline.maps.pixels import pixels_of
from bp_pipeline.maps.record import Map

AXES = {
    "rate by scale": (RATE, SCALE),
    "rate by momentum": (RATE, MOMENTUM),
    "rates by layer": (FACTOR_0, FACTOR_1),
    "one layer's rate by rate": (FACTOR_1, RATE),
    "plane": (PLANE_U, PLANE_V),
    "one direction by scale": (PLANE_V, SCALE),
}
CHANGED = {"network.hidden": [2], "optimizer.momentum": 0.5, "seed": 3}
FIXED = {**CHANGED, "optimizer.layer_factors": [2.0, 0.3], "init.scale": 1.7}


def some_pixels(inside: np.ndarray, n: int) -> list[tuple[int, int]]:
    """Draw pixels by lot: half of them at the boundary, as far as there are so many."""
    rng = np.random.default_rng(0)
    everywhere = rng.permutation([*np.ndindex(*inside.shape)])[: n // 2]
    boundary = rng.permutation(np.argwhere(boundary_pixels(inside)))[: n // 2]
    return [(int(row), int(column)) for row, column in [*everywhere, *boundary]]


def config_of(config: MapConfig, x: float, y: float, **given: Any) -> RunConfig:
    """Return what `bp train` trains when a pixel's values are typed."""
    values: dict[str, Any] = {**SMALL, **FIXED, "replicates": config.replicates}
    for key, value in ((config.map.x.key, x), (config.map.y.key, y)):
        name, _, layer = key.rpartition(".")
        if name == "optimizer.layer_factors":
            values[name] = [value if i == int(layer) else f for i, f in enumerate(values[name])]
        elif not key.startswith("plane"):
            values[key] = value
    if given:
        values |= {"init": {"name": "given", **given}}
        del values["init.scale"]
    return make_config(values)


def runs_of(configs: list[RunConfig]) -> list[RunResult]:
    return [result for _, result in sorted(train_runs(configs), key=itemgetter(0))]


@pytest.mark.parametrize("name", AXES)
def test_a_pixel_is_the_run_with_its_values(name, tmp_path):
    x, y = AXES[name]
    config = make_map(FIXED, x=x, y=y)
    result = drawn(config)
    pixels, configs = some_pixels(result.inside("solved"), 36), []
    for row, column in pixels:
        given = {}
        if "plane" in x["key"] + y["key"]:
            given = {"path": str(tmp_path / f"{row}-{column}.npz")}
            Map("", "", "", config, result, {}).write_weights(given["path"], row, column)
        configs.append(config_of(config, result.x[column].item(), result.y[row].item(), **given))
    for (row, column), run in zip(pixels, runs_of(configs), strict=True):
        assert OUTCOMES[result.outcome[row, column]] == run.outcome[0]
        assert result.epochs_to_converge[row, column] == run.epochs_to_converge[0]
        assert result.final_loss[row, column] == run.final_loss[0]
        assert result.solved[row, column] == run.solved[0]


def test_replicates_of_a_pixel_are_those_of_its_run():
    config = make_map({**FIXED, "replicates": 5}, resolution=(6, 4))
    result = drawn(config)
    assert result.outcome.shape == (4, 6, 5)
    places = list(np.ndindex(4, 6))
    values = [(result.x[column].item(), result.y[row].item()) for row, column in places]
    runs = runs_of([config_of(config, x, y) for x, y in values])
    for (row, column), run in zip(places, runs, strict=True):
        np.testing.assert_array_equal(result.final_loss[row, column], run.final_loss)
        np.testing.assert_array_equal(result.solved[row, column], run.solved)


def test_given_weights_are_a_map_of_their_own(tmp_path):
    weights = {"layer_1": np.ones((2, 3, 2)), "layer_2": np.full((2, 3, 1), 0.3)}
    write_arrays(tmp_path / "w.npz", weights)
    given = {"init": {"name": "given", "path": str(tmp_path / "w.npz")}, "network.hidden": [2]}
    result = drawn(make_map(given, resolution=(3, 3), x=PLANE_U, y=PLANE_V))
    assert result.outcome.shape == (3, 3, 2)
    np.testing.assert_array_equal(result.final_loss[..., 0], result.final_loss[..., 1])


# ------------------------------------------------------------------------- one digest, whatever


def test_engine_threads_and_shards_change_no_bit():
    config = make_map()
    compiled = config.model_copy(update={"engine": "compiled"})
    digests = {
        drawn(config).result_digest,
        drawn(config, threads=2, size=7).result_digest,
        drawn(compiled).result_digest,
        drawn(compiled, threads=2, size=101).result_digest,
    }
    assert len(digests) == 1


def test_what_is_recorded_of_a_run_changes_no_bit():
    digests = {
        drawn(make_map({"training.record": n, "training.record_weights": n})).result_digest
        for n in (2, 60)
    }
    assert len(digests) == 1


def test_another_seed_is_another_map():
    assert drawn(make_map()).result_digest != drawn(make_map({"seed": 1})).result_digest


# -------------------------------------------------------------------------------- broken off


class BrokenOff(Exception):
    pass


def test_a_map_goes_on_from_the_shards_that_are_kept(tmp_path):
    config = make_map()
    whole, pixels = drawn(config), pixels_of(config)
    kept = KeptShards(tmp_path / "kept")
    trained = [0]

    def stop_half_way(network_epochs: int) -> None:
        trained[0] += network_epochs
        if trained[0] > pixels.n_networks * config.training.epochs // 2:
            raise BrokenOff

    with pytest.raises(BrokenOff):
        Drawing(pixels, kept, 40).finish(engine="numpy", threads=1, progress=stop_half_way)
    further = Drawing(pixels, kept, 40)
    assert 0 < further.n_missing < pixels.n_networks
    assert further.finish(engine="numpy", threads=1).result_digest == whole.result_digest
    assert Drawing(pixels, kept, 40).n_missing == 0
    kept.remove()
    assert not (tmp_path / "kept").exists()


def test_a_shard_that_was_cut_is_trained_again(tmp_path):
    config, kept = make_map(), KeptShards(tmp_path)
    whole = Drawing(pixels_of(config), kept, 100).finish(engine="numpy", threads=1)
    files = sorted(tmp_path.glob("*.npz"))
    files[0].write_bytes(files[0].read_bytes()[:50])
    files[1].write_bytes(b"")
    files[2].write_bytes(files[3].read_bytes()[:-1])
    again = Drawing(pixels_of(config), kept, 100)
    assert again.n_missing == 300
    assert again.finish(engine="numpy", threads=1).result_digest == whole.result_digest


# ---------------------------------------------------------------------- one ulp, and other nulls


def test_ulp_flips_are_counted_at_the_boundary():
    config = make_map(
        {"training.epochs": 200}, resolution=(64, 48), x={**RATE, "low": 3.0, "high": 30.0}
    )
    pixels, result = pixels_of(config), drawn(config)
    moved = replace(pixels, x=(pixels.x[0], np.nextafter(pixels.x[1], np.inf)))
    other = Drawing(moved).finish(engine="numpy", threads=1)
    inside = result.inside("solved")
    flips = (inside != other.inside("solved")) & boundary_pixels(inside)
    assert flips.any()
    assert count_ulp_flips(pixels, result, "solved", engine="numpy", threads=1) == flips.sum()


def test_linear_regression_diverges_where_rate_times_largest_eigenvalue_passes_2():
    inputs = [[0.3, -1.0], [1.5, 0.2], [-0.4, 0.9], [2.0, 1.1]]
    task = {"name": "table", "inputs": inputs, "targets": [[1.0], [-2.0], [0.5], [3.0]]}
    config = make_map(
        {"task": task, "network.hidden": [], "network.output": "identity", "engine": "compiled",
         "training.epochs": 1000},
        {"loss": "squared_error", "init": "normal"},
        x={**RATE, "low": 0.05, "high": 50.0}, y={**FACTOR_0, "low": 0.1, "high": 10.0},
        resolution=(240, 160), boundary="diverged",
    )  # fmt: skip
    result = drawn(config, threads=2)
    design = np.column_stack([np.ones(4), inputs])
    largest = np.linalg.eigvalsh(design.T @ design / 4)[-1]
    product = np.outer(result.y, result.x) * largest
    # With equal steps on both axes whole diagonals have one product, and none lies so little above
    # 2 that 1,000 epochs could not tell: there a loss grows by (ηλ − 1)² an epoch, to a hundredfold
    # of all of it from at least a hundredth.
    assert 2 * 1000 * np.log(product[product > 2] - 1).min() > np.log(1e4)
    np.testing.assert_array_equal(result.inside("diverged"), product < 2)
    assert measure_boundary(result.inside("diverged")).dimension == pytest.approx(1.0, abs=0.03)
