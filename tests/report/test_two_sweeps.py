"""Two sweeps beside each other."""

from dataclasses import replace
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from report.by_hand import by_hand, run
from scipy.stats import binomtest, fisher_exact

from bp_pipeline.report import Sweep, compare_two, print_comparison, write_comparison
from bp_pipeline.report.two_sweeps import comparison

SOLVED, LOST = [10] * 6 + [None] * 2, [None] * 6 + [10] * 2
ONES = {"init": "ones", "init__name": "constant", "init__noise": 0.0}


def test_what_was_asked_is_told_key_by_key() -> None:
    first = by_hand(
        run(SOLVED, 1.0, optimizer__momentum=0.0), run(SOLVED, 3.0, optimizer__momentum=0.0)
    )
    second = by_hand(run(SOLVED, 3.0, optimizer__momentum=0.9, network__hidden="[4]"))
    asked = compare_two(first, second).asked.set_index("key")
    assert asked.loc["optimizer.momentum"].tolist() == ["0", "0.9"]
    assert asked.loc["optimizer.learning_rate"].tolist() == ["1, 3", "3"]
    assert asked.loc["network.hidden"].tolist() == ["[3]", "[4]"]
    assert len(asked) == 3


def test_pairs_that_start_from_the_same_draws_are_tested_as_pairs() -> None:
    two = compare_two(
        by_hand(run(SOLVED, 1.0), run(SOLVED, 9.0)),
        by_hand(run(LOST, 1.0, optimizer__momentum=0.9)),
    )
    assert two.only == (1, 0)
    [row] = two.results.to_dict("records")
    assert (row["first/rate"], row["second/rate"], row["pairs"]) == (0.75, 0.25, 8)
    assert (row["only_first"], row["only_second"]) == (6, 2)
    assert row["p"] == pytest.approx(binomtest(6, 8).pvalue)


@pytest.mark.parametrize("change", [{"seed": 1}, {"network__hidden": "[4]"}])
def test_other_draws_are_no_pairs(change: dict[str, object]) -> None:
    two = compare_two(by_hand(run(SOLVED)), by_hand(run(LOST, **change)))
    [row] = two.results.to_dict("records")
    assert row["pairs"] != row["pairs"]
    assert row["p"] == pytest.approx(fisher_exact([[6, 2], [2, 6]]).pvalue)


def _with_digests(sweep: Sweep, digests: str) -> Sweep:
    return replace(sweep, runs=sweep.runs.assign(**{"bp.result_digest": [*digests]}))


def test_what_draws_nothing_is_not_tested() -> None:
    first = by_hand(run(SOLVED), run([10], **ONES))
    two = compare_two(first, _with_digests(first, "ab"))
    assert two.results.set_index("init")["p"].notna().to_dict() == {"normal": True, "ones": False}
    assert two.asked.empty


def test_what_has_the_same_bits_is_one_result_and_not_tested() -> None:
    first = _with_digests(by_hand(run(SOLVED, 1.0), run(SOLVED, 3.0)), "ab")
    again = compare_two(first, first)
    assert again.results["same"].all()
    assert again.results["p"].isna().all()
    assert "same bits in all 2 settings" in comparison(again).headline
    two = compare_two(first, _with_digests(by_hand(run(SOLVED, 1.0), run(LOST, 3.0)), "ac"))
    assert two.results["p"].isna().tolist() == [True, False]
    p_value = binomtest(6, 8).pvalue  # in a family of its own: the other is no second test
    assert two.results["p_holm"].tolist()[1] == pytest.approx(p_value)
    assert "of 1 setting " in comparison(two).headline
    assert "1 other came out with the same bits" in comparison(two).headline


def test_of_seeds_that_both_sweeps_have_no_replicate_is_counted_twice() -> None:
    shared = run(SOLVED, 1.0, seed=0)
    first = _with_digests(by_hand(shared, run(SOLVED, 1.0, seed=1)), "ab")
    second = _with_digests(by_hand(shared, run(LOST, 1.0, seed=2)), "ac")
    [row] = compare_two(first, second).results.to_dict("records")
    assert row["p"] == pytest.approx(fisher_exact([[6, 2], [2, 6]]).pvalue)
    assert not row["same"]
    part = compare_two(first, _with_digests(by_hand(shared), "a"))
    assert part.results["p"].isna().all()  # nothing of the second is its own
    assert comparison(part).headline.startswith("Nothing to test")


@pytest.mark.parametrize(("digest", "said"), [("d" * 64, "nothing"), ("e" * 64, "combinations")])
def test_a_request_is_called_the_same_only_where_it_is(digest: str, said: str) -> None:
    first = by_hand(run(SOLVED, 1.0), run(SOLVED, 3.0))
    two = compare_two(first, replace(first, digest=digest))
    [told] = [text for text in comparison(two).lead if text.startswith("Asked otherwise")]
    assert said in told


def test_its_files_and_what_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fast = {"optimizer__momentum": 0.9}
    second = by_hand(run(LOST * 4, 1.0, **fast), run(SOLVED * 4, 3.0, **fast))
    second = replace(_with_digests(second, "ab"), name="fast")
    two = compare_two(by_hand(run(SOLVED * 4, 1.0), run(SOLVED * 4, 3.0)), second)
    write_comparison(two, tmp_path)
    names = {f"{name}.{kind}" for name in ("asked", "compared") for kind in ("csv", "md", "tex")}
    assert {path.name for path in tmp_path.iterdir()} == {
        *names, "comparison.html", "comparison.md"
    }  # fmt: skip
    page = BeautifulSoup((tmp_path / "comparison.html").read_text(), "html.parser")
    cells = [cell.get_text() for cell in page.select("#results tbody tr")[0].select("td")]
    assert cells[:2] == ["1", "75"]
    assert "25" in cells
    assert cells[-3:-1] == ["24", "8"]  # solved by A alone, by B alone
    assert page.select_one(".lead").get_text() == f"A is {two.names[0]}, B is {two.names[1]}."
    print_comparison(two)
    out = capsys.readouterr().out
    assert "A is better in 1" in out
    assert len(out.splitlines()) < 60


def test_sweeps_without_a_common_setting_say_so(tmp_path: Path) -> None:
    two = compare_two(by_hand(run(SOLVED, 1.0)), by_hand(run(SOLVED, 3.0)))
    assert two.results.empty
    write_comparison(two, tmp_path)
    assert "no setting in common" in (tmp_path / "comparison.md").read_text()


def test_of_sweeps_over_other_axes_it_is_said_what_their_common_settings_are() -> None:
    rates = (1.0, 3.0)
    tasks = by_hand(*(run(SOLVED, r, task=task) for task in ("and", "xor") for r in rates))
    inits = by_hand(*(run(LOST, r, init=i) for i in ("normal", "he") for r in (*rates, 9.0)))
    two = compare_two(tasks, inits)
    assert two.only == (2, 4)
    assert two.results["optimizer.learning_rate"].tolist() == [1.0, 3.0]
    assert two.alike == {"activation": "tanh", "init": "normal", "task": "xor"}
    [told] = [text for text in comparison(two).lead if "2 settings in both" in text]
    assert "task xor" in told
    assert "init normal" in told
