"""The command that makes a sweep again: what its runs vary, and what is not as by default.

It is drawn from the runs' configs, not from what was typed, so that the same sweep has the same
command. Owns reading the option files as plain values: Hydra would do more, and take a second; what
it would add (interpolation, packages) no option file uses.
"""

import re
import shlex
from ast import literal_eval
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from math import prod
from typing import Any

import pandas as pd
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from bp_pipeline.hydra_app import conf_folder
from bp_pipeline.report.sweep_data import Sweep

_GROUPS = ("task", "network", "activation", "init", "loss", "optimizer", "training")
_SELF_EVIDENT = re.compile(r"[\w./+\-\[\],]*")  # what Hydra takes as it is
Values = dict[str, list[str]]  # of each config key, in order, as they are typed


def command_line(sweep: Sweep) -> str | None:
    """Spell the command: the experiment where there was one, and whatever else must be said.

    Returns
    -------
    str or None
        None where no grid has just these runs, as after a sweep of several grids, or where some of
        them are missing.
    """
    parts = _by_experiment(sweep.runs)
    words: Values = {"experiment": [name for name in parts if name]}
    for key in _keys(sweep.runs):
        wanted = {name: _values(runs, key) for name, runs in parts.items()}
        if all(values == _unsaid(name, parts[name], key) for name, values in wanted.items()):
            continue
        values = next(iter(wanted.values()))
        if any(other != values for other in wanted.values()) or not values:
            return None
        words[key] = values
    n_jobs = sum(_n_jobs(name, words) for name in parts)
    if n_jobs != sweep.n_jobs or n_jobs != len(sweep.runs):
        return None
    is_sweep = [] if all(_experiment(name).is_sweep for name in parts) else ["-m"]
    spelled = [f"{key}={','.join(map(_quoted, values))}" for key, values in words.items() if values]
    return " ".join(["bp train", *is_sweep, *map(shlex.quote, spelled)])


def _by_experiment(runs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Split runs by the experiment that they come from; "" where it is none that is found here."""
    if "experiment" not in runs:
        return {"": runs}
    names = [name if _read(f"experiment/{name}.yaml") else "" for name in runs["experiment"]]
    return dict(list(runs.groupby(pd.Series(names, index=runs.index))))


def _keys(runs: pd.DataFrame) -> list[str]:
    """List the keys that decide a result, options first, since they set the others."""
    columns = [key for key in runs.columns if "/" not in key and not key.startswith("bp.")]
    within = [key for key in columns if key.split(".")[0] in _GROUPS and not key.endswith(".name")]
    given = "init" in runs and (runs["init.name"] == "given").all()
    others = ["seed"] if given else ["replicates", "seed"]  # the file says how many there are
    keys = dict.fromkeys([*_GROUPS, *within, *others])
    return [key for key in keys if key in columns]


def _values(runs: pd.DataFrame, key: str) -> list[str]:
    values = runs[key].dropna().astype(object).unique().tolist() if key in runs else []
    return _in_order(_typed(value) for value in values)


def _unsaid(experiment: str, runs: pd.DataFrame, key: str) -> list[str]:
    """Give a key's values where the command does not say them: the experiment's, or by default."""
    said = _experiment(experiment)
    otherwise = [said.fixed[key]] if key in said.fixed else _defaults(runs, key)
    return _in_order(value for grid in said.grids for value in grid.get(key, otherwise))


def _defaults(runs: pd.DataFrame, key: str) -> list[str]:
    """Give what the option files say of a key: those of the options that the runs have."""
    base, (group, _, rest) = _read("config.yaml"), key.partition(".")
    if not rest:
        chosen = [d[group] for d in base.get("defaults", []) if isinstance(d, dict) and group in d]
        return [_typed(value) for value in chosen or [base.get(key)]]
    labels = runs[group].dropna().unique() if group in runs else ["default"]
    options = [_read(f"{group}/{label}.yaml").get(rest) for label in labels]
    return [_typed(value) for value in options if value is not None]


def _n_jobs(experiment: str, words: Values) -> int:
    """Count the jobs that the command makes of an experiment."""
    constants = {**words, "experiment": [experiment]}
    return sum(
        prod(len(values) for values in {**grid, **constants}.values() if values)
        for grid in _experiment(experiment).grids
    )


class _Experiment:
    """What a file of `conf/experiment/` says: values of keys, and the grids that it spans."""

    def __init__(self, raw: dict[str, Any]) -> None:
        hydra = raw.pop("hydra", None) or {}
        self.is_sweep = hydra.get("mode") == "MULTIRUN"
        sweeper = hydra.get("sweeper") or {}
        shared = sweeper.get("params") or {}
        self.grids = [
            dict(_swept(f"{key}={values}") for key, values in {**shared, **grid}.items())
            for grid in sweeper.get("grids") or [{}]
        ]
        fixed = {**dict(_options(raw.pop("defaults", []))), **dict(_dotted(raw))}
        self.fixed = {key: _typed(value) for key, value in fixed.items()}


@cache
def _experiment(name: str) -> _Experiment:
    return _Experiment(dict(_read(f"experiment/{name}.yaml")) if name else {})


def _swept(line: str) -> tuple[str, list[str]]:
    """Read what Hydra would sweep over."""
    [override] = OverridesParser.create().parse_overrides([line])
    is_sweep = override.is_sweep_override()
    texts = override.sweep_string_iterator() if is_sweep else [override.get_value_string()]
    return override.key_or_group, [_typed(text) for text in texts]


def _options(defaults: Sequence[Any]) -> Iterator[tuple[str, str]]:
    """Read the options that a defaults list chooses: `override /init: ones`."""
    for entry in defaults:
        for key, option in entry.items() if isinstance(entry, Mapping) else ():
            yield key.split()[-1].lstrip("/"), option


def _dotted(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _typed(value: Any) -> str:
    """Write a value, or a text that stands for one, as a user types it."""
    if isinstance(value, str):
        try:
            return _typed(literal_eval(value)) if value else "''"
        except (ValueError, SyntaxError):
            return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{','.join(map(_typed, value))}]"
    return repr(float(value)).removesuffix(".0") if isinstance(value, float) else str(value)


def _quoted(value: str) -> str:
    """Quote a value for Hydra where it would read something else than text."""
    if _SELF_EVIDENT.fullmatch(value):
        return value
    # A backslash is one, unless a quote follows.
    return "'" + re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + m[2].replace("'", r"\'"), value) + "'"


def _in_order(values: Iterable[str]) -> list[str]:
    """Sort values, numbers by their size, each once."""
    return sorted(set(values), key=_as_number)


def _as_number(text: str) -> tuple[float, str]:
    try:
        return float(text), ""
    except ValueError:
        return 0.0, text


@cache
def _read(name: str) -> dict[str, Any]:
    """Read a file of `conf/`, nothing where there is none."""
    try:
        content = yaml.safe_load((conf_folder() / name).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}
