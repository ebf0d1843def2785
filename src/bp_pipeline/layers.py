"""Option files merged as Hydra merges them, but read once and exchanged in memory.

Owns the one shortcut of composition: where the files of two configs differ only in which option of
a group they take, the second config is not read and merged from all its files again. What the
shortcut does not cover is refused here (`None`) and left to Hydra by `composition.py`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

# What makes a text more than a text to OmegaConf: an interpolation, and a value still to be given.
INTERPOLATION, MISSING = "${", "???"


class Unmergeable(Exception):
    """Values that OmegaConf merges by rules of its own, or refuses to merge."""


@dataclass(frozen=True)
class Option:
    """One config file.

    Attributes
    ----------
    content
        Its values, without its defaults list.
    is_lone
        Whether it has no defaults list and goes where its group goes: then it can be exchanged.
    has_computed_defaults
        Whether its defaults list depends on other choices.
    """

    content: dict[str, Any]
    is_lone: bool
    has_computed_defaults: bool


@dataclass(frozen=True)
class Layer:
    """An option in its place; `group` is None for a file that is not chosen from a group."""

    group: str | None
    package: tuple[str, ...]
    option: Option


class ConfFiles:
    """The option files that Hydra finds, each read once.

    Parameters
    ----------
    loader
        Hydra's own.
    master
        The config of the sweep itself; what it says of Hydra holds for all its jobs.
    """

    def __init__(self, loader: ConfigLoaderImpl, master: DictConfig) -> None:
        self._loader = loader
        self._name = master.hydra.job.config_name
        self._overrides = lines_of(master.hydra.overrides.hydra)
        self._groups: dict[str, bool] = {}
        self._options: dict[str, Option | None] = {}

    def has_group(self, key: str) -> bool:
        """Tell whether options are chosen under this key."""
        if key not in self._groups:
            found = self._loader.get_group_options(key, None, self._name, self._overrides)
            self._groups[key] = bool(found)
        return self._groups[key]

    def option(self, path: str) -> Option | None:
        """Read the file `group/option`, or give None where there is none."""
        if path not in self._options:
            self._options[path] = _read(self._loader, path)
        return self._options[path]

    def layers(self, overrides: Sequence[str]) -> list[Layer] | None:
        """List what Hydra would merge, in order; None where one choice depends on another."""
        lines = [*self._overrides, *overrides]
        result = self._loader.compute_defaults_list(self._name, lines, RunMode.RUN)
        layers = []
        for default in result.defaults:
            path = default.config_path or ""
            if path.startswith("hydra/"):
                continue
            option = self.option(path)
            if option is None or option.has_computed_defaults:
                return None
            package = tuple(part for part in (default.package or "").split(".") if part)
            layers.append(Layer(default.override_key, package, option))
        return layers


def exchange(layers: Sequence[Layer], options: Mapping[str, Option]) -> dict[str, Any] | None:
    """Merge layers, with other options for some groups.

    Returns
    -------
    dict or None
        The merged config; None where a group is not among the layers, or where more changes than
        what stands in one option's place.
    """
    replaced = {layer.group: layer.option for layer in layers if layer.group in options}
    if len(replaced) < len(options) or not all(
        option.is_lone for option in (*replaced.values(), *options.values())
    ):
        return None
    merged: dict[str, Any] = {}
    try:
        for layer in layers:
            option = options.get(layer.group or "", layer.option)
            merge_inplace(merged, _at(layer.package, option.content))
    except Unmergeable:
        return None
    merged.pop("hydra", None)
    return merged


def special_texts(tree: Any) -> Iterator[str]:
    """Find the texts that OmegaConf would not leave as they are."""
    if isinstance(tree, Mapping):
        for value in tree.values():
            yield from special_texts(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from special_texts(value)
    elif isinstance(tree, str) and (INTERPOLATION in tree or tree == MISSING):
        yield tree


def lines_of(overrides: Any) -> list[str]:
    """Give overrides as they were typed: OmegaConf would resolve interpolations in them."""
    lines = OmegaConf.to_container(overrides, resolve=False)
    assert isinstance(lines, list)
    return [str(line) for line in lines]


def merge_inplace(target: dict[str, Any], source: dict[str, Any]) -> None:
    """Merge key by key where both hold a mapping; else the source's value replaces the target's.

    Raises
    ------
    Unmergeable
        Where it is not as simple as that.
    """
    for key, value in source.items():
        before = target.get(key)
        if value == MISSING and key in target:
            continue
        if isinstance(value, dict | list) and not _can_take(before, value):
            raise Unmergeable
        if isinstance(value, dict):
            target[key] = dict(before) if isinstance(before, dict) else {}
            merge_inplace(target[key], value)
        else:
            target[key] = value


def _can_take(before: Any, value: dict[str, Any] | list[Any]) -> bool:
    """Tell whether OmegaConf merges or replaces without looking further."""
    if isinstance(before, str):
        return INTERPOLATION not in before
    return not isinstance(before, dict | list) or type(before) is type(value)


def _read(loader: ConfigLoaderImpl, path: str) -> Option | None:
    loaded = loader.repository.load_config(path)
    if loaded is None or not isinstance(loaded.config, DictConfig):
        return None
    content = OmegaConf.to_container(loaded.config, resolve=False)
    assert isinstance(content, dict)
    defaults = loaded.defaults_list or []
    return Option(
        content={str(key): value for key, value in content.items()},
        is_lone=not defaults and not loaded.header.get("package"),
        has_computed_defaults=any(INTERPOLATION in str(default) for default in defaults),
    )


def _at(package: tuple[str, ...], content: dict[str, Any]) -> dict[str, Any]:
    for part in reversed(package):
        content = {part: content}
    return content
