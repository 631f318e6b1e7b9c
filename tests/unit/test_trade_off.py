"""What a threshold costs, and where a map says that the defect is, by hand-worked cases."""

import numpy as np
import pytest

from evernorm.calibration.evidence import Evidence
from evernorm.calibration.weibull import calibrate
from evernorm.evaluation.trade_off import RATES, trade_off
from evernorm.maps import region_of
from evernorm.metrics.image import found_at, rates
from evernorm.params.groups import Engine, WeibullParams

SCORES = np.random.default_rng(0).gamma(20, 1, (1, 40)).astype(np.float32)
READING = calibrate(Evidence(SCORES), WeibullParams(engine=Engine.SCIPY)).at(0)


def test_the_roc_allows_what_the_best_threshold_finds():
    """Of thresholds with no more false alarms; all of them at the rate 1, none without both kinds."""
    labels = np.array([False, False, False, True, True, True, True])
    scores = np.array([1.0, 2.0, 5.0, 3.0, 4.0, 6.0, 7.0])
    assert [0.5, 0.5, 1.0, 1.0] == [found_at(labels, scores, rate) for rate in (0, 0.3, 0.34, 1)]
    assert found_at(labels[:3], scores[:3], 0.1) is None


def test_each_rate_has_the_threshold_that_the_calibration_gives_it():
    """And brings what deciding by it brings; the share of training images beyond is near what was asked."""
    rng = np.random.default_rng(1)
    labels = np.arange(60) < 30
    scores = np.where(labels, rng.normal(3, 1, 60), rng.normal(0, 1, 60))
    nowhere = np.zeros(60, np.bool_)
    choices = trade_off(READING, labels, scores, nowhere, nowhere)
    assert list(RATES) == [each.asked for each in choices]
    thresholds = [each.threshold for each in choices]
    assert sorted(thresholds, reverse=True) == thresholds
    for each in choices:
        assert READING.p_value(each.threshold * READING.std + READING.mean) == pytest.approx(
            each.asked, rel=1e-6
        )
        assert abs(each.normal - each.asked) <= 0.06
        assert (each.false_alarms, each.found) == rates(labels, scores > each.threshold)


def test_an_image_judged_elsewhere_stays_as_it_was_decided():
    """No threshold of this class changes it; without test images nothing is measured."""
    labels, scores = np.array([True, False]), np.array([9.0, 9.0])
    decisions, elsewhere = np.array([False, False]), np.ones(2, np.bool_)
    choices = trade_off(READING, labels, scores, elsewhere, decisions, (0.01, 0.5))
    assert [(0, 0), (0, 0)] == [(each.false_alarms, each.found) for each in choices]
    (none,) = trade_off(READING, labels[:0], scores[:0], elsewhere[:0], decisions[:0], (0.1,))
    assert (None, None) == (none.false_alarms, none.found)


def test_another_rate_is_another_threshold_of_the_same_calibration():
    """Scores, tail and routing stay."""
    calibration = calibrate(Evidence(SCORES), WeibullParams(engine=Engine.SCIPY))
    strict = calibration.at_rate(0.001)
    fresh = calibrate(Evidence(SCORES), WeibullParams(engine=Engine.SCIPY, false_alarm_rate=0.001))
    assert strict.at(0).threshold == fresh.at(0).threshold > calibration.at(0).threshold
    assert strict.at(0).tail == calibration.at(0).tail


def test_the_region_is_the_box_of_the_spot_with_the_highest_value():
    """Left, top, right, bottom, the last two exclusive; another spot above the threshold is not in it."""
    spots = np.zeros((6, 8), np.float32)
    spots[1:3, 2:5] = 3
    spots[2, 4] = 9
    spots[5, 7] = 5
    assert (2, 1, 5, 3) == region_of(spots, 2.0)
    assert (4, 2, 5, 3) == region_of(spots, 4.0)
    assert region_of(spots, 9.0) is None
