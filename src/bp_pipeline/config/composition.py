"""Jobs of a sweep composed from lists of overrides: what Hydra composes, only once for each choice.

Hydra reads and merges every file anew for each job, which takes it about a tenth of a second. Here
it does so once for each choice of options, and overrides that only replace a value are set on a
copy. All that is less plain (additions, deletions, packages, interpolated defaults, …) goes to
Hydra itself, so that the outcome is always Hydra's. Whether the values make sense is for
`config.py` to say.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType, ValueType
from hydra.errors import ConfigCompositionException
from omegaconf import DictConfig, OmegaConf, open_dict

# What makes a text more than a text to OmegaConf: an interpolation, or a value that must be given.
_INTERPOLATION, _MISSING = "${", "???"


@dataclass(frozen=True)
class Job:
    """One composed job: its config as plain values, and the overrides that name it."""

    overrides: tuple[str, ...]
    config: dict[str, Any]
    labels: dict[str, str]


@dataclass(frozen=True)
class _Base:
    """A config before values are set in it; its interpolations are not resolved yet."""

    config: dict[str, Any]
    labels: dict[str, str]


class Composer:
    """Composes one job after another and remembers what they have in common.

    Parameters
    ----------
    loader
        Hydra's own.
    master
        The config of the sweep itself, as Hydra gives it to launchers.
    """

    def __init__(self, loader: ConfigLoaderImpl, master: DictConfig) -> None:
        self._loader = loader
        self._master = master
        self._groups: dict[str, bool] = {}
        self._parser = OverridesParser.create(config_loader=loader)
        self._parsed: dict[str, tuple[Override, bool]] = {}
        self._bases: dict[tuple[str, ...], _Base | Exception] = {}
        self._refused: dict[str, Exception] = {}

    def compose(self, overrides: Sequence[str], number: int) -> Job:
        """Compose the job with these overrides; `number` is its place in the sweep.

        Raises
        ------
        HydraException, OmegaConfBaseException
            Where Hydra would raise them.
        """
        values, others = self._parse(overrides)
        if _entangled(values, others):
            return self._compose_with_hydra(overrides, number)
        base = self._base(others)
        config = base.config
        for value in values:
            changed = _with_leaf(config, value.key_or_group.split("."), value.value())
            if changed is None:
                return self._refuse_or_compose(values, overrides, number)
            config = changed
        texts = list(_special_texts(config))
        if any("hydra" in text for text in texts):
            return self._compose_with_hydra(overrides, number)
        return Job(tuple(overrides), self._resolve(config) if texts else config, base.labels)

    def _parse(self, lines: Sequence[str]) -> tuple[list[Override], list[Override]]:
        """Tell the overrides that only set a value from all others."""
        for line in lines:
            if line not in self._parsed:
                [override] = self._parser.parse_overrides([line])
                self._parsed[line] = (override, self._sets_value(override))
        parsed = [self._parsed[line] for line in lines]
        values = [override for override, sets_value in parsed if sets_value]
        return values, [override for override, sets_value in parsed if not sets_value]

    def _sets_value(self, override: Override) -> bool:
        return (
            _is_simple(override)
            and not isinstance(override.value(), dict)
            and not override.is_hydra_override()
            and not self._is_group(override.key_or_group)
        )

    def _is_group(self, key: str) -> bool:
        """Tell whether options are chosen under this key."""
        if key not in self._groups:
            name, overrides = self._master.hydra.job.config_name, self._master.hydra.overrides
            found = self._loader.get_group_options(key, None, name, lines_of(overrides.hydra))
            self._groups[key] = bool(found)
        return self._groups[key]

    def _base(self, overrides: Sequence[Override]) -> _Base:
        key = tuple(str(override.input_line) for override in overrides)
        if key not in self._bases:
            try:
                self._bases[key] = self._base_from_hydra(key)
            except Exception as error:  # kept: a mistake that all jobs share is found only once
                self._bases[key] = error
        base = self._bases[key]
        if isinstance(base, Exception):
            raise base
        return base

    def _base_from_hydra(self, lines: Sequence[str]) -> _Base:
        config = self._loader.load_sweep_config(self._master, list(lines))
        return _Base(_plain(_without_hydra(config), resolve=False), labels_of(config.hydra))

    def _resolve(self, config: dict[str, Any]) -> dict[str, Any]:
        node = OmegaConf.create(config)
        OmegaConf.copy_cache(from_config=self._master, to_config=node)
        return _plain(node, resolve=True)

    def _refuse_or_compose(
        self, values: Sequence[Override], overrides: Sequence[str], number: int
    ) -> Job:
        """Leave a job to Hydra, unless Hydra has already refused one of its keys."""
        keys = [value.key_or_group for value in values]
        for key in keys:
            if key in self._refused:
                raise self._refused[key]
        try:
            return self._compose_with_hydra(overrides, number)
        except ConfigCompositionException as error:
            refused = (key for key in keys if str(error).startswith(f"Could not override '{key}'"))
            self._refused.update(dict.fromkeys(refused, error))
            raise

    def _compose_with_hydra(self, overrides: Sequence[str], number: int) -> Job:
        """Compose as Hydra's own launcher does."""
        config = self._loader.load_sweep_config(self._master, list(overrides))
        with open_dict(config):
            config.hydra.job.id = str(number)
            config.hydra.job.num = number
        state = HydraConfig.instance()
        before, state.cfg = state.cfg, None
        try:
            state.set_config(config)  # for ${hydra:…} in a value
            return job_of(_without_hydra(config), config.hydra)
        finally:
            state.cfg = before


