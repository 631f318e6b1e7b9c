"""Every figure of one experience as plain values: per class, mean, oracle, pooled, routing, unknown, bytes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evernorm.evaluation.judge import Outcome
from evernorm.methods.detector import Detector
from evernorm.metrics.image import auroc, average_precision, f1_max, rates, trivial_f1
from evernorm.metrics.pixel import PixelMetrics, PixelResult
from evernorm.types import Doubles, Flags

Values = dict[str, float | None]
_RATES = ("recognised", "good_rate", "defective_rate")


def report(detector: Detector, outcomes: Sequence[Outcome], pooled: PixelMetrics) -> dict[str, Any]:
    """Sum up what was judged.

    Images are ranked as they are answered: one that is called unknown has no score, and as an alarm it stands
    above every score. ``image_auroc_scored`` ranks it by the score it would have had. Pixels are those of the
    maps that there would be.
    """
    bytes_by_class = detector.bytes_by_class
    per_class: dict[str, Values] = {}
    oracle: dict[str, Values] = {}
    for outcome in outcomes:
        false_alarms, detections = rates(outcome.labels, outcome.decisions)
        kept = bytes_by_class.get(outcome.name)
        per_class[outcome.name] = {
            **_figures(outcome.labels, answered(outcome.scores, outcome.unknown), outcome.pixels),
            "image_auroc_scored": auroc(outcome.labels, outcome.scores),
            "bytes": float(kept) if kept is not None else None,
            "false_alarm_rate": false_alarms,
            "detection_rate": detections,
            "trivial_f1": trivial_f1(outcome.labels),
            "prevalence": float(outcome.labels.mean()) if len(outcome.labels) else None,
        }
        oracle[outcome.name] = _figures(outcome.labels, outcome.oracle_scores, outcome.oracle_pixels)
    confusion = _confusion(detector, outcomes) if detector.traits.routes else None
    return {
        "per_class": per_class,
        "mean": _means(per_class),
        "oracle": {"per_class": oracle, **_means(oracle)},
        "pooled": _pooled(outcomes, pooled),
        "routing_accuracy": _routing_accuracy(confusion),
        "confusion": confusion,
        "unknown": _unknown(outcomes) if detector.traits.open_set else None,
        "bank_bytes": detector.bank_bytes,
    }


def answered(scores: Doubles, unknown: Flags) -> Doubles:
    """Scores as images are ranked by their answers: what is unknown, above all that have a score."""
    top = scores.max(initial=0.0) + 1
    return np.where(unknown, top, scores)


def _figures(labels: Flags, scores: Doubles, spots: PixelResult | None) -> Values:
    return {
        "image_auroc": auroc(labels, scores),
        "image_ap": average_precision(labels, scores),
        "image_f1max": f1_max(labels, scores),
        "pixel_auroc": spots.auroc if spots else None,
        "pixel_ap": spots.ap if spots else None,
        "pixel_f1max": spots.f1_max if spots else None,
        "pixel_aupro": spots.aupro if spots else None,
    }


def _means(per_class: Mapping[str, Mapping[str, float | None]]) -> Values:
    names = next(iter(per_class.values()), {})
    return {name: _mean([figures[name] for figures in per_class.values()]) for name in names}


def _mean(values: Sequence[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return float(np.mean(present)) if present else None


def _pooled(outcomes: Sequence[Outcome], pixels: PixelMetrics) -> Values:
    """All classes as one test set with one threshold (CADA's "absolute-unified" setting)."""
    labels, scores, unknown = (
        np.concatenate([getattr(outcome, name) for outcome in outcomes])
        for name in ("labels", "scores", "unknown")
    )
    return _figures(labels, answered(scores, unknown), pixels.compute())


def _confusion(detector: Detector, outcomes: Sequence[Outcome]) -> dict[str, dict[str, int]]:
    """How many images of each class went where; places where none went are left out."""
    confusion = {}
    for outcome in outcomes:
        places, counts = np.unique(outcome.place, return_counts=True)
        confusion[outcome.name] = {
            detector.classes[place]: int(count) for place, count in zip(places, counts, strict=True)
        }
    return confusion


def _routing_accuracy(confusion: dict[str, dict[str, int]] | None) -> float | None:
    """Share of all test images that reach their own class."""
    if confusion is None or not (total := sum(sum(row.values()) for row in confusion.values())):
        return None
    return sum(row.get(name, 0) for name, row in confusion.items()) / total


def _unknown(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Shares of test images that are called unknown, rightly and wrongly.

    Per class, and as means over the classes: ``recognised``, the share of its images that the bank without it
    calls unknown; ``good_rate`` and ``defective_rate``, the shares of its normal and of its anomalous images that
    the whole bank calls unknown. None where there is no such image, or where that bank has no limit.
    """
    per_class: dict[str, Values] = {}
    for outcome in outcomes:
        shares = (
            outcome.left_out,
            outcome.unknown[~outcome.labels],
            outcome.unknown[outcome.labels],
        )
        per_class[outcome.name] = {
            rate: float(share.mean()) if share is not None and share.size else None
            for rate, share in zip(_RATES, shares, strict=True)
        }
    return {"per_class": per_class, **_means(per_class)}
