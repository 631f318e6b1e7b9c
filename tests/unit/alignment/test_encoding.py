"""What is kept of an image for an alignment."""

import numpy as np
import pytest
import torch
from torch.nn.functional import adaptive_avg_pool2d

from evernorm.alignment.encoding import SHOWN, SIDE, encoding, of_patches, shown

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("sides", [(28, 28), (16, 16), (7, 9), (3, 2), (1, 1)])
def test_cells_are_means_of_what_they_cover(sides):
    """As torch's adaptive pooling has it; nothing is made larger."""
    maps = RNG.standard_normal((2, 5, *sides)).astype(np.float32)
    expected = adaptive_avg_pool2d(torch.from_numpy(maps), tuple(min(side, SIDE) for side in sides))
    np.testing.assert_allclose(encoding(maps), expected, atol=2e-3)  # half precision


def test_patches_are_a_map_row_by_row():
    """[n, P, d] of a grid of 2 × 3."""
    patches = np.arange(24, dtype=np.float32).reshape(1, 6, 4)
    np.testing.assert_array_equal(of_patches(patches, (2, 3))[0, :, 1, 2], patches[0, 5])


def test_an_encoder_that_sees_far_out_is_cut_where_half_precision_ends():
    """Not infinite."""
    assert np.isfinite(encoding(np.full((1, 1, 2, 2), 1e6, np.float32))).all()


def test_a_few_images_are_kept_spread_over_all():
    """All of few; the first and the last of many."""
    np.testing.assert_array_equal(shown(5), np.arange(5))
    many = shown(1000)
    assert SHOWN == len(many) == len(set(many))
    assert (0, 999) == (many[0], many[-1])