def job_of(config: DictConfig, hydra: DictConfig) -> Job:
    """Turn a config that Hydra composed, and its `hydra` node, into plain values."""
    overrides = tuple(lines_of(hydra.overrides.task))
    return Job(overrides, _plain(config, resolve=True), labels_of(hydra))


def labels_of(hydra: DictConfig) -> dict[str, str]:
    """Give the option chosen for each group, Hydra's own groups left out."""
    return {
        group: option
        for group, option in hydra.runtime.choices.items()
        if isinstance(option, str) and not group.startswith("hydra/")
    }


def lines_of(overrides: Any) -> list[str]:
    """Give overrides as they were typed: OmegaConf would resolve interpolations in them."""
    lines = OmegaConf.to_container(overrides, resolve=False)
    assert isinstance(lines, list)
    return [str(line) for line in lines]


def _special_texts(tree: Any) -> Iterator[str]:
    """Find the texts that OmegaConf would not leave as they are."""
    if isinstance(tree, Mapping):
        for value in tree.values():
            yield from _special_texts(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _special_texts(value)
    elif isinstance(tree, str) and (_INTERPOLATION in tree or tree == _MISSING):
        yield tree


def _plain(config: DictConfig, *, resolve: bool) -> dict[str, Any]:
    container = OmegaConf.to_container(config, resolve=resolve, throw_on_missing=resolve)
    return cast(dict[str, Any], container)


def _without_hydra(config: DictConfig) -> DictConfig:
    config = copy.deepcopy(config)
    with open_dict(config):
        del config["hydra"]
    return config


def _is_simple(override: Override) -> bool:
    """Tell whether an override is `key=value` with one value."""
    is_change = override.type is OverrideType.CHANGE and override.package is None
    return is_change and override.value_type is ValueType.ELEMENT


def _is_choice(override: Override) -> bool:
    return _is_simple(override) and isinstance(override.value(), str)


def _entangled(values: Sequence[Override], others: Sequence[Override]) -> bool:
    """Tell whether an unusual override touches what a plain one sets: then their order counts."""
    touched = [f"{o.key_or_group}." for o in others if not _is_choice(o)]
    set_keys = [f"{value.key_or_group}." for value in values]
    return any(
        other.startswith(key) or key.startswith(other) for other in touched for key in set_keys
    )


def _with_leaf(config: dict[str, Any], path: Sequence[str], value: Any) -> dict[str, Any] | None:
    """Give a config with another value at `path`, or None where there is no single value yet."""
    first, *rest = path
    before = config.get(first)
    if isinstance(before, dict):
        changed = _with_leaf(before, rest, value) if rest else None
        return None if changed is None else {**config, first: changed}
    return None if rest or first not in config else {**config, first: value}
