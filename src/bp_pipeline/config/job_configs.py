"""The jobs that a sweep spans, and the config of each: what Hydra composes, but seldom by Hydra.

Hydra merges all files anew for each job, which takes it about a tenth of a second. Here it does so
once. An option file that holds nothing but its group's keys takes the place of another one, and an
override that only replaces a value sets it on a copy. All that is less plain (additions, deletions,
packages, interpolated defaults, …) is left to Hydra, so that the outcome is always Hydra's. Whether
the values make sense is left to `schema.py`.
"""

import copy
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, cast

import hydra
from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType, RangeSweep, ValueType
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from bp_pipeline.config.errors import ConfigError, no_such_key
from bp_pipeline.config.keys import default_options, flat
from bp_pipeline.config.overrides import checked_override, uncountable
from bp_pipeline.config.schema import KEYS

# What makes a text more than a text to OmegaConf: an interpolation, or a value that must be given.
_INTERPOLATION, _MISSING = "${", "???"


@dataclass(frozen=True)
class JobConfig:
    """A composed job: the overrides that name it, its config as plain values, its options."""

    overrides: tuple[str, ...]
    values: dict[str, Any]
    labels: dict[str, str]


def job_config(config: DictConfig, hydra: DictConfig) -> JobConfig:
    """Return a config that Hydra composed, without its `hydra` node, as plain values."""
    return JobConfig(tuple(lines_of(hydra.overrides.task)), _plain(config), _labels(hydra))


def spanned_jobs(
    loader: ConfigLoader, master: DictConfig, arguments: Sequence[str]
) -> list[tuple[DictConfig, list[str]]]:
    """List the jobs of a sweep: the grids of its config and those that swept options bring along.

    Parameters
    ----------
    loader
        Hydra's own.
    master
        The config of the sweep itself, as Hydra passes it to sweepers.
    arguments
        Overrides, as typed; they win over the grids in the config.

    Returns
    -------
    list
        For each job the master config that it is composed from, and its overrides.

    Raises
    ------
    ConfigError
        Where an override spans no value, or values without number.
    """
    jobs: list[tuple[DictConfig, list[str]]] = []
    composer = Composer(loader, master)
    masters: dict[tuple[str, ...], DictConfig] = {}
    for overrides in _grids(loader, master, arguments):
        choices = tuple(composer.choices_with_more(overrides))
        if choices not in masters:
            masters[choices] = composer.master_with(choices) if choices else master
        own = masters[choices]
        if own is master or own.hydra.sweeper == master.hydra.sweeper:
            jobs.append((master, overrides))
        else:
            jobs.extend(spanned_jobs(loader, own, overrides))
    return jobs


def is_sweep_by_itself(loader: ConfigLoader, master: DictConfig) -> bool:
    """Whether a config says that it is a sweep, where the command line does not."""
    given = [*lines_of(master.hydra.overrides.hydra), *lines_of(master.hydra.overrides.task)]
    lines = [line for line in given if line != "hydra.mode=MULTIRUN"]
    config = loader.load_configuration(master.hydra.job.config_name, lines, RunMode.MULTIRUN)
    return bool(config.hydra.mode is RunMode.MULTIRUN)


@dataclass(frozen=True)
class _Typed:
    """An override: what it sets, if it only sets values; the option, if it only chooses one."""

    line: str
    key: str
    leaves: tuple[tuple[str, Any], ...] | None = None
    option: str | None = None


