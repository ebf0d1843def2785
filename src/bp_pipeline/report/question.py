"""What a sweep asked, in words: its name, its grid, what each run trains, and the criterion."""

from ast import literal_eval
from collections.abc import Sequence
from math import prod

import pandas as pd

from bp_pipeline.config.tasks import truth_table
from bp_pipeline.report.findings import Findings
from bp_pipeline.report.notation import count, how_many, listing, name_of
from bp_pipeline.terminal import counted


def title(findings: Findings) -> str:
    """Name a sweep by its experiment, if all runs share one, else by what varies."""
    runs = findings.sweep.runs
    experiments = runs["experiment"].unique()
    if len(experiments) == 1 and isinstance(experiments[0], str):
        return experiments[0]
    varied = [name_of(axis) for axis in findings.sweep.axes if _n_values(runs, axis) > 1]
    return listing(sorted(varied)) if varied else "a single run"


def question(findings: Findings) -> str:
    """Say what was asked: the grid, what each run trains, and when a network has converged."""
    n_jobs = findings.sweep.n_jobs
    grid = _grid(findings)
    asked = f"{counted(n_jobs, 'run')} {'was' if n_jobs == 1 else 'were'} asked for"
    trains = f"and {'it' if n_jobs == 1 else 'each'} trains {_networks(findings)}"
    text = f"{asked}, {grid}, {trains}" if grid else f"{asked}, {trains}"
    return f"{text}{_criterion(findings)}."


def _grid(findings: Findings) -> str:
    """Say which grid was asked for, as far as all its runs are known."""
    sweep = findings.sweep
    keys = [*sweep.axes, "seed"]
    places = sweep.runs[keys].drop_duplicates()
    sizes = {key: size for key in keys if (size := _n_values(places, key)) > 1}
    if len(sweep.runs) < sweep.n_jobs or not sizes:
        return ""
    factors = [how_many(size, axis) for axis, size in sizes.items()]
    if len(places) == prod(sizes.values()):
        return " × ".join(factors)
    of_all = count(prod(sizes.values()))
    return f"{count(len(places))} of {of_all} combinations of {listing(factors)}"


def _networks(findings: Findings) -> str:
    """Say what each run trains: what all runs share of it."""
    axes, runs = findings.sweep.axes, findings.sweep.finished
    n_replicates = findings.sweep.runs["replicates"].dropna().unique()
    number = counted(int(n_replicates[0]), "network") if len(n_replicates) == 1 else "networks"
    same_layers = not (_vary(axes, "network") or _vary(axes, "task"))
    layers = f" ({sizes})" if same_layers and (sizes := _layer_sizes(runs.iloc[0])) else ""
    task = "its task" if "task" in axes else runs["task"].iloc[0]
    epochs = counted(int(runs["training.epochs"].iloc[0]), "epoch")
    length = "" if "training.epochs" in axes else f" for {epochs}"
    return f"{number}{layers} on {task}{length}"


def _layer_sizes(run: pd.Series) -> str:
    """Write the units of each layer, 2-3-1; nothing where a table was too long for MLflow."""
    keys = ("name", "bits", "inputs", "targets")
    task = {key: str(run[f"task.{key}"]) for key in keys if pd.notna(run[f"task.{key}"])}
    name = task.pop("name", "")
    try:
        table = truth_table(name, **{key: literal_eval(task[key]) for key in task})
        hidden = literal_eval(run["network.hidden"])
    except (SyntaxError, ValueError, TypeError, KeyError):
        return ""
    return "-".join(map(str, (table.inputs.shape[1], *hidden, table.targets.shape[1])))


def _criterion(findings: Findings) -> str:
    tolerance = f"{findings.sweep.finished['training.tolerance'].iloc[0]:g}"
    within = "the tolerance" if "training.tolerance" in findings.sweep.axes else tolerance
    return (
        "; a network has converged at the first epoch at which every output is within "
        f"{within} of its target, and solves the task where that is so when training ends"
    )


def _n_values(runs: pd.DataFrame, axis: str) -> int:
    return int(runs[axis].nunique(dropna=False))


def _vary(axes: Sequence[str], group: str) -> bool:
    return any(axis.split(".")[0] == group for axis in axes)
