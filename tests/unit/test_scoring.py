"""Image scores and maps against the formulas written out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import cdist

from evernorm.maps import anomaly_map
from evernorm.memory.scoring import image_scores, reweighting
from evernorm.memory.search import NearestRows


def by_hand(patches: np.ndarray, rows: np.ndarray, neighbours: int) -> float:
    """PatchCore Eq. 7, one image, in float64."""
    distances = cdist(patches.astype(float), rows.astype(float))
    star = distances.min(axis=1).argmax()
    nearest = distances[star].argmin()
    around = np.argsort(cdist(rows[[nearest]].astype(float), rows.astype(float))[0], kind="stable")[
        :neighbours
    ]
    reach = distances[star, around]
    softmax = np.exp(reach - reach.max()) / np.exp(reach - reach.max()).sum()
    weight = 1 - softmax[list(around).index(nearest)] if len(around) > 1 else 1
    return weight * distances[star, nearest]


@pytest.mark.parametrize("neighbours", [1, 2, 9, 200])
def test_image_scores_equal_the_paper_written_out(neighbours):
    """Batched scores equal Eq. 7 image by image, also with more neighbours than rows."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((60, 12)).astype(np.float32)
    features = rng.standard_normal((5, 30, 12)).astype(np.float32) * 2
    search = NearestRows(rows)
    distances, nearest = (part.reshape(5, 30) for part in search.nearest(features.reshape(-1, 12)))
    scores = image_scores(features, distances, nearest, search, neighbours)
    np.testing.assert_allclose(scores, [by_hand(image, rows, neighbours) for image in features], rtol=1e-5)


def test_large_distances_do_not_overflow():
    """exp of a raw distance of 200 overflows float32; the shifted softmax does not."""
    weight = reweighting(np.array([200.0], np.float32), np.array([[200.0, 205.0]], np.float32))
    np.testing.assert_allclose(weight, 1 - np.exp(-5) / (1 + np.exp(-5)), rtol=1e-5)


def test_missing_neighbours_do_not_count():
    """An infinite distance stands for a row that does not exist."""
    own = np.array([1.0], np.float32)
    two = reweighting(own, np.array([[1.0, 2.0]], np.float32))
    assert two == reweighting(own, np.array([[1.0, 2.0, np.inf]], np.float32))
    assert reweighting(own, np.array([[1.0, np.inf]], np.float32)) == 1


def test_search_is_exact_and_does_not_depend_on_the_batch():
    """Distances equal a float64 brute force, and a query alone gets the same bits as among thousands."""
    rng = np.random.default_rng(1)
    rows = (100 + rng.standard_normal((500, 16))).astype(np.float32)  # far from the origin: cancellation
    queries = (100 + rng.standard_normal((3000, 16))).astype(np.float32)
    search = NearestRows(rows)
    distances, _ = search.nearest(queries)
    np.testing.assert_allclose(
        distances, cdist(queries.astype(float), rows.astype(float)).min(axis=1), rtol=1e-5
    )
    alone = np.concatenate([search.nearest(queries[i : i + 1])[0] for i in range(0, 3000, 500)])
    np.testing.assert_allclose(alone, distances[::500], rtol=1e-5)


def test_the_map_equals_upsampling_smoothing_and_resizing_step_by_step():
    """The two small matrices do what torch's bilinear and SciPy's Gaussian do one after the other."""
    import torch
    from torch.nn.functional import interpolate

    rng = np.random.default_rng(2)
    distances = rng.random(7 * 5).astype(np.float32)
    up = interpolate(torch.from_numpy(distances.reshape(1, 1, 7, 5)), (64, 64), mode="bilinear").numpy()[0, 0]
    smooth = gaussian_filter(up.astype(float), 4.0)
    expected = interpolate(torch.from_numpy(smooth[None, None]), (50, 90), mode="bilinear").numpy()[0, 0]
    np.testing.assert_allclose(anomaly_map(distances, (7, 5), 64, (50, 90)), expected, atol=1e-5)


@settings(max_examples=25)
@given(st.integers(1, 300), st.integers(1, 300), st.floats(0, 100))
def test_maps_have_the_images_size_and_keep_a_constant(height, width, value):
    """Whatever the size, a constant stays constant and nothing leaves the range."""
    spot = anomaly_map(np.full(49, value, np.float32), (7, 7), 56, (height, width))
    assert (height, width) == spot.shape
    np.testing.assert_allclose(spot, value, rtol=1e-5, atol=1e-5)
