"""The playground as a page of its own: one HTML file that loads nothing.

Owns what the page is given: a config to start from, the options and ranges of the settings, a
recorded result, and the program, which is the `.mjs` files of this folder one after the other. A
content security policy allows this program and this style sheet, by their hashes, and nothing else.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from markupsafe import Markup

from bp_pipeline.config.compose import compose_each
from bp_pipeline.config.keys import conf_folder
from bp_pipeline.config.run_names import ALWAYS, run_name
from bp_pipeline.config.schema import RunConfig
from bp_pipeline.digests import digest_arrays
from bp_pipeline.files import page_template
from bp_pipeline.playground.entry_rules import entry_rules
from bp_pipeline.playground.portable import portable_config

_FOLDER = Path(__file__).parent
_PROGRAM = (  # in an order in which each file follows those that it imports from
    "backprop", "elements", "equations", "working", "player", "settings", "drawing", "comparison",
    "replicates", "tables", "reasons", "page",
)  # fmt: skip
_IMPORT = re.compile(r'^import \{[^}]*\} from "\./\w+\.mjs";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:async )?(?:function\*?|class|const) ([\w$]+))", re.MULTILINE)
_GROUPS = ("task", "activation", "init", "loss", "optimizer")
_MOST_LOSSES = 10_000  # recorded ones that a page carries, 107 kB of it
ARTICLE = ["experiment=article"]  # what the page starts from, unless asked otherwise

# In the order of the study `corrections`: what the article has, and what is made of it.
_CORRECTIONS = [
    {
        "title": "Loss",
        "text": "logistic, with a sigmoid output",
        "article": {"loss": "squared_error", "network.output": "identity"},
        "made": {"network.output": "sigmoid", "loss": "logistic"},
    },
    {
        "title": "Activation",
        "text": "tanh: hidden units that are not linear",
        "article": {"activation": "identity"},
        "made": {"activation": "tanh"},
    },
    {
        "title": "Initial weights",
        "text": "glorot_uniform: weights that differ",
        "article": {"init": "ones"},
        "made": {"init": "glorot_uniform"},
    },
]


@dataclass(frozen=True)
class RecordedResult:
    """What a run recorded, for the page to compare its own result with.

    Attributes
    ----------
    run
        Name and id of the run, for the reader.
    digest
        Its recorded `result_digest`.
    arrays
        The arrays that this digest is of.
    """

    run: str
    digest: str
    arrays: Mapping[str, np.ndarray]


def render_playground(
    config: RunConfig, recorded: RecordedResult | None = None, replicate: int = 0
) -> str:
    """Write the page that starts from a config and shows one of its replicates."""
    data = _data(config, recorded, replicate)
    program, style = _program(), (_FOLDER / "page.css").read_text("utf-8")
    policy = (
        f"default-src 'none'; script-src '{_hash(program)}'; style-src '{_hash(style)}'; "
        "worker-src blob:; base-uri 'none'; form-action 'none'"
    )
    return page_template(_FOLDER / "page.html.jinja").render(
        title=run_name(config, ALWAYS),
        is_article=data["start"]["config"] == data["article"]["config"],
        policy=Markup(policy),
        style=Markup(style),
        program=Markup(program),
        data=Markup(_json(data)),
        corrections=_CORRECTIONS,
        recorded=recorded,
    )


def _program() -> str:
    """Join the modules into one: each in a scope of its own, of which only its exports are left."""
    program = "\n".join(map(_scope, _PROGRAM))
    assert "</script" not in program
    return program


def _scope(name: str) -> str:
    source = _IMPORT.sub("", (_FOLDER / f"{name}.mjs").read_text("utf-8"))
    exports = "{ " + ", ".join(name for _, name in _EXPORT.findall(source)) + " }"
    body = _EXPORT.sub(r"\1", source)
    return f"const {exports} = (() => {{\n{body}return {exports};\n}})();\n"


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _json(data: Any) -> str:
    """Write JSON that ends no script element."""
    return json.dumps(data, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")


def _data(config: RunConfig, recorded: RecordedResult | None, replicate: int) -> dict[str, Any]:
    article, defaults = _article_and_defaults()
    return {
        "start": {**_settings(config), "replicate": replicate},
        "article": _settings(article),
        "defaults": _settings(defaults),
        "options": {group: _options(group) for group in _GROUPS},
        "rules": entry_rules(),
        "corrections": _CORRECTIONS,
        "recorded": recorded and _comparable(recorded),
    }


@cache  # Hydra takes half a second, and a report has a page for each task
def _article_and_defaults() -> list[RunConfig]:
    return compose_each([ARTICLE, []])


def _settings(config: RunConfig) -> dict[str, Any]:
    labels = {group: config.labels[group] for group in _GROUPS}
    return {"config": portable_config(config), "labels": labels, "path": _given_path(config)}


def _given_path(config: RunConfig) -> str | None:
    return str(getattr(config.init, "path", "")) or None


def _options(group: str) -> dict[str, Any]:
    """Read the options of a group, all but given weights, which come with a config."""
    paths = sorted((conf_folder() / group).glob("*.yaml"))
    options = {path.stem: yaml.safe_load(path.read_text("utf-8")) for path in paths}
    options.pop("given", None)
    return options


def _comparable(recorded: RecordedResult) -> dict[str, Any]:
    """Reduce a result to what tells where another one differs first: array, replicate, epoch."""
    loss = recorded.arrays["loss"]
    kept = loss[: _MOST_LOSSES // loss.shape[1]]
    return {
        "run": recorded.run,
        "digest": recorded.digest,
        "digests": {name: digest_arrays({name: array}) for name, array in recorded.arrays.items()},
        "losses": base64.b64encode(kept.astype("<f8").tobytes()).decode(),
    }
