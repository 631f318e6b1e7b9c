"""Evaluation of UCAD: stored features lead to what serving the same images would say."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from evernorm.calibration.weibull import Calibration
from evernorm.data.experience import TestView
from evernorm.evaluation.judge import TestClass, judge
from evernorm.evaluation.report import report
from evernorm.features.extract import collect
from evernorm.methods.detector import Seen
from tests.unit.ucad.banks import read_all, with_swapped_keys


def stored(detector, view, folder):
    """What stage `features` leaves of a class's test images, as `evaluate` reads it."""
    place = detector.classes.index(view.name)
    eye = detector.learner.eye(detector.states[place].trained)
    names = collect(eye, view.read, len(view), 4, folder=folder)
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in names}
    return Seen(arrays, view.name, lambda numbers: [view.read(int(number)) for number in numbers])


def classes_of(detector, views, folder):
    return [TestClass(view, stored(detector, view, folder / name).some) for name, view in views.items()]


def assert_evaluated_like_predicted(detector, outcomes, views):
    """Place, scores, decisions and unknown products are those of serving the same images."""
    for outcome, view in zip(outcomes, views.values(), strict=True):
        predictions = detector.predict(read_all(view))
        np.testing.assert_array_equal(outcome.unknown, [p.unknown for p in predictions])
        np.testing.assert_array_equal(outcome.decisions, [p.anomalous for p in predictions])
        known = ~outcome.unknown
        for what, values in (("score", outcome.scores), ("probability", outcome.probabilities)):
            expected = np.array([getattr(p, what) for p in predictions])
            np.testing.assert_allclose(values[known], expected[known], rtol=1e-4, atol=1e-4)
        assert [p.routed_class for p in predictions if p.routed_class] == [
            detector.classes[place] for place in outcome.place[known]
        ]


def test_evaluation_says_what_predict_says_and_sees_no_image_again(learned, views, tmp_path, monkeypatch):
    """Stored features lead to the figures of serving the same images; no backbone is needed for it."""
    tests = classes_of(learned, views, tmp_path)
    with monkeypatch.context() as patched:
        for step in ("begin", "finish"):
            patched.setattr(learned.network, step, lambda *_: pytest.fail("an image was seen again"))
        outcomes, pooled = judge(learned, tests, 0.3)
    assert_evaluated_like_predicted(learned, outcomes, views)
    for outcome in outcomes:
        np.testing.assert_array_equal(outcome.scores, outcome.oracle_scores)
    figures = report(learned, outcomes, pooled)
    assert 1.0 == figures["routing_accuracy"]
    assert sum(each["bytes"] for each in figures["per_class"].values()) == learned.bank_bytes
    for outcome in outcomes:
        called = outcome.unknown[~outcome.labels].mean()
        assert called == figures["unknown"]["per_class"][outcome.name]["good_rate"]


def test_images_that_go_astray_are_seen_with_the_other_prompt(learned, views, tmp_path):
    """Evaluated like predicted; with the class given, they are scored as if they had not strayed."""
    swapped = with_swapped_keys(learned)
    outcomes, pooled = judge(swapped, classes_of(swapped, views, tmp_path / "astray"), 0.3)
    assert [{1}, {0}] == [set(outcome.place) for outcome in outcomes]
    assert_evaluated_like_predicted(swapped, outcomes, views)
    expected = {"textile": {"machined_part": 8}, "machined_part": {"textile": 8}}
    figures = report(swapped, outcomes, pooled)
    assert (expected, 0.0) == (figures["confusion"], figures["routing_accuracy"])
    at_home, _ = judge(learned, classes_of(learned, views, tmp_path / "home"), 0.3)
    for astray, home in zip(outcomes, at_home, strict=True):
        np.testing.assert_allclose(astray.oracle_scores, home.scores, rtol=1e-4, atol=1e-4)
        assert astray.oracle_pixels == home.pixels
        assert not np.allclose(astray.scores, home.scores, atol=0.1)


def test_only_images_that_go_astray_pass_the_backbone_again(learned, views, tmp_path, monkeypatch):
    """Each with the prompt of the class it goes to; what is stored stays as it is."""
    view, read = views["textile"], Counter()
    block = stored(learned, view, tmp_path).some(np.arange(2, 8))

    def adapted(seen, place):
        return learned.adapted(seen, np.array(place))

    original = TestView.read

    def counting(self, index):
        read.update([index])
        return original(self, index)

    monkeypatch.setattr(TestView, "read", counting)
    place = [0, 1, 0, 0, 1, 0]
    found = adapted(block, place)
    assert {3: 1, 6: 1} == read
    expected = adapted(learned.see(read_all(view)[2:]), place)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)
    own = np.load(tmp_path / "adapted.npy")[2:]
    np.testing.assert_array_equal(own, adapted(block, [0] * 6))
    assert not np.allclose(own[1], found[1], atol=0.01)
    with pytest.raises(ValueError, match="must be seen again"):
        adapted(replace(block, again=None), place)


def test_an_unknown_product_is_an_alarm_in_the_evaluation_too(learned, views, tmp_path, with_margin):
    """Where every image lies in the tail, every image is one: so serving would say."""
    states = [
        replace(
            state,
            calibration=Calibration(
                state.calibration.steps, replace(state.calibration.routing, threshold=0.0)
            ),
        )
        for state in learned.states
    ]
    detector = with_margin(learned.learner.detector_of(states), 0)
    outcomes, pooled = judge(detector, classes_of(detector, views, tmp_path), 0.3)
    assert all(outcome.unknown.all() for outcome in outcomes)
    assert_evaluated_like_predicted(detector, outcomes, views)
    figures = report(detector, outcomes, pooled)
    assert (1.0, 1.0, 1.0) == tuple(
        figures["unknown"][rate] for rate in ("recognised", "good_rate", "defective_rate")
    )
    for each in figures["per_class"].values():
        assert (1.0, 0.5) == (each["false_alarm_rate"], each["image_auroc"])  # all are answered alike
        assert each["image_auroc_scored"] > 0.5


def test_a_class_without_test_images_leaves_empty_features(learned, views, tmp_path):
    """Of the right shapes, and nothing is read."""
    empty = replace(views["textile"], records=())
    test = TestClass(empty, stored(learned, empty, tmp_path).some)
    assert (0, 64, 152) == np.load(tmp_path / "frozen.npy").shape == np.load(tmp_path / "adapted.npy").shape
    (outcome,), _ = judge(learned, [test], 0.3)
    assert ((0,), None, None) == (outcome.scores.shape, outcome.threshold, outcome.left_out)
