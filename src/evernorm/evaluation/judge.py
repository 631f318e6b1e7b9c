"""R[t, ·]: how the bank does, after an experience, on the test images of every class learned so far.

No test image sees the backbone twice: features come from where they were stored. No memory is searched
that cannot win: the routing statistics of the experience before are lower bounds (`memory.routing`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from evernorm.data.experience import TestView
from evernorm.memory.unknown import unknown_figures
from evernorm.methods.memory.base import IMAGES_AT_ONCE, MemoryDetector
from evernorm.methods.memory.seen import StoredSeen
from evernorm.metrics.image import auroc, average_precision, f1_max, rates, trivial_f1
from evernorm.metrics.pixel import PixelMetrics, PixelResult
from evernorm.types import Floats, Indices

Values = dict[str, float | None]


@dataclass(frozen=True)
class TestClass:
    """The test images of one class, and what is known about them from before.

    Attributes:
        view: Labels, masks, sizes.
        seen: Their features.
        known: float32 ``[n, t]``, routing statistics for the first t of T classes from the experience before.
    """

    __test__ = False

    view: TestView
    seen: StoredSeen
    known: Floats


@dataclass(frozen=True)
class Outcome:
    """What one class's test images got.

    Attributes:
        name: The class.
        labels: bool ``[n]``, True = anomalous.
        place: int64 ``[n]``, number of the visible class each image was sent to.
        scores: float64 ``[n]``, standardised in that class.
        oracle_scores: float64 ``[n]``, standardised in the image's true class.
        probabilities: float64 ``[n]``, outlier probability.
        decisions: bool ``[n]``, whether the image is an alarm; an unknown product is one.
        unknown: bool ``[n]``, taken for a product that the bank does not know.
        statistics: float32 ``[n, T]``, routing statistics, for the experience after.
        pixels: Figures over images whose mask is known; None for a class without masks.
        oracle_pixels: The same with the true class given.
    """

    name: str
    labels: npt.NDArray[np.bool_]
    place: Indices
    scores: npt.NDArray[np.float64]
    oracle_scores: npt.NDArray[np.float64]
    probabilities: npt.NDArray[np.float64]
    decisions: npt.NDArray[np.bool_]
    unknown: npt.NDArray[np.bool_]
    statistics: Floats
    pixels: PixelResult | None
    oracle_pixels: PixelResult | None


def judge(
    detector: MemoryDetector,
    tests: Sequence[TestClass],
    fpr_limit: float,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[Outcome], PixelMetrics]:
    """Route and score every test image of every class.

    Memory: pixel counts of one class, with and without the class given, and of all classes pooled.

    Args:
        detector: The bank as it stands.
        tests: In the order of the stream.
        fpr_limit: Limit of the AUPRO integral.
        progress: Called with (images done, images in all).

    Returns:
        The outcome of each class, and the pixels of all classes counted as one test set.
    """
    total, done = sum(len(test.view) for test in tests), 0
    outcomes, pooled = [], PixelMetrics(fpr_limit)
    for test in tests:

        def advance(count: int, before: int = done) -> None:
            if progress:
                progress(before + count, total)

        outcomes.append(_judge_class(detector, test, pooled, advance))
        done += len(test.view)
    return outcomes, pooled


def _judge_class(
    detector: MemoryDetector, test: TestClass, pooled: PixelMetrics, advance: Callable[[int], None]
) -> Outcome:
    names = [visible.name for visible in detector.visible]
    home = names.index(test.view.name) if test.view.name in names else 0
    count = len(test.view)
    has_masks = any(record.mask for record in test.view.records)
    pixels, oracle_pixels = (PixelMetrics(pooled.fpr_limit) for _ in range(2))
    place = np.empty(count, np.int64)
    scores, oracle_scores, probabilities = (np.empty(count) for _ in range(3))
    decisions, unknown = np.empty(count, np.bool_), np.empty(count, np.bool_)
    statistics = np.empty((count, len(names)), np.float32)
    for start in range(0, count, IMAGES_AT_ONCE):
        block = slice(start, min(start + IMAGES_AT_ONCE, count))
        seen = test.seen.block(block)
        scored = detector.score(seen, test.known[block])
        place[block], statistics[block], unknown[block] = scored.place, scored.statistics, scored.unknown
        oracle_raw, oracle_distances = scored.raw.copy(), scored.distances.copy()
        if (astray := scored.place != home).any():
            raw_at_home, distances_at_home = detector.score_in(seen, home)
            oracle_raw[astray], oracle_distances[astray] = raw_at_home[astray], distances_at_home[astray]
        for i, (number, where) in enumerate(zip(range(block.start, block.stop), scored.place, strict=True)):
            calibration = detector.visible[where].calibration
            scores[number] = calibration.standardise(scored.raw[i])
            probabilities[number] = calibration.probability(scored.raw[i])
            decisions[number] = scored.unknown[i] or scored.raw[i] > calibration.threshold
            oracle_scores[number] = detector.visible[home].calibration.standardise(oracle_raw[i])
            if has_masks and (mask := test.view.mask(number)) is not None:
                routed_map = detector.map_of(scored.distances[i], int(where), mask.shape)
                pixels.update(routed_map, mask)
                oracle_map = (
                    detector.map_of(oracle_distances[i], home, mask.shape) if astray[i] else routed_map
                )
                oracle_pixels.update(oracle_map, mask)
        advance(block.stop)
    pooled.merge(pixels)
    return Outcome(
        test.view.name,
        test.view.labels,
        place,
        scores,
        oracle_scores,
        probabilities,
        decisions,
        unknown,
        statistics,
        pixels.compute() if has_masks else None,
        oracle_pixels.compute() if has_masks else None,
    )


def report(detector: MemoryDetector, outcomes: Sequence[Outcome], pooled: PixelMetrics) -> dict[str, Any]:
    """Every figure of one experience as plain values: per class, mean, oracle, pooled, routing, bytes."""
    places = {visible.name: i for i, visible in enumerate(detector.visible)}
    per_class: dict[str, Values] = {}
    oracle: dict[str, Values] = {}
    for outcome in outcomes:
        false_alarms, detections = rates(outcome.labels, outcome.decisions)
        place = places.get(outcome.name)
        per_class[outcome.name] = {
            **_figures(outcome.labels, outcome.scores, outcome.pixels),
            "bytes": float(detector.bytes_of(place)) if place is not None else None,
            "false_alarm_rate": false_alarms,
            "detection_rate": detections,
            "trivial_f1": trivial_f1(outcome.labels),
            "prevalence": float(outcome.labels.mean()) if len(outcome.labels) else None,
        }
        oracle[outcome.name] = _figures(outcome.labels, outcome.oracle_scores, outcome.oracle_pixels)
    confusion = _confusion(detector, outcomes) if detector.routes else None
    unknown = None
    if (rule := detector.unknown_rule) is not None:
        statistics = {outcome.name: outcome.statistics for outcome in outcomes}
        labels = {outcome.name: outcome.labels for outcome in outcomes}
        unknown = unknown_figures(statistics, labels, detector.classes, rule)
    return {
        "per_class": per_class,
        "mean": _means(per_class),
        "oracle": {"per_class": oracle, **_means(oracle)},
        "pooled": _pooled(outcomes, pooled),
        "routing_accuracy": _routing_accuracy(confusion),
        "confusion": confusion,
        "unknown": unknown,
        "bank_bytes": detector.memory_bytes,
    }


def _figures(
    labels: npt.NDArray[np.bool_], scores: npt.NDArray[np.float64], spots: PixelResult | None
) -> Values:
    return {
        "image_auroc": auroc(labels, scores),
        "image_ap": average_precision(labels, scores),
        "image_f1max": f1_max(labels, scores),
        "pixel_auroc": spots.auroc if spots else None,
        "pixel_ap": spots.ap if spots else None,
        "pixel_f1max": spots.f1_max if spots else None,
        "pixel_aupro": spots.aupro if spots else None,
    }


def _means(per_class: dict[str, Values]) -> Values:
    names = next(iter(per_class.values()), {})
    means: Values = {}
    for name in names:
        present = [figures[name] for figures in per_class.values() if figures[name] is not None]
        means[name] = float(np.mean(present)) if present else None  # type: ignore[arg-type]
    return means


def _pooled(outcomes: Sequence[Outcome], pixels: PixelMetrics) -> Values:
    """All classes as one test set with one threshold (CADA's "absolute-unified" setting)."""
    labels = np.concatenate([outcome.labels for outcome in outcomes])
    scores = np.concatenate([outcome.scores for outcome in outcomes])
    return _figures(labels, scores, pixels.compute())


def _confusion(detector: MemoryDetector, outcomes: Sequence[Outcome]) -> dict[str, dict[str, int]]:
    names = [visible.name for visible in detector.visible]
    return {
        outcome.name: dict(zip(names, np.bincount(outcome.place, minlength=len(names)).tolist(), strict=True))
        for outcome in outcomes
    }


def _routing_accuracy(confusion: dict[str, dict[str, int]] | None) -> float | None:
    """Share of all test images that reach their own class."""
    if confusion is None or not (total := sum(sum(row.values()) for row in confusion.values())):
        return None
    return sum(row.get(name, 0) for name, row in confusion.items()) / total
