"""What is shown of a step, in each format: every line of it is read back and compared."""

import re
from functools import cache
from itertools import groupby

import pytest
from cases import CASES, article, config_of, diverging, document, explained, page
from readers import (
    Printed,
    Reading,
    printed_on_a_terminal,
    read_markdown,
    read_page,
    soup,
    squeeze,
)
from runs import make_config

from bp_pipeline.explain import FORMATS, Explanation, explain_step
from bp_pipeline.explain.notation import Equation, spell
from bp_pipeline.explain.text import DIGITS, ROUNDING, as_text

READERS = {"md": read_markdown, "html": read_page}


def expected(found: Explanation) -> Reading:
    """Return what a reader must be told, from the explanation and not from what is written."""
    return Reading(
        title=found.title,
        facts=found.facts,
        sections=[
            (s.title, s.remark, s.rules, [lines(equation) for equation in s.equations])
            for s in found.sections
        ],
        effect=[(c.name, spell(c.before), spell(c.after)) for c in found.effect],
        printed=[
            Printed(
                entry.title,
                spell(entry.prints),
                "none" if entry.computed is None else spell(entry.computed),
                "✓" if entry.computed == entry.prints else "✗",
                entry.place,
                entry.why or "",
            )
            for entry in found.printed
        ],
        remarks=found.remarks,
    )


def lines(equation: Equation) -> tuple[str, ...]:
    """Write an equation's name and, each once, its formula, numbers and result."""
    written = [equation.symbols, equation.numbers(DIGITS), spell(equation.value)]
    parts = [shortened(text) for text, _ in groupby(written)]
    signs = [equation.sign if len(parts) > 1 else "=", "=", "="]
    return (equation.name, *(f"{sign} {part}" for sign, part in zip(signs, parts, strict=False)))


def shortened(text: str) -> str:
    terms = text.split(" + ")
    return text if len(terms) <= 20 else " + ".join([*terms[:18], "…", terms[-1]])


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("format_name", READERS)
def test_all_of_it_stands_in_a_file(format_name: str, case: str) -> None:
    found = explained(case)
    text = page(case) if format_name == "html" else FORMATS[format_name](found)
    assert READERS[format_name](text) == expected(found)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("width", [80, 200])
def test_all_of_it_stands_on_a_terminal_of_any_width(width: int, case: str) -> None:
    text = printed(case, width)
    assert max(map(len, text.splitlines())) <= width
    assert squeeze(text) == squeeze("".join(stream(expected(explained(case)))))


@cache
def printed(case: str, width: int) -> str:
    return as_text(explained(case), width)


def stream(reading: Reading) -> list[str]:
    """Put all but the article's table one after the other."""
    equations = [
        "".join([title, remark, *rules, *("".join(parts) for parts in rows)])
        for title, remark, rules, rows in reading.sections
    ]
    effect = ["What the step did", "before", "after", *map("".join, reading.effect)]
    facts = map("".join, reading.facts)
    return [reading.title, *facts, *equations, *effect, *reading.remarks, ROUNDING]


def test_the_articles_table_stands_in_every_format() -> None:
    found = explain_step(article())
    rows = expected(found).printed
    assert len(rows) == len(found.printed) > 0
    assert printed_on_a_terminal(as_text(found, 400)) == rows
    for name, read in READERS.items():
        shown = read(FORMATS[name](found)).printed
        marks = [row.mark if name == "html" else "" for row in rows]
        assert shown == [row._replace(mark=mark) for row, mark in zip(rows, marks, strict=True)]
    assert [entry["why"] or "" for entry in document(found)["printed"]] == [r.why for r in rows]


def test_rounded_numbers_are_those_of_the_result() -> None:
    equations = explained("momentum").all_equations
    for equation in equations:
        rounded = equation.formula
        for symbol, value in equation.values.items():
            assert float(f"{value:.6g}") == pytest.approx(value, rel=5e-6)
            rounded = rounded.replace(f"{{{symbol}}}", f"{value + 0.0:.6g}")
        bare = [text.replace("(", "").replace(")", "") for text in (rounded, equation.numbers(6))]
        assert bare[0] == bare[1]


def test_an_identity_says_once_that_something_is_1() -> None:
    shown = read_page(FORMATS["html"](explain_step(article())))
    rows = {name: parts for *_, section in shown.sections for name, *parts in section}
    assert rows["f′(a_Z1)"] == ["= 1"]
    assert rows["Z1"] == ["= a_Z1", "= 1"]
    assert rows["a_Z1"] == ["= W10·X0 + W11·X1 + W12·X2", "= 1·1 + 1·0 + 1·0", "= 1"]


