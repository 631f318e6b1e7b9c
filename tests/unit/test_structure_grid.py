"""Label maps on the patch grid: the majority of the pixels whose centres lie in the cell."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from evernorm.structure.grid import nearest, to_grid

LABELS = arrays(np.uint16, array_shapes(min_dims=2, max_dims=2, max_side=17), elements=st.integers(0, 4))
GRIDS = st.tuples(st.integers(1, 9), st.integers(1, 9))


def members(size, cells, cell):
    """Pixels of one axis whose centres lie in a cell; where the pixels are fewer than the cells, the one at its centre."""
    low, high = Fraction(cell * size, cells), Fraction((cell + 1) * size, cells)
    if size < cells:
        return [int((low + high) / 2)]
    return [pixel for pixel in range(size) if low <= pixel + Fraction(1, 2) < high]


def brute_force(labels, grid):
    """Count every cell by hand."""
    found = []
    for i in range(grid[0]):
        for j in range(grid[1]):
            rows, columns = members(labels.shape[0], grid[0], i), members(labels.shape[1], grid[1], j)
            votes = [int(labels[y, x]) for y in rows for x in columns]
            found.append(min(set(votes), key=lambda value: (-votes.count(value), value)))
    return found


@given(LABELS, GRIDS)
def test_each_cell_takes_its_most_frequent_label(labels, grid):
    """Any image on any grid, larger or smaller than it."""
    patches = to_grid(labels, grid)
    assert np.int64 == patches.dtype
    assert brute_force(labels, grid) == patches.tolist()


@given(LABELS, GRIDS)
def test_a_turned_image_has_a_turned_grid(labels, grid):
    """Rows and columns are treated alike."""
    turned = to_grid(labels.T, grid[::-1]).reshape(grid[::-1]).T
    np.testing.assert_array_equal(to_grid(labels, grid).reshape(grid), turned)


@given(LABELS, st.integers(1, 4), st.integers(1, 4))
def test_whole_cells_keep_their_label(labels, down, right):
    """An image made of the grid's cells gives the grid back."""
    image = labels.repeat(down, axis=0).repeat(right, axis=1)
    np.testing.assert_array_equal(labels.ravel(), to_grid(image, labels.shape))


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ([[2, 2], [9, 7]], 2),  # the mean, 5, is no label at all
        ([[9, 9], [3, 3]], 3),  # of equals the lowest
        ([[0, 0], [0, 5]], 0),  # background counts
        ([[60000, 60000], [1, 2]], 60000),
    ],
)
def test_a_cell_worked_by_hand(cell, expected):
    """Ids are names: never averaged."""
    assert [expected] == to_grid(np.array(cell, np.uint16), (1, 1)).tolist()


def test_nearest_is_a_pixels_centre_scaled():
    """Five pixels on two cells: the middle one's centre lies on the border and belongs to the second."""
    assert [0, 0, 1, 1, 1] == nearest(2, 5).tolist()
    assert [1, 3] == nearest(5, 2).tolist()
