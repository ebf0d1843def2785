"""What a user reads when a request is refused: the key, the rule, what came, and what to do.

Owns the wording of mistakes that the schema finds, and that no message of any module tells a
password. The rules themselves stand in `keys.py` and `schema.py`; what is wrong with an override is
said in `overrides.py`.
"""

import re
from collections.abc import Mapping, Sequence
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
