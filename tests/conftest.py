"""What all tests share: machine code of this very source, compiled once, and no clock."""

from hypothesis import settings

settings.register_profile("untimed", deadline=None)  # how busy a machine is, is no finding
settings.load_profile("untimed")


def pytest_sessionstart() -> None:
    """Choose its folder, also for child processes; not earlier, to have types checked."""
    from bp_pipeline.ensemble.engines import choose_cache

    choose_cache()
