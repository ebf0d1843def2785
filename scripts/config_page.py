"""`python scripts/config_page.py`: write the tables of `docs/config.md` anew.

Their rows are made from the declarations in `bp_pipeline/config/keys.py` and the files of `conf/`.
The text around the tables is the page's own, and stays.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bp_pipeline.config import RunConfig
from bp_pipeline.config.keys import conf_folder, default_options, default_values
from bp_pipeline.config.schema import KEYS

PAGE = Path(__file__).resolve().parents[1] / "docs" / "config.md"
_BY_OPTION = ("task", "activation", "init")  # groups whose options differ in more than their name
_SIGNS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
_POWERS = {2**53: "2⁵³", 2**63 - 1: "2⁶³ − 1"}


def page(text: str) -> str:
    """Return the page with the rows of both tables made anew."""
    for first, rows in (("group", _groups()), ("key", _keys())):
        head = rf"(\| {first} \|.*\n\|[:\-|]+\n)(?:\|.*\n)*"
        lines = "".join(f"| {' | '.join(row)} |\n" for row in rows)
        text = re.sub(head, lambda found, lines=lines: found[1] + lines, text)
    return text


def _groups() -> Iterator[tuple[str, ...]]:
    for group, default in default_options().items():
        if group in RunConfig.model_fields:
            options = " ".join(sorted(path.stem for path in (conf_folder() / group).glob("*.yaml")))
            meaning = str(RunConfig.model_fields[group].description)
            yield f"`{group}`", f"`{default}`", f"`{options}`", meaning


def _keys() -> Iterator[tuple[str, ...]]:
    defaults, rules = default_values(default_options()), _rules(RunConfig.model_json_schema())
    for key, declaration in KEYS.items():
        if not key.endswith(".name"):
            varies = key.split(".")[0] in _BY_OPTION and key != "init.scale"
            default = "by option" if varies else f"`{_spell(defaults[key])}`"
            yield f"`{key}`", default, rules[key], str(declaration.description)


def _rules(schema: dict[str, Any]) -> dict[str, str]:
    """Return what may stand for each key, in words."""

    def leaves(part: dict[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
        for member in part.get("oneOf", [part]):
            resolved = schema["$defs"].get(member.get("$ref", "").rpartition("/")[2], member)
            if "properties" not in resolved:
                yield prefix, _values(resolved)
            for name, inner in resolved.get("properties", {}).items():
                yield from leaves(inner, f"{prefix}.{name}" if prefix else name)

    return dict(leaves(schema, ""))


def _values(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(map(_values, schema["anyOf"]))
    if "enum" in schema:
        return f"`{' '.join(schema['enum'])}`"
    kind = schema.get("type", "")
    if kind == "array":
        return "list of " + re.sub(r"^(\w+)", r"\1s", _values(schema["items"]))
    names = {"boolean": "`true false`", "string": "text", "null": "`null`"}
    limits = [f"{_SIGNS[k]} {_POWERS.get(schema[k], schema[k])}" for k in _SIGNS if k in schema]
    return names.get(kind) or f"{kind} {', '.join(limits)}".strip()


def _spell(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
