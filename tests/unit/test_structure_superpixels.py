"""Superpixels: every pixel in a region, at the image's own size, the same twice."""

import numpy as np
import pytest

from evernorm.params.groups import MaskParams, SuperpixelParams
from evernorm.structure.segmenter import build_segmenter
from evernorm.structure.superpixels import SuperpixelSegmenter


def halves(height, width):
    """A dark image whose right half is bright."""
    image = np.full((height, width, 3), 30, np.uint8)
    image[:, width // 2 :] = (220, 180, 40)
    return image


@pytest.mark.parametrize("shape", [(64, 64), (40, 100), (333, 250), (20, 700)])
def test_two_colours_are_two_regions(shape):
    """Whatever size the camera has; only where the colour changes may there be more."""
    labels = SuperpixelSegmenter(SuperpixelParams(size=64), 0.01).segment(halves(*shape)).labels
    middle, edge = shape[1] // 2, 4 * max(shape) // 64
    left, right = np.unique(labels[:, : middle - edge]), np.unique(labels[:, middle + edge :])
    assert (shape, np.uint16) == (labels.shape, labels.dtype)
    assert 1 == len(left) == len(right)
    assert left != right


def test_a_region_is_no_smaller_than_the_share_asked_for():
    """Noise at the size of segmentation: ids 1..n, each at least `min_region` of the image."""
    image = np.random.default_rng(0).integers(0, 255, (96, 96, 3)).astype(np.uint8)
    labels = SuperpixelSegmenter(SuperpixelParams(size=96, scale=1), 0.004).segment(image).labels
    sizes = np.bincount(labels.ravel())
    assert 0 == sizes[0]
    assert sizes[1:].min() >= 0.004 * 96 * 96
    assert len(sizes) > 10


def test_scale_makes_regions_larger(drawn):
    """The parameter goes where it says."""
    counts = [
        SuperpixelSegmenter(SuperpixelParams(size=96, scale=scale), 0.002)
        .segment(drawn("machined_part", 1)[0])
        .labels.max()
        for scale in (20, 400)
    ]
    assert counts[0] > counts[1]


def test_a_plain_image_is_one_region():
    """No structure is no error; the report tells of it."""
    labels = SuperpixelSegmenter(SuperpixelParams(), 0.002).segment(np.full((30, 50, 3), 90, np.uint8)).labels
    assert 1 == labels.min() == labels.max()


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1)])
def test_slivers_of_images_are_segmented(shape):
    """An image of one line is resized to at least one pixel."""
    labels = (
        SuperpixelSegmenter(SuperpixelParams(size=32), 0.002).segment(np.zeros((*shape, 3), np.uint8)).labels
    )
    assert np.ones(shape).tolist() == labels.tolist()


def test_params_ask_for_superpixels(drawn):
    """The factory's segmenter gives the same labels twice."""
    params = MaskParams()
    image = drawn("textile", 1)[0]
    labels = build_segmenter(params, "metal").segment(image).labels
    np.testing.assert_array_equal(labels, build_segmenter(params, "metal").segment(image).labels)
    expected = SuperpixelSegmenter(params.superpixels, params.min_region).segment(image).labels
    np.testing.assert_array_equal(expected, labels)
