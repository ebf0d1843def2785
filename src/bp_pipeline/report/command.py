"""The command that makes a sweep again: what its runs vary, and what is not as by default.

Owns reading the option files as plain values. Hydra would do more, and take a second; what it would
add (interpolation, packages) no option file uses.
"""

import shlex
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from bp_pipeline.report.sweep_data import Sweep

_GROUPS = ("task", "network", "activation", "init", "loss", "optimizer", "training", "tracking")
_NEVER = {"engine", "threads", "tracking", "sweep", "labels"}  # they decide no result


def command_line(sweep: Sweep) -> str:
    """Spell the command: the experiment where there was one, and whatever else must be said."""
    runs = sweep.runs
    experiments = _values(runs, "experiment")
    experiment = experiments[0] if len(experiments) == 1 else None
    said = _of_experiment(experiment) if experiment else {}
    words = [f"experiment={experiment}"] if experiment else []
    is_sweep = "-m" if "hydra.mode" not in said else ""
    for key in _keys(runs):
        wanted = _values(runs, key)
        if wanted and wanted != said.get(key, _defaults(runs, key)):
            words.append(f"{key}={','.join(wanted)}")
    return " ".join(["bp train", *filter(None, [is_sweep]), *map(shlex.quote, words)])


def _keys(runs: pd.DataFrame) -> list[str]:
    columns = [key for key in runs.columns if "/" not in key and not key.startswith("bp.")]
    groups = [key for key in _GROUPS if key in columns]
    others = [key for key in columns if key.split(".")[0] in _GROUPS and not key.endswith(".name")]
    keys = dict.fromkeys([*groups, *others, "replicates", "seed"])
    return [key for key in keys if key in columns and key.split(".")[0] not in _NEVER]


def _values(runs: pd.DataFrame, key: str) -> list[str]:
    """List a key's values, in order, as they are typed."""
    if key not in runs:
        return []
    values = runs[key].dropna().unique().tolist()
    numbers = all(isinstance(value, int | float) for value in values)
    return [_typed(value) for value in sorted(values, key=None if numbers else str)]


def _typed(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    text = f"{value!r}" if isinstance(value, float) else str(value)
    return text.removesuffix(".0").replace(", ", ",")


def _defaults(runs: pd.DataFrame, key: str) -> list[str]:
    """Give what the options chosen by the runs say of a key."""
    base = _read("config.yaml")
    group, _, rest = key.partition(".")
    if not rest:
        chosen = [d[group] for d in base.get("defaults", []) if isinstance(d, dict) and group in d]
        return [str(option) for option in chosen] or [_typed(base.get(key))]
    labels = runs[group].dropna().unique() if group in runs else ["default"]
    found = {
        _typed(value) for label in labels for value in _flat(_read(f"{group}/{label}.yaml"), rest)
    }
    return sorted(found, key=_as_number)


def _as_number(text: str) -> tuple[float, str]:
    try:
        return float(text), ""
    except ValueError:
        return 0.0, text


def _flat(options: Mapping[str, Any], key: str) -> Iterator[Any]:
    if options.get(key) is not None:
        yield options[key]


@cache
def _of_experiment(name: str) -> dict[str, list[str]]:
    """Give what an experiment sets, key by key, its sweep included."""
    raw = _read(f"experiment/{name}.yaml")
    hydra = raw.pop("hydra", None) or {}
    said = {key: [_typed(value)] for key, value in _dotted(raw)}
    params = (hydra.get("sweeper") or {}).get("params") or {}
    for key, values in params.items():
        said[key] = sorted(str(values).replace(" ", "").split(","), key=_as_number)
    if hydra.get("mode"):
        said["hydra.mode"] = [str(hydra["mode"])]
    return said


def _dotted(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{prefix}{key}.")
        elif key != "defaults":
            yield prefix + key, value


@cache
def _read(name: str) -> dict[str, Any]:
    """Read a file of `conf/`, nothing where there is none."""
    package = Path(__file__).parents[1]
    folder = package / "conf" if (package / "conf").is_dir() else package.parents[1] / "conf"
    try:
        content = yaml.safe_load((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}
