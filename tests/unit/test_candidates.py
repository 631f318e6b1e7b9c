"""Which classes an image can be of: those whose images it is nearest to as a whole."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evernorm.memory import candidates
from evernorm.memory.candidates import Candidates, describe, descriptors_of

RNG = np.random.default_rng(0)
CENTRES = (4 * RNG.standard_normal((30, 1, 1, 12))).astype(np.float32)
IMAGES = (CENTRES + RNG.standard_normal((30, 20, 25, 12))).astype(np.float32)  # of 30 classes
DESCRIPTORS = [descriptors_of(images) for images in IMAGES]


def brute(image, descriptors):
    """Distance of an image's mean patch to the nearest descriptor of each class."""
    whole = image.mean(axis=0)
    return np.array([np.linalg.norm(each - whole, axis=1).min() for each in descriptors])


def test_descriptors_are_means_of_patches_far_from_one_another():
    whole, kept = IMAGES[0].mean(axis=1), DESCRIPTORS[0]
    assert (candidates.DESCRIPTORS, 12) == kept.shape
    assert np.float32 == kept.dtype
    distances = np.linalg.norm(kept[:, None] - whole[None], axis=2)
    np.testing.assert_allclose(distances.min(axis=1), 0, atol=1e-5)
    assert candidates.DESCRIPTORS == len(np.unique(distances.argmin(axis=1)))
    assert (3, 12) == descriptors_of(IMAGES[0, :3]).shape


@given(st.integers(1, 29), st.integers(0, 29), st.integers(1, 12))
def test_those_within_half_as_far_again_as_the_nearest_are_asked_and_no_more_than_wanted(
    classes, place, most
):
    image = IMAGES[place, 0]
    asked = Candidates(DESCRIPTORS[: classes + 1], most).of(image[None])[0]
    distances = brute(image, DESCRIPTORS[: classes + 1])
    near = np.sort(np.flatnonzero(distances <= candidates.WITHIN * distances.min()))
    expected = np.sort(near[np.argsort(distances[near], kind="stable")][:most])
    np.testing.assert_array_equal(expected, np.flatnonzero(asked))


def test_an_image_does_not_depend_on_the_others():
    finder = Candidates(DESCRIPTORS, 8)
    images = IMAGES[:, 1]
    whole = finder.of(images)
    assert whole[np.arange(30), np.arange(30)].all()
    for number in range(30):
        np.testing.assert_array_equal(whole[[number]], finder.of(images[[number]]))


def test_what_all_classes_have_in_common_changes_nothing():
    far = [each + np.float32(1000) for each in DESCRIPTORS]
    images = IMAGES[:, 2]
    np.testing.assert_array_equal(
        Candidates(DESCRIPTORS, 8).of(images), Candidates(far, 8).of(images + np.float32(1000))
    )


@pytest.mark.parametrize(
    ("descriptors", "most"),
    [(DESCRIPTORS, 0), ([*DESCRIPTORS[1:], None], 8), (DESCRIPTORS[:1], 8)],
    ids=["asked_for", "an_earlier_version", "one_class"],
)
def test_all_classes_are_asked(descriptors, most):
    finder = Candidates(descriptors, most)
    assert finder.exhaustive
    assert finder.of(IMAGES[:4, 0]).all()


@pytest.mark.parametrize("most", [0, 8])
def test_without_a_class_the_others_are_asked_as_if_it_were_not_there(most):
    place = np.arange(30)
    found = Candidates(DESCRIPTORS, most).of(IMAGES[:, 3], without=place)
    assert not found[place, place].any()
    for each in place:
        others = Candidates([d for i, d in enumerate(DESCRIPTORS) if i != each], most)
        np.testing.assert_array_equal(others.of(IMAGES[[each], 3])[0], np.delete(found[each], each))


@pytest.mark.parametrize("most", [0, 1, 8])
def test_the_two_classes_nearest_to_a_class_lie_beside_it(most):
    finder = Candidates(DESCRIPTORS, most)
    for place in range(30):
        beside = finder.beside(place)
        apart = np.array([np.linalg.norm(d[:, None] - DESCRIPTORS[place], axis=2).min() for d in DESCRIPTORS])
        apart[place] = np.inf
        assert not beside[place]
        assert beside[np.argsort(apart)[:2]].all()


def test_of_two_classes_each_lies_beside_the_other():
    finder = Candidates(DESCRIPTORS[:2], 8)
    assert [[False, True], [True, False]] == [finder.beside(0).tolist(), finder.beside(1).tolist()]


def test_an_image_as_a_whole_is_the_mean_of_its_patches():
    np.testing.assert_allclose(IMAGES[0].mean(axis=1), describe(IMAGES[0]), rtol=1e-5, atol=1e-6)
