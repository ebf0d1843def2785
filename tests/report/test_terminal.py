"""What a terminal shows: little enough, and no line that ends within a number."""

import re
from itertools import pairwise

import pytest
from report.by_hand import by_hand, run

from bp_pipeline.report import Findings, print_report

ENDS = [10, 11, 12, None, None, None]


def printed(findings: Findings, capsys: pytest.CaptureFixture[str]) -> list[str]:
    print_report(findings)
    return re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out).splitlines()


@pytest.mark.parametrize("tasks", [1, 3, 26])
def test_the_best_settings_take_some_60_lines(
    tasks: int, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [
        run([10] * (k % 6) + [None] * (6 - k % 6), task=f"task {t}", network__hidden=f"[{k}]")
        for t in range(tasks)
        for k in range(1, 41)
    ]
    lines = printed(Findings(by_hand(*runs)), capsys)
    assert len(lines) <= 62
    n_shown = min(20, tasks * max(1, 20 // tasks))
    assert len([line for line in lines if re.search(r" \[\d+\] ", line)]) == 2 * n_shown
    assert any(f"{40 * tasks:,}" in line and f"{40 * tasks - n_shown:,}" in line for line in lines)


def test_no_line_ends_within_an_interval(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # a terminal, of the width below
    findings = Findings(by_hand(run(ENDS)))
    for width in range(40, 100):
        monkeypatch.setenv("COLUMNS", str(width))
        lines = printed(findings, capsys)
        assert any(re.search(r"\d – \d+ %", line) for line in lines)
        for line, following in pairwise(lines):
            assert not re.search(r"\d$|–$", line) or not re.match(r"%|–|\d+ %", following)


def test_columns_that_have_no_room_are_left_to_the_table_of_the_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    findings = Findings(by_hand(*(run(ENDS, rate) for rate in range(1, 41))))
    monkeypatch.setenv("FORCE_COLOR", "1")  # a terminal, of the width below
    for width, is_shown in ((80, False), (400, True)):
        monkeypatch.setenv("COLUMNS", str(width))
        lines = printed(findings, capsys)
        assert any("42 columns" in line and "rates.csv" in line for line in lines) != is_shown
        assert any(re.search(r"\b38\s+39\s+40\b", line) for line in lines) == is_shown
