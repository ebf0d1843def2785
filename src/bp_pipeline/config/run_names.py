"""What tells the runs of a sweep apart: their names, by what varies.

A name is such as `tanh · glorot_uniform · lr=0.5`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from bp_pipeline.config.keys import default_options, default_values
from bp_pipeline.config.schema import UNDECIDED, RunConfig
from bp_pipeline.digests import digest_json

ALWAYS = ("activation", "init", "optimizer.learning_rate")  # the name of a run on its own
_SHORT = {"optimizer.learning_rate": "lr"}
_LONGEST_VALUE = 60  # characters; a longer one is named by its beginning and its digest


def varied_keys(params: Sequence[Mapping[str, Any]]) -> list[str]:
    """List the config keys that tell runs apart, given each run's params.

    A value that goes with the option of its group (`init.bound` with `init`) is left out.
    """
    keys = dict.fromkeys(key for run in params for key in run)
    return [key for key in keys if key.split(".")[0] not in UNDECIDED and _varies(key, params)]


def run_name(config: RunConfig, keys: Sequence[str]) -> str:
    """Name a run by the values of these keys."""
    params = config.params()
    own = [key for key in keys if key in params]  # not those of other options
    return " · ".join(_spell(key, params[key], key in config.labels) for key in own)


def run_names(configs: Sequence[RunConfig]) -> list[str]:
    """Name the runs of a sweep by what varies in it, and a run on its own by what is unusual.

    Where several studies are one sweep, the study comes first, and then what varies within it.
    """
    studies: dict[str, list[dict[str, Any]]] = {}
    for config in configs:
        studies.setdefault(config.labels.get("experiment", ""), []).append(config.params())
    varied = {study: varied_keys(params) for study, params in studies.items()}
    if len(varied) == 1:
        [keys] = varied.values()
        return [run_name(config, keys or _unusual_keys(config)) for config in configs]
    of_study = [config.labels.get("experiment", "") for config in configs]
    names = [run_name(c, varied[study]) for c, study in zip(configs, of_study, strict=True)]
    return [" · ".join(filter(None, pair)) for pair in zip(of_study, names, strict=True)]


def _unusual_keys(config: RunConfig) -> list[str]:
    """List the usual three keys, and those whose value is not the default of their option."""
    options = {**default_options(), **config.labels}
    usual = {**default_values(options), **default_options(), "experiment": options["experiment"]}
    names = {f"{group}.name" for group in options}
    unusual = {key for key, value in config.params().items() if value != usual.get(key, value)}
    named = {key for key in unusual - names if key.split(".")[0] not in UNDECIDED}
    return [key for key in config.params() if key in named.union(ALWAYS)]


def _varies(key: str, params: Sequence[Mapping[str, Any]]) -> bool:
    group = key.split(".")[0]
    values: dict[Any, set[str]] = {}
    for run in params:
        option = run.get(group) if group != key else None
        values.setdefault(option, set()).add(repr(run.get(key)))
    return any(len(of_option) > 1 for of_option in values.values())


def _spell(key: str, value: Any, is_label: bool) -> str:
    if is_label:
        return str(value)
    text = str(value)
    if len(text) > _LONGEST_VALUE:  # such as a truth table
        text = f"{text[: _LONGEST_VALUE // 3]}…{digest_json(value)[:8]}"
    return f"{_SHORT.get(key, key.rsplit('.', 1)[-1])}={text}"
