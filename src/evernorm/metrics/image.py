"""Metrics of one score per image, and the three curve summaries that the pixel metrics share.

Everything follows from two running counts, taken at each distinct score from the highest down: false
positives ``fp`` and true positives ``tp`` when every image with at least that score is called anomalous.
Scores are compared as given, without rounding, so equal scores always share one threshold.

A metric is None where only normals or only anomalies are present: such a set cannot be ranked.
"""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from evernorm.errors import DataError

Labels: TypeAlias = npt.NDArray[np.bool_]
Values: TypeAlias = npt.NDArray[np.floating[Any]]
Counts: TypeAlias = npt.NDArray[np.int64]


def auroc(labels: Labels, scores: Values) -> float | None:
    """Area under the ROC curve: the chance that an anomaly scores above a normal, ties counted half.

    Args:
        labels: bool [n], True = anomalous.
        scores: float [n], higher = more anomalous.

    Returns:
        A fraction in [0, 1], or None if one of the two kinds is absent.

    Raises:
        DataError: The shapes differ, labels are not bool, or scores are not finite.
    """
    fp, tp, _ = running_counts(labels, scores)
    return area_under_roc(fp, tp)


def average_precision(labels: Labels, scores: Values) -> float | None:
    """Average precision, step-wise as in scikit-learn: AP = Σ (Rₙ − Rₙ₋₁) Pₙ over the distinct scores.

    Args:
        labels: bool [n], True = anomalous.
        scores: float [n], higher = more anomalous.

    Returns:
        A fraction in [0, 1], or None if one of the two kinds is absent. A random ranking gives the
        `prevalence`.

    Raises:
        DataError: The shapes differ, labels are not bool, or scores are not finite.
    """
    fp, tp, _ = running_counts(labels, scores)
    return mean_precision(fp, tp)


def f1_max(labels: Labels, scores: Values) -> float | None:
    """Highest F1 over all thresholds. It picks the threshold with the labels, so it is an upper bound.

    Args:
        labels: bool [n], True = anomalous.
        scores: float [n], higher = more anomalous.

    Returns:
        A fraction in [0, 1], or None if one of the two kinds is absent. Never below `trivial_f1`.

    Raises:
        DataError: The shapes differ, labels are not bool, or scores are not finite.
    """
    fp, tp, _ = running_counts(labels, scores)
    return best_f1(fp, tp)


def roc_curve(labels: Labels, scores: Values) -> tuple[Values, Values, Values] | None:
    """Every point of the ROC curve, for drawing.

    Args:
        labels: bool [n], True = anomalous.
        scores: float [n], higher = more anomalous.

    Returns:
        False positive rate, true positive rate and threshold (call ``score >= threshold`` anomalous), each
        [distinct scores + 1] and starting at (0, 0, inf); None if one of the two kinds is absent.

    Raises:
        DataError: The shapes differ, labels are not bool, or scores are not finite.
    """
    fp, tp, thresholds = running_counts(labels, scores)
    if _one_kind(fp, tp):
        return None
    return np.append(0.0, fp / fp[-1]), np.append(0.0, tp / tp[-1]), np.append(np.inf, thresholds)


def prevalence(labels: Labels) -> float | None:
    """Share of anomalies, which is also the average precision of a random ranking; None without labels.

    Args:
        labels: bool [n], True = anomalous.

    Raises:
        DataError: Labels are not bool.
    """
    return _share(require_bool(labels, "labels"))


def trivial_f1(labels: Labels) -> float | None:
    """F1 of calling every image anomalous, 2p / (1 + p) at prevalence p; None without labels.

    Args:
        labels: bool [n], True = anomalous.

    Raises:
        DataError: Labels are not bool.
    """
    share = prevalence(labels)
    return None if share is None else 2 * share / (1 + share)


