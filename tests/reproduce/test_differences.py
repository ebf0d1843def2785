import numpy as np
import pytest

from bp_pipeline.reproduce.differences import Difference, first_difference, ulp_distance

EPOCHS = np.array([0, 1, 3, 9])


def result(**changes: np.ndarray) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {
        "initial_weights/layer_1": np.ones((2, 3, 1)),
        "trajectory/epoch": EPOCHS,
        "trajectory/layer_1": np.ones((1, 4, 3, 1)),
        "final_weights/layer_1": np.ones((2, 3, 1)),
        "epochs": EPOCHS,
        "loss": np.ones((2, 4)),
        "epochs_to_converge": np.array([-1, 2]),
        "outcome_code": np.array([0, 1], dtype=np.int8),
    }
    return {**arrays, **changes}


def with_one(name: str, index: tuple[int, ...], value: float) -> dict[str, np.ndarray]:
    changed = result()[name].copy()
    changed[index] = value
    return result(**{name: changed})


NEXT = float(np.nextafter(1.0, 2.0))


@pytest.mark.parametrize(
    ("again", "difference"),
    [
        (result(), None),
        (with_one("loss", (1, 2), NEXT), Difference(3, "loss", 1, 1)),
        (
            with_one("initial_weights/layer_1", (0, 0, 0), NEXT),
            Difference(0, "initial_weights/layer_1", 1, 1),
        ),
        (
            with_one("trajectory/layer_1", (0, 1, 2, 0), 2.0),
            Difference(1, "trajectory/layer_1", 2**52, 2**52),
        ),
        (
            with_one("final_weights/layer_1", (0, 0, 0), NEXT),
            Difference(9, "final_weights/layer_1", 1, 1),
        ),
        (with_one("outcome_code", (0,), 2), Difference(9, "outcome", None, None)),
        # A replicate that converges at epoch 2 shows in the curves at 3, the next recorded one.
        (with_one("epochs_to_converge", (1,), 5), Difference(3, "epochs_to_converge", None, None)),
        (with_one("epochs_to_converge", (0,), 1), Difference(1, "epochs_to_converge", None, None)),
        (
            result(loss=np.ones((3, 4))),
            Difference(0, "loss", None, None),
        ),
        (
            {**result(), "initial_weights/layer_2": np.ones((2, 2, 1))},
            Difference(0, "initial_weights", None, None),
        ),
    ],
)
def test_the_first_difference(again: dict[str, np.ndarray], difference: Difference | None) -> None:
    assert first_difference(result(), again) == difference


def test_of_several_the_earliest_counts_and_at_one_epoch_the_cause() -> None:
    again = with_one("loss", (0, 1), NEXT)
    again["loss"][1, 3] = 1 + 8 * np.finfo(float).eps
    assert first_difference(result(), again) == Difference(1, "loss", 1, 8)
    again["trajectory/layer_1"][:, 1] = NEXT
    assert first_difference(result(), again) == Difference(1, "trajectory/layer_1", 1, 8)


def test_other_recorded_epochs_are_compared_where_both_are() -> None:
    fewer = result(epochs=EPOCHS[:3], loss=np.ones((2, 3)))
    fewer["trajectory/layer_1"] = np.ones((1, 3, 3, 1))
    assert first_difference(result(), fewer) == Difference(9, "epochs", None, None)
    fewer["loss"][0, 1] = NEXT
    assert first_difference(result(), fewer) == Difference(1, "loss", 1, 1)


@pytest.mark.parametrize(
    ("one", "other", "distance"),
    [
        (1.0, 1.0, 0),
        (1.0, NEXT, 1),
        (0.0, -0.0, 1),
        (-5e-324, 5e-324, 3),
        (np.finfo(float).max, np.inf, 1),
        (np.nan, -np.nan, 0),
        (-np.inf, np.inf, 2**64 - 2**53 + 1),
    ],
)
def test_distance_in_ulp(one: float, other: float, distance: int) -> None:
    assert ulp_distance(np.array([1.0, one]), np.array([1.0, other])) == distance
    assert ulp_distance(np.array([other]), np.array([one])) == distance


def test_across_a_sign_a_difference_is_told_relatively() -> None:
    changed = with_one("final_weights/layer_1", (0, 0, 0), -1e-9)
    first = with_one("final_weights/layer_1", (0, 0, 0), 1e-9)
    assert first_difference(first, changed) == Difference(
        9, "final_weights/layer_1", None, None, pytest.approx(2e-9)
    )


def test_nan_is_not_equal_to_a_number() -> None:
    assert ulp_distance(np.array([np.nan]), np.array([np.inf])) > 0
