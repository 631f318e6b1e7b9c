"""A false-alarm rate that rests on ranks: conformal p-values against hand-worked and counted ones."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evernorm.calibration.evidence import Evidence
from evernorm.calibration.promise import needed, promise
from evernorm.calibration.reading import reached
from evernorm.calibration.weibull import Calibration, calibrate
from evernorm.params.groups import Engine, Guarantee, WeibullParams

SCORES = np.arange(1, 10, dtype=np.float32)


def reading(scores=SCORES, rate: float = 0.2):
    params = WeibullParams(engine=Engine.SCIPY, false_alarm_rate=rate)
    return calibrate(Evidence(scores[None]), params, Guarantee.CONFORMAL).steps[0]


def test_the_image_counts_among_those_that_score_as_high():
    """(1 + how many score at least as high) / (n + 1), of nine scores 1 to 9."""
    np.testing.assert_allclose(reading().p_value([9.5, 9, 8.5, 1, 0]), [0.1, 0.2, 0.2, 1.0, 1.0])


def test_the_threshold_lets_so_many_ranks_through():
    """Of nine images, 20 % are two ranks of ten: what scores above the second highest is an alarm."""
    assert 8 == reading().threshold
    assert 7 == reading().score_at(0.3)
    assert 1 == reading().score_at(0.9)


def test_a_rate_that_ranks_cannot_keep_stops_at_the_highest_score():
    """And `reached` says what is kept: one in n + 1. 1 % needs 99 images."""
    assert 9 == reading(rate=0.01).threshold
    assert 0.1 == reached(0.01, 9)
    assert 0.01 == reached(0.01, 99)
    assert reached(0.01, 98) > 0.01
    assert 0.2 == reached(0.25, 9)
    assert 1 == reading(rate=0.5).score_at(1 - 1e-12)


@given(
    st.lists(st.integers(1, 1000), min_size=6, max_size=40, unique=True),
    st.floats(0.01, 0.99),
    st.integers(0, 1200),
)
def test_an_alarm_is_what_has_a_p_value_within_the_rate(scores, rate, score):
    """For any scores and rate that they can keep."""
    found = reading(np.array(scores, np.float32), rate)
    if reached(rate, len(scores)) <= rate:
        assert (np.float32(score) > found.threshold) == (found.p_value(np.float32(score)) <= rate + 1e-9)


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.3])
def test_the_rate_is_kept_over_many_draws(rate):
    """Of images drawn as those that calibrate were: on average no more alarms than asked, and less than a rank fewer."""
    rng = np.random.default_rng(0)
    alarms = []
    for _ in range(2000):
        normal = rng.gamma(3, size=31).astype(np.float32)
        alarms.append((rng.gamma(3, size=50).astype(np.float32) > reading(normal, rate).threshold).mean())
    assert reached(rate, 31) - 0.01 < np.mean(alarms) < rate + 0.005


def test_the_guarantee_survives_the_disk_and_old_calibrations_rest_on_the_tail(tmp_path):
    """A calibration of before says nothing of it."""
    Calibration([reading()]).save(tmp_path)
    assert Guarantee.CONFORMAL is Calibration.load(tmp_path).steps[0].guarantee
    stored = (tmp_path / "weibull.json").read_text()
    (tmp_path / "weibull.json").write_text(stored.replace('"guarantee": "conformal",', ""))
    assert Guarantee.TAIL is Calibration.load(tmp_path).steps[0].guarantee


@pytest.mark.parametrize(
    ("images", "rate", "guarantee", "exchangeable", "said"),
    [
        (30, 0.01, Guarantee.CONFORMAL, True, "1 % cannot be kept by 30 normal images: 99 are needed"),
        (30, 0.01, Guarantee.CONFORMAL, False, "which keeps 3.2 % (expected, not promised"),
        (
            99,
            0.01,
            Guarantee.CONFORMAL,
            True,
            "at most 1 % of images like the 99 normal images that calibrate",
        ),
        (30, 0.01, Guarantee.TAIL, True, "1 % is an extrapolation of the Weibull tail of 30 normal images"),
        (30, 0.05, Guarantee.TAIL, False, "an estimate, nothing is promised; rates below 3.3 % are"),
        (30, 0.0004, Guarantee.TAIL, False, "0.04 % is an extrapolation"),
    ],
)
def test_a_person_is_told_what_a_rate_is_worth(images, rate, guarantee, exchangeable, said):
    """What is promised, what cannot be, and what holds instead."""
    scores = np.linspace(1, 2, images, dtype=np.float32)
    params = WeibullParams(engine=Engine.SCIPY)
    read = calibrate(Evidence(scores[None]), params, guarantee).steps[0]
    assert said in promise(read, rate, exchangeable=exchangeable)


def test_scores_of_all_classes_together_are_called_so():
    """One reading that serves all says nothing of a class alone."""
    read = replace(reading(rate=0.1), classes=3)
    assert "the 9 normal images of all 3 classes together" in promise(read, 0.1, exchangeable=False)


def test_how_many_images_a_rate_needs():
    """Ranks need 1 / rate - 1, the tail sees one in so many."""
    assert [99, 19, 9] == [needed(rate, Guarantee.CONFORMAL) for rate in (0.01, 0.05, 0.1)]
    assert [100, 20, 10] == [needed(rate, Guarantee.TAIL) for rate in (0.01, 0.05, 0.1)]
