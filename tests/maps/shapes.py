"""Pictures whose boundary has a known dimension, drawn exactly: a pixel is in by its centre."""

import numpy as np


def half_plane(side: int, slope: float) -> np.ndarray:
    y, x = np.mgrid[:side, :side]
    return x + slope * y < side / 2


def disc(side: int) -> np.ndarray:
    y, x = np.mgrid[:side, :side] - side / 2
    return x**2 + y**2 < (0.3 * side) ** 2


def carpet(depth: int) -> np.ndarray:
    """Draw Sierpiński's carpet on 3ᵈᵉᵖᵗʰ pixels a side."""
    hole = np.ones((3, 3), dtype=bool)
    hole[1, 1] = False
    picture = np.ones((1, 1), dtype=bool)
    for _ in range(depth):
        picture = np.kron(picture, hole)
    return picture


def snowflake(side: int) -> np.ndarray:
    """Fill Koch's snowflake by the parity of how often a row has crossed its curve."""
    corners = np.array([0, 1, 0.5 - 0.75**0.5 * 1j, 0])
    while (np.abs(np.diff(corners)) > 1 / side).any():
        third = np.diff(corners) / 3
        start = corners[:-1]
        peak = start + third * (1 + np.exp(1j * np.pi / 3))
        parts = np.stack([start, start + third, peak, start + 2 * third], axis=1)
        corners = np.append(parts.ravel(), corners[-1])
    corners = 0.8 * side * corners + side * (0.1 + 0.75j)
    first, last = corners[:-1], corners[1:]
    row = np.ceil(first.imag - 0.5)
    crosses = row != np.ceil(last.imag - 0.5)
    first, last = first[crosses], last[crosses]
    row = np.maximum(row, np.ceil(corners[1:].imag - 0.5))[crosses] - 1
    share = (row + 0.5 - first.imag) / (last.imag - first.imag)
    column = np.ceil((first + share * (last - first)).real - 0.5)
    crossings = np.zeros((side, side), dtype=int)
    np.add.at(crossings, (row.astype(int), column.astype(int)), 1)
    return crossings.cumsum(axis=1) % 2 == 1
