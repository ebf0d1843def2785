"""The user's pages are true: the table of keys is the schema's, and what they name exists."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from runs import CONF, raw_config

from bp_pipeline.config.schema import RunConfig
from bp_pipeline.core.activations import ACTIVATIONS

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES += sorted((ROOT / "experiments").glob("*/README.md"))

SCHEMA = RunConfig.model_json_schema()
GROUPS = ("task", "network", "activation", "init", "loss", "optimizer", "training", "tracking")
BY_OPTION = ("task", "activation", "init")  # groups whose options differ in more than their name


def test_the_table_of_keys_is_that_of_the_schema() -> None:
    text = (ROOT / "docs" / "config.md").read_text(encoding="utf-8")
    rows = [line.strip("|").split("|")[:3] for line in text.splitlines() if line.startswith("| `")]
    documented = [tuple(cell.strip() for cell in row) for row in rows]
    expected = [*_groups(), *_keys()]
    missing = [f"| {' | '.join(row)} | … |" for row in expected if row not in documented]
    stale = [row for row in documented if row not in expected]
    assert not missing, "\n".join(missing)
    assert not stale
    assert len(documented) == len(expected)


def _groups() -> Iterator[tuple[str, str, str]]:
    for group in GROUPS:
        default = re.search(rf"^  - {group}: (\w+)", (CONF / "config.yaml").read_text(), re.M)
        assert default
        options = " ".join(sorted(path.stem for path in (CONF / group).glob("*.yaml")))
        yield f"`{group}`", f"`{default[1]}`", f"`{options}`"


def _keys() -> Iterator[tuple[str, str, str]]:
    defaults = raw_config()
    for key, schema in _leaves(SCHEMA):
        group, _, name = key.partition(".")
        if name == "name" or key.startswith("labels"):
            continue
        value = defaults[group][name] if name and group not in BY_OPTION else defaults.get(group)
        default = "by option" if name and group in BY_OPTION else f"`{_spell(value)}`"
        values = f"`{' '.join(ACTIVATIONS)}`" if key == "network.output" else _values(schema)
        yield f"`{key}`", default, values


def _leaves(schema: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """List every key once, those of a union's members one member after another."""
    seen = set()
    for name, part in schema.get("properties", {}).items():
        resolved = [_resolve(member) for member in part.get("oneOf", [part])]
        if "properties" not in resolved[0]:
            yield prefix + name, part
            continue
        for member in resolved:
            for key, leaf in _leaves(member, f"{prefix}{name}."):
                if key not in seen:
                    seen.add(key)
                    yield key, leaf


def _resolve(part: dict[str, Any]) -> dict[str, Any]:
    reference = part.get("$ref")
    return SCHEMA["$defs"][reference.rsplit("/", 1)[-1]] if reference else part


def _values(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_values(member) for member in schema["anyOf"])
    if "enum" in schema:
        return f"`{' '.join(schema['enum'])}`"
    kind = schema["type"]
    if kind == "array":
        return "list of " + re.sub(r"^(\w+)", r"\1s", _values(schema["items"]))
    names = {"boolean": "`true false`", "string": "text", "null": "`null`"}
    return names.get(kind) or " ".join([kind, *_limits(schema)])


def _limits(schema: dict[str, Any]) -> Iterator[str]:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    powers = {2**53: "2⁵³", 2**63 - 1: "2⁶³ − 1"}
    limits = [
        f"{signs[key]} {powers.get(schema[key], schema[key])}" for key in signs if key in schema
    ]
    yield from [", ".join(limits)] if limits else []


def _spell(value: Any) -> str:
    return (
        "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []
