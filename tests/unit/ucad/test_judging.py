"""Judging with UCAD: keys that route, a prompt that adapts, knowledge that scores."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from evernorm.errors import StateError
from evernorm.memory.compact import unpacked
from tests.unit.ucad.banks import NAMES, assert_same, prompt_of, squeezed


def test_images_find_their_class_and_defects_score_higher(learned, drawn):
    """Unseen images; the map has the image's own size."""
    for place, kind in enumerate(NAMES):
        good = learned.predict(drawn(kind, 4, seed=50 + place))
        defect = {"textile": "hole", "machined_part": "rust"}[kind]
        bad = learned.predict([squeezed(image) for image in drawn(kind, 4, seed=60 + place, defect=defect)])
        assert {kind} == {p.routed_class for p in [*good, *bad]}
        assert np.mean([p.score for p in bad]) > np.mean([p.score for p in good])
        assert {(256, 256)} == {p.map.shape for p in good}
        assert {(200, 256)} == {p.map.shape for p in bad}
        assert all(np.isfinite(p.map).all() for p in bad)


def test_predictions_do_not_depend_on_company(learned, drawn):
    """Classes mixed in one batch, in another order, one by one: the same answers."""
    images = [
        image for pair in zip(*(drawn(kind, 3, seed=7) for kind in NAMES), strict=True) for image in pair
    ]
    together = learned.predict(images)
    backwards = learned.predict(images[::-1])[::-1]
    assert 2 == len({p.routed_class for p in together})
    for image, one, two in zip(images, together, backwards, strict=True):
        for other in (two, *learned.predict([image])):
            assert (one.routed_class, one.anomalous) == (other.routed_class, other.anomalous)
            np.testing.assert_allclose(one.score, other.score, rtol=1e-4, atol=1e-4)
            np.testing.assert_allclose(one.p_value, other.p_value, rtol=1e-4, atol=1e-4)
            np.testing.assert_allclose(one.map, other.map, rtol=1e-4, atol=1e-3)


def test_an_image_is_scored_with_the_prompt_and_the_knowledge_of_its_class(learned, exhaustive, drawn):
    """Step by step: Eq. 4 on frozen features, the class's prompt, Eq. 5 in its knowledge."""
    images = [*drawn("machined_part", 2, seed=3), *drawn("textile", 2, seed=3)]
    begun, frozen = learned.network.begin(images)
    sums = [
        [cdist(unpacked(state.entry, "keys"), image).min(axis=1).mean() for state in learned.states]
        for image in frozen
    ]
    place = np.argmin(sums, axis=1)
    assert [1, 1, 0, 0] == place.tolist()
    features = learned.network.finish(begun, [prompt_of(learned, each) for each in place])
    distances = [
        cdist(image, unpacked(learned.states[each].entry, "rows")).min(axis=1)
        for image, each in zip(features, place, strict=True)
    ]
    found = exhaustive.find(exhaustive.see(images), None, {})
    np.testing.assert_array_equal(place, found.place)
    np.testing.assert_allclose(found.hints["statistics"], sums, rtol=1e-4)
    np.testing.assert_allclose(found.patches, distances, rtol=1e-3, atol=1e-3)


def test_asking_the_nearest_classes_alone_finds_what_asking_all_does(learned, exhaustive, drawn):
    """The class it is not is not asked; what is asked of the other is the same."""
    images = [*drawn("machined_part", 2, seed=3), *drawn("textile", 2, seed=3)]
    few, all_of_them = (bank.find(bank.see(images), None, {}) for bank in (learned, exhaustive))
    np.testing.assert_array_equal(few.place, all_of_them.place)
    np.testing.assert_array_equal(few.patches, all_of_them.patches)
    asked = np.isfinite(few.hints["statistics"])
    assert [[False, True]] * 2 + [[True, False]] * 2 == asked.tolist()
    np.testing.assert_array_equal(few.hints["statistics"][asked], all_of_them.hints["statistics"][asked])


def test_known_statistics_are_exact(exhaustive, drawn):
    """What an earlier bank measured is taken as it is; only the new class is measured."""
    images = [*drawn("textile", 2, seed=3), *drawn("machined_part", 2, seed=3)]
    earlier = exhaustive.learner.detector_of(exhaustive.states[:1])
    known = earlier.judge(earlier.see(images)).hints
    assert (4, 1) == known["statistics"].shape
    fresh = exhaustive.judge(exhaustive.see(images))
    resumed = exhaustive.judge(exhaustive.see(images), hints=known)
    np.testing.assert_array_equal(fresh.hints["statistics"], resumed.hints["statistics"])
    np.testing.assert_array_equal(fresh.raw, resumed.raw)


def test_a_bank_that_was_asked_is_what_it_was(learned, drawn):
    """Assembled anew from what an asked bank holds, it answers as before."""
    images = [*drawn("textile", 1, seed=3), *drawn("machined_part", 1, seed=3)]
    one = learned.learner.detector_of(learned.states[:1])
    one.predict(images)
    two = learned.learner.detector_of([*one.kept(), learned.states[1]])
    assert_same(learned.predict(images), two.predict(images))
    assert learned.bank_bytes == two.bank_bytes


def test_an_empty_bank_says_so(ucad, noise):
    """No class, no answer."""
    with pytest.raises(StateError, match="the bank is empty"):
        ucad.detector_of([]).predict([noise])
