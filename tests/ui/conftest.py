"""One small sweep and one `bp ui` on it, for all tests of this folder."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import run_bp
from playwright.sync_api import Browser, BrowserContext, Page
from user import SWEEP, environment, group_of, is_alive, listening, read_links, start_ui


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a store, in which a sweep was run."""
    folder = tmp_path_factory.mktemp("ui")
    done = run_bp("train", "-m", *SWEEP.split(), cwd=folder, environment=environment(), code=0)
    (folder / "stderr").write_text(done.stderr)
    return folder


@pytest.fixture(scope="session")
def links(store: Path) -> Iterator[dict[str, str]]:
    """Serve the store with `bp ui`; return the links it prints. Ctrl-C is to end it cleanly.

    MLflow's own port is taken, and the browser it opens writes the address to a file `opened`.
    """
    script = store / "browser"
    script.write_text(f'#!/bin/sh\necho "$1" > {store}/opened\n')
    script.chmod(0o755)
    with listening(5000):
        process = start_ui(store, BROWSER=str(script))
        try:
            yield read_links(process)
        finally:
            group = group_of(process)
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=20)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    assert not is_alive(group)


@pytest.fixture(scope="session")
def visitor(browser: Browser) -> BrowserContext:
    """Be somebody who has never seen MLflow, at the first page at least."""
    context = browser.new_context(viewport={"width": 1440, "height": 1400})
    context.set_default_timeout(60_000)
    return context


@pytest.fixture
def page(visitor: BrowserContext) -> Iterator[Page]:
    """Open an empty page."""
    page = visitor.new_page()
    yield page
    page.close()
