"""Overrides as they are typed: which Hydra would ignore in part, and why it cannot take others.

Owns the wording of mistakes that Hydra finds, or does not find. What is wrong with the values of a
composed config is `schema.py`'s to say.
"""

import re
import shlex
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from bp_pipeline.config.errors import ConfigError, Keys, no_such_key, suggest
from bp_pipeline.config.keys import conf_folder, default_values, flat

# Where Hydra names neither what is wrong nor what to do.
_HYDRA_SAYS = {
    "An item is already at '([^']+)'":
        "`{0}` must be set without +, as it is there. Write `{0}=VALUE`.",
    "Additional config directory '(.+)' not found":
        "`--config-dir` must be a folder, got {0!r}. Name one that has option files.",
    "Cannot find primary config '(.+?)'":
        "`--config-name` must be a config that is there, got {0!r}. Leave it out.",
    r"Primary config \w+ '(.+?)' not found":
        "`--config-path` must be a folder of configs, got {0!r}. Leave it out.",
    "File (.+) does not exist!":
        "`--experimental-rerun` must be a file of Hydra's, got {0!r}. Leave it out.",
    "path=(.+) is not available":
        "`hydra.searchpath` must have folders of option files, got {0!r}. Correct it.",
    r"Invalid (?:value|hydra\.mode) '(.+?)'[,;] expected (?:one of \[)?RUN":
        "`hydra.mode` must be RUN or MULTIRUN, got {0!r}. Write `-m` for a sweep.",
    r"Only one of (--run, .+) can be specified":
        "`{0}` must be given one at a time. Leave the others out, or `-m` for them.",
    "The (--resolve) flag": "`{0}` must go with `--cfg` or `--help`. Add `--cfg job`.",
}  # fmt: skip

# What Hydra would write or set while it runs a job, which it never does here.
_UNUSED = ("hydra.run.", "hydra.sweep.", "hydra.output_subdir", "hydra.job.", "hydra.job_logging",
           "hydra.hydra_logging", "hydra.runtime.", "hydra.env.")  # fmt: skip
_OF_A_SWEEP = ("hydra.sweeper", "hydra.launcher")  # groups without which there is none
_OPEN = ("hydra.sweeper.params", "hydra.callbacks")  # where keys of Hydra's may be added


def checked_override(line: str, groups: Collection[str]) -> str:
    """Return an override as Hydra takes it: `+group=option` is `group=option` for these groups.

    So it is for Hydra's own keys: those that are not there, it would add and ignore.

    Raises
    ------
    ConfigError
        Where Hydra would ignore it, or a part of it.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser

    [override] = OverridesParser.create().parse_overrides([line])
    group, value = override.key_or_group, override.value()
    if not group:
        raise ConfigError(_unreadable(line))
    for key, _ in flat({group: value}):
        if f"{key}.".replace("/", ".").startswith(_UNUSED):
            raise ConfigError(
                f"`{key}` must be left out, got `{line}`. `bp train` writes no folder and no log "
                "of Hydra's: its results are in MLflow, in the folder that it is started in or at "
                "`tracking.uri`."
            )
    if group.startswith("hydra.") and not group.startswith(_OPEN):
        return line.lstrip("+")
    if override.is_delete() or not (group in groups or group.startswith("hydra/")):
        return line
    typed = line.partition("=")[2]
    if override.package is not None:
        raise ConfigError(
            f"`{group}` must be chosen as it is, got `{line}`. Write `{group}={typed}`."
        )
    _check_options(group, value, typed)
    if group == "hydra/sweeper":
        check_sweeper(typed)
    return line.lstrip("+") if group in groups else line


def with_first_options(lines: Sequence[str], options: Mapping[str, str]) -> list[str]:
    """Put before a group's swept options the first one, where the default one lacks a key.

    Hydra looks for a key that is set in the config of the sweep itself, from which it leaves out
    what is swept, and so has the default option there. A job whose option lacks the key is refused
    when it is composed.

    Parameters
    ----------
    lines
        Overrides; only options that they list are seen, none of `glob` and none of a study.
    options
        The groups, and the default option of each.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import ChoiceSweep

    overrides = OverridesParser.create().parse_overrides([*lines])
    known = {*options, *default_values(options)}
    lacked = {o.key_or_group.partition(".")[0] for o in overrides if o.key_or_group not in known}
    spelled: list[str] = []
    for line, override in zip(lines, overrides, strict=True):
        group = override.key_or_group
        if group in options and group in lacked and isinstance(override.value(), ChoiceSweep):
            spelled.append(f"{group}={next(override.sweep_string_iterator())}")
        spelled.append(line)
    return spelled


def check_sweeper(option: str) -> None:
    """Refuse sweepers but ours, wherever this one was chosen: they would train less than asked."""
    if option != "grid":
        raise ConfigError(
            f"`hydra/sweeper` must be grid, got {option}. Leave it out: no other one knows the "
            "grids of studies, or which decimals a range means."
        )


