"""What a user reads when a config is refused: the key, the rule, what came, and what to do.

Owns the wording, and that no message of any module tells a password. The rules themselves stand in
`config.py`.
"""

import re
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

# A value that works for each key that people get wrong, to end the message with.
EXAMPLES = {
    "activation.slope": "0.01",
    "init.bias": "zero",
    "init.bound": "1.0",
    "init.distribution": "uniform",
    "init.fan": "in",
    "init.noise": "0.1",
    "init.path": "FILE.npz",
    "init.scale": "2.0",
    "init.std": "1.0",
    "init.value": "1.0",
    "loss.reduction": "mean",
    "network.bias": "true",
    "network.hidden": "[3]",
    "network.output": "sigmoid",
    "network.train_bias": "true",
    "optimizer.learning_rate": "0.5",
    "optimizer.momentum": "0.9",
    "replicates": "100",
    "seed": "0",
    "sweep.rerun": "true",
    "task.bits": "3",
    "task.inputs": "[[0,0],[0,1],[1,0],[1,1]]",
    "task.targets": "[[0],[1],[1],[0]]",
    "threads": "2",
    "tracking.experiment": "bp_pipeline",
    "training.epochs": "2000",
    "training.record": "60",
    "training.record_weights": "4",
    "training.stop_when_converged": "true",
    "training.tolerance": "0.4",
}

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


class ConfigError(ValueError):
    """A config that cannot be run; its text is the complete message, one line a problem."""

    def __init__(self, message: str) -> None:
        super().__init__(without_passwords(message))


def without_passwords(text: str) -> str:
    """Write a text without the names and passwords that are in its URIs."""
    return _PASSWORD.sub(r"\1…", _USER.sub("", text))


def describe(error: ValidationError) -> str:
    """Say each problem that the schema found in one line."""
    return "\n".join(_line(problem) for problem in error.errors())


def suggest(name: str, names: list[str]) -> str:
    """End a message about an unknown name: the closest known one, and all there are."""
    close = get_close_matches(name, names, n=1)
    guess = f"Did you mean `{close[0]}`? " if close else ""
    return f"{guess}There are: {', '.join(names)}."


def _line(problem: Any) -> str:
    kind, context = problem["type"], problem.get("ctx", {})
    if kind == "value_error":
        return _own_line(problem, str(context["error"]))
    limits = {name: _short(value) for name, value in context.items()}
    rule = _RULES.get(kind, problem["msg"]).format(**limits)
    if kind in ("missing", "union_tag_not_found"):
        return _sentence(problem, rule)
    given = problem["input"]
    if kind == "union_tag_invalid":
        given = given["name"]
    if kind == "extra_forbidden":
        return f"`{_key(problem)}` must {rule}, got {given!r}."
    return _sentence(problem, f"{rule}, got {given!r}")


def _short(limit: Any) -> Any:
    """Write a whole number without its decimal point."""
    return int(limit) if isinstance(limit, float) and limit.is_integer() else limit


def _own_line(problem: Any, text: str) -> str:
    """Format what a check of our own raised: either whole lines or only the rule."""
    if text.startswith("`"):
        return "\n".join(line if line.endswith(".") else f"{line}." for line in text.split("\n"))
    return _sentence(problem, f"{text.removeprefix('must ')}, got {problem['input']!r}")


def _sentence(problem: Any, rule: str) -> str:
    key = _key(problem)
    example = EXAMPLES.get(key.split("[")[0])
    advice = f" Try `{key.split('[')[0]}={example}`." if example else ""
    return f"`{key}` must {rule}.{advice}"


def _key(problem: Any) -> str:
    """Spell where the problem is as a user writes it, without the schema's own union tags."""
    location = list(problem["loc"])
    if len(location) > 2 and location[0] in ("task", "init"):
        del location[1]
    if problem["type"].startswith("union_tag"):
        location.append("name")
    dotted = ".".join(str(part) for part in location if not isinstance(part, int))
    return dotted + "".join(f"[{part}]" for part in location if isinstance(part, int))
