"""Numbers that a source prints beside those of a step: the article's, and any study's."""

import re
from pathlib import Path

import pytest
import yaml
from cases import article, config_of, document, evaluate

from bp_pipeline.config.errors import ConfigError
from bp_pipeline.explain import Explanation, explain_step
from bp_pipeline.explain.source_numbers import PrintedNumber

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "experiments" / "article" / "printed.yaml"


@pytest.fixture(scope="module")
def found() -> Explanation:
    return explain_step(article())


def at(entries: list[PrintedNumber]) -> list[tuple[str, bool]]:
    return [(name, entry.at_the_start) for entry in entries for name in entry.names]


def test_every_unit_and_weight_of_the_article_is_compared(found: Explanation) -> None:
    weights = [weight.name for weight in found.names.all_weights()]
    computed = {name for name in found.values if not name.startswith(("v_", "∂", "μ"))}
    assert set(at(found.printed)) == {
        *((name, False) for name in computed | {"L", "f′(Z0)", "δ_Z0"}),
        *((name, True) for name in weights),
    }


def test_each_is_compared_with_what_the_step_has_there(found: Explanation) -> None:
    computed = {**found.values, **{e.name: e.value for e in found.all_equations}}
    for entry in found.printed:
        values = found.values if entry.at_the_start else computed
        assert {values.get(name) for name in entry.names} == {entry.computed}
    assert {name for entry in found.printed if entry.computed is None for name in entry.names} == {
        "f′(Z0)", "δ_Z0",  # a bias unit has neither
    }  # fmt: skip
    [loss] = [entry for entry in found.printed if entry.names == ("L",)]
    assert (loss.prints, loss.computed) == (-4, 8)


def test_where_they_differ_it_says_why_and_reckons_right(found: Explanation) -> None:
    assert all((entry.why is None) == (entry.prints == entry.computed) for entry in found.printed)
    reckoned = r"(\S+(?: − \S+)?) = ([0-9.]*[0-9])"
    pairs = [(e, *parts) for e in found.printed for parts in re.findall(reckoned, e.why or "")]
    for entry, left, right in pairs:
        assert evaluate(left) == pytest.approx(float(right)) == entry.computed
    assert len(pairs) == 6


def test_the_corrected_step_descends_as_far_as_its_equations_say(found: Explanation) -> None:
    changes = {change.name: change for change in found.effect}
    assert changes["output D0"].before == 4
    assert changes["output D0"].after == pytest.approx(1.68)
    assert changes["loss of this sample"].after == pytest.approx(1.68**2 / 2)


@pytest.mark.parametrize(
    ("override", "where"),
    [
        ("task=or", {}),
        ("task=nand", {}),
        ("network.hidden=[2]", {}),
        ("network.bias=false", {}),
        ("network.train_bias=false", {}),
        ("network.output=relu", {}),
        ("activation=relu", {}),
        ("init=constant init.value=1.5", {}),
        ("init=uniform", {}),
        ("optimizer=batch_gd optimizer.learning_rate=0.1", {}),
        ("optimizer.learning_rate=0.2", {}),
        ("optimizer.momentum=0.5", {}),
        ("loss=logistic network.output=sigmoid", {}),
        ("seed=0", {"sample": 1}),
        ("seed=0", {"sample": 3}),
        ("seed=0", {"epoch": 1}),
    ],
)
def test_they_are_only_shown_where_they_belong(override: str, where: dict[str, int]) -> None:
    found = explain_step(article(*override.split()), **where)
    assert found.printed == []
    assert "article" in found.remarks[0]


@pytest.mark.parametrize("override", ["seed=5", "training.epochs=9", "replicates=2"])
def test_what_does_not_change_the_step_does_not_hide_them(override: str) -> None:
    found = explain_step(article(override), replicate=0)
    assert found.printed
    assert found.remarks == []


# Where they are found


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder of its own, as with a wheel: `conf/` is not in a checkout."""
    conf = tmp_path / "wheel" / "conf"
    monkeypatch.setattr("bp_pipeline.explain.source_numbers.conf_folder", lambda: conf)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_a_checkout_the_step_is_explained_and_says_what_is_not_shown(
    elsewhere: Path, found: Explanation
) -> None:
    alone = explain_step(article())
    assert alone.sections == found.sections
    assert alone.printed == []
    [remark] = alone.remarks
    assert "experiment=article" in remark
    assert explain_step(config_of("batch")).remarks == []


def test_any_study_may_bring_some(elsewhere: Path) -> None:
    config = config_of("batch")
    D0 = next(e.value for e in explain_step(config).all_equations if e.name == "D0")
    file = elsewhere / "experiments" / "lecture" / "printed.yaml"
    file.parent.mkdir(parents=True)
    numbers = [
        {"names": "D0", "prints": D0, "place": "slide 1"},
        {"names": "X1", "prints": 7, "place": "slide 2", "why": "A slip."},
    ]
    setup = {"sample": 0, "epoch": 0, "activation": "tanh", "layer_sizes": [2, 3, 1]}
    written = {"source": "lecture", "setup": setup, "numbers": numbers}
    file.write_text(yaml.safe_dump(written))
    beside = document(explain_step(config))["printed"]
    assert [(e["prints"], e["computed"], e["why"]) for e in beside] == [
        (D0, D0, None), (7, 0, "A slip."),
    ]  # fmt: skip
    assert explain_step(config, sample=1).printed == []


@pytest.mark.parametrize("spoiled", ["", "[1]", "source: [", "source: x", "setup: 3"])
def test_a_file_that_holds_none_is_refused(spoiled: str, elsewhere: Path) -> None:
    file = elsewhere / "experiments" / "article" / "printed.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(spoiled)
    with pytest.raises(ConfigError, match=r"printed\.yaml must hold printed numbers"):
        explain_step(article())


def test_an_entry_that_differs_without_a_reason_is_refused(elsewhere: Path) -> None:
    raw = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    raw["numbers"][0]["prints"] = 0.2
    file = elsewhere / "experiments" / "article" / "printed.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(yaml.safe_dump(raw))
    with pytest.raises(ConfigError, match=r"printed\.yaml must hold printed numbers"):
        explain_step(article())
