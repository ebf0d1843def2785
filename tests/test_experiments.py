"""The studies as committed: complete, as their baselines say, and told as they came out."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from shutil import copy, copytree

import matplotlib
import numpy as np
import pandas as pd
import pytest

import experiments.__main__ as make_studies
from bp_pipeline.ensemble import wilson_interval
from bp_pipeline.report.statistics import eta_squared
from bp_pipeline.reproduce.baselines import study_configs
from experiments.making import configs_of, fill, read_summary, summarize, train
from experiments.maps import draw, map_configs

ROOT = Path(__file__).resolve().parents[1]
EXPERIMENTS = ROOT / "experiments"
STUDIES = sorted(path.parent.name for path in EXPERIMENTS.glob("*/study.py"))
FOLDERS = sorted(path.name for path in EXPERIMENTS.iterdir() if path.name[0] not in "._")
SWEEPS = sorted(path.stem for path in (ROOT / "conf" / "experiment").glob("*.yaml"))
SMALL = ("replicates=2", "training.epochs=20")
RATE = "converged/rate"
N_RUNS = {
    "xor_sweep": 240,  # 5 activations × 6 inits × 8 learning rates
    "symmetry": 48,  # 2 activations × 24 amounts of noise
    "published": 27,  # 2 × 4 of Mazur's, 1 of Brownlee's, 3 × 6 of Trask's
    "kolen_pollack_1990": 2 * 114,  # batch and online
    "depth_and_width": 432,  # 3 tasks × 3 learning rates × 3 depths × 16 widths
}
# Studies of maps, and how many they draw at the size of their baseline.
MAPS = {"trainability": 4, "xor_basins": 3, "sohl_dickstein_2024": 2}


configs_of_study = cache(study_configs)  # what several tests ask for takes seconds to compose


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work where `experiments/published` has its weights."""
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("name", MAPS)
def test_every_study_of_maps_is_drawn_at_a_reduced_size(name: str) -> None:
    configs = map_configs(f"experiment={name}", "map.resolution=6", "training.epochs=20")
    assert len(configs) == MAPS[name]
    assert {draw(config).result.outcome.shape for config in configs} == {(6, 6)}


@pytest.mark.parametrize("name", sorted({*SWEEPS} - {*MAPS}))
def test_every_study_trains_at_a_reduced_size(name: str) -> None:
    runs = train(f"experiment={name}", *SMALL)
    assert {run.config.training.epochs for run in runs} == {20}
    if name in N_RUNS:
        # Where the sweep varies epochs, as Mazur's and Trask's, one value takes the place of many.
        assert len(runs) == (2 + 1 + 3 if name == "published" else N_RUNS[name])
        assert len(summarize(runs)) == len(runs)


def test_every_folder_is_a_study() -> None:
    folders = {name for name in FOLDERS if (EXPERIMENTS / name).is_dir()}
    for name in folders:
        assert name in SWEEPS
        assert (EXPERIMENTS / name / "baseline.json").is_file()
        readme = (EXPERIMENTS / name / "README.md").read_text(encoding="utf-8")
        assert f"experiment={name}" in readme
    assert folders - set(STUDIES) == {"corrections", "tripwire"}  # only baselines
    assert set(STUDIES) == {*N_RUNS, *MAPS, "article"}


@pytest.mark.parametrize("name", sorted({*N_RUNS, "article"} - {"published"}))
def test_each_row_of_a_summary_is_a_run(name: str) -> None:
    table = read_summary(EXPERIMENTS / name)
    keys = list(table.columns[: list(table).index(RATE)])
    assert not table.duplicated(keys).any()
    # The article's own setup, its four corrections, all combinations, and one with its sign.
    assert len(table) == N_RUNS.get(name, 1 + 4 + 8 + 1)