class Composer:
    """Composes one job of a sweep after another and remembers what they have in common."""

    def __init__(self, loader: ConfigLoader, master: DictConfig) -> None:
        self._loader, self._master = loader, master
        self._chosen = _plain(master.hydra.runtime.choices)
        self._hydra_lines = lines_of(master.hydra.overrides.hydra)
        self._parser = OverridesParser.create(config_loader=loader)
        self._parsed: dict[str, _Typed] = {}
        self._files: dict[str, DictConfig | None] = {}
        self._packaged: set[str] = set()  # the files among them that say where they belong
        self._options: dict[str, dict[str, Any] | None] = {}
        self._occupied: dict[tuple[str, ...], set[str] | None] = {}
        self._bases: dict[tuple[str, ...], JobConfig | Exception] = {}

    def compose(self, overrides: Sequence[str], number: int) -> JobConfig:
        """Compose the job with these overrides; `number` is its place in the sweep.

        Raises
        ------
        ConfigError, HydraException, OmegaConfBaseException
            Where Hydra would raise one of its own.
        """
        parsed = [self._parse(line) for line in overrides]
        leaves = [leaf for typed in parsed for leaf in typed.leaves or ()]
        others = [typed for typed in parsed if typed.leaves is None]
        if _entangled([key for key, _ in leaves], others):
            return self._compose_with_hydra(overrides, number)
        base, free = self._base(others)
        values = {**base.values, **{group: self._option(group, o) for group, o in free.items()}}
        for key, value in leaves:
            changed = _with_leaf(values, key.split("."), value, key)
            if changed is None:
                return self._compose_with_hydra(overrides, number)
            values = changed
        texts = list(_special_texts(values))
        if any("hydra" in text for text in texts):
            return self._compose_with_hydra(overrides, number)
        resolved = self._resolve(values) if texts else values
        return JobConfig(tuple(overrides), resolved, {**base.labels, **free})

    def choices_with_more(self, overrides: Sequence[str]) -> list[str]:
        """Find options that may hold more than their group's keys, if the master lacks any."""
        choices = [typed for typed in map(self._parse, overrides) if typed.option is not None]
        new = [typed for typed in choices if self._chosen[typed.key] != typed.option]
        if all(self._option(typed.key, str(typed.option)) is not None for typed in new):
            return []
        return [t.line for t in choices if self._option(t.key, str(t.option)) is None]

    def master_with(self, choices: Sequence[str]) -> DictConfig:
        """Compose the master config of a sweep with these choices; the present one if it fails."""
        with suppress(Exception):  # whoever composes the job meets it again, and says so
            name, lines = self._master.hydra.job.config_name, [*self._hydra_lines, *choices]
            return self._loader.load_configuration(name, lines, RunMode.MULTIRUN)
        return self._master

    def _parse(self, line: str) -> _Typed:
        if line not in self._parsed:
            [override] = self._parser.parse_overrides([line])
            self._parsed[line] = self._typed(line, override)
        return self._parsed[line]

    def _typed(self, line: str, override: Override) -> _Typed:
        key, value = override.key_or_group, override.value()
        is_change = override.type is OverrideType.CHANGE and override.package is None
        if override.value_type is not ValueType.ELEMENT or not is_change:
            return _Typed(line, key)
        if key in self._chosen and isinstance(value, str):
            return _Typed(line, key, option=value)
        sets_values = bool(value) if isinstance(value, dict) else key not in self._chosen
        if not sets_values or override.is_hydra_override() or "[" in key:
            return _Typed(line, key)
        return _Typed(line, key, leaves=tuple(flat({key: value})))

    def _base(self, others: Sequence[_Typed]) -> tuple[JobConfig, dict[str, str]]:
        """Compose all that is not free; free options are those that can stand in for others."""
        groups = [typed.key for typed in others]
        plain = {
            typed.key: typed.option
            for typed in others
            if typed.option is not None
            and groups.count(typed.key) == 1
            and not any(key.startswith(f"{typed.key}.") for key in groups)
            and self._option(typed.key, typed.option) is not None
        }
        rest = tuple(typed.line for typed in others if typed.key not in plain)
        occupied = self._occupied_groups(rest) if plain else None
        free = {g: o for g, o in plain.items() if occupied is not None and g not in occupied}
        key = tuple(typed.line for typed in others if typed.key not in free)
        if key not in self._bases:
            try:
                self._bases[key] = self._base_from_hydra(key)
            except Exception as error:  # kept: a mistake that all jobs share is found only once
                self._bases[key] = error
        base = self._bases[key]
        if isinstance(base, Exception):
            raise base
        return base, free

    def _base_from_hydra(self, lines: Sequence[str]) -> JobConfig:
        config = self._loader.load_sweep_config(self._master, list(lines))
        values = _plain(without_hydra(config), resolve=False)
        return JobConfig(tuple(lines), values, _labels(config.hydra))

    def _occupied_groups(self, lines: tuple[str, ...]) -> set[str] | None:
        """Find the groups whose keys are set by other files than their option's own.

        None where defaults depend on options, so that no option stands for itself.
        """
        if lines not in self._occupied:
            try:
                self._occupied[lines] = self._find_occupied(lines)
            except Exception:  # composing these overrides raises it again, with its reason
                self._occupied[lines] = None
        return self._occupied[lines]

    def _find_occupied(self, lines: Sequence[str]) -> set[str] | None:
        name, occupied, owned = self._master.hydra.job.config_name, set[str](), set[str]()
        every_line = [*self._hydra_lines, *lines]
        for file in self._loader.compute_defaults_list(name, every_line, RunMode.RUN).defaults:
            package = file.package or ""
            if package.split(".")[0] == "hydra":
                continue
            keys = self._file(file.config_path)
            if keys is None or _INTERPOLATION in str(keys.get("defaults", "")):
                return None
            is_own = file.config_path.rpartition("/")[0] == package and package not in owned
            if is_own and package:
                owned.add(package)
            else:
                occupied |= {package.split(".")[0]} if package else {*map(str, keys)}
        return occupied

    def _option(self, group: str, option: str) -> dict[str, Any] | None:
        """Read an option file that holds its group's keys only; None for any other."""
        path = f"{group}/{option}"
        if path not in self._options:
            keys = self._file(path)
            is_plain = keys is not None and "defaults" not in keys and path not in self._packaged
            self._options[path] = _plain(keys, resolve=False) if keys and is_plain else None
        return self._options[path]

    def _file(self, path: str) -> DictConfig | None:
        """Read a file of the config, as it is; None where it is none of keys, or not found."""
        if path not in self._files:
            sources = (source for source in self._loader.get_sources() if source.is_config(path))
            found = [source.load_config(path) for source in itertools.islice(sources, 1)]
            is_mapping = bool(found) and isinstance(found[0].config, DictConfig)
            self._files[path] = cast(DictConfig, found[0].config) if is_mapping else None
            if found and found[0].header.get("package") is not None:
                self._packaged.add(path)
        return self._files[path]

    def _resolve(self, values: dict[str, Any]) -> dict[str, Any]:
        node = OmegaConf.create(values)
        OmegaConf.copy_cache(from_config=self._master, to_config=node)
        return _plain(node)

    def _compose_with_hydra(self, overrides: Sequence[str], number: int) -> JobConfig:
        """Compose as Hydra's own launcher does."""
        config = self._loader.load_sweep_config(self._master, list(overrides))
        with open_dict(config):
            config.hydra.job.id = str(number)
            config.hydra.job.num = number
        state = HydraConfig.instance()
        before, state.cfg = state.cfg, None
        try:
            state.set_config(config)  # for ${hydra:…} in a value
            return job_config(without_hydra(config), config.hydra)
        finally:
            state.cfg = before


