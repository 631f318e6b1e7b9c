"""The random projection that precedes a coreset."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from evernorm.errors import DataError, ParamsError
from evernorm.memory.projection import project, random_projection


def test_entries_are_the_three_values_in_their_shares() -> None:
    """One entry in six is +√(3/m), one in six -√(3/m), the others are zero."""
    matrix = random_projection(600, 300, seed=1)
    root = np.float32(np.sqrt(3 / 300))
    values, counts = np.unique(matrix, return_counts=True)
    assert np.array_equal(np.array([-root, 0, root], np.float32), values)
    assert counts / matrix.size == pytest.approx([1 / 6, 2 / 3, 1 / 6], abs=0.005)
    assert (matrix.dtype, matrix.shape) == (np.float32, (600, 300))


def test_the_draw_of_a_seed_never_changes() -> None:
    """The signs of seed 3 were written down once; another NumPy or platform must not change them."""
    expected = [[0, 0, 1, 1], [0, 0, 0, 0], [1, 0, 0, -1]]
    assert np.array_equal(expected, np.sign(random_projection(3, 4, seed=3)))


def test_seeds_draw_different_projections() -> None:
    """A seed is used."""
    assert not np.array_equal(random_projection(50, 20, seed=0), random_projection(50, 20, seed=1))


def test_squared_distances_are_kept_on_average() -> None:
    """Over many components the projected squared length is that of the row, within a few per cent."""
    rows = np.random.default_rng(0).standard_normal((50, 3000), np.float32)
    before = np.square(rows).sum(axis=1)
    after = np.square(project(rows, 2000, seed=0)).sum(axis=1)
    assert after / before == pytest.approx(np.ones(50), abs=0.15)
    assert np.mean(after / before) == pytest.approx(1, abs=0.02)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**63))
def test_projection_is_the_product_with_its_matrix(n_features: int, n_components: int, seed: int) -> None:
    """Wider rows are multiplied by the matrix of the seed; others are returned themselves."""
    rows = np.random.default_rng(0).standard_normal((7, n_features), np.float32)
    projected = project(rows, n_components, seed)
    if n_features <= n_components:
        assert projected is rows
    else:
        expected = rows.astype(np.float64) @ random_projection(n_features, n_components, seed)
        assert projected.dtype == np.float32
        assert projected == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_blocks_and_threads_do_not_show() -> None:
    """A row is projected to the same bits alone, among 20,000 and on any number of threads."""
    rows = np.random.default_rng(0).standard_normal((20_000, 70), np.float32)
    with threadpool_limits(limits=1):
        alone = project(rows, 33, seed=5)
    with threadpool_limits(limits=2):
        shared = project(rows, 33, seed=5)
    assert np.array_equal(alone, shared)
    assert np.array_equal(alone[9000:9003], project(rows[9000:9003], 33, seed=5))


@pytest.mark.parametrize("rows", [np.zeros((3, 4)), np.zeros(4, np.float32)])
def test_rows_of_another_type_or_shape_are_refused(rows: np.ndarray) -> None:
    """Only float32 matrices are projected."""
    with pytest.raises(DataError, match="give float32"):
        project(rows, 2, seed=0)


def test_all_arguments_out_of_range_are_named_at_once() -> None:
    """Every argument at fault is in the error."""
    with pytest.raises(ParamsError) as caught:
        random_projection(0, -1, seed=-2)
    assert caught.value.faults == (
        "n_features is 0, expected at least 1",
        "n_components is -1, expected at least 1",
        "seed is -2, expected at least 0",
    )