@pytest.mark.parametrize("name", sorted({*N_RUNS, "article"} - {"published"}))
def test_rates_of_a_summary_fit_each_other(name: str) -> None:
    table = read_summary(EXPERIMENTS / name)
    told = RATE if f"{RATE}_low" in table else "solved/rate"  # the rate that has an interval
    copies = table[f"{told}_low"].isna()
    if copies.any():
        draws_nothing = table["init"] == "ones" if "init" in table else table["init.noise"] == 0
        assert copies.equals(draws_nothing)
    table = table[~copies]
    n = configs_of_study(name)[0].replicates
    outcomes = table[[RATE, "stalled/rate", "diverged/rate"]].to_numpy()
    np.testing.assert_allclose(outcomes.sum(axis=1), 1, rtol=1e-12)
    counts = table[told].to_numpy() * n
    np.testing.assert_allclose(counts, counts.round(), atol=1e-9)
    intervals = [wilson_interval(count, n) for count in counts.round().astype(int).tolist()]
    columns = [f"{told}_low", f"{told}_high"]
    np.testing.assert_allclose(table[columns], intervals, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", STUDIES)
def test_tables_and_pictures_follow_from_the_summary(name: str, tmp_path: Path) -> None:
    for path in (EXPERIMENTS / name).iterdir():
        if path.suffix in (".md", ".csv"):
            copy(path, tmp_path)
    import_module(f"experiments.{name}.study").show(tmp_path)
    differences = make_studies.differences(EXPERIMENTS / name, tmp_path)
    assert [lines for file, lines in differences if (tmp_path / file).exists()] == []


@pytest.mark.parametrize("name", [name for name in FOLDERS if (EXPERIMENTS / name).is_dir()])
def test_configs_are_those_of_the_baseline(name: str) -> None:
    baseline = json.loads((EXPERIMENTS / name / "baseline.json").read_text(encoding="utf-8"))
    configs = configs_of_study(name)
    recorded = [run["config_digest"] for run in baseline["runs"]]
    assert [config.config_digest for config in configs] == recorded


def commands() -> Iterator[tuple[str, list[str]]]:
    """Yield what READMEs tell to type: the README's folder, and the words of the line."""
    for readme in sorted(EXPERIMENTS.glob("*/README.md")):
        for line in re.findall(r"^    (\S.*)$", readme.read_text(encoding="utf-8"), re.MULTILINE):
            yield readme.parent.name, shlex.split(line, comments=True)


@pytest.mark.parametrize(("name", "words"), list(commands()))
def test_what_a_readme_tells_to_type_is_accepted(name: str, words: list[str]) -> None:
    program, verb, *arguments = words
    if (program, verb) == ("make", "studies"):
        assert arguments == [f"STUDIES={name}"]
    elif (program, verb) == ("bp", "reproduce"):
        assert arguments == ["--baselines", name]
    elif (program, verb) == ("make", "sweep"):
        assert name == "xor_sweep"
    elif program == "bp" and arguments in [[f"experiment={study}"] for study in SWEEPS]:
        study = arguments[0].removeprefix("experiment=")
        assert verb in (["map"] if study in MAPS else ["train", "explain"])
        assert configs_of_study(study)
    elif (program, verb) == ("bp", "map"):
        assert map_configs(*arguments)
    else:
        assert (program, verb) in {("bp", "train"), ("bp", "explain")}
        assert configs_of(*arguments, program=f"bp {verb}")


def test_combinations_hold_the_steps_of_the_article() -> None:
    steps = ("article", "article_loss", "article_activation", "article_init")
    single = [configs_of_study(name) for name in steps]
    combinations = configs_of_study("corrections")
    assert [len(configs) for configs in single] == [1, 1, 1, 1]
    digests = {config.config_digest for config in combinations}
    assert len(digests) == len(combinations) == 8
    assert {config.config_digest for [config] in single} <= digests


# What READMEs say of the studies: each test is such a sentence, and holds its numbers.


def numbers_said_of(study: str) -> set[str]:
    """Return the numbers in what the project's README says of a study."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    [said] = re.findall(rf"\(experiments/{study}/README\.md\)(.*?)\n(?:- |\n)", text, re.DOTALL)
    return set(re.findall(r"[0-9]+(?:\.[0-9]+)?", said))


def test_no_network_learns_with_the_articles_sign_and_of_the_other_corrections_two_decide() -> None:
    table = read_summary(EXPERIMENTS / "article")
    assert (table.loc[table["optimizer.learning_rate"] < 0, RATE] == 0).all()
    factors = table[(table["part"] == "factor") & (table["optimizer.learning_rate"] > 0)]
    both = (factors["activation"] == "tanh") & (factors["init"] == "glorot_uniform")
    assert (factors.loc[both, RATE] > 0.9).all()
    assert (factors.loc[~both, RATE] == 0).all()


def test_learning_rate_decides_more_than_init_small_weights_are_slow_relu_units_are_lost() -> None:
    table, longer = (
        read_summary(EXPERIMENTS / "xor_sweep", f) for f in ("summary.csv", "longer.csv")
    )
    rates = table[RATE].to_numpy()
    by_rate, by_init = (
        eta_squared(rates, table[key].tolist()) for key in ("optimizer.learning_rate", "init")
    )
    assert by_rate > by_init
    gained = longer[RATE] - longer["converged within 2000"]
    assert (gained[longer["init"] == "uniform_small"] > 0.5).all()
    assert (gained[longer["activation"] == "relu"] == 0).all()


def test_little_noise_on_equal_weights_is_not_enough_and_much_is_worse_again() -> None:
    table = read_summary(EXPERIMENTS / "symmetry")
    rates = {noise: part[RATE].to_numpy() for noise, part in table.groupby("init.noise")}
    assert {"0.001", "0.1", "1"} <= numbers_said_of("symmetry")
    assert (rates[0.001] == 0).all()
    assert (rates[0.1] == 1).all()
    assert (rates[1] < 1).all()
    assert "0.005" in (EXPERIMENTS / "symmetry" / "README.md").read_text(encoding="utf-8")
    assert [(rate > 0.5).all() for noise, rate in rates.items() if noise >= 0.005] == [True] * 13
    assert all((rate < 0.5).all() for noise, rate in rates.items() if noise < 0.005)


def test_so_many_published_numbers_agree_in_every_digit() -> None:
    table = pd.read_csv(EXPERIMENTS / "published" / "summary.csv", dtype=str)
    printed = table[table["part"].isin(["mazur", "brownlee", "trask"])]
    n_same = (printed["digits that agree"] == "all").sum()
    assert {str(len(printed)), str(n_same)} <= numbers_said_of("published")


def test_larger_weights_fail_more_and_with_online_updates_tiny_ones_too() -> None:
    table = read_summary(EXPERIMENTS / "kolen_pollack_1990")
    means = 1 - table.pivot_table(index="init.bound", columns="optimizer", values=RATE)
    assert (means.loc[0.3:].diff().iloc[1:] > 0).all(axis=None)
    assert means.loc[10].round(1).tolist() == [0.7, 0.7]
    assert means.loc[0.1, "online_gd"] > means.loc[1, "online_gd"]
    within = table[table["init.bound"].between(2, 4)][RATE]
    least = f"{100 - 100 * within.max():.0f}"
    assert {"0.3", "7", "10", "5", least} <= numbers_said_of("kolen_pollack_1990")


def test_deeper_networks_need_more_weights() -> None:
    text = (EXPERIMENTS / "depth_and_width" / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| parity of 4 bits \| (\d) .*", text, re.MULTILINE)
    assert rows == ["1", "2", "3"] * 2
    needed = re.findall(
        r"^\| parity of 4 bits \| \d +\| (\d) +\| (\d+) +\| (\d) +\| (\d+) ", text, re.MULTILINE
    )
    weights = [(int(half), int(most)) for _, half, _, most in needed]
    ratios = [deep[k] / weights[0][k] for deep in weights[1:] for k in (0, 1)]
    assert min(ratios) > 1
    assert f"{min(ratios):.1f} to {max(ratios):.1f}" in " ".join(text.split())


def test_published_numbers_agree_but_for_those_explained() -> None:
    table = pd.read_csv(EXPERIMENTS / "published" / "summary.csv", dtype=str)
    others = table[table["digits that agree"] != "all"]
    assert others[["part", "what", "ours"]].to_numpy().tolist() == [
        ["mazur", "loss after 1 update", "0.291027774"],
        ["mazur", "loss after 10,000 updates", "0.0000351019"],
        ["brownlee", "output 1", "0.6629970129852886"],
    ]


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the study that takes least time in a copy, on which `make studies` works."""
    folder = Path(copytree(EXPERIMENTS, tmp_path / "experiments"))
    monkeypatch.setattr(make_studies, "FOLDER", folder)
    monkeypatch.chdir(tmp_path)  # where the committed weights would be found
    return folder / "published"


def test_make_studies_compares_and_writes(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    readme, extra, weights = (copied / f for f in ("README.md", "old_picture.svg", "mazur.npz"))
    committed = readme.read_text(encoding="utf-8")
    assert make_studies.main(["published"]) == 0
    assert capsys.readouterr().out.startswith("published: same ")

    readme.write_text(committed.replace("0.298371109", "0.298371110"), encoding="utf-8")
    extra.write_text("Matplotlib v3.1, ")
    copy(copied / "trask.npz", weights)  # which nothing may train from
    assert make_studies.main(["published"]) == 1
    printed = capsys.readouterr().out
    assert printed.startswith("published: differs: README.md, mazur.npz, old_picture.svg ")
    assert "\n-| loss                      | 0.298371110 " in printed
    assert "\n+| loss                      | 0.298371109 " in printed
    assert "\nold_picture.svg is no longer made\n" in printed

    assert make_studies.main(["published", "--write"]) == 0
    assert readme.read_text(encoding="utf-8") == committed
    assert not extra.exists()
    assert list(make_studies.differences(EXPERIMENTS / "published", copied)) == []


def test_pictures_of_another_matplotlib_are_not_compared_and_named(tmp_path: Path) -> None:
    committed, made = tmp_path / "committed", tmp_path / "made"
    for folder, version in ((committed, "1.0"), (made, matplotlib.__version__)):
        folder.mkdir()
        (folder / "a.svg").write_text(f"<dc:title>Matplotlib v{version}, ")
        (folder / "b.svg").write_text(f"<dc:title>Matplotlib v3.1, {version}")
    assert make_studies.uncompared(committed, made) == ["a.svg"]
    assert [file for file, _ in make_studies.differences(committed, made)] == ["b.svg"]


def test_unknown_studies_are_refused() -> None:
    command = [sys.executable, "-m", "experiments", "symetry"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "got 'symetry'" in done.stderr


def test_a_part_that_is_made_needs_its_place(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(
        "# T\n<!-- a: made -->\nold\n<!-- end -->\n<!-- b -->\n<!-- end -->\nIt is <!-- c -->1 %\n"
        "or 2 %<!-- end --> high.\n"
    )
    fill(tmp_path, a="new", b=r"back\slash", c="3 %")
    expected = (
        "# T\n<!-- a: made -->\n\nnew\n\n<!-- end -->\n<!-- b -->\n\nback\\slash\n\n<!-- end -->\n"
        "It is <!-- c -->3 %<!-- end --> high.\n"
    )
    assert readme.read_text() == expected
    with pytest.raises(ValueError, match="one place for d, got 0"):
        fill(tmp_path, d="")


def test_the_edge_of_trainability_is_ragged_over_ten_powers_of_ten_and_smooth_below() -> None:
    table = read_summary(EXPERIMENTS / "trainability")
    zooms = table[table["part"] == "zoom"]
    finest = zooms[zooms["side"] == zooms["side"].max()].set_index("zoom")["dimension"]
    assert finest.max() == pytest.approx(1.9, abs=0.05)
    assert {"1.9"} <= numbers_said_of("trainability")
    assert (finest.loc[1:10] > 1.1).all()
    assert (finest.loc[11:] < 1.05).all()


def test_basins_nearly_keep_their_dimension_when_the_resolution_is_doubled() -> None:
    table = read_summary(EXPERIMENTS / "xor_basins")
    of_rate = table[table["optimizer.learning_rate"] == 1.2]
    dimension = of_rate["dimension"]
    assert of_rate["side"].tolist() == [256, 512, 1024, 2048, 4096]
    assert dimension.between(of_rate["low"].max(), of_rate["high"].min()).all()
    assert dimension.is_monotonic_decreasing
    said = {f"{dimension.iloc[0]:.2f}", f"{dimension.iloc[-1]:.2f}"}
    assert said <= numbers_said_of("xor_basins")
