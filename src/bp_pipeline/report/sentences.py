"""The sentences of a report: what was asked, what came out, and what each part of it shows.

Owns the wording. Each sentence says what its numbers were computed from, and is true of just that:
of all runs, of each setting at its best learning rate, or of the networks that are not copies.
"""

from collections.abc import Sequence
from math import prod

import pandas as pd

from bp_pipeline.report import tables
from bp_pipeline.report.findings import Findings
from bp_pipeline.report.tables import (
    ALPHA,
    DETERMINISTIC,
    DIVERGED,
    FINAL_LOSS,
    HIGH,
    LOW,
    MEDIAN,
    RATE,
    STALLED,
)
from bp_pipeline.report.text import count, listing, loss, percent, percent_interval, plural
from bp_pipeline.report.words import INTERPLAY, how_many, name_of, the

_OUTCOMES = {RATE: "converged", STALLED: "stalled", DIVERGED: "diverged"}


def told(findings: Findings) -> list[str]:
    """Say in a few sentences what came out and what was asked."""
    if findings.summary.empty:
        return [came_out(findings)]
    parts = (came_out(findings), question(findings), winner(findings), luck(findings))
    return [part for part in parts if part]


def title(findings: Findings) -> str:
    """Name a sweep by its experiment, if all runs share one, else by what varies."""
    runs = findings.sweep.runs
    experiments = set(runs["experiment"]) if "experiment" in runs else set()
    if len(experiments) == 1 and isinstance(shared := experiments.pop(), str):
        return shared
    varied = [name_of(axis) for axis in findings.sweep.axes if _n_values(runs, axis) > 1]
    return listing(sorted(varied)) if varied else "a single run"


def question(findings: Findings) -> str:
    """Say what was asked: the grid, what each run trains, and when a network has converged."""
    n_jobs = findings.sweep.n_jobs
    grid = _grid(findings)
    asked = f"{plural(n_jobs, 'run')} {'was' if n_jobs == 1 else 'were'} asked for"
    trains = f"and {'it' if n_jobs == 1 else 'each'} trains {_networks(findings)}"
    text = f"{asked}, {grid}, {trains}" if grid else f"{asked}, {trains}"
    return f"{text}{_criterion(findings)}."


def came_out(findings: Findings) -> str:
    """Say how much finished, and how the networks ended; copies of one network count once."""
    asked = findings.sweep.n_jobs
    done = min(asked, int((findings.sweep.runs["status"] == "FINISHED").sum()))
    finished = f"{count(done)} of {plural(asked, 'run')} finished"
    rows = findings.summary
    if rows.empty:
        return f"{finished}, so there is nothing to report."
    if done == asked:
        finished = f"All {count(asked)} runs finished" if asked > 1 else "The run finished"
    n = rows["n"].astype(float)
    trained, different = int(findings.sweep.finished["replicates"].sum()), int(n.sum())
    shares = {word: (n * rows[name]).sum() / n.sum() for name, word in _OUTCOMES.items()}
    ends = [f"{percent(share)} % {word}" for word, share in shares.items() if share > 0]
    networks = plural(different, "network")
    if trained != different:
        networks = f"{count(different)} different networks among the {count(trained)} trained"
    return f"{finished}; of {networks}, {listing(ends)}."


def winner(findings: Findings) -> str:
    """Name the best run."""
    if findings.nothing_converged:
        return "No network converged, at any place of the grid."
    top = findings.top
    place = findings.place(top)
    if top[DETERMINISTIC]:
        return f"Best is {place}, whose one network, drawn from nothing, converged."
    speed = "" if pd.isna(top[MEDIAN]) else f", half of them by epoch {count(top[MEDIAN])}"
    interval = percent_interval(top[LOW], top[HIGH])
    rate = f"{percent(top[RATE])} % converged"
    return f"Best is {place}: {rate} (95 % interval {interval} %){speed}."


def luck(findings: Findings) -> str:
    """Say how the best run would do on other replicates than those it was chosen on."""
    halved = tables.best_of_halves(findings.sweep)
    if findings.nothing_converged or halved is None:
        return ""
    interval = percent_interval(halved[LOW], halved[HIGH])
    return (
        f"The best of {plural(findings.n_drawn, 'run')} is partly the luckiest: chosen on the even "
        f"replicates alone, it is {findings.place(halved)}, and {percent(halved[RATE])} % of the "
        f"odd ones converge ({interval} %)."
    )


def rates(findings: Findings) -> str:
    """Say how far each activation comes at its best."""
    if findings.nothing_converged:
        return "Nothing converges anywhere."
    best = findings.summary.groupby("activation")[RATE].max()
    best = best.sort_values(ascending=False, kind="stable")
    able = [f"{name} to {percent(rate)} %" for name, rate in best.items() if rate > 0]
    unable = [str(name) for name, rate in best.items() if rate == 0]
    never = f"; {listing(unable)} never" if unable else ""
    return f"The best settings bring {listing(able)} convergence{never}."