def _grids(loader: ConfigLoader, master: DictConfig, arguments: Sequence[str]) -> list[list[str]]:
    """Span the grids of a config and the command line: every combination, grid after grid."""
    parser = OverridesParser.create(config_loader=loader)
    sweeper = _plain(master.hydra.sweeper)
    if not sweeper["grids"]:
        raise ConfigError("`hydra.sweeper.grids` must have a grid, got []. Leave it out.")
    jobs: list[list[str]] = []
    for grid in sweeper["grids"]:
        given = {**(sweeper["params"] or {}), **grid}
        lines = [
            checked_override(f"{key}={values}", default_options()) for key, values in given.items()
        ]
        parsed = parser.parse_overrides([*lines, *arguments])
        spans = {override.get_key_element(): _span(override) for override in parsed}
        jobs.extend(map(list, itertools.product(*spans.values())))
    return jobs


def _span(override: Override) -> list[str]:
    """Spell an override once for each of its values."""
    key, sweep = override.get_key_element(), override.value()
    if not override.is_sweep_override():
        return [f"{key}={override.get_value_element_as_str()}"]
    typed = override.get_value_string()
    if override.is_interval_sweep():
        raise ConfigError(uncountable(key, typed))
    if isinstance(sweep, RangeSweep) and not sweep.step:
        raise ConfigError(f"`{key}` must have a step that is not 0, got {typed}.")
    if isinstance(sweep, RangeSweep):
        for name in ("start", "stop", "step"):
            limit = getattr(sweep, name)
            if isinstance(limit, float) and not math.isfinite(limit):
                raise ConfigError(uncountable(key, typed))
            if isinstance(limit, float):
                setattr(sweep, name, _as_meant(limit, typed))
        if "sort" in typed and not _ends_on_a_step(sweep) and hydra.__version__ < "1.4":
            raise ConfigError(  # which Hydra 1.3 turns round to other values
                f"`{key}` must be a range that ends on a step where it is sorted, got {typed}. "
                "Leave `sort` out."
            )
    spelled = [f"{key}={value}" for value in override.sweep_string_iterator()]
    if not spelled:
        raise ConfigError(
            f"`{key}` must span at least one value, got {typed}, which fits none. See `bp train "
            "--help` for what there is."
        )
    return spelled


