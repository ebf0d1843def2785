"""Chromium, for the tests of the page."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        places = [*map(shutil.which, _NAMES), playwright.chromium.executable_path]
        path = next((place for place in places if place and Path(place).exists()), None)
        if path is None and os.environ.get("BP_BROWSER") == "required":
            pytest.fail("There is no browser; .ci/install-browser should have installed one.")
        if path is None:
            pytest.skip(f"needs a browser: none of {', '.join(_NAMES)} is installed")
        browser = playwright.chromium.launch(executable_path=path, args=_FLAGS.split())
        yield browser
        browser.close()
