"""The user's pages are true: the tables of keys are the schema's, and what they name exists."""

import re
import shlex
from pathlib import Path

import pytest

from bp_pipeline.config import compose
from bp_pipeline.config.schema import KEYS
from bp_pipeline.ensemble import RunResult, train_runs
from scripts.config_page import PAGE, page

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES += sorted((ROOT / "experiments").glob("*/README.md"))


def test_the_tables_of_keys_are_made_from_the_schema() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert page(text) == text, "python scripts/config_page.py writes them anew"
    assert text.count("\n| `") > len(KEYS) - 6  # all but the names of options, and the groups


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)", path.read_text(encoding="utf-8"))
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_examples_that_say_what_comes_out_come_out_so() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    examples = re.findall(r"^    bp train (.*?) +# (\d+) of (\d+)$", text, re.MULTILINE)
    assert examples
    for line, n_solved, replicates in examples:
        [job] = compose(shlex.split(line)).jobs
        [(_, result)] = train_runs([job.config])
        assert isinstance(result, RunResult)
        assert (result.solved.sum(), len(result.solved)) == (int(n_solved), int(replicates)), line
