"""Random command lines: each is done whole, or refused in one message that a user can act on.

More of them: `make test ARGS="tests/cli/test_command_lines.py --lines 2000 --hypothesis-seed 1"`.
"""

import io
import os
import re
from collections.abc import Iterable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from math import prod
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from runs import CONF, raw_config

from bp_pipeline.cli import main
from bp_pipeline.config import Composition
from bp_pipeline.sweep import run_jobs

SMALL = ["tracking=off", "engine=numpy", "threads=1", "training.record=3"]
LEAST = ["replicates=2", "training.epochs=3"]
MOST_NETWORK_EPOCHS = 5_000  # of what is trained here; larger requests are only composed

OPTIONS = {
    folder.name: sorted(path.stem for path in folder.glob("*.yaml"))
    for folder in sorted(CONF.iterdir())
    if folder.is_dir() and folder.name != "hydra"
}


def leaves(raw: Mapping[str, Any], prefix: str = "") -> Iterable[str]:
    for key, value in raw.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")


KEYS = sorted({*leaves(raw_config()), *OPTIONS, "task.bits", "task.inputs", "task.targets",
               "activation.slope", "init.path", "init.noise", "init.low", "init.std"})  # fmt: skip
HOSTILE = [
    "", "null", "true", "off", "yes", "~", "nan", "inf", "-inf", "0", "-1", "1", "3", "0.5",
    "1e-320", "1e309", "9223372036854775807", "9223372036854775808",
    "0x10", "1_000", "[]", "[3]", "[0]",
    "[3,", "{}", "{a:1}", "{lr:0.1}", "''", '""', "'a b'", "a b", "a:b", "a=b", "a,b", ",", "1,2",
    "1,,2", "tanh,relu", "[tanh,relu]", "range(0,3)", "range(3,3)", "range(0.1,0.5,0.1)",
    "interval(0,1)", "choice(1,2)", "choice()", "glob(*)", "glob(x*)", "shuffle(1,2)", "sort(2,1)",
    "int(3.7)", "str(1)", "tag(a,1)", "extend_list(1)", "${seed}", "${nothing}", "${oc.env:HOME}",
    "${oc.env:NO_SUCH}", "${", "???", "*", "/", "../x", "x/y", "x:y", "%41", "é", "数", "\\", "\\,",
    "#", ";", "$HOME", "`x`", "None", "True", "tahn", "ReLU", "XOR", "[[0,1],[1,0]]", "[[[0]]]",
    "1e400", "--1", "+1", "1.", ".5", "[1.5]", "[null]", "\n", "\t", "x" * 300,
]  # fmt: skip
FLAGS = [
    "-m", "--multirun", "--lr", "--help ", "--config-name", "--config-dir=nowhere", "-x", "--run",
    "--package=x", "hydra.run.dir=x", "hydra.foo=1", "hydra.verbose=3", "hydra/launcher=joblib",
    "hydra.sweeper.params={seed: 1}", "hydra.sweeper.grids=[]", "hydra.job.name=x", "tanh", "=1",
    "=", "a=", "~seed", "~activation", "+new=1", "++seed=1", "+experiment=symmetry", "lr=0.1",
    "learning_rate=1", "epochs=10", "hidden=[4]", "activation@network=relu", "-mseed=1",
]  # fmt: skip
# What Python, Hydra, OmegaConf, ANTLR, argparse or pydantic say, and no user should have to read.
FOREIGN = re.compile(
    r"Traceback|\b[A-Z]\w*(?:Error|Exception|Warning)\b|\bantlr|omegaconf|pydantic|full_key|"
    r"object_type| at 0x[0-9a-f]|NoneType|mismatched input|no viable|argument of"
)

settings_of_values = st.one_of(
    st.sampled_from(HOSTILE),
    st.floats().map(str),
    st.integers().map(str),
    st.sampled_from(sorted({option for options in OPTIONS.values() for option in options})),
    st.text(max_size=6).filter(lambda text: "\0" not in text and text.isprintable()),
)
overrides = st.one_of(
    st.builds(
        "{}{}={}".format,
        st.sampled_from(["", "", "", "", "+", "++", "~"]),
        st.sampled_from(KEYS),
        settings_of_values,
    ),
    st.sampled_from(FLAGS),
)
hostile_lines = st.tuples(
    st.sampled_from([[], ["-m"]]), st.lists(overrides, min_size=1, max_size=3)
).map(lambda parts: [*parts[0], *SMALL, *LEAST, *parts[1]])


