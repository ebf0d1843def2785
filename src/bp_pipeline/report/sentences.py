"""The sentences of a report: what came out, and what each part of it shows.

Owns the wording. Each sentence says what its numbers were computed from, and is true of just that:
of all runs whose results can be read, of each setting at its best learning rate, or of the networks
that are not copies.
"""

import pandas as pd

from bp_pipeline.report.comparisons import ALPHA, best_of_halves
from bp_pipeline.report.findings import Findings
from bp_pipeline.report.notation import (
    INTERPLAY,
    count,
    how_many,
    listing,
    nats,
    percent,
    percent_interval,
    percents,
    the,
)
from bp_pipeline.report.question import question
from bp_pipeline.report.sweep_data import (
    CONVERGED,
    DIVERGED,
    FINAL_LOSS,
    HIGH,
    LOW,
    MEDIAN,
    RATE,
    STALLED,
)
from bp_pipeline.report.tables import DETERMINISTIC
from bp_pipeline.terminal import counted

_OUTCOMES = {CONVERGED: "converged", STALLED: "stalled", DIVERGED: "diverged"}


def overview(findings: Findings) -> list[str]:
    """Say in a few sentences what came out and what was asked, but for the headline."""
    parts = [came_out(findings), question(findings)]
    parts += [selection_bias(findings)] if len(findings.tasks) == 1 else []
    return [part for part in parts if part]


def came_out(findings: Findings) -> str:
    """Say how much finished, and how the networks ended; copies of one network count once."""
    asked = findings.sweep.n_jobs
    done = min(asked, int((findings.sweep.runs["status"] == "FINISHED").sum()))
    finished = f"{count(done)} of {counted(asked, 'run')} finished"
    if findings.outcomes.empty:
        return f"{finished}, so there is nothing to report."
    if done == asked:
        finished = f"All {count(asked)} runs finished" if asked > 1 else "The run finished"
    if findings.n_unread == len(findings.outcomes):
        return f"{finished}, but no result can be read.{_corrupt(findings)}"
    unread = counted(findings.n_unread, "run")
    but = f"; the results of {unread} cannot be read" if findings.n_unread else ""
    return f"{finished}; of {_ends(findings)}{but}.{_corrupt(findings)}"


def _corrupt(findings: Findings) -> str:
    """Say of which runs what MLflow shows, or one file, is not what the files come to."""
    runs = findings.sweep.runs
    corrupt = runs[runs["run_id"].isin(findings.sweep.corrupt)]
    if corrupt.empty:
        return ""
    first = corrupt.iloc[0]
    more = f", and {count(len(corrupt) - 1)} more" if len(corrupt) > 1 else ""
    reason = findings.sweep.corrupt[first["run_id"]]
    return f" Corrupt: {first['name']} ({reason}){more}; `bp reproduce` names them all."


def _ends(findings: Findings) -> str:
    """Say how many networks there are, and what shares of them ended how."""
    is_known = findings.outcomes[RATE].notna()
    rows = findings.outcomes[is_known]
    n = rows["n"].astype(float)
    trained = int(findings.sweep.finished.loc[is_known, "replicates"].sum())
    different = int(n.sum())
    shares = percents((n * rows[name]).sum() / n.sum() for name in _OUTCOMES)
    ends = [f"{share} % {_OUTCOMES[name]}" for name, share in zip(_OUTCOMES, shares, strict=True)]
    ends = [text for text in ends if not text.startswith("0 ")]
    networks = counted(different, "network")
    if trained != different:
        networks = f"{count(different)} different networks among the {count(trained)} trained"
    lost = round((n * (rows[CONVERGED] - rows[RATE])).sum())
    again = f"; {count(lost)} that had converged lost it again" if lost else ""
    return f"{networks}, {listing(ends)}{again}"


def headline(findings: Findings) -> str:
    """Name the best run, or say what the best run of each task comes to."""
    if len(findings.tasks) == 1:
        return winner(findings)
    rates = [f"{name} ({percent(of_task.top[RATE])} %)" for name, of_task in findings.tasks]
    return f"Solved at the best settings when training ends: {', '.join(rates)}."


