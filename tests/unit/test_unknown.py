"""Unknown products: hand-worked limits, and figures against banks that really never had the class."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evernorm.memory.keys import key_distances
from evernorm.memory.unknown import UnknownRule

# From the keys of class 0 the nearest other class is 2 at 4; from 1 it is 0 at 9; from 2 it is 1 at 2.
BETWEEN = np.array([[0, 16, 4], [9, 0, 25], [5, 2, 0]], np.float32)
TAILS = np.array([1.0, 4.0, 3.0])


def rule(margin):
    return UnknownRule(TAILS, BETWEEN, margin)


def nearest(rule, distances):
    """Whether each image is unknown in the class it goes to by itself."""
    return rule.applies(distances, distances.argmin(axis=1))


def test_without_a_margin_the_tail_alone_is_the_limit():
    """Margin 0."""
    np.testing.assert_array_equal([1, 4, 3], rule(0).limits)


def test_half_way_is_the_geometric_mean():
    """√(1·4), √(4·9); a class whose neighbour lies within its own tail (2 < 3) keeps its tail."""
    np.testing.assert_allclose([2, 6, 3], rule(0.5).limits)


def test_the_whole_way_is_the_nearest_other_class():
    """Margin 1."""
    np.testing.assert_allclose([4, 9, 3], rule(1).limits)


def test_one_class_alone_has_no_limit_but_its_tail():
    """Nothing tells how far another product would be; margin 0 does not ask."""
    assert [np.inf] == UnknownRule(TAILS[:1], BETWEEN[:1, :1], 0.5).limits.tolist()
    assert [1.0] == UnknownRule(TAILS[:1], BETWEEN[:1, :1], 0).limits.tolist()


@pytest.mark.parametrize("margin", [0, 0.5, 1])
def test_a_class_without_a_tail_is_never_unknown(margin):
    """An infinite tail stays infinite."""
    assert np.isinf(UnknownRule(np.array([np.inf, 1.0]), BETWEEN[:2, :2], margin).limits[0])


@pytest.mark.parametrize(
    ("place", "limits"),
    [(0, [10, 3]), (1, [2, np.sqrt(15)]), (2, [4, 6])],
)
def test_a_class_can_be_taken_away(place, limits):
    """The limits are those of the other two: √(4·25) and 3; √(1·4) and √(3·5); √(1·16) and √(4·9)."""
    np.testing.assert_allclose(limits, rule(0.5).without(place).limits)


def test_an_image_is_judged_by_the_limit_of_its_nearest_class():
    """On the limit is not beyond it; the limits of the other classes do not matter."""
    distances = np.array(
        [[2.0, 9, 9], [2.1, 9, 9], [7, 5.9, 9], [7, 6.1, 9], [9, 9, 2.9], [9, 9, 3.1]], np.float32
    )
    assert [False, True] * 3 == nearest(rule(0.5), distances).tolist()
    assert (0,) == nearest(rule(0.5), distances[:0]).shape


def test_an_image_may_be_judged_by_the_limit_of_a_class_that_is_told():
    """Farther than its own class's limit, however near another is."""
    distances = np.array([[1.9, 5.9, 9], [1.9, 6.1, 9]], np.float32)
    assert [False, True] == rule(0.5).applies(distances, np.array([1, 1])).tolist()


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_wider_margin_never_calls_more_images_unknown(one, two):
    """Limits rise with the margin, from the tail on."""
    low, high = (rule(margin).limits for margin in sorted((one, two)))
    assert (low <= high * (1 + 1e-12)).all()
    assert (low >= TAILS).all()


RNG = np.random.default_rng(0)
CLASSES = ("a", "b", "c", "d")
CENTRES = RNG.normal(0, 1, (4, 8)).astype(np.float32)
KEYS = [(centre + RNG.normal(0, 0.7, (10, 8))).astype(np.float32) for centre in CENTRES]
SPREADS = np.linspace(0.3, 1.5, 12)[:, None, None]
IMAGES = {
    name: (centre + SPREADS * RNG.normal(0, 1, (12, 16, 8))).astype(np.float32)
    for name, centre in zip(CLASSES, CENTRES, strict=True)
}
REACHES = np.array([2.6, 2.5, 2.55, 2.65])


def bank_of(places, margin):
    """The rule of a bank of these classes, and the routing distances of all images to them."""
    keys = [KEYS[place] for place in places]
    between = np.array([key_distances(other[None], keys)[0] for other in keys]).T
    distances = {name: key_distances(images, keys) for name, images in IMAGES.items()}
    return UnknownRule(REACHES[list(places)], between, margin), distances


@pytest.mark.parametrize("margin", [0, 0.3])
def test_a_class_left_out_is_recognised_as_by_banks_that_never_had_it(margin):
    """Image by image, with each class left out of the bank for real."""
    whole, distances = bank_of(range(4), margin)
    rates = []
    for place, name in enumerate(CLASSES):
        smaller, without = bank_of([other for other in range(4) if other != place], margin)
        expected = nearest(smaller, without[name])
        np.testing.assert_array_equal(expected, whole.left_out(distances[name], np.full(12, place)))
        rates.append(expected.mean())
    assert 0 < np.mean(rates) < 1


def test_images_of_several_classes_are_left_out_each_of_its_own():
    """In any order, the answer for one image does not depend on the others."""
    whole, distances = bank_of(range(4), 0.3)
    mixed = np.concatenate([distances[name] for name in CLASSES])
    place = np.repeat(np.arange(4), 12)
    order = RNG.permutation(48)
    expected = np.concatenate([whole.left_out(mixed[place == p], place[place == p]) for p in range(4)])
    np.testing.assert_array_equal(expected[order], whole.left_out(mixed[order], place[order]))


@pytest.mark.parametrize(("margin", "least"), [(0, 2), (0.5, 3)])
def test_a_bank_that_would_have_no_limit_cannot_tell(margin, least):
    """Of one class nothing is left; with a margin, one class that is left has no other to be compared with."""
    for classes in range(1, 4):
        small = UnknownRule(TAILS[:classes], BETWEEN[:classes, :classes], margin)
        assert small.tells_left_out == (classes >= least)
