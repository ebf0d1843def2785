"""What the tests of runs share: configs made of the shipped options, without Hydra."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from bp_pipeline.config.schema import RunConfig, parse_config

CONF = Path(__file__).resolve().parents[1] / "conf"
DEFAULT_OPTIONS = {
    "task": "xor", "network": "default", "activation": "tanh", "init": "glorot_uniform",
    "loss": "logistic", "optimizer": "batch_gd", "training": "default", "tracking": "local",
    "cluster": "local",
}  # fmt: skip


def raw_config(
    changes: Mapping[str, Any] | None = None, options: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Compose the shipped files: the option of each group, then values for dotted keys."""
    raw = _read(CONF / "config.yaml")
    del raw["defaults"], raw["hydra"]
    for group, option in {**DEFAULT_OPTIONS, **(options or {})}.items():
        raw[group] = _read(CONF / group / f"{option}.yaml")
    for key, value in (changes or {}).items():
        *groups, name = key.split(".")
        section = raw
        for group in groups:
            section = section[group]
        section[name] = value
    return raw


def make_config(
    changes: Mapping[str, Any] | None = None, options: Mapping[str, str] | None = None
) -> RunConfig:
    """Check such a config; its labels are the options that were chosen."""
    labels = {**DEFAULT_OPTIONS, **(options or {})}
    del labels["network"], labels["training"]
    return parse_config(raw_config(changes, options), labels)


def _read(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))
