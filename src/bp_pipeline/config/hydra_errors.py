"""What a user reads when Hydra refuses a command line: what was wrong, and what would be right.

Owns the wording for mistakes that Hydra finds: unknown options and keys, overrides that do not
parse. Those in values are described in `messages.py`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import yaml
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from bp_pipeline.config.errors import suggest

_NOT_A_NAME = "Config group override must be a string"
_REFUSED_KEY = re.compile(r"Could not override '([^'@]+)'")


def explain(
    error: Exception, overrides: Sequence[str], compose: Callable[[str], DictConfig]
) -> str:
    """Say in our words why Hydra could not compose a config.

    Parameters
    ----------
    error
        What Hydra raised.
    overrides
        What it was given.
    compose
        Gives a config with the keys that there are, its `hydra` node included, when it is called
        with the key that was refused.
    """
    if isinstance(error, OverrideParseException):
        return _unreadable(error.override)
    if isinstance(error, MissingConfigException) and error.options and error.missing_cfg_file:
        return _no_such_option(error.missing_cfg_file, list(error.options))
    if isinstance(error, MissingMandatoryValue):
        return f"`{error.full_key}` must be given, got ???. Set `{error.full_key}=VALUE`."
    refused = _REFUSED_KEY.match(str(error))
    if refused:
        return _no_such_key(refused[1], compose(refused[1]))
    if str(error).startswith(_NOT_A_NAME):
        return _not_a_name(overrides, compose(""))
    return _in_short(error)


def _unreadable(override: str) -> str:
    if "=" not in override and not override.startswith("~"):
        return f"`{override}` is not an override. Write `key=value`, e.g. `activation=relu`."
    return (
        f"`{override}` must follow Hydra's grammar for overrides. Close its brackets, quote inside "
        "what is one text, and quote all of it for the shell: 'key=\"a, b\"'."
    )


def _no_such_option(path: str, options: list[str]) -> str:
    group, _, option = path.rpartition("/")
    return f"`{group}` must be one of its options, got {option!r}. {suggest(option, options)}"


def _not_a_name(overrides: Sequence[str], config: DictConfig) -> str:
    choices = config.hydra.runtime.choices
    for override in overrides:
        group, _, value = override.partition("=")
        if group in choices and not isinstance(yaml.safe_load(value), str):
            return f"`{group}` must be the name of an option, got {value}. See `bp train --help`."
    return f"{_NOT_A_NAME} that is the name of an option. See `bp train --help`."


def _no_such_key(key: str, config: DictConfig) -> str:
    node: Any = _keys(config)
    known: list[str] = []
    for part in key.split("."):
        if not isinstance(node, Mapping) or part not in node:
            break
        known.append(part)
        node = node[part]
    unknown = key.split(".")[len(known)] if len(known) < len(key.split(".")) else key
    place = f"`{'.'.join(known)}`" if known else "The config"
    advice = f" {suggest(unknown, sorted(node))}" if isinstance(node, Mapping) else ""
    return f"`{key}` must be a config key. {place} has no key `{unknown}`.{advice}"


def _keys(config: DictConfig) -> dict[str, Any]:
    """Give the keys a user may set, with the groups that are not chosen by default."""
    tree = OmegaConf.to_container(config, resolve=False)
    assert isinstance(tree, dict)
    choices = tree.pop("hydra", {"runtime": {"choices": {}}})["runtime"]["choices"]
    groups = {group: None for group in choices if not group.startswith("hydra/")}
    return {**groups, **{str(key): value for key, value in tree.items()}}


def _in_short(error: Exception) -> str:
    """Give an error's own words without the context that Hydra and OmegaConf add."""
    text = str(error).strip().split("\n\n")[0]
    if isinstance(error, OmegaConfBaseException):
        key, reason = error.full_key, text.split("\n")[0]
        return f"`{key}` must be a value or lead to one: {reason}" if key else reason
    if isinstance(error.__cause__, OmegaConfBaseException):
        text = "\n".join(filter(None, [text, _in_short(error.__cause__)]))
    is_expected = isinstance(error, HydraException | ValueError)
    return text if is_expected else f"{type(error).__name__}: {text}"