def _check_options(group: str, value: Any, typed: str) -> None:
    """Refuse what is no name of an option, and lists, of which only the last name would count."""
    from hydra.core.override_parser.types import ChoiceSweep, Glob

    if isinstance(value, Glob):
        return
    for option in value.list if isinstance(value, ChoiceSweep) else [value]:
        option = getattr(option, "text", option)  # of what was quoted
        if isinstance(option, list) and option and all(isinstance(name, str) for name in option):
            listed = ",".join(option)
            files = [conf_folder() / group / f"{name}.yaml" for name in option]
            sweep = f"To sweep: `bp train -m {group}={listed}`."
            advice = sweep if all(file.is_file() for file in files) else "See `bp train --help`."
            raise ConfigError(f"`{group}` must be one option, got [{listed}]. {advice}")
        if option is None or option == "???" or isinstance(option, int | float | list | Glob):
            raise ConfigError(
                f"`{group}` must be the name of an option, got {typed}. See `bp train --help`."
            )


def explain(error: Exception, overrides: Sequence[str], keys: Keys) -> str:
    """Write in our words why Hydra could not compose a config from these overrides."""
    from hydra.errors import HydraException, MissingConfigException, OverrideParseException
    from omegaconf.errors import (
        InterpolationResolutionError,
        MissingMandatoryValue,
        OmegaConfBaseException,
    )

    text = str(error).strip().split("\n\n")[0]
    if isinstance(error, ConfigError):
        return text
    if isinstance(error, OverrideParseException):
        return _unreadable(error.override)
    if isinstance(error, MissingConfigException) and error.options and error.missing_cfg_file:
        group, _, option = error.missing_cfg_file.rpartition("/")
        for key in map(_key, overrides):  # an option may be in a sub-folder
            if error.missing_cfg_file.startswith(f"{key}/"):
                group, option = key, error.missing_cfg_file.removeprefix(f"{key}/")
        rule = f"`{group}` must be one of its options, got {option!r}."
        return f"{rule} {suggest(option, error.options)}"
    if isinstance(error, MissingMandatoryValue) and error.full_key in _OF_A_SWEEP:
        option = str(error.full_key).replace(".", "/")
        return f"`{option}` must be one of its options, got none. Leave out what takes it away."
    if isinstance(error, MissingMandatoryValue):
        return f"`{error.full_key}` must be given, got ???. Set `{error.full_key}=VALUE`."
    if found := re.search(r"Could not (?:override|delete from config\.) '([^'@]+)'", text):
        full_key = getattr(error.__cause__, "full_key", None)
        return no_such_key(max(found[1], full_key or "", key=len), keys)
    if found := re.search(r"(?:value for argument|parameters|not supported :) '(.+)'", text):
        return _swept(*found[1].partition("=")[::2])
    for said, message in _HYDRA_SAYS.items():
        if found := re.search(said, text):
            return message.format(found[1])
    hydras = [override for override in overrides if override.lstrip("+~").startswith("hydra")]
    if hydras and not isinstance(error, HydraException | InterpolationResolutionError):
        return _not_hydras(hydras[-1])  # only Hydra's own keys have types that it checks
    if isinstance(error, OmegaConfBaseException) and error.full_key:
        reason = text.split("\n")[0].rpartition("resolving interpolation: ")[2]
        return f"`{error.full_key}` must be a value or lead to one: {reason}."
    if isinstance(error.__cause__, OmegaConfBaseException):
        return explain(error.__cause__, overrides, keys)
    if isinstance(error, HydraException | OmegaConfBaseException | ValueError):
        reason = " ".join(text.partition(" : Override(")[0].split())
        return text if text[:1] == "`" else f"`{_named(overrides, text)}` cannot be had: {reason}"
    if sys.flags.optimize:
        return "`PYTHONOPTIMIZE` must not be set: Hydra reads overrides by assertions. Unset it."
    typed = _named(overrides, text)
    return f"`{typed}` must be something that Hydra can use. `HYDRA_FULL_ERROR=1` shows why not."


def _key(override: str) -> str:
    return re.split("[@=]", override.lstrip("+~"))[0]


def _named(overrides: Sequence[str], text: str) -> str:
    """Return those overrides whose keys a text names, else all."""
    named = [override for override in overrides if (key := _key(override)) and key in text]
    return " ".join(named or overrides)


def _not_hydras(override: str) -> str:
    key, _, value = override.lstrip("+~").partition("=")
    return (
        f"`{key}` must be such as Hydra takes it, got {value or 'nothing'}. `bp train --cfg "
        "hydra` shows what it is by default."
    )


def uncountable(key: str, values: str) -> str:
    """Refuse a sweep over an interval."""
    return (
        f"`{key}` must span values that can be counted, got {values}. List them, or use "
        f"`{key}=range(FIRST,END,STEP)`."
    )


def _unreadable(override: str) -> str:
    if "=" not in override and not override.startswith("~"):
        typed = override or "''"
        return f"`{typed}` is not an override. Write `key=value`, e.g. `activation=relu`."
    return (
        f"`{override}` must follow Hydra's grammar for overrides. Close its brackets, quote inside "
        "what is one text, and quote all of it for the shell: 'key=\"a, b\"'."
    )


def _swept(key: str, values: str) -> str:
    if values.startswith("interval("):
        return uncountable(key, values)
    sweep = shlex.quote(f"{key}={values}")
    advice = f"To sweep over them: `bp train -m {sweep}`."
    advice = "Start one command for each." if key.startswith("hydra") else advice
    return f"`{key}` must be one value, got {values}. {advice}"
