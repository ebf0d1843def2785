"""The page of a map: the command of a pixel, and what a browser shows."""

import json
import shlex
import zlib
from base64 import b64decode
from pathlib import Path

import numpy as np
import pytest
from bs4 import BeautifulSoup
from some_maps import FACTOR_0, MOMENTUM, PLANE_U, PLANE_V, drawn, make_map

from bp_pipeline.config import compose, parse_config
from bp_pipeline.maps import Map, MapConfig
from bp_pipeline.maps.picture import paint, write_picture
from bp_pipeline.maps.viewer import pixel_command, write_viewer

COMMANDS = {
    "the default": make_map({"training.epochs": 500}),
    "other options": make_map(
        {"init.bound": 0.3, "activation.slope": 0.2, "network.hidden": [4, 2]},
        {"init": "uniform", "activation": "leaky_relu"}, y=MOMENTUM),
    "a factor": make_map({"optimizer.layer_factors": [3.0, 0.5]}, x=FACTOR_0),
    "a table": make_map({"task.inputs": [[0.5, -1.0], [1.0, 2.0]], "task.targets": [[1.0], [0.0]]},
                        {"task": "table"}),
    "what both axes replace": make_map({"optimizer.learning_rate": 3.0, "init.scale": 2.0}),
}  # fmt: skip


def expected(config: MapConfig, x: float, y: float) -> str:
    """Return the digest of the run that a pixel is."""
    raw = config.model_dump(exclude={"map", "labels"}, exclude_none=True)
    for key, value in ((config.map.x.key, x), (config.map.y.key, y)):
        section, name, *layer = key.split(".")
        if layer:
            value = [value if i == int(layer[0]) else f for i, f in enumerate(config.layer_factors)]
        raw[section][name] = value
    return parse_config(raw).config_digest


@pytest.mark.parametrize("name", COMMANDS)
def test_the_command_of_a_pixel_trains_just_this_pixel(name):
    config = COMMANDS[name]
    x, y = 0.123, 0.00456
    command = pixel_command(config, "").replace("{x}", repr(x)).replace("{y}", repr(y))
    bp, train, *words = shlex.split(command)
    assert (bp, train) == ("bp", "train")
    [job] = compose(words).jobs
    assert job.config.config_digest == expected(config, x, y)


def test_the_command_of_a_point_in_the_plane_starts_from_its_weights(tmp_path, monkeypatch):
    config = make_map(x=PLANE_U, y=PLANE_V)
    python, command = pixel_command(config, "RUN").split(" && ")
    code = shlex.split(python)[2]
    assert 'load_map("RUN", experiment="bp_pipeline")' in code
    assert "{row}, {column}" in code
    elsewhere = make_map({"tracking.experiment": "mine"}, x=PLANE_U, y=PLANE_V)
    assert 'load_map("RUN", experiment="mine")' in pixel_command(elsewhere, "RUN")
    assert "load_map" not in pixel_command(config, "")  # it was not recorded
    map_ = Map("", "", "", config, drawn(config), {})
    monkeypatch.chdir(tmp_path)
    map_.write_weights("pixel.npz", 3, 4)
    [job] = compose(shlex.split(command)[2:]).jobs
    given = job.config.given_weights
    for layer, weights in zip(given, map_.initial_weights(3, 4).values(), strict=True):
        np.testing.assert_array_equal(layer, weights)
    assert job.config.init_scale == 1.0


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Map]:
    folder, config = tmp_path_factory.mktemp("page"), make_map(resolution=(20, 16))
    map_ = Map("0123", "a <map>", "bp map 'a b'", config, drawn(config), {})
    x, y = config.map.axes()
    write_picture(folder / "map.png", paint(map_.result, "solved"), x, y,
                  title="", subtitle="", text={})  # fmt: skip
    write_viewer(folder / "map.html", map_, folder / "map.png")
    return folder / "map.html", map_


def test_a_page_carries_the_values_of_all_pixels(page):
    path, map_ = page
    soup = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
    data = json.loads(soup.find(id="data").string)
    assert data["x"] == map_.result.x.tolist()
    assert data["y"] == map_.result.y.tolist()
    epochs = np.frombuffer(zlib.decompress(b64decode(data["arrays"]["epochs"])), "<i4")
    np.testing.assert_array_equal(epochs, map_.result.epochs_to_converge.ravel())
    assert soup.find("h1").text == "a <map>"


def test_a_browser_shows_the_pixel_under_the_pointer(page, browser):
    path, map_ = page
    shown = browser.new_page()
    problems: list[str] = []
    shown.on("pageerror", lambda error: problems.append(str(error)))
    shown.goto(path.as_uri())
    shown.wait_for_function("Object.keys(arrays).length === 4")
    box = shown.locator("#map").bounding_box()
    place = shown.evaluate("data.placement")
    scale = box["width"] / shown.evaluate("image.naturalWidth")
    row, column = 5, 7
    at = (place["left"] + (column + 0.5) * place["enlarged"]) * scale
    down = (place["top"] + (15 - row + 0.5) * place["enlarged"]) * scale
    shown.mouse.move(box["x"] + at, box["y"] + down)
    values, command = (shown.locator(f"#{name}").inner_text() for name in ("values", "command"))
    shown.close()
    assert problems == []
    assert repr(map_.result.x[column].item()) in values
    assert repr(map_.result.y[row].item()) in values
    outcome = ("stalled", "converged", "diverged")[map_.result.outcome[row, column]]
    assert outcome in values
    assert f"init.scale={map_.result.y[row].item()!r}" in command


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (1100, 700)])
def test_the_whole_picture_and_the_pixel_are_in_the_window(page, browser, width, height):
    path, _ = page
    shown = browser.new_page(viewport={"width": width, "height": height})
    shown.goto(path.as_uri())
    picture, pixel = (shown.locator(name).bounding_box() for name in ("#map", "#pixel"))
    shown.close()
    for box in (picture, pixel):
        assert 0 <= box["x"] < box["x"] + box["width"] <= width
        assert 0 <= box["y"] < box["y"] + box["height"] <= height
    assert picture["x"] + picture["width"] <= pixel["x"]
