"""The arithmetic of `core` in JavaScript, and a page that trains with it in the browser."""

from pathlib import Path

from bp_pipeline.config.schema import RunConfig
from bp_pipeline.playground.page import ARTICLE, RecordedResult, render_playground

__all__ = ["ARTICLE", "RecordedResult", "write_playground"]


def write_playground(config: RunConfig, path: Path, recorded: RecordedResult | None = None) -> None:
    """Write the page that starts from a config, and compares its result with a recorded one."""
    unfinished = path.with_name(f".{path.name}.part")
    unfinished.write_text(render_playground(config, recorded), encoding="utf-8")
    unfinished.replace(path)
