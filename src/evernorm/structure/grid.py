"""Label maps brought to the patch grid of a backbone (NOTES: the majority of the cell, never bilinear)."""

import numpy as np
import numpy.typing as npt


def to_grid(labels: npt.NDArray[np.integer], grid: tuple[int, int]) -> npt.NDArray[np.int64]:
    """The label of each patch: the one that most pixels of its cell have.

    The backbone resizes the whole frame to its square input, so cell (i, j) of an image of height H covers the
    pixels whose centres lie in rows ``i·H/rows`` to ``(i + 1)·H/rows``, and the columns alike. Where an image has
    fewer pixels than the grid has cells, a cell takes the pixel at its centre.

    Args:
        labels: Label map ``[H, W]``, not negative.
        grid: Rows and columns of patches.

    Returns:
        int64 ``[rows · columns]``, patches row by row; of labels that are equally frequent, the lowest.
    """
    rows, columns = grid
    for axis, cells in enumerate(grid):
        if labels.shape[axis] < cells:
            labels = labels.take(nearest(labels.shape[axis], cells), axis=axis)
    height, width = labels.shape
    cell = nearest(rows, height)[:, None] * columns + nearest(columns, width)
    count = int(labels.max()) + 1
    votes = np.bincount((cell * count + labels).ravel(), minlength=rows * columns * count)
    winners: npt.NDArray[np.int64] = votes.reshape(rows * columns, count).argmax(axis=1)
    return winners


def nearest(size: int, places: int) -> npt.NDArray[np.int64]:
    """Which of `size` equal intervals holds the centre of each of `places` equal intervals: int64 ``[places]``."""
    return (2 * np.arange(places) + 1) * size // (2 * places)
