"""What all tests share: machine code of this very source, one browser, no clock, no traces."""

import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import pytest
from hypothesis import settings
from jaxtyping import install_import_hook
from playwright.sync_api import Browser, Playwright, sync_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)

# What takes most of the time is begun first, so that no worker is alone with it in the end.
_LONGEST = ("tests/test_resume", "tests/ui/", "tests/test_", "tests/tracking/", "tests/reproduce/")

# Where signatures say shapes, these and the types beside them are checked at run time; int passes
# for float, as in mypy.
_SOURCE = Path(__file__).parents[1] / "src"
_SHAPED = [
    ".".join(path.relative_to(_SOURCE).with_suffix("").parts)
    for path in (_SOURCE / "bp_pipeline").rglob("*.py")
    if "from jaxtyping import" in path.read_text(encoding="utf-8")
]
_CHECKER = "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
install_import_hook(_SHAPED, _CHECKER)

settings.register_profile("untimed", deadline=None)  # how busy a machine is, is no finding
settings.load_profile("untimed")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take how many random command lines to try."""
    parser.addoption("--lines", type=int, default=60, help="random command lines to try")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest first; within them nothing changes places."""

    def rank(item: pytest.Item) -> int:
        ranks = [n for n, start in enumerate(_LONGEST) if item.nodeid.startswith(start)]
        return min(ranks, default=len(_LONGEST))

    items.sort(key=rank)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Say whether types are checked from here on."""
    is_untyped = item.get_closest_marker("untyped") is not None
    jaxtyping.config.update("jaxtyping_disable", is_untyped)


def pytest_sessionstart() -> None:
    """Choose its folder, also for child processes; not earlier, to have types checked."""
    from bp_pipeline.ensemble.engines import choose_cache

    choose_cache()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Start the installed browser: one a process, which is all that Playwright allows."""
    with sync_playwright() as playwright:
        path = _find_browser(playwright)
        if path is None and os.environ.get("BP_BROWSER") == "required":
            pytest.fail("There is no browser; .ci/install-browser should have installed one.")
        if path is None:
            pytest.skip(f"needs a browser: none of {', '.join(_NAMES)} is installed")
        browser = playwright.chromium.launch(executable_path=path, args=_FLAGS.split())
        yield browser
        browser.close()


def _find_browser(playwright: Playwright) -> str | None:
    places = [*map(shutil.which, _NAMES), playwright.chromium.executable_path]
    return next((place for place in places if place and Path(place).exists()), None)


@pytest.fixture(autouse=True)
def environment_left_alone() -> Iterator[None]:
    """Fail a test that leaves a variable for the next one to find; take back a level of logging.

    `hydra.verbose=true` is for the rest of a process: Hydra then composes for its log once more.
    """
    before, level = _environment(), logging.root.level
    yield
    logging.root.setLevel(level)
    assert _environment() == before


def _environment() -> dict[str, str]:
    theirs = ("PYTEST_", "_MLFLOW_")  # what pytest and MLflow keep there
    return {name: value for name, value in os.environ.items() if not name.startswith(theirs)}
