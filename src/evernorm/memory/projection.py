"""Random projection of feature rows before a coreset is selected on them."""

import math

import numpy as np
import numpy.typing as npt

from evernorm.errors import DataError, ParamsError

_BLOCK = 8192
"""Rows projected at once: bounds the float64 temporaries."""


def random_projection(n_features: int, n_components: int, seed: int) -> npt.NDArray[np.float32]:
    """Draw the sparse projection of Achlioptas, "Database-friendly random projections", 2003, Theorem 1.1.

    Entries are ``sqrt(3 / n_components)`` times +1, -1 (one in six each) or 0 (two in three), so squared
    lengths are kept in expectation. They come from the raw PCG64 stream, which NumPy keeps the same in all
    versions (its normal deviates are not), and always from the CPU: one seed is one projection everywhere.

    Args:
        n_features: Columns of the rows to project, at least 1.
        n_components: Columns after the projection, at least 1.
        seed: Seed of the draw, at least 0.

    Returns:
        float32 [n_features, n_components].

    Raises:
        ParamsError: An argument is out of range.
    """
    scale = math.sqrt(3 / n_components) if n_components > 0 else 0.0
    return _signs(n_features, n_components, seed) * np.float32(scale)


def project(rows: npt.NDArray[np.float32], n_components: int, seed: int) -> npt.NDArray[np.float32]:
    """Project rows with `random_projection`; rows that are no wider already are returned as they are.

    The signs are applied in float64 and rounded once. There, sums of float32 values are exact unless the
    values of a row differ by more than some 2**18, so the order in which threads add them does not show.

    Args:
        rows: float32 [n, n_features], one feature a row; may be a memory map.
        n_components: Columns wanted, at least 1.
        seed: Seed of the draw, at least 0.

    Returns:
        float32 [n, min(n_components, n_features)]; `rows` itself where ``n_features <= n_components``, as
        a projection would only add noise.

    Raises:
        DataError: `rows` are not two-dimensional float32.
        ParamsError: `n_components` or `seed` is out of range.
    """
    if rows.ndim != 2 or rows.dtype != np.float32:
        raise DataError(f"rows to project are {rows.dtype} {list(rows.shape)}; give float32 [n, n_features]")
    signs = _signs(rows.shape[1], n_components, seed).astype(np.float64)
    if rows.shape[1] <= n_components:
        return rows
    projected = np.empty((len(rows), n_components), np.float32)
    for first in range(0, len(rows), _BLOCK):
        block = rows[first : first + _BLOCK].astype(np.float64) @ signs
        projected[first : first + _BLOCK] = block * math.sqrt(3 / n_components)
    return projected


def _signs(n_features: int, n_components: int, seed: int) -> npt.NDArray[np.float32]:
    """Throw one six-sided die an entry: +1, -1 or four times 0, as float32 [n_features, n_components]."""
    faults = [
        f"{name} is {value}, expected at least {least}"
        for name, value, least in (
            ("n_features", n_features, 1),
            ("n_components", n_components, 1),
            ("seed", seed, 0),
        )
        if value < least
    ]
    if faults:
        raise ParamsError("a random projection cannot be drawn; correct its arguments", faults)
    die = np.random.PCG64(seed).random_raw(n_features * n_components) % 6
    return np.array([1, -1, 0, 0, 0, 0], np.float32)[die].reshape(n_features, n_components)
