"""Products that the bank never learned."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from evernorm.memory.compact import unpacked
from tests.helpers.rows import patches_behind


@pytest.mark.parametrize("margin", [0, 0.5])
def test_an_unknown_product_has_no_class_and_no_figures(learned, noise, drawn, with_margin, margin):
    """None, anomalous, NaN, no map; a class the bank knows is not taken for unknown."""
    detector = with_margin(learned, margin)
    unknown, known = detector.predict([noise, drawn("textile", 2, seed=50)[1]])
    assert (None, True, True) == (unknown.routed_class, unknown.unknown, unknown.anomalous)
    assert np.isnan([unknown.score, unknown.probability, unknown.p_value]).all()
    assert (None, None) == (unknown.map, unknown.map_threshold)
    assert ("textile", False, (256, 256)) == (known.routed_class, known.unknown, known.map.shape)
    assert np.isfinite([known.score, known.probability, known.p_value, known.map_threshold]).all()


def test_a_bank_of_one_class_knows_no_other_product_unless_the_tail_decides(
    learned, noise, drawn, with_margin
):
    """With a margin nothing tells how far another product would be; without one, cloth's tail does."""
    images = [noise, *drawn("machined_part", 2, seed=3)]
    alone = learned.learner.detector_of(learned.states[:1])
    assert {"textile"} == {p.routed_class for p in alone.predict(images)}
    assert {None} == {p.routed_class for p in with_margin(alone, 0).predict(images)}


def test_the_rule_is_made_of_keys_and_tails(learned):
    """Tails from leave-one-out; row t: from the keys of class t to the nearest keys of the others."""
    rule = learned.unknown_rule
    keys = [unpacked(state.entry, "keys") for state in learned.states]
    expected = [[cdist(mine, other).min(axis=1).mean() for other in keys] for mine in keys]
    apart = ~np.eye(2, dtype=bool)
    np.testing.assert_allclose(rule.between[apart], np.array(expected)[apart], rtol=1e-4, atol=1e-2)
    assert not np.isclose(*rule.between[[0, 1], [1, 0]], rtol=0.01)  # rows and columns are not the same
    np.testing.assert_array_equal(
        rule.tails, [state.calibration.routing.threshold for state in learned.states]
    )


def test_routing_tails_come_from_images_left_out(learned, lessons):
    """The training images' distances to the keys of the others, by brute force."""
    state = learned.states[0]
    entry, evidence = learned.learner.remember(lessons["textile"], state.trained)
    frozen = learned.learner.backbone.features(list(lessons["textile"].experience.images()))
    keys = unpacked(entry, "keys")
    source = patches_behind(entry, "keys", frozen.reshape(-1, 152)) // 64
    expected = [cdist(keys[source != i], frozen[i]).min(axis=1).mean() for i in range(8)]
    np.testing.assert_allclose(evidence.routing, expected, rtol=1e-4)
    np.testing.assert_array_equal(entry["rows"], state.entry["rows"])
