"""What a user reads when a request is refused: the key, the rule, what came, and what to do.

Owns the wording, of mistakes that Hydra finds and of those that the schema finds, and that no
message of any module tells a password. The rules themselves stand in `schema.py`.
"""

import re
import shlex
import sys
from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo

Keys = Mapping[str, FieldInfo]  # the declaration of each config key

_RULES = {
    "missing": "be given",
    "extra_forbidden": "be left out, there is no such key",
    "greater_than": "be > {gt}",
    "greater_than_equal": "be >= {ge}",
    "less_than": "be < {lt}",
    "less_than_equal": "be <= {le}",
    "finite_number": "be finite",
    "int_type": "be an integer",
    "int_from_float": "be an integer",
    "float_type": "be a number",
    "bool_type": "be true or false",
    "string_type": "be text",
    "list_type": "be a list",
    "dict_type": "be a group of keys",
    "model_type": "be a group of keys",
    "model_attributes_type": "be a group of keys",
    "literal_error": "be {expected}",
    "union_tag_invalid": "be one of {expected_tags}",
    "union_tag_not_found": "be given",
    "too_short": "have at least {min_length} entry",
    "string_too_short": "have at least {min_length} character",
}

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
_OPEN = ("hydra.sweeper.params", "hydra.callbacks")  # where keys of Hydra's may be added

# The name and password of a URI. Whoever types a password forgets its % codes, so it goes on to the
# last @ of the word, whatever stands before; a path alone, as of sqlite:////a@b, has none.
_USER = re.compile(r"(?<=://)(?:[^\s/@:?#]*:\S*|[^\s/@:?#]+)@")
# As in a URI's query; what ends the sentence or the quotation around it is not part of it.
_PASSWORD = re.compile(
    r"((?:password|passwd|pwd)(?:=|%3D))"
    r"('[^']*'|\"[^\"]*\"|['\"]?[^\s&'\"`]+?(?=[.,:;)]?(?:[\s&'\"`]|$)))",
    re.IGNORECASE,
)


class Refusal(Exception):
    """A request that cannot be met; its text is the complete message, one line a problem."""

    def __init__(self, message: str) -> None:
        super().__init__(without_passwords(message))


class ConfigError(Refusal, ValueError):
    """A config that cannot be run."""


def without_passwords(text: str) -> str:
    """Write a text without the names and passwords that are in its URIs."""
    return _PASSWORD.sub(r"\1…", _USER.sub("", text))


def describe(error: ValidationError, keys: Keys) -> str:
    """Write each problem that the schema found in one line."""
    return "\n".join(_line(problem, keys) for problem in error.errors())


def suggest(name: str, names: Sequence[str]) -> str:
    """End a message about an unknown name: the closest known one, and all there are."""
    close = closest(name, names)
    guess = f"Did you mean `{close}`? " if close else ""
    return f"{guess}There are: {', '.join(names)}."


def closest(name: str, names: Sequence[str]) -> str | None:
    """Find what is meant: by its last part, by that one's initials (`lr`), or one much like it."""
    known: dict[str, str] = {}
    for other in reversed(names):  # the first one wins
        last = other.lower().rpartition(".")[2]
        initials = "".join(word[:1] for word in last.split("_"))
        known |= {initials: other} if len(initials) > 1 else {}
        known |= {last: other, other.lower(): other}
    close = get_close_matches(name.lower(), known, n=1)
    return known[close[0]] if close else None


def no_such_key(key: str, keys: Keys) -> str:
    """Write what is wrong with a key that the composed config has not."""
    group, _, name = key.rpartition(".")
    if key in keys and group:
        meaning = keys[key].description or ""
        advice = f"It is for {meaning}." if meaning[:1] == "`" else f"Write `+{key}=VALUE`."
        return f"`{key}` must be a key of the option chosen for `{group}`, which lacks it. {advice}"
    if key.split(".")[0] == "hydra":
        return f"`{key}` must be a key of Hydra's. `bp train --cfg hydra` shows them all."
    if key in keys:
        return f"`{key}` must not be deleted to be set. Leave out `~{key}`."
    siblings = [known.rpartition(".")[2] for known in keys if known.rpartition(".")[0] == group]
    if group and siblings:
        others = suggest(name, siblings)
        return f"`{key}` must be a config key. `{group}` has no key `{name}`. {others}"
    groups = dict.fromkeys(known.split(".")[0] for known in keys if known.split(".")[0] != known)
    close = closest(name, [*groups, *keys]) or closest(key, [*keys])
    advice = f"Did you mean `{close}`?" if close else "`bp train --cfg job` shows them all."
    return f"`{key}` must be a config key, and there is none of this name. {advice}"


