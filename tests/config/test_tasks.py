"""Truth tables: their rows, in table order."""

import numpy as np
import pytest

from bp_pipeline.config.tasks import TASKS, truth_table

ROWS = [[0, 0], [0, 1], [1, 0], [1, 1]]
TARGETS = {
    "xor": [0, 1, 1, 0],
    "and": [0, 0, 0, 1],
    "or": [0, 1, 1, 1],
    "nand": [1, 1, 1, 0],
    "nor": [1, 0, 0, 0],
    "xnor": [1, 0, 0, 1],
}


@pytest.mark.parametrize("name", TARGETS)
def test_boolean_functions_of_two_inputs(name):
    table = truth_table(name)
    np.testing.assert_array_equal(table.inputs, ROWS)
    np.testing.assert_array_equal(table.targets[:, 0], TARGETS[name])
    assert table.inputs.dtype == table.targets.dtype == np.float64


@pytest.mark.parametrize("bits", range(2, 11))
def test_parity_counts_the_ones(bits):
    table = truth_table("parity", bits=bits)
    assert table.inputs.shape == (2**bits, bits)
    assert table.targets.shape == (2**bits, 1)
    place_values = 2 ** np.arange(bits)[::-1]  # binary counting, the first input most significant
    np.testing.assert_array_equal(table.inputs @ place_values, np.arange(2**bits))
    np.testing.assert_array_equal(table.targets[:, 0], table.inputs.sum(axis=1) % 2)


def test_parity_of_two_bits_is_xor():
    ours, theirs = truth_table("parity", bits=2), truth_table("xor")
    np.testing.assert_array_equal(ours.inputs, theirs.inputs)
    np.testing.assert_array_equal(ours.targets, theirs.targets)


def test_a_table_is_taken_as_it_is():
    table = truth_table("table", inputs=[[0.5, 2], [1, -3]], targets=[[1], [0.25]])
    assert table.inputs.tolist() == [[0.5, 2.0], [1.0, -3.0]]
    assert table.targets.tolist() == [[1.0], [0.25]]
    assert table.inputs.dtype == table.targets.dtype == np.float64


def test_there_are_these():
    assert set(TASKS) == {*TARGETS, "parity", "table"}
