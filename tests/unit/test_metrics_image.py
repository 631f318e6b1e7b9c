"""Image metrics against scikit-learn, brute force and cases worked by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from evernorm.errors import DataError
from evernorm.metrics import auroc, average_precision, f1_max, prevalence, rates, roc_curve, trivial_f1

LABELS = np.array([False, False, True, False, True, True])
SCORES = np.array([0.1, 0.4, 0.35, 0.4, 0.4, 0.8])

# A handful of values only, so that ties within and across the two kinds are common.
tied = st.lists(st.tuples(st.booleans(), st.sampled_from([-2.0, -1e-9, 0.0, 0.5, 0.75, 3.0])), max_size=30)
spread = st.lists(st.tuples(st.booleans(), st.floats(-1e6, 1e6)), max_size=30)
both_kinds = (tied | spread).filter(lambda pairs: len({label for label, _ in pairs}) == 2)


def split(pairs):
    labels, scores = zip(*pairs, strict=True)
    return np.array(labels), np.array(scores)


def test_auroc_by_hand():
    """Of nine pairs 5 are ordered rightly, 2 are tied and 2 are wrong: (5 + 1) / 9."""
    assert auroc(LABELS, SCORES) == pytest.approx(6 / 9)


def test_average_precision_by_hand():
    """Thresholds .8, .4, .35 add recall 1/3 each at precisions 1, 2/4 and 3/5; .1 adds none."""
    assert average_precision(LABELS, SCORES) == pytest.approx((1 + 2 / 4 + 3 / 5) / 3)


def test_f1_max_by_hand():
    """The best threshold is .35: precision 3/5, recall 1, F1 3/4."""
    assert f1_max(LABELS, SCORES) == pytest.approx(3 / 4)


@given(both_kinds)
def test_metrics_agree_with_scikit_learn(pairs):
    """AUROC, AP and the ROC curve equal scikit-learn's, ties included."""
    labels, scores = split(pairs)

    assert auroc(labels, scores) == pytest.approx(sk.roc_auc_score(labels, scores), abs=1e-12)
    expected_ap = sk.average_precision_score(labels, scores)
    assert average_precision(labels, scores) == pytest.approx(expected_ap, abs=1e-12)
    expected_curve = sk.roc_curve(labels, scores, drop_intermediate=False)
    for expected, actual in zip(expected_curve, roc_curve(labels, scores), strict=True):
        np.testing.assert_allclose(actual, expected, atol=1e-12)


@given(both_kinds)
def test_f1_max_is_the_best_of_all_thresholds(pairs):
    """F1-max equals the largest F1 over calling `score >= t` anomalous for every score t."""
    labels, scores = split(pairs)

    expected = max(sk.f1_score(labels, scores >= t) for t in scores)

    assert f1_max(labels, scores) == pytest.approx(expected, abs=1e-12)


@given(both_kinds)
def test_trivial_baselines_bound_the_metrics(pairs):
    """Trivial F1 is scikit-learn's F1 of all ones, and F1-max is never below it."""
    labels, scores = split(pairs)

    assert trivial_f1(labels) == pytest.approx(sk.f1_score(labels, np.ones_like(labels)))
    assert f1_max(labels, scores) >= trivial_f1(labels) - 1e-12
    assert average_precision(labels, np.zeros(len(labels))) == pytest.approx(prevalence(labels))


@given(both_kinds)
def test_metrics_do_not_depend_on_order(pairs):
    """Listing the images the other way round changes nothing."""
    labels, scores = split(pairs)

    for metric in (auroc, average_precision, f1_max):
        assert metric(labels, scores) == metric(labels[::-1], scores[::-1])


def test_all_anomalous_baselines_of_mvtec():
    """1258 anomalies in 1725 images: prevalence .7293 and F1 .8434."""
    labels = np.arange(1725) < 1258

    assert prevalence(labels) == pytest.approx(0.7293, abs=5e-5)
    assert trivial_f1(labels) == pytest.approx(0.8434, abs=5e-5)


def test_perfect_ranking_is_exactly_one():
    """Anomalies above all normals give 1.0 without rounding error."""
    labels = np.arange(1000) >= 700
    scores = np.arange(1000) / 7

    assert [auroc(labels, scores), average_precision(labels, scores), f1_max(labels, scores)] == [1, 1, 1]
    assert auroc(labels, -scores) == 0


def test_scores_are_compared_as_given():
    """The neighbouring doubles .3 and .1 + .2 are two thresholds, and so are two neighbouring floats."""
    labels = np.array([False, True])

    assert auroc(labels, np.array([0.3, 0.1 + 0.2])) == 1.0
    assert auroc(labels, np.array([1, np.nextafter(np.float32(1), np.float32(2))], np.float32)) == 1.0
    assert auroc(labels, np.array([0.0, -0.0])) == 0.5


@pytest.mark.parametrize("labels", [[True, True], [False, False], []])
@pytest.mark.parametrize("metric", [auroc, average_precision, f1_max, roc_curve])
def test_one_kind_alone_is_undefined(metric, labels):
    """Without both normals and anomalies there is no ranking to judge: None."""
    assert metric(np.array(labels, bool), np.arange(len(labels), dtype=float)) is None


def test_baselines_of_one_kind():
    """Baselines need labels only: 0 for normals alone, 1 for anomalies alone, None for no image."""
    normals, anomalies, nothing = np.zeros(3, bool), np.ones(3, bool), np.zeros(0, bool)

    assert (prevalence(normals), trivial_f1(normals)) == (0, 0)
    assert (prevalence(anomalies), trivial_f1(anomalies)) == (1, 1)
    assert (prevalence(nothing), trivial_f1(nothing)) == (None, None)


def test_rates_by_hand():
    """One of two normals and two of three anomalies are called anomalous."""
    labels = np.array([False, True, False, True, True])
    decisions = np.array([True, True, False, False, True])

    assert rates(labels, decisions) == pytest.approx((1 / 2, 2 / 3))


def test_rates_of_one_kind():
    """A rate over images that are not there is None; the other one stands."""
    decisions = np.array([True, False])

    assert rates(np.zeros(2, bool), decisions) == (0.5, None)
    assert rates(np.ones(2, bool), decisions) == (None, 0.5)


@pytest.mark.parametrize("metric", [auroc, average_precision, f1_max, roc_curve])
def test_scores_that_are_not_finite_are_counted(metric):
    """NaN and infinite scores are refused with their number."""
    with pytest.raises(DataError, match="3 of 4 scores are NaN or infinite"):
        metric(np.array([True, False, True, False]), np.array([np.nan, np.inf, 0.5, -np.inf]))


def test_lengths_that_differ_are_named():
    """Both shapes stand in the message."""
    with pytest.raises(DataError, match=r"\(2,\) and scores \(3,\)"):
        auroc(np.array([True, False]), np.zeros(3))
    with pytest.raises(DataError, match=r"\(2, 1\) and scores \(2, 1\)"):
        auroc(np.array([[True], [False]]), np.zeros((2, 1)))
    with pytest.raises(DataError, match=r"\(2,\) and decisions \(3,\)"):
        rates(np.array([True, False]), np.zeros(3, bool))


def test_labels_must_be_bool():
    """Integers could be class ids: they are refused rather than guessed at."""
    with pytest.raises(DataError, match="labels have dtype int64"):
        prevalence(np.array([0, 1, 2]))
    with pytest.raises(DataError, match="decisions have dtype float64"):
        rates(np.array([True, False]), np.array([0.2, 0.7]))