def _line(problem: Any, keys: Keys) -> str:
    kind, context = problem["type"], problem.get("ctx", {})
    if kind == "value_error":
        return _own_line(problem, str(context["error"]), keys)
    limits = {name: _short(value) for name, value in context.items()}
    rule = _RULES.get(kind, problem["msg"]).format(**limits)
    if kind in ("missing", "union_tag_not_found"):
        return _sentence(problem, rule, keys)
    given = problem["input"]
    if kind == "union_tag_invalid":
        given = given["name"]
    if kind == "extra_forbidden":
        return f"`{_location(problem)}` must {rule}, got {given!r}."
    return _sentence(problem, f"{rule}, got {given!r}", keys)


def _short(limit: Any) -> Any:
    """Write a whole number without its decimal point."""
    return int(limit) if isinstance(limit, float) and limit.is_integer() else limit


def _own_line(problem: Any, text: str, keys: Keys) -> str:
    """Format what a check of our own raised: either whole lines or only the rule."""
    if text.startswith("`"):
        return "\n".join(line if line.endswith(".") else f"{line}." for line in text.split("\n"))
    return _sentence(problem, f"{text.removeprefix('must ')}, got {problem['input']!r}", keys)


def _sentence(problem: Any, rule: str, keys: Keys) -> str:
    location = _location(problem)
    key = location.split("[")[0]
    extra: Any = keys[key].json_schema_extra if key in keys else None
    advice = f" Try `{key}={extra['example']}`." if extra else ""
    advice = f" Set `{location}=VALUE`." if rule == "be given" and not advice else advice
    return f"`{location}` must {rule}.{advice}"


def _location(problem: Any) -> str:
    """Spell where the problem is as a user writes it, without the schema's own union tags."""
    location = list(problem["loc"])
    if len(location) > 2 and location[0] in ("task", "init"):
        del location[1]
    if problem["type"].startswith("union_tag"):
        location.append("name")
    dotted = ".".join(str(part) for part in location if not isinstance(part, int))
    return dotted + "".join(f"[{part}]" for part in location if isinstance(part, int))


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


def checked_choice(line: str, groups: Collection[str]) -> str:
    """Return an override as Hydra takes it: `+group=option` is `group=option` for these groups.

    So it is for Hydra's own keys: those that are not there, it would add and ignore.

    Raises
    ------
    ConfigError
        Where it should choose an option but has no name, or more than one in a list, of which only
        the last would count.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import ChoiceSweep, Glob

    [override] = OverridesParser.create().parse_overrides([line])
    group, typed = override.key_or_group, line.partition("=")[2]
    value: Any = override.value()  # a glob, too
    if not group:
        raise ConfigError(_unreadable(line))
    from bp_pipeline.config.keys import conf_folder, flat

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
    if override.package is not None:
        raise ConfigError(
            f"`{group}` must be chosen as it is, got `{line}`. Write `{group}={typed}`."
        )
    if isinstance(value, Glob):
        return line
    for option in value.list if isinstance(value, ChoiceSweep) else [value]:
        option = getattr(option, "text", option)  # of what was quoted
        if isinstance(option, list) and option and all(isinstance(name, str) for name in option):
            listed = ",".join(option)
            can_be_swept = all(
                (conf_folder() / group / f"{name}.yaml").is_file() for name in option
            )
            sweep = f"To sweep: `bp train -m {group}={listed}`."
            advice = sweep if can_be_swept else "See `bp train --help`."
            raise ConfigError(f"`{group}` must be one option, got [{listed}]. {advice}")
        if option is None or option == "???" or isinstance(option, int | float | list | Glob):
            raise ConfigError(
                f"`{group}` must be the name of an option, got {typed}. See `bp train --help`."
            )
    return line.lstrip("+") if group in groups else line


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
