"""Figures of an experience: images are ranked as they are answered."""

from types import SimpleNamespace

import numpy as np
import pytest

from evernorm.evaluation.judge import Outcome
from evernorm.evaluation.report import answered, report
from evernorm.methods.learner import Traits
from evernorm.metrics.pixel import PixelMetrics


def outcome(name: str, labels, scores, unknown, place, left_out=None) -> Outcome:
    labels, scores, unknown = np.array(labels, bool), np.array(scores, float), np.array(unknown, bool)
    return Outcome(
        name=name,
        labels=labels,
        place=np.array(place),
        unknown=unknown,
        left_out=None if left_out is None else np.array(left_out, bool),
        raw=scores,
        scores=scores,
        oracle_scores=scores,
        probabilities=np.clip(scores, 0, 1),
        decisions=unknown | (scores > 3),
        threshold=3.0,
        hints={},
        pixels=None,
        oracle_pixels=None,
    )


def detector(**traits):
    return SimpleNamespace(
        traits=Traits(**traits), classes=("a", "b"), bytes_by_class={"a": 10, "b": 20}, bank_bytes=31
    )


def test_an_unknown_image_ranks_above_every_score():
    """By hand: a withheld normal image is an alarm, and costs what a false alarm costs."""
    np.testing.assert_array_equal([1, 6, 5], answered(np.array([1.0, 2, 5]), np.array([False, True, False])))
    one = outcome("a", [0, 0, 1, 1], [0, 1, 2, 5], [0, 1, 0, 0], [0, 0, 0, 0], [1, 1, 0, 1])
    figures = report(detector(open_set=True), [one], PixelMetrics(0.3))["per_class"]["a"]
    # Of four pairs, the withheld normal image loses against both defective ones.
    assert 0.5 == figures["image_auroc"]
    assert 1.0 == figures["image_auroc_scored"]
    assert 0.5 == figures["false_alarm_rate"]


def test_shares_of_unknown_images_are_those_of_the_outcomes():
    """Recognised when left out; withheld among normal and among defective images."""
    one = outcome("a", [0, 0, 1, 1], [0, 1, 2, 5], [0, 1, 0, 1], [0, 0, 0, 0], [1, 1, 0, 1])
    found = report(detector(open_set=True), [one], PixelMetrics(0.3))["unknown"]
    assert {"recognised": 0.75, "good_rate": 0.5, "defective_rate": 0.5} == found["per_class"]["a"]
    assert report(detector(), [one], PixelMetrics(0.3))["unknown"] is None


def test_the_confusion_holds_only_where_images_went():
    """Linear in the number of classes; its diagonal is the routing accuracy."""
    images = [
        outcome("a", [0, 1], [0, 1], [0, 0], [0, 1]),
        outcome("b", [0, 1, 1], [0, 1, 2], [0, 0, 0], [1, 1, 1]),
    ]
    found = report(detector(), images, PixelMetrics(0.3))
    assert {"a": {"a": 1, "b": 1}, "b": {"b": 3}} == found["confusion"]
    assert found["routing_accuracy"] == pytest.approx(4 / 5)
    assert (10.0, 31) == (found["per_class"]["a"]["bytes"], found["bank_bytes"])
    assert report(detector(routes=False), images, PixelMetrics(0.3))["confusion"] is None
