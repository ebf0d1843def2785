"""What the page's entries may be: the schema's ranges and examples, as JSON.

Owns the reduction of a JSON schema to one rule for each dotted key; the ranges are `RunConfig`'s.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from bp_pipeline.config.schema import RunConfig

Schema = Mapping[str, Any]

_COPIED = ("type", "exclusiveMinimum", "minimum", "exclusiveMaximum", "maximum", "example")
_LARGEST = 2**53  # beyond which a JavaScript number loses bits


def entry_rules() -> dict[str, dict[str, Any]]:
    """Return type, limits, values and example of each key, by its dotted name."""
    schema = RunConfig.model_json_schema()
    rules: dict[str, dict[str, Any]] = {}
    for key, rule in _rules(schema, schema["$defs"], ""):
        rules.setdefault(key, rule)
    return rules


def _rules(section: Schema, sections: Schema, prefix: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, entry in section.get("properties", {}).items():
        for member in _members(entry, sections):
            if "properties" in member:
                yield from _rules(member, sections, f"{prefix}{name}.")
            elif member.get("type") not in ("null", "object"):
                yield prefix + name, _rule({**entry, **member})


def _members(entry: Schema, sections: Schema) -> list[Schema]:
    """Resolve what an entry may be: one section, or one of several."""
    several = entry.get("oneOf") or entry.get("anyOf") or [entry]
    return [sections[e["$ref"].rsplit("/", 1)[-1]] if "$ref" in e else e for e in several]


def _rule(entry: Schema) -> dict[str, Any]:
    rule = {key: _exact(entry[key]) for key in _COPIED if key in entry}
    if "enum" in entry:
        rule["values"] = entry["enum"]
    if entry.get("type") == "array":
        rule["items"] = _rule(entry["items"])
    return rule


def _exact(limit: Any) -> Any:
    return str(limit) if isinstance(limit, int) and limit > _LARGEST else limit
