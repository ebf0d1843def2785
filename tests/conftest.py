"""What all tests share: machine code of this very source, compiled once."""


def pytest_sessionstart() -> None:
    """Choose its folder, also for child processes; not earlier, to have types checked."""
    from bp_pipeline.engines import choose_cache

    choose_cache()