def run(words: list[str]) -> tuple[int, str, str]:
    """Run `bp` in this process, since a process each would take a second; return what it did."""
    out, error = io.StringIO(), io.StringIO()
    with (
        patch("sys.argv", ["bp", "train", *words]),
        redirect_stdout(out),
        redirect_stderr(error),
    ):
        return main(), out.getvalue(), error.getvalue()


def tried(lines: Any, n_lines: int, check: Any) -> None:
    checks = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    settings(max_examples=n_lines, suppress_health_check=checks)(given(lines)(check))()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "HYDRA_FULL_ERROR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def n_lines(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--lines"))


def test_a_hostile_line_is_done_or_refused_in_one_message(folder: Path, n_lines: int) -> None:
    def check(words: list[str]) -> None:
        with patch("bp_pipeline.sweep.run_jobs", run_what_is_small):
            code, printed, told = run(words)
        assert code in (0, 2), told
        if code == 2:
            assert printed == ""
            assert told.strip()
            typed = "".join(words)
            foreign = [f for f in FOREIGN.findall(told) if f not in typed]
            assert not foreign, told
            problems = told.splitlines()  # a line each, as different things may be wrong
            rest = re.fullmatch(r"… and \d+ more problems\.", problems[-1])
            assert all(line.startswith("`") for line in problems[: -1 if rest else None]), told
            assert len(set(problems)) == len(problems), told
        assert os.listdir(folder) == []

    tried(hostile_lines, n_lines, check)


def run_what_is_small(composition: Composition) -> int:
    """Train what takes no time and is kept nowhere; of anything else, composing is tested."""
    configs = [job.config for job in composition.jobs]
    work = sum(config.replicates * config.training.epochs for config in configs)
    width = max(sum(config.network.hidden) for config in configs)
    is_kept = any(config.tracking.name != "off" for config in configs)
    if is_kept or work > MOST_NETWORK_EPOCHS or width > 100 or len(configs) > 50:
        return 0
    return run_jobs(composition)


def grids() -> st.SearchStrategy[dict[str, list[str]]]:
    """Generate values for keys that go together with each other, whatever they are."""
    axes = {
        "activation": OPTIONS["activation"],
        "init": ["ones", "uniform", "uniform_small", "normal", "he_normal", "lecun_normal"],
        "task": ["xor", "and", "or", "nand", "nor", "xnor"],
        "optimizer": OPTIONS["optimizer"],
        "seed": ["0", "1", "2", "9223372036854775807"],
        "network.hidden": ["[]", "[1]", "[2,3]", "[4]"],
        "optimizer.learning_rate": ["0.1", "1", "1.0", "5e-1", "30"],
        "loss": OPTIONS["loss"],
        "replicates": ["1", "2", "5"],
    }
    each = {
        key: st.lists(st.sampled_from(values), min_size=1, max_size=3)
        for key, values in axes.items()
    }
    return st.lists(st.sampled_from(sorted(axes)), min_size=1, max_size=3, unique=True).flatmap(
        lambda keys: st.fixed_dictionaries({key: each[key] for key in keys})
    )


def test_what_is_trained_is_what_was_asked(folder: Path, n_lines: int) -> None:
    def check(grid: dict[str, list[str]]) -> None:
        words = [f"{key}={','.join(values)}" for key, values in grid.items()]
        each = {key: {"1" if text == "1.0" else text for text in grid[key]} for key in grid}
        n_asked, n_runs = prod(map(len, grid.values())), prod(map(len, each.values()))
        replicates = [int(text) for text in each.get("replicates", {"2"})]
        n_networks = n_runs // len(replicates) * sum(replicates)
        code, printed, told = run(["-m", *SMALL, *LEAST, *words])
        assert code == 0, told
        numbers = [int(text.replace(",", "")) for text in re.findall(r"[\d,]*\d", told)]
        n_repeated = [n_asked - n_runs] if n_asked > n_runs else []
        expected = [*n_repeated, n_runs, n_networks]
        assert numbers[: len(expected)] == expected, (told, words)
        lines = printed.splitlines()
        assert len(lines) == n_runs
        for key, values in each.items():
            if len(values) > 1 and key in ("activation", "init", "task"):
                for value in values:
                    named = [line for line in lines if value in line.partition(":")[0].split(" · ")]
                    assert len(named) == n_runs // len(values)

    tried(grids(), max(20, n_lines // 10), check)
