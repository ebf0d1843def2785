"""The command that makes a sweep again: what its runs vary, and what is not as by default.

It is drawn from the runs' configs, not from what was typed, so that the same sweep has the same
command. Owns reading the option files as plain values: Hydra would do more, and take a second; what
it would add (interpolation, packages) no option file uses.
"""

import re
import shlex
from ast import literal_eval
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import product
from math import prod
from typing import Any

import pandas as pd
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from bp_pipeline.config.keys import conf_folder, flat
from bp_pipeline.report.sweep_data import Sweep

_GROUPS = ("task", "network", "activation", "init", "loss", "optimizer", "training")
_SELF_EVIDENT = re.compile(r"[\w./+\-\[\],]*")  # what Hydra takes as it is
Row = dict[str, str]  # value of each config key of a run, as it is typed
Grid = dict[str, list[str]]


def command_line(sweep: Sweep) -> str | None:
    """Spell the command: the experiment where there was one, and whatever else must be said.

    Returns
    -------
    str or None
        None where no grid has just these runs, as after a sweep of several grids, or where some of
        them are missing.
    """
    runs = [_row(run) for run in sweep.runs.to_dict("records")]
    if not runs or len(runs) != sweep.n_jobs or any(map(_is_cut, runs)):
        return None
    experiments = _in_order(run["experiment"] for run in runs)
    # A sweep over experiments takes the place of those that they would span themselves.
    grids = _experiment(experiments[0]).grids if len(experiments) == 1 else [{}]
    words = {"experiment": experiments, **_words(runs, grids)}
    if not _gives(words, grids, runs):
        return None
    alone = len(experiments) == 1 and _experiment(experiments[0]).is_sweep
    spelled = [
        f"{key}={','.join(map(_quoted, values))}" for key, values in words.items() if any(values)
    ]
    return " ".join(["bp train", *([] if alone else ["-m"]), *map(shlex.quote, spelled)])


def _row(run: Mapping[Hashable, Any]) -> Row:
    """Take from a run what decides its result, options first, since they set the other keys.

    The experiment is "" where there was none, or none that is found here.
    """
    names = [str(key) for key, value in run.items() if "/" not in str(key) and not pd.isna(value)]
    within = [key for key in names if key.split(".")[0] in _GROUPS and not key.endswith(".name")]
    given = run.get("init.name") == "given"  # whose file says how many replicates there are
    others = ["seed"] if given else ["replicates", "seed"]
    keys = [key for key in dict.fromkeys([*_GROUPS, *within, *others]) if key in names]
    experiment = str(run.get("experiment") or "")
    known = experiment if _read(f"experiment/{experiment}.yaml") else ""
    return {"experiment": known, **{key: _typed(run[key]) for key in keys}}


def _is_cut(run: Row) -> bool:
    """Tell whether a long list was cut off where MLflow keeps it."""
    return any(value.count("[") != value.count("]") for value in run.values())


def _words(runs: Sequence[Row], grids: Sequence[Grid]) -> Grid:
    """List the keys of which some run has another value than it would have unsaid."""
    words: Grid = {}
    for key in dict.fromkeys(key for run in runs for key in run if key != "experiment"):
        swept = {value for grid in grids for value in grid.get(key, [])}
        if any(run[key] not in {*swept, _unsaid(run, key)} for run in runs if key in run) or (
            swept - {run.get(key) for run in runs}
        ):
            words[key] = _in_order(run[key] for run in runs if key in run)
    return words


def _gives(words: Grid, grids: Sequence[Grid], runs: Sequence[Row]) -> bool:
    """Tell whether a command with these words asks for just these runs."""
    spans = [{**grid, **words} for grid in grids]
    if sum(prod(map(len, span.values())) for span in spans) != len(runs):
        return False
    keys = dict.fromkeys(key for run in runs for key in run)
    asked = Counter(
        frozenset(_completed(dict(zip(span, values, strict=True)), keys).items())
        for span in spans
        for values in product(*span.values())
    )
    return asked == Counter(frozenset(run.items()) for run in runs)


def _completed(said: Row, keys: Iterable[str]) -> Row:
    """Give all values of a run of which some are said."""
    row = dict(said)
    for key in keys:
        value = row[key] if key in row else _unsaid(row, key)
        if value is not None and not (key == "replicates" and row["init"] == "given"):
            row[key] = value
    return row


def _unsaid(run: Row, key: str) -> str | None:
    """Give a key's value where the command does not say it: the experiment's, or by default."""
    said = _experiment(run["experiment"]).fixed
    if key in said:
        return said[key]
    base, (group, _, rest) = _read("config.yaml"), key.partition(".")
    if rest:
        value = _read(f"{group}/{run.get(group, 'default')}.yaml").get(rest)
        return None if value is None else _typed(value)
    chosen = [d[group] for d in base.get("defaults", []) if isinstance(d, dict) and group in d]
    return _typed(chosen[0] if chosen else base.get(key))


class _Experiment:
    """What a file of `conf/experiment/` says: values of keys, and the grids that it spans."""

    def __init__(self, raw: dict[str, Any]) -> None:
        hydra = raw.pop("hydra", None) or {}
        self.is_sweep = hydra.get("mode") == "MULTIRUN"
        sweeper = hydra.get("sweeper") or {}
        shared = sweeper.get("params") or {}
        self.grids: list[Grid] = [
            dict(_swept(f"{key}={values}") for key, values in {**shared, **grid}.items())
            for grid in sweeper.get("grids") or [{}]
        ]
        fixed = {**dict(_options(raw.pop("defaults", []))), **dict(flat(raw))}
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
