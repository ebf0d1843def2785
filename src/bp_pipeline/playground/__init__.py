"""The arithmetic of `core` in JavaScript, and a page that trains with it in the browser."""

from pathlib import Path

from bp_pipeline.config.schema import RunConfig
from bp_pipeline.files import replacing
from bp_pipeline.playground.page import ARTICLE, RecordedResult, render_playground

__all__ = ["ARTICLE", "RecordedResult", "write_playground"]


def write_playground(
    config: RunConfig, path: Path, recorded: RecordedResult | None = None, replicate: int = 0
) -> None:
    """Write the page that starts from a config.

    Parameters
    ----------
    config
        What the page trains at first.
    path
        Where to write; a file that is there is replaced.
    recorded
        What a run of this config recorded, for the page to compare its own result with.
    replicate
        Which network of the run is shown at first, from 0.
    """
    with replacing(path) as new:
        new.write_text(render_playground(config, recorded, replicate), encoding="utf-8")
