"""A map's files and what is read of them."""

import numpy as np
import pytest
from some_maps import PLANE_U, PLANE_V, SCALE, drawn, make_map

from bp_pipeline.arrays import read_arrays, write_arrays
from bp_pipeline.ensemble import initial_parameters
from bp_pipeline.maps import Map, read_map_config, read_map_result
from bp_pipeline.maps.record import ARRAYS, WEIGHTS, write_map


def test_what_is_written_is_read(tmp_path):
    config = make_map({"replicates": 3}, resolution=(4, 3))
    result = drawn(config)
    write_map(tmp_path, config, result)
    again = read_map_result(tmp_path)
    assert again.result_digest == result.result_digest
    for name, array in result.arrays.items():
        np.testing.assert_array_equal(again.arrays[name], array)
    layers = read_arrays(tmp_path / WEIGHTS).values()
    columns = np.concatenate([layer.reshape(3, -1) for layer in layers], axis=1)
    np.testing.assert_array_equal(columns.T, initial_parameters(config))


def test_a_map_of_given_weights_is_read_from_its_own_copy(tmp_path):
    weights = {"layer_1": np.ones((1, 3, 2)), "layer_2": np.full((1, 3, 1), 0.3)}
    write_arrays(tmp_path / "elsewhere" / "w.npz", weights)
    given = {"name": "given", "path": str(tmp_path / "elsewhere" / "w.npz")}
    config = make_map({"init": given, "network.hidden": [2]}, resolution=(3, 3))
    write_map(tmp_path, config, drawn(config))
    (tmp_path / "config.yaml").write_text(config.to_yaml(), encoding="utf-8")
    (tmp_path / "elsewhere" / "w.npz").unlink()
    assert read_map_config(tmp_path).config_digest == config.config_digest


@pytest.mark.parametrize(
    "change",
    [
        {"solved": None},
        {"solved": np.zeros((2, 2), dtype=bool)},
        {"more": np.zeros(3)},
    ],
    ids=["lacks one", "another shape", "one too many"],
)
def test_what_is_no_map_is_refused(tmp_path, change):
    config = make_map(resolution=(4, 3))
    arrays = {**drawn(config).arrays, **change}
    write_arrays(tmp_path / ARRAYS, {n: array for n, array in arrays.items() if array is not None})
    with pytest.raises(ValueError, match="hold"):
        read_map_result(tmp_path)


def test_the_weights_of_the_middle_of_the_plane_are_the_initial_ones():
    config = make_map(x=PLANE_U, y=PLANE_V, resolution=3)
    map_ = Map("", "", "", config, drawn(config), {})
    middle = np.concatenate([w.ravel() for w in map_.initial_weights(1, 1).values()])
    np.testing.assert_array_equal(middle, initial_parameters(config)[:, 0])


def test_xarray_has_the_values_of_the_axes_as_coordinates():
    pytest.importorskip("xarray")
    config = make_map({"replicates": 2}, y=SCALE, resolution=(4, 3))
    map_ = Map("0123", "", "", config, drawn(config), {})
    data = map_.to_xarray()
    assert dict(data.sizes) == {"init.scale": 3, "optimizer.learning_rate": 4, "replicate": 2}
    chosen = data["final_loss"].isel({"init.scale": 2, "optimizer.learning_rate": 1})
    np.testing.assert_array_equal(chosen, map_.result.final_loss[2, 1])
    np.testing.assert_array_equal(data["init.scale"], map_.result.y)
