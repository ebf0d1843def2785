"""What all tests share: machine code of this very source, compiled once, and no clock."""

import pytest
from hypothesis import settings

settings.register_profile("untimed", deadline=None)  # how busy a machine is, is no finding
settings.load_profile("untimed")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take how many random command lines to try."""
    parser.addoption("--lines", type=int, default=200, help="random command lines to try")


def pytest_sessionstart() -> None:
    """Choose its folder, also for child processes; not earlier, to have types checked."""
    from bp_pipeline.ensemble.engines import choose_cache

    choose_cache()
