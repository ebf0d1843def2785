"""`bp explain`: its numbers are training's own, its formulas give them, the article is beside."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from html.parser import HTMLParser
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from runs import make_config

from bp_pipeline.cli import main
from bp_pipeline.config import RunConfig, parse_config
from bp_pipeline.core.training import train
from bp_pipeline.ensemble import initial_parameters, setup_of, train_runs
from bp_pipeline.explain import FORMATS, Explanation, explain_step
from bp_pipeline.explain.formats import to_terminal
from bp_pipeline.hydra_app import compose
from bp_pipeline.messages import ConfigError
from bp_pipeline.weights_file import write_arrays

ONLINE = {"optimizer": "online_gd"}
CASES: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "batch": ({}, {}),
    "sum": ({"loss.reduction": "sum"}, {"activation": "sigmoid"}),
    "online": ({}, ONLINE),
    "momentum": ({"optimizer.momentum": 0.9}, {}),
    "online with momentum": ({"optimizer.momentum": 0.5}, {**ONLINE, "init": "normal"}),
    "depth 2": ({"network.hidden": [3, 2]}, {"init": "uniform"}),
    "no bias": ({"network.bias": False}, {"init": "normal"}),
    "biases held": ({"network.train_bias": False, "optimizer.momentum": 0.5}, {"init": "normal"}),
    "squared error": ({"network.output": "tanh"}, {"loss": "squared_error"}),
    "no hidden layer": ({"network.hidden": []}, {"init": "uniform"}),
    "wide": ({"network.hidden": [11]}, {"init": "normal"}),
    "relu": ({}, {"activation": "relu", "init": "normal"}),
    "leaky_relu": ({}, {"activation": "leaky_relu", "init": "normal"}),
    "softplus": ({}, {"activation": "softplus", "init": "normal"}),
    "identity": ({"network.output": "identity"}, {"activation": "identity", "init": "normal",
                                                  "loss": "squared_error"}),
    "three samples, two outputs": (
        {"task.inputs": [[0.05, 0.1], [1, -2], [3, 0.5]],
         "task.targets": [[0.01, 1], [1, 0], [0, 0.25]]},
        {"task": "table"},
    ),
}  # fmt: skip


def config_of(case: str, **changes: Any) -> RunConfig:
    values, options = CASES[case]
    return make_config({"replicates": 4, **values, **changes}, options)


def article() -> RunConfig:
    [config] = compose(["experiment=article"]).check(parse_config)
    return config


def arrays(explanation: Explanation, key: str) -> dict[str, list[float]]:
    """Read the weights of its JSON into arrays as they are in weight files."""
    found: dict[str, dict[tuple[int, int], float]] = {}
    for weight in json.loads(FORMATS["json"](explanation))["weights"]:
        row, column = weight["index"]
        found.setdefault(weight["array"], {})[row, column] = weight[key]
    return {name: [cells[at] for at in sorted(cells)] for name, cells in found.items()}


def flat(layers: Mapping[str, np.ndarray], replicate: int) -> dict[str, list[float]]:
    return {name: layer[replicate].ravel().tolist() for name, layer in layers.items()}


# Bit for bit


@pytest.mark.parametrize("case", CASES)
def test_the_weights_are_those_that_training_has(case: str) -> None:
    epoch, replicate = 3, 2
    states = []
    for epochs in (epoch, epoch + 1):
        config = config_of(case, **{"training.epochs": epochs, "engine": "numpy"})
        [(_, result)] = train_runs([config])
        states.append(flat(result.final_weights, replicate))
    samples = range(len(config.truth_table.inputs))
    online = config.optimizer.name == "online_gd"
    steps = [
        explain_step(config, sample=sample, epoch=epoch, replicate=replicate) for sample in samples
    ]
    assert arrays(steps[0], "before") == states[0]
    assert arrays(steps[-1], "after") == states[1]
    for earlier, later in pairwise(steps):
        expected = arrays(earlier, "after" if online else "before")
        assert arrays(later, "before") == expected
        if online:
            assert arrays(later, "velocity_before") == arrays(earlier, "velocity_after")


def test_they_are_those_of_the_compiled_engines_trajectory() -> None:
    config = config_of("online with momentum", **{"training.epochs": 7, "training.record": 8})
    [(_, result)] = train_runs([config])
    assert result.epochs.tolist() == list(range(8))
    for epoch in range(7):
        found = explain_step(config, sample=3, epoch=epoch, replicate=1)
        layers = {name: result.trajectory[name][:, epoch + 1] for name in result.final_weights}
        assert arrays(found, "after") == flat(layers, 1)


@pytest.mark.parametrize("case", ["batch", "sum", "depth 2", "three samples, two outputs"])
def test_the_gradient_is_that_of_central_differences(case: str) -> None:
    config = config_of(case)
    found = explain_step(config, epoch=1)
    step, h = found.step, 1e-6
    setup = replace(setup_of(config), epochs=0)
    parameters = np.concatenate([layer.ravel() for layer in step.weights])[:, None]
    gradient = np.concatenate([layer.ravel() for layer in step.gradient])
    factor = 1 if setup.architecture.mean_gradient else len(setup.inputs)
    for index in range(len(parameters)):
        ends = []
        for change in (h, -h):
            moved = parameters.copy()
            moved[index] += change
            ends.append(train(setup, moved, np.ones(1), np.zeros(1)).final_loss[0])
        assert gradient[index] == pytest.approx(factor * (ends[0] - ends[1]) / (2 * h), abs=1e-8)


# The article


PRINTED_AND_COMPUTED = [  # article.txt, and what its own equations give (figures.md)
    ("η", 0.1, 0.1),
    ("W10 W20 W30 W11 W21 W31 W12 W22 W32 V00 V01 V02 V03", 1, 1),
    ("X0", 1, 1), ("X1 X2", 0, 0), ("y_D0", 0, 0),
    ("a_Z1 a_Z2 a_Z3", 1, 1), ("Z1 Z2 Z3", 1, 1), ("a_D0", 4, 4), ("D0", 4, 4),
    ("D0", 1, 4), ("y_D0", 1, 0), ("L", -4, 8),
    ("f′(a_Z1) f′(a_Z2) f′(a_Z3) f′(a_D0)", 1, 1),
    ("δ_D0", -4, 4), ("δ_Z0", -4, None), ("δ_Z1 δ_Z2 δ_Z3", -4, 4),
    ("W10 W20 W30", 1.4, 0.6),
    ("W11 W21 W31 W12 W22 W32", 1.4, 1),
    ("V00 V01 V02 V03", 1.4, 0.6),
]  # fmt: skip


def test_the_articles_every_number_stands_beside_ours() -> None:
    found = explain_step(article()).comparison
    columns = [(" ".join(entry.names), entry.prints, entry.computed) for entry in found]
    assert columns == PRINTED_AND_COMPUTED
    for entry in found:
        assert (entry.why is not None) == (entry.prints != entry.computed)
        assert entry.place
        assert entry.why is None or re.fullmatch(r"[A-Z].*\.", entry.why)


def test_the_corrected_step_descends_as_far_as_its_equations_say() -> None:
    changes = {change.name: change for change in explain_step(article()).effect}
    assert changes["output D0"].before == 4
    assert changes["output D0"].after == pytest.approx(1.68)
    assert changes["loss of this sample"].after == pytest.approx(1.68**2 / 2)


@pytest.mark.parametrize(
    "arguments", [["--sample", "1"], ["--epoch", "1"], ["optimizer.learning_rate=0.2"]]
)
def test_the_articles_numbers_are_only_shown_where_they_belong(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(["experiment=article", *arguments], monkeypatch) == 0
    text = capsys.readouterr().out
    assert "The article beside it" not in text
    assert "only for its own setup" in text


# Mazur, "A Step by Step Backpropagation Example"


def test_mazurs_example_comes_out_digit_for_digit(tmp_path: Path) -> None:
    layers = {
        "layer_1": np.array([[[0.35, 0.35], [0.15, 0.25], [0.20, 0.30]]]),
        "layer_2": np.array([[[0.60, 0.60], [0.40, 0.50], [0.45, 0.55]]]),
    }
    write_arrays(tmp_path / "mazur.npz", layers)
    config = make_config(
        {
            "task.inputs": [[0.05, 0.10]], "task.targets": [[0.01, 0.99]], "network.hidden": [2],
            "network.train_bias": False, "init.path": str(tmp_path / "mazur.npz"),
        },
        {"task": "table", "activation": "sigmoid", "init": "given", "loss": "squared_error"},
    )  # fmt: skip
    found = explain_step(config)
    values = {equation.name: equation.value for equation in found.all_equations}
    expected = {
        "Z1": 0.593269992, "Z2": 0.596884378, "D0": 0.75136507, "D1": 0.772928465,
        "L₀": 0.298371109, "∂L/∂V01": 0.082167041, "∂L/∂W11": 0.000438568,
        "W11": 0.149780716, "W12": 0.19956143, "W21": 0.24975114, "W22": 0.29950229,
        "V01": 0.35891648, "V02": 0.408666186, "V11": 0.511301270, "V12": 0.561370121,
        "W10": 0.35, "V00": 0.60,
    }  # fmt: skip
    assert {name: values[name] for name in expected} == pytest.approx(expected, abs=5e-9)
    assert values["δ_D0"] == pytest.approx((0.75136507 - 0.01) * 0.186815602, abs=1e-8)
    assert found.effect[-1].after == pytest.approx(0.291027773694, abs=5e-13)


# Refusals


def run(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr("sys.argv", ["bp", "explain", *arguments])
    return main()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--sample 9", "`--sample` must be a row of the xor table, 0 to 3, got 9."),
        ("--sample -1", "`--sample` must be a row of the xor table, 0 to 3, got -1."),
        ("--epoch -1", "`--epoch` must be a number of epochs, 0 or more, got -1."),
        ("--epoch x", "`--epoch` must be a whole number, got 'x'. Try `--epoch 0`."),
        ("--replicate 1000", "`--replicate` must be one of the run's `replicates`, 0 to 99"),
        ("--format pdf", "`--format` must be one of its options, got 'pdf'. There are: terminal, "),
        ("--formt md", "`bp explain` cannot be asked so: unrecognized arguments: --formt"),
        ("--sample", "`bp explain` cannot be asked so: argument --sample: expected one argument."),
        ("activation=tahn", "`activation` must be one of its options, got 'tahn'. Did you mean"),
        ("tanh", "`tanh` is not an override."),
        ("optimizer.learning_rate=-1", "`optimizer.learning_rate` must be > 0, got -1."),
        ("-m seed=1,2", "`bp explain` must be asked for one run, got a sweep of 2 (seed)."),
        ("experiment=xor_sweep init=ones", "`bp explain` must be asked for one run, got a"),
        ("--out no/such/folder.html", "`--out` must be a file that can be written"),
        (
            "training.stop_when_converged=true optimizer.learning_rate=3 --epoch 1999",
            "`--epoch` must be < ",
        ),
    ],
)  # fmt: skip
def test_a_wrong_request_is_one_message_and_code_2(
    arguments: str,
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(arguments.split(), monkeypatch) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(message)
    assert len(printed.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_of_one_job_can_be_explained(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = "experiment=xor_sweep activation=relu init=ones optimizer.learning_rate=1"
    assert run(one.split(), monkeypatch) == 0
    assert "relu · ones · lr=1" in capsys.readouterr().out


def test_a_diverged_network_takes_no_further_step() -> None:
    config = make_config(
        {"optimizer.learning_rate": 1e200, "network.output": "identity"},
        {"activation": "identity", "loss": "squared_error"},
    )
    last = explain_step(config, epoch=0)
    assert json.loads(FORMATS["json"](last))["effect"][-1]["after"] == "inf"
    with pytest.raises(ConfigError, match=r"must be < 1, where replicate 0 diverged"):
        explain_step(config, epoch=5)


# Formats


@pytest.mark.parametrize("width", [80, 120, 200])
@pytest.mark.parametrize("case", ["batch", "depth 2", "online with momentum"])
def test_the_terminal_is_never_wider_than_it_is(width: int, case: str) -> None:
    console = Console(width=width, file=StringIO())
    to_terminal(explain_step(config_of(case), sample=1, epoch=1), console)
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert not any("…" in line for line in lines)


def test_numbers_in_json_read_back_as_the_same_doubles() -> None:
    found = explain_step(config_of("momentum"), epoch=2)
    document = json.loads(FORMATS["json"](found))
    written = [e["value"] for section in document["sections"] for e in section["equations"]]
    assert written == [equation.value for equation in found.all_equations]


class Tags(HTMLParser):
    """Check that every element is closed, and gather the text."""

    VOID = ("meta", "br")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.seen.add(tag)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("case", CASES)
def test_the_page_is_well_formed_and_loads_nothing(case: str) -> None:
    page = FORMATS["html"](explain_step(config_of(case)))
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert {"svg", "circle", "line"} <= tags.seen
    assert not re.search(r"(src|href)=|url\(|<script", page)


def test_labels_cannot_break_the_page_or_a_table(tmp_path: Path) -> None:
    label = "<script>a|b*"
    config = make_config().model_copy(update={"labels": {"activation": label, "init": "x"}})
    found = explain_step(config)
    page = FORMATS["html"](found)
    assert label not in page
    assert "&lt;script&gt;a|b*" in page
    assert "\\<script>a\\|b\\*" in FORMATS["md"](found)


def test_a_network_too_large_is_not_drawn() -> None:
    page = FORMATS["html"](explain_step(make_config({"network.hidden": [40], "replicates": 1})))
    assert "<svg" not in page
    assert "too large to be drawn" in page


def test_out_writes_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "step.md"
    assert run(["--format", "md", "init=ones", "--out", str(out)], monkeypatch) == 0
    assert out.read_text(encoding="utf-8").startswith("# One training step: sample 0")


def test_replicates_are_those_of_the_run() -> None:
    config = config_of("batch")
    initial = initial_parameters(config)
    found = explain_step(config, replicate=3)
    assert [x for layer in found.step.weights for x in layer.ravel()] == initial[:, 3].tolist()
