"""`backprop.mjs` and its page in Chromium and Firefox."""

import json
from pathlib import Path
from typing import Any

import pytest
from browsers import BROWSERS, answer_of
from checker import HERE, MODULE, conformance, training_vectors
from random_configs import Request, some_random_configs
from runs import make_config

from bp_pipeline.config.compose import compose
from bp_pipeline.playground import write_playground

ROOT = Path(__file__).parents[2]
CHECK = """<!doctype html><meta charset="utf-8"><script type="module">
import * as backprop from "./backprop.mjs";
import { failures } from "./conformance.mjs";
const vectors = await (await fetch("vectors.json")).json();
const found = [];
try { for await (const failure of failures(backprop, vectors)) found.push(failure); }
catch (error) { found.push(String(error)); }
await fetch("answer", { method: "POST", body: JSON.stringify(found) });
</script>"""
DIGEST = """<!doctype html><meta charset="utf-8"><iframe src="playground.html"></iframe>
<script type="module">
const frame = document.querySelector("iframe");
await new Promise((loaded) => frame.addEventListener("load", loaded));
const digest = frame.contentDocument.getElementById("digest");
const isThere = () => /^[0-9a-f]{64}$/.test(digest.textContent);
await new Promise((done) => {
  const observer = new MutationObserver(() => isThere() && done());
  observer.observe(digest, { childList: true, characterData: true, subtree: true });
  if (isThere()) done();
});
await fetch("answer", { method: "POST", body: JSON.stringify(digest.textContent) });
</script>"""


def pages_with(vectors: dict[str, Any]) -> dict[str, str]:
    """Return what a browser needs to check the module, and posts the failures of."""
    return {
        "check.html": CHECK,
        "backprop.mjs": MODULE,
        "conformance.mjs": (HERE / "conformance.mjs").read_text("utf-8"),
        "vectors.json": json.dumps(vectors),
    }


@pytest.fixture(scope="module")
def vectors() -> dict[str, Any]:
    """Add the trainings of two studies to the committed vectors."""
    found = conformance()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)  # where the weights of `published` are
        for study in ("tripwire", "published"):
            jobs = compose([f"experiment={study}", "tracking=off"]).jobs
            more = training_vectors([job.config for job in jobs])["trainings"]
            found = {**found, "trainings": found["trainings"] + more}
    return found


@pytest.mark.parametrize("browser", BROWSERS)
def test_the_module_conforms_and_has_the_digests_of_the_studies(
    browser: str, tmp_path: Path, vectors: dict[str, Any]
) -> None:
    assert answer_of(browser, pages_with(vectors), "check.html", tmp_path) == []


@pytest.mark.heavy  # Node, whose bits both browsers have, trains such configs in test_backprop.py
@pytest.mark.parametrize("browser", BROWSERS)
@pytest.mark.untyped
@some_random_configs
def test_random_configs_have_the_digests_of_the_engines(
    browser: str, tmp_path_factory: pytest.TempPathFactory, drawn: list[Request]
) -> None:
    vectors = training_vectors([make_config(*request) for request in drawn])
    assert answer_of(browser, pages_with(vectors), "check.html", tmp_path_factory.mktemp("b")) == []


@pytest.mark.parametrize("browser", BROWSERS)
def test_the_page_shows_the_digest_of_the_engines(browser: str, tmp_path: Path) -> None:
    config = make_config({"replicates": 5, "training.epochs": 200})
    write_playground(config, tmp_path / "playground.html")
    pages = {
        "digest.html": DIGEST,
        "playground.html": (tmp_path / "playground.html").read_text("utf-8"),
    }
    [vector] = training_vectors([config])["trainings"]
    assert answer_of(browser, pages, "digest.html", tmp_path) == vector["result_digest"]