def rates(labels: Labels, decisions: Labels) -> tuple[float | None, float | None]:
    """False alarm rate and detection rate of decisions already taken.

    Args:
        labels: bool [n], True = anomalous.
        decisions: bool [n], True = called anomalous.

    Returns:
        The share of normals called anomalous (None without normals) and the share of anomalies called
        anomalous (None without anomalies).

    Raises:
        DataError: The shapes differ, or one of the two is not bool.
    """
    labels, decisions = require_bool(labels, "labels"), require_bool(decisions, "decisions")
    _require_same_length(labels, decisions, "decisions")
    return _share(decisions[~labels]), _share(decisions[labels])


def found_at(labels: Labels, scores: Values, false_alarm_rate: float) -> float | None:
    """The share of anomalies that the best threshold finds with no more false alarms than a rate: the ROC curve.

    Args:
        labels: bool [n], True = anomalous.
        scores: float [n], higher = more anomalous.
        false_alarm_rate: In [0, 1].

    Returns:
        A fraction in [0, 1], or None if one of the two kinds is absent.

    Raises:
        DataError: The shapes differ, labels are not bool, or scores are not finite.
    """
    curve = roc_curve(labels, scores)
    if curve is None:
        return None
    allowed = np.searchsorted(curve[0], false_alarm_rate, side="right") - 1
    return float(curve[1][allowed])


def running_counts(labels: Labels, scores: Values) -> tuple[Counts, Counts, Values]:
    """Count false and true positives at each distinct score, from the highest down.

    Args:
        labels: bool [n], True = anomalous.
        scores: float [n], higher = more anomalous.

    Returns:
        ``fp`` and ``tp`` int64 [d] and the d distinct scores, descending.

    Raises:
        DataError: The shapes differ, labels are not bool, or scores are not finite.
    """
    labels, scores = require_bool(labels, "labels"), np.asarray(scores)
    _require_same_length(labels, scores, "scores")
    require_finite(scores, "scores")
    distinct, index = np.unique(scores, return_inverse=True)
    fp, tp = (
        np.bincount(index[kind], minlength=distinct.size)[::-1].cumsum(dtype=np.int64)
        for kind in (~labels, labels)
    )
    return fp, tp, distinct[::-1]


def area_under_roc(fp: Counts, tp: Counts) -> float | None:
    """Trapezoid area under the ROC curve of running counts [d]; None if one kind is absent."""
    if _one_kind(fp, tp):
        return None
    below = tp - np.diff(tp, prepend=0) / 2
    return float(np.diff(fp, prepend=0) @ below / (float(fp[-1]) * float(tp[-1])))


def mean_precision(fp: Counts, tp: Counts) -> float | None:
    """Step-wise average precision of running counts [d]; None if one kind is absent."""
    if _one_kind(fp, tp):
        return None
    return float(np.diff(tp, prepend=0) @ (tp / (tp + fp)) / tp[-1])


def best_f1(fp: Counts, tp: Counts) -> float | None:
    """Highest F1 = 2 tp / (tp + fp + anomalies) of running counts [d]; None if one kind is absent."""
    if _one_kind(fp, tp):
        return None
    return float((2 * tp / (tp + fp + tp[-1])).max())


def require_bool(array: Labels, name: str) -> Labels:
    """Return `array` as a NumPy array, or raise DataError unless its dtype is bool."""
    array = np.asarray(array)
    if array.dtype != np.bool_:
        raise DataError(
            f"{name} have dtype {array.dtype}, expected bool with True = anomalous; compare first"
        )
    return array


def require_finite(values: Values, name: str) -> None:
    """Raise DataError with the number of NaN and infinite values, if there are any."""
    finite = np.isfinite(values)
    if not finite.all():
        bad = values.size - np.count_nonzero(finite)
        raise DataError(
            f"{bad} of {values.size} {name} are NaN or infinite; a score must be a finite number, "
            "check the features and the calibration it comes from"
        )


def _require_same_length(labels: Labels, other: npt.NDArray[Any], name: str) -> None:
    if labels.ndim != 1 or labels.shape != other.shape:
        raise DataError(
            f"labels have shape {labels.shape} and {name} {other.shape}; expected one of each per image, [n]"
        )


def _share(flags: Labels) -> float | None:
    return float(flags.mean()) if flags.size else None


def _one_kind(fp: Counts, tp: Counts) -> bool:
    return not (fp.any() and tp.any())
