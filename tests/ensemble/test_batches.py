"""Results in batches: all of them, while training goes on, and no more than there is room for."""

import threading
import time
from collections.abc import Callable

import pytest
from runs import make_config

from bp_pipeline.ensemble import TimeShares, batches_of_results, train_runs

SIZE = 2
CONFIGS = [
    make_config({"training.epochs": epochs, "replicates": 3, "engine": "numpy", "threads": 2})
    for epochs in range(1, 31)  # of ensembles of their own
]


def test_batches_hold_each_result_once_and_are_no_larger_than_asked_for() -> None:
    expected = {n: result.result_digest for n, result in train_runs(CONFIGS)}
    with batches_of_results(CONFIGS, SIZE) as batches:
        taken = list(batches)
    assert {*map(len, taken)} <= {1, SIZE}
    assert {n: result.result_digest for batch in taken for n, result in batch} == expected
    assert sum(map(len, taken)) == len(CONFIGS)


def test_training_waits_until_results_are_taken() -> None:
    trained: list[int] = []

    def progress(network_epochs: int) -> None:
        trained.append(network_epochs)

    started = time.perf_counter()
    list(train_runs(CONFIGS))
    long_enough = 2 * (time.perf_counter() - started)
    with batches_of_results(CONFIGS, SIZE, progress=progress) as batches:
        first = next(batches)
        threads = {thread.name: thread for thread in threading.enumerate()}
        threads["trainer"].join(long_enough)
        assert threads["trainer"].is_alive()
        assert sum(trained) < sum(config.training.epochs * 3 for config in CONFIGS)
        rest = list(batches)
    assert len(first) + sum(map(len, rest)) == len(CONFIGS)


@pytest.mark.parametrize("taken", [0, 1])
def test_training_ends_where_nobody_takes_results(taken: int) -> None:
    class Stop(Exception):
        pass

    def take(batches: Callable[[], object]) -> None:
        for _ in range(taken):
            batches()
        raise Stop

    with pytest.raises(Stop), batches_of_results(CONFIGS, SIZE) as batches:
        take(lambda: next(batches))
    assert "trainer" not in {thread.name for thread in threading.enumerate()}


def test_an_error_of_progress_reaches_who_takes_results() -> None:
    def progress(_: int) -> None:
        raise ZeroDivisionError

    with batches_of_results(CONFIGS[:1], SIZE, progress=progress) as batches:
        taken = list(batches)
    assert isinstance(taken[0][0][1], ZeroDivisionError)


def test_the_time_of_training_is_shared_by_work_and_never_more_than_all() -> None:
    counted: list[int] = []
    now = iter([10.0, 30.0, 31.0, 36.0])
    shares = TimeShares(counted.append, lambda: next(now))
    shares.count_network_epochs(600)
    first = shares.pace(100)  # the first of six that came together, after 20 s
    second = shares.pace(500)
    assert first * 100 == pytest.approx(20 / 6)
    assert second * 500 == pytest.approx(21 - 20 / 6)
    shares.count_network_epochs(50)
    assert shares.pace(100) * 100 == pytest.approx(5)  # more than was counted: it may fail
    assert counted == [600, 50]
