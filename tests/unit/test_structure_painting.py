"""From masks to a label map: painting, specks, ids; against a reference that walks from pixel to pixel."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from evernorm.errors import DataError
from evernorm.structure.painting import as_labels, least_pixels, merge_tiny, paint

LABELS = arrays(np.uint16, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(0, 3))


def regions_of(labels):
    """Connected regions in reading order, each a set of pixels."""
    todo, found = set(np.ndindex(labels.shape)), []
    for start in np.ndindex(labels.shape):
        if start not in todo:
            continue
        todo.remove(start)
        region, edge = {start}, [start]
        while edge:
            y, x = edge.pop()
            for near in ((y, x - 1), (y, x + 1), (y - 1, x), (y + 1, x)):
                if near in todo and labels[near] == labels[start]:
                    todo.remove(near)
                    region.add(near)
                    edge.append(near)
        found.append(region)
    return found


def reference(labels, least):
    """`merge_tiny` as its docstring says it, pixel by pixel."""
    labels = labels.copy()
    while True:
        regions = regions_of(labels)
        home = {pixel: number for number, region in enumerate(regions) for pixel in region}
        if len(regions) == 1 or all(len(region) >= least for region in regions):
            break
        groups = [{number} for number in range(len(regions))]
        for number, region in enumerate(regions):
            if len(region) < least:
                border = {}
                for y, x in region:
                    for near in ((y, x - 1), (y, x + 1), (y - 1, x), (y + 1, x)):
                        if near in home and home[near] != number:
                            border[home[near]] = border.get(home[near], 0) + 1
                best = min(border, key=lambda other: (-border[other], other))
                union = groups[number] | groups[best]
                for member in union:
                    groups[member] = union
        before = labels.copy()
        for number, region in enumerate(regions):
            head = min(groups[number], key=lambda member: (-len(regions[member]), member))
            for pixel in region:
                labels[pixel] = before[min(regions[head])]
    ids = [value for value in np.unique(labels) if value]
    return np.array([[ids.index(v) + 1 if v else 0 for v in row] for row in labels], np.uint16)


def test_masks_are_painted_largest_first():
    """The part shows on the whole, whichever came first; where no mask is stays 0."""
    whole, part = np.zeros((4, 5), bool), np.zeros((4, 5), bool)
    whole[:3, :4] = True
    part[1, 1:3] = True
    expected = [[1, 1, 1, 1, 0], [1, 2, 2, 1, 0], [1, 1, 1, 1, 0], [0, 0, 0, 0, 0]]
    for masks in ([whole, part], [part, whole]):
        painted = paint(masks, (4, 5))
        assert (np.uint16, expected) == (painted.dtype, painted.tolist())


def test_masks_of_equal_size_are_painted_in_the_order_given():
    """The later one lies on top, and the ids say which came first."""
    left, right = np.array([[True, True, False]]), np.array([[False, True, True]])
    assert [[1, 2, 2]] == paint([left, right], (1, 3)).tolist()
    assert [[2, 2, 1]] == paint([right, left], (1, 3)).tolist()


def test_no_mask_is_all_background():
    """SAM may find nothing."""
    assert not paint([], (3, 2)).any()


def test_more_regions_than_16_bits_tell_apart_are_refused():
    """No id is wrapped round to another region's."""
    assert 65535 == as_labels(np.array([[65535]])).max()
    with pytest.raises(DataError, match=r"65536 regions.*raise masks.min_region"):
        as_labels(np.array([[65536]]))


def test_a_speck_joins_the_neighbour_of_the_longest_border():
    """Not the nearest id and not the largest neighbour: the one that encloses it most."""
    labels = np.array([[1, 1, 1, 1, 1], [1, 1, 2, 3, 3], [1, 1, 3, 3, 3]], np.uint16)
    labels[1, 3] = 4  # borders: 1 above, 2 to the left, 3 below and to the right
    expected = [[1, 1, 1, 1, 1], [1, 1, 1, 2, 2], [1, 1, 2, 2, 2]]
    assert expected == merge_tiny(labels, 2).tolist()


def test_specks_and_holes_vanish_and_the_background_stays():
    """A hole in a region is filled, a speck on the background removed, ids become consecutive."""
    labels = np.zeros((8, 12), np.uint16)
    labels[1:7, 1:6] = 7
    labels[3, 3] = 0
    labels[4, 9] = 3
    expected = np.zeros((8, 12), int)
    expected[1:7, 1:6] = 1
    np.testing.assert_array_equal(expected, merge_tiny(labels, 4))


def test_parts_of_one_mask_stay_one_region():
    """What a mask has in two places keeps one id if both places are large enough."""
    labels = np.array([[5, 5, 0, 0, 5, 5]], np.uint16)
    assert [[1, 1, 0, 0, 1, 1]] == merge_tiny(labels, 2).tolist()


@settings(max_examples=200)
@given(LABELS, st.integers(0, 12))
def test_merging_is_what_the_reference_does(labels, least):
    """Rounds, borders, ties and names, on any small map."""
    np.testing.assert_array_equal(reference(labels, least), merge_tiny(labels, least))


@given(LABELS, st.integers(0, 30))
def test_after_merging_no_region_is_tiny(labels, least):
    """Unless one region is the image; ids are 1..n; merging again changes nothing."""
    merged = merge_tiny(labels, least)
    sizes = [len(region) for region in regions_of(merged)]
    assert len(sizes) == 1 or min(sizes) >= least
    ids = set(merged.ravel().tolist()) - {0}
    assert set(range(1, len(ids) + 1)) == ids
    np.testing.assert_array_equal(merged, merge_tiny(merged, least))


def test_a_large_map_of_noise_is_merged():
    """A hundred thousand specks are no special case."""
    labels = np.random.default_rng(0).integers(0, 9, (400, 500)).astype(np.uint16)
    merged = merge_tiny(labels, 200)
    assert labels.shape == merged.shape
    assert np.bincount(merged.ravel())[1:].min() >= 200


def test_the_least_region_follows_the_size_of_the_image():
    """A share of 1 % of 30 × 50 is 15 pixels; a fraction of a pixel counts as one more."""
    assert [15, 1, 0] == [least_pixels(0.01, (30, 50)), least_pixels(0.01, (3, 5)), least_pixels(0.0, (3, 5))]