def speed(findings: Findings) -> str:
    """Say where half of the networks are fastest, and where slowest, among the runs shown."""
    rows = findings.shown.dropna(subset=[MEDIAN]).sort_values(MEDIAN, kind="stable")
    if rows.empty:
        return _of_shown(findings, "nowhere have half of the networks converged.")
    first, last = rows.iloc[0], rows.iloc[-1]
    early, late = (f"by epoch {count(row[MEDIAN])}" for row in (first, last))
    span = f"{early} ({findings.place(first)})"
    if len(rows) > 1:
        span = f"{early} at the earliest ({findings.place(first)})"
        span = f"{span}, and {late} at the latest ({findings.place(last)})"
    n_shown, n_never = len(findings.shown), len(findings.shown) - len(rows)
    never = f"; in {count(n_never)} of {count(n_shown)} cases half never do" if n_never else ""
    return _of_shown(findings, f"half of the networks have converged {span}{never}.")


def losses(findings: Findings) -> str:
    """Say where the median loss of the runs shown ends, and how often training diverges at all."""
    rows = findings.shown.dropna(subset=[FINAL_LOSS]).sort_values(FINAL_LOSS, kind="stable")
    diverged = int((findings.summary[DIVERGED] >= 0.5).sum())
    if rows.empty:
        return _of_shown(findings, "no run ends with a median loss that is finite.")
    value, place = loss(rows.iloc[0][FINAL_LOSS]), findings.place(rows.iloc[0])
    text = _of_shown(findings, f"the lowest median loss at the end is {value} nats ({place})")
    of_all = f"{count(diverged)} of all {plural(len(findings.summary), 'run')}"
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
        return "All runs have the same convergence rate, so no factor matters here."
    if len(rows) == 1:
        return f"All variance between runs goes with {the(most)}: nothing else varies."
    if rows["factor"].iloc[-1] != INTERPLAY:
        return (
            f"The convergence rate varies most with {the(most)}; how much is no share of a whole, "
            "since this grid has gaps and its factors overlap."
        )
    interplay = rows["eta_squared"].iloc[-1]
    if interplay > share:
        return (
            f"Of single factors {the(most)} matters most ({percent(share)} % of the variance "
            f"between runs), but their interplay more ({percent(interplay)} %)."
        )
    shares = zip(rows["factor"].iloc[1:], rows["eta_squared"].iloc[1:], strict=True)
    others = [f"{percent(part)} % with {the(factor)}" for factor, part in shares]
    return _start(
        f"{the(most)} matters most: of the variance between runs, {percent(share)} % goes with it "
        f"alone, {listing(others)}."
    )


def tests(findings: Findings) -> str:
    """Count the comparisons that are significant."""
    parts = []
    for name, table in (("activations", findings.activations), ("inits", findings.inits)):
        if len(table):
            significant = int((table["mcnemar/p_holm"] < ALPHA).sum())
            parts.append(f"{significant} of {len(table)} differences between {name}")
    if not parts:
        return "There are no two settings to compare by tests."
    return f"After Holm's correction, {listing(parts)} in how often they converge are significant."


def which_shown(findings: Findings) -> str:
    """Say which runs have their curves drawn."""
    some = len(findings.shown) < len(findings.summary)
    return "each setting at its best learning rate" if some else "of every run"


def _of_shown(findings: Findings, claim: str) -> str:
    """Begin a claim about the runs shown by saying which they are, where they are not all."""
    if len(findings.shown) < len(findings.summary):
        return f"With {which_shown(findings)}, {claim}"
    return _start(claim)


def _grid(findings: Findings) -> str:
    """Say which grid was asked for, as far as all its runs are known."""
    sweep = findings.sweep
    places = sweep.runs.reindex(columns=sweep.axes).drop_duplicates()
    sizes = {axis: size for axis in sweep.axes if (size := _n_values(places, axis)) > 1}
    if len(sweep.runs) < sweep.n_jobs or not sizes:
        return ""
    factors = [how_many(size, axis) for axis, size in sizes.items()]
    if tables.is_complete(sweep, places):
        return " × ".join(factors)
    of_all = count(prod(sizes.values()))
    return f"{count(len(places))} of {of_all} combinations of {listing(factors)}"


def _networks(findings: Findings) -> str:
    """Say what each run trains: what all runs share of it."""
    axes, config = findings.sweep.axes, findings.config
    n_replicates = findings.sweep.finished["replicates"].dropna().unique()
    number = plural(int(n_replicates[0]), "network") if len(n_replicates) == 1 else "networks"
    if config is None:
        return number
    layers = "-".join(map(str, config.layer_sizes))
    sizes = "" if _vary(axes, "network") or _vary(axes, "task") else f" ({layers})"
    task = "its task" if "task" in axes else config.params()["task"]
    epochs = plural(config.training.epochs, "epoch")
    length = "" if "training.epochs" in axes else f" for {epochs}"
    return f"{number}{sizes} on {task}{length}"


def _criterion(findings: Findings) -> str:
    if findings.config is None:
        return ""
    tolerance = f"{findings.config.training.tolerance:g}"
    within = "the tolerance" if "training.tolerance" in findings.sweep.axes else tolerance
    return (
        "; a network has converged at the first epoch at which every output is within "
        f"{within} of its target"
    )


def _n_values(runs: pd.DataFrame, axis: str) -> int:
    return runs[axis].nunique(dropna=False) if axis in runs else 0


def _vary(axes: Sequence[str], group: str) -> bool:
    return any(axis.split(".")[0] == group for axis in axes)


def _start(text: str) -> str:
    """Begin a sentence, whose first word may be a config key that stays as it is."""
    first, _, rest = text.partition(" ")
    return text if "." in first else f"{first[0].upper()}{first[1:]} {rest}"