def _ends_on_a_step(limits: Any) -> bool:
    return bool((limits.stop - limits.start) % limits.step == 0)


def _as_meant(limit: float, typed: str) -> Decimal:
    """Return a limit of a range as a decimal: 0.1, 0.2, 0.3 is meant, not what doubles add up to.

    `sort` turns a range round with doubles, whose last digits are noise then.
    """
    return Decimal(f"{limit:.15g}" if "sort" in typed else repr(limit))


def _labels(hydra: DictConfig) -> dict[str, str]:
    """Return the option chosen for each group, Hydra's own groups left out."""
    return {
        group: option
        for group, option in hydra.runtime.choices.items()
        if isinstance(option, str) and not group.startswith("hydra/")
    }


def lines_of(overrides: Any) -> list[str]:
    """Return overrides as they were typed: OmegaConf would resolve interpolations in them."""
    return [str(line) for line in cast(list[Any], OmegaConf.to_container(overrides, resolve=False))]


def _special_texts(tree: Any) -> Iterator[str]:
    """Find the texts that OmegaConf would not leave as they are."""
    if isinstance(tree, Mapping):
        tree = list(tree.values())
    if isinstance(tree, list):
        for value in tree:
            yield from _special_texts(value)
    elif isinstance(tree, str) and (_INTERPOLATION in tree or tree == _MISSING):
        yield tree


def _plain(config: DictConfig, *, resolve: bool = True) -> dict[str, Any]:
    container = OmegaConf.to_container(config, resolve=resolve, throw_on_missing=resolve)
    return cast(dict[str, Any], container)


def without_hydra(config: DictConfig) -> DictConfig:
    """Return a config without its `hydra` node."""
    config = copy.deepcopy(config)
    with open_dict(config):
        del config["hydra"]
    return config


def _entangled(keys: Sequence[str], others: Sequence[_Typed]) -> bool:
    """Whether an unusual override touches what a plain one sets: then their order counts."""
    touched = [f"{typed.key}." for typed in others if typed.option is None]
    return any(
        other.startswith(f"{key}.") or key.startswith(other) for other in touched for key in keys
    )


def _with_leaf(
    values: dict[str, Any], path: Sequence[str], value: Any, key: str
) -> dict[str, Any] | None:
    """Return values with another one at `path`, or None where there is no single value yet."""
    first, *rest = path
    if first not in values:
        raise ConfigError(no_such_key(key, KEYS))
    before = values[first]
    if isinstance(before, dict):
        changed = _with_leaf(before, rest, value, key) if rest else None
        return None if changed is None else {**values, first: changed}
    return None if rest else {**values, first: value}