def test_a_long_sum_is_shortened_for_readers_and_whole_in_json() -> None:
    found = explained("more than 20 samples")
    text = read_markdown(FORMATS["md"](found))
    [[_, symbols, numbers, _]] = [
        row for *_, rows in text.sections for row in rows if row[0] == "∂L/∂W10"
    ]
    assert symbols.startswith("= (∂L₀/∂W10 + ∂L₁/∂W10 + ")
    assert symbols.endswith("+ ∂L₁₇/∂W10 + … + ∂L₃₁/∂W10)·1/32")
    assert numbers.count(" + ") == 19
    [equation] = [
        equation
        for section in document(found)["sections"]
        for equation in section["equations"]
        if equation["name"] == "∂L/∂W10"
    ]
    assert equation["formula"].count(" + ") == equation["numbers"].count(" + ") == 31
    assert "…" not in FORMATS["json"](found)


def test_numbers_in_json_read_back_as_the_same_doubles() -> None:
    found = explained("momentum")
    written = [e["value"] for section in document(found)["sections"] for e in section["equations"]]
    assert written == [equation.value for equation in found.all_equations]


def test_labels_cannot_break_the_page_or_a_table() -> None:
    label = "<script>a|b*"
    config = make_config().model_copy(update={"labels": {"activation": label, "init": "x"}})
    found = explain_step(config)
    shown = FORMATS["html"](found)
    assert label not in shown
    assert "&lt;script&gt;a|b*" in shown
    assert "\\<script>a\\|b\\*" in FORMATS["md"](found)


BROKEN = re.compile(r"w\[[0-9]+\]\[[0-9]+,(?! [0-9]+\])")


@pytest.mark.parametrize("case", ["depth 2", "depth 2, no bias", "wide"])
def test_names_of_weights_do_not_break(case: str) -> None:
    for width in (64, 71, 80, 97):
        assert not BROKEN.search(printed(case, width))
    for shown in soup(page(case)).select(".equations, .rules, dl"):
        assert not re.search(r"\]\[|\[[0-9]+,[ \n]", shown.get_text())


# What is told beside the equations


@pytest.mark.parametrize(("sample", "earlier"), [(0, ""), (1, "0"), (2, "0 to 1"), (3, "0 to 2")])
def test_an_online_step_says_what_came_before_it(sample: int, earlier: str) -> None:
    update = dict(explain_step(config_of("online"), sample=sample, epoch=1).facts)["update"]
    epochs, _, samples = update.partition("after 1 epoch")
    assert "online_gd" in epochs
    assert samples.lstrip(" adnsmple") == earlier


def test_a_step_says_what_it_is_a_step_of() -> None:
    facts = dict(explain_step(config_of("steep leaky_relu"), sample=2, epoch=3).facts)
    assert facts["network"].startswith("2-3-1, hidden leaky_relu(0.2), output leaky_relu")
    assert facts["sample"] == "x = (1, 0), y = (1)"
    assert "batch_gd" in facts["update"]
    assert "3 epochs" in facts["update"]
    without = dict(explained("no bias").facts)["network"]
    assert "bias" in without
    assert "bias" not in facts["network"]


@pytest.mark.parametrize(("epochs", "said"), [(3, []), (2, ["2 epochs"]), (1, ["1 epoch,"])])
def test_a_step_after_the_end_of_training_says_so(epochs: int, said: list[str]) -> None:
    config = config_of("batch", **{"training.epochs": epochs})
    remarks = explain_step(config, epoch=2).remarks
    assert len(remarks) == len(said)
    assert all(number in remark for number, remark in zip(said, remarks, strict=True))


def test_a_step_that_makes_the_network_diverge_says_so() -> None:
    assert explain_step(diverging(), epoch=0).remarks == []
    found = explain_step(diverging(), epoch=1)
    [remark] = found.remarks
    assert "diverged" in remark
    assert document(found)["effect"][-1]["after"] == "inf"
    assert all(read(FORMATS[name](found)) == expected(found) for name, read in READERS.items())
    assert squeeze(as_text(found, 200)) == squeeze("".join(stream(expected(found))))


def test_within_an_online_epoch_whether_it_diverges_is_not_decided_yet() -> None:
    config = article("optimizer.learning_rate=1e20")
    told = [explain_step(config, sample=sample).remarks[1:] for sample in range(4)]
    assert [len(remarks) for remarks in told] == [0, 1, 1, 1]
    assert told[1] == told[2] != told[3]
    assert told[3] == explain_step(diverging(), epoch=1).remarks