def winner(findings: Findings) -> str:
    """Name the best run."""
    if findings.nothing_solved:
        return f"No network solves its task, at any place of the grid{_as_far_as_known(findings)}."
    top = findings.top
    place = findings.place(top)
    if top[DETERMINISTIC]:
        return f"Best is {place}, whose one network, drawn from nothing, solves it."
    speed = "" if pd.isna(top[MEDIAN]) else f", half of all converged by epoch {count(top[MEDIAN])}"
    interval = percent_interval(top[LOW], top[HIGH])
    rate = f"{percent(top[RATE])} % solve it when training ends"
    return f"Best is {place}: {rate} (95 % interval {interval} %){speed}."


def selection_bias(findings: Findings) -> str:
    """Say how the best run would do on other replicates than those it was chosen on."""
    halved = best_of_halves(findings.sweep)
    if findings.nothing_solved or halved is None:
        return ""
    interval = percent_interval(halved[LOW], halved[HIGH])
    choices = counted(findings.n_drawn, "place" if findings.is_pooled else "run")
    return (
        f"The best of {choices} may be partly the luckiest: chosen on the "
        f"even replicates alone, it is {findings.place(halved)}, and {percent(halved[RATE])} % of "
        f"the odd ones solve it ({interval} %)."
    )


def rates(findings: Findings) -> str:
    """Say how far each activation, or whatever varies instead, comes at its best."""
    if findings.nothing_solved:
        return f"Nothing solves its task anywhere{_as_far_as_known(findings)}."
    key = findings.headline_key
    rows = findings.ranked.drop_duplicates(key)
    best = [(findings.named(key, row[key]), row[RATE]) for _, row in rows.iterrows()]
    able = [f"{name} to {percent(rate)} %" for name, rate in best if rate > 0]
    unable = [name for name, rate in best if rate == 0]
    never = f"; {listing(unable)} never" if unable else ""
    return f"The best settings bring {listing(able)} of networks that solve it{never}."


def speed(findings: Findings) -> str:
    """Say where half of the networks are fastest, and where slowest, among the runs shown."""
    shown = findings.shown.dropna(subset=[RATE])
    rows = shown.dropna(subset=[MEDIAN]).sort_values(MEDIAN, kind="stable")
    unknown = _as_far_as_known(findings)
    if rows.empty:
        return _of_shown(findings, f"nowhere have half of the networks converged{unknown}.")
    first, last = rows.iloc[0], rows.iloc[-1]
    early, late = (f"by epoch {count(row[MEDIAN])}" for row in (first, last))
    span = f"{early} ({findings.place(first)})"
    if len(rows) > 1:
        span = f"{early} at the earliest ({findings.place(first)})"
        span = f"{span}, and {late} at the latest ({findings.place(last)})"
    n_never = len(shown) - len(rows)
    never = f"; in {count(n_never)} of {count(len(shown))} cases half never do" if n_never else ""
    return _of_shown(findings, f"half of the networks have converged {span}{never}.")


def losses(findings: Findings) -> str:
    """Say where the median loss of the runs shown ends, and how often training diverges at all."""
    rows = findings.shown.dropna(subset=[FINAL_LOSS]).sort_values(FINAL_LOSS, kind="stable")
    diverged = int((findings.outcomes[DIVERGED] >= 0.5).sum())
    unknown = _as_far_as_known(findings)
    if rows.empty:
        return _of_shown(findings, f"no run ends with a median loss that is finite{unknown}.")
    value, place = nats(rows.iloc[0][FINAL_LOSS]), findings.place(rows.iloc[0])
    text = _of_shown(findings, f"the lowest median loss at the end is {value} nats ({place})")
    of_all = f"{count(diverged)} of all {counted(len(findings.outcomes), 'run')}"
    most = f"; in {of_all} at least half of the networks diverge"
    return f"{text}{most if diverged else ''}."


def differences(findings: Findings) -> list[str]:
    """Say what makes the difference: which factor matters, and what tests show."""
    return [matters(findings), tests(findings)] if len(findings.factors) else [tests(findings)]


def matters(findings: Findings) -> str:
    """Name the factor that matters most, with shares only where they are parts of a whole."""
    rows = findings.factors
    most, share = rows["factor"].iloc[0], rows["eta_squared"].iloc[0]
    if rows["eta_squared"].isna().all():
        return "All runs have the same rate of solving, so no factor matters here."
    if len(rows) == 1:
        return f"All variance between runs goes with {the(most)}: nothing else varies."
    if rows["factor"].iloc[-1] != INTERPLAY:
        return (
            f"The rate of solving varies most with {the(most)}; how much is no share of a whole, "
            "since this grid has gaps and its factors overlap."
        )
    first, *parts = percents(rows["eta_squared"])
    if rows["eta_squared"].iloc[-1] > share:
        return (
            f"Of single factors {the(most)} matters most ({first} % of the variance "
            f"between runs), but their interplay more ({parts[-1]} %)."
        )
    shares = zip(rows["factor"].iloc[1:], parts, strict=True)
    others = [f"{part} % with {the(factor)}" for factor, part in shares]
    return _start(
        f"{the(most)} matters most: of the variance between runs, {first} % goes with it "
        f"alone, {listing(others)}."
    )


def tests(findings: Findings) -> str:
    """Count the comparisons that are significant, and name the largest difference that is not."""
    if not findings.tests:
        return "There are no two settings to compare by tests."
    parts, unsure = [], []
    for axis, table in findings.tests.items():
        is_significant = table["mcnemar/p_holm"] < ALPHA
        values = how_many(2, axis).removeprefix("2 ")
        parts.append(
            f"{is_significant.sum()} of {counted(len(table), 'difference')} between {values}"
        )
        unsure.append(table[~is_significant])
    text = f"Tests find {listing(parts)} in how often they solve it (Holm, each table a family)."
    return " ".join(
        part
        for part in (text, _unsure(pd.concat(unsure, ignore_index=True)), _untested(findings))
        if part
    )


def _unsure(rows: pd.DataFrame) -> str:
    """Say how large the largest difference is that tests do not find."""
    if rows.empty:
        return ""
    row = rows.loc[(rows["first/rate"] - rows["second/rate"]).abs().idxmax()]
    rates = [f"{percent(row[f'{side}/rate'])} %" for side in ("first", "second")]
    if rates[0] == rates[1]:
        return ""
    return (
        "What they do not find may be there all the same: the largest such difference is "
        f"{rates[0]} against {rates[1]}, of {counted(int(row['n']), 'pair')}."
    )


def _untested(findings: Findings) -> str:
    """Say why the best run is in no test."""
    if findings.is_top_tested or findings.nothing_solved:
        return ""
    if findings.top[DETERMINISTIC]:
        return "The best run is in no test, since it draws nothing that could be paired."
    return (
        "The best run is in no test: on the even replicates alone another learning rate was the "
        "best of its setting, or there is nothing to compare it with."
    )


def which_shown(findings: Findings) -> str:
    """Say which runs have their curves drawn."""
    some = len(findings.shown) < len(findings.outcomes)
    return "each setting at its best learning rate" if some else "of every run"


def _of_shown(findings: Findings, claim: str) -> str:
    """Begin a claim about the runs shown by saying which they are, where they are not all."""
    if len(findings.shown) < len(findings.outcomes):
        return f"With {which_shown(findings)}, {claim}"
    return _start(claim)


def _as_far_as_known(findings: Findings) -> str:
    """Limit a claim that something never happens to the runs whose results can be read."""
    return ", as far as the results can be read" if findings.n_unread else ""


def _start(text: str) -> str:
    """Begin a sentence, whose first word may be a config key that stays as it is."""
    first, _, rest = text.partition(" ")
    return text if "." in first else f"{first[0].upper()}{first[1:]} {rest}"
