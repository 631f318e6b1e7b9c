"""R[t, ·]: what the bank answers, after an experience, on the test images of every class learned so far.

A test image whose features are fixed sees the backbone once, in its own stage. Hints of the experience before
shorten the search, and change nothing (`methods.detector.Found`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from evernorm.data.experience import TestView
from evernorm.methods.detector import UNKNOWN, Detector, Judged, Seen
from evernorm.metrics.pixel import PixelMetrics, PixelResult
from evernorm.types import Arrays, Doubles, Flags, Floats, Indices


@dataclass(frozen=True)
class TestClass:
    """The test images of one class.

    Attributes:
        view: Labels, masks, sizes.
        see: Image numbers → those images as the detector sees them.
        hints: What the experience before learned of them; may be empty.
    """

    __test__ = False

    view: TestView
    see: Callable[[Indices], Seen]
    hints: Arrays = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What one class's test images got.

    Attributes:
        name: The class.
        labels: bool ``[n]``, True = anomalous.
        place: int64 ``[n]``, number of the class each image was sent to.
        unknown: bool ``[n]``, taken for a product that the bank does not know.
        left_out: bool ``[n]``, whether a bank that never learned the class would say so; None where none tells.
        raw: float32 ``[n]``, the method's own scores, before any alignment.
        scores: float64 ``[n]``, standardised in the class it was sent to.
        oracle_scores: float64 ``[n]``, standardised in the image's true class.
        probabilities: float64 ``[n]``, outlier probability.
        decisions: bool ``[n]``, whether the image is an alarm; an unknown product is one.
        threshold: Standardised score beyond which an image of this class is an alarm; None without images.
        hints: For the experience after.
        pixels: Figures over images whose mask is known; None for a class without masks, or without maps.
        oracle_pixels: The same with the true class given.
    """

    name: str
    labels: Flags
    place: Indices
    unknown: Flags
    left_out: Flags | None
    raw: Floats
    scores: Doubles
    oracle_scores: Doubles
    probabilities: Doubles
    decisions: Flags
    threshold: float | None
    hints: Arrays
    pixels: PixelResult | None
    oracle_pixels: PixelResult | None


def judge(
    detector: Detector,
    tests: Sequence[TestClass],
    fpr_limit: float,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[Outcome], PixelMetrics]:
    """Judge every test image of every class, as it would be served and with its class given.

    Memory: pixel counts of one class, with and without the class given and of what is alike in both, and of all pooled.

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
    detector: Detector, test: TestClass, pooled: PixelMetrics, advance: Callable[[int], None]
) -> Outcome:
    view, count, size = test.view, len(test.view), detector.images_at_once
    drawn = detector.traits.maps and any(record.mask for record in view.records)
    # Most images go where they belong, and are counted once for both.
    pixels, oracle_pixels, alike = (PixelMetrics(pooled.fpr_limit) for _ in range(3))
    served: list[Judged] = []
    told: list[Judged] = []
    left_out: list[Flags] = []
    for start in range(0, count, size):
        block = np.arange(start, min(start + size, count))
        seen, home = test.see(block), np.full(len(block), detector.classes.index(view.name))
        one, other = _judge_block(
            detector, seen, home, {name: array[block] for name, array in test.hints.items()}
        )
        served.append(one)
        told.append(other)
        if (strangers := detector.left_out(seen, home)) is not None:
            left_out.append(strangers)
        for i, number in enumerate(block.tolist()) if drawn else ():
            if (mask := view.mask(number)) is not None:
                shape = (mask.shape[0], mask.shape[1])
                counted = ((alike, one),) if one is other else ((pixels, one), (oracle_pixels, other))
                for metrics, judged in counted:
                    if (spots := judged.map(i, shape)) is not None:
                        metrics.update(spots, mask)
        advance(len(block) + start)
    if any(one is not other for one, other in zip(served, told, strict=True)):
        pixels.merge(alike)
        oracle_pixels.merge(alike)
    else:
        pixels = oracle_pixels = alike
    if drawn:
        pooled.merge(pixels)
    return Outcome(
        name=view.name,
        labels=view.labels,
        place=_joined([judged.place for judged in served], np.int64),
        unknown=_joined([judged.routed == UNKNOWN for judged in served], np.bool_),
        left_out=np.concatenate(left_out) if left_out else None,
        raw=_joined([judged.raw for judged in served], np.float32),
        scores=_joined([judged.score for judged in served], np.float64),
        oracle_scores=_joined([judged.score for judged in told], np.float64),
        probabilities=_joined([judged.probability for judged in served], np.float64),
        decisions=_joined([judged.anomalous for judged in served], np.bool_),
        threshold=float(told[0].threshold[0]) if told else None,
        hints=_hints([judged.hints for judged in served]),
        pixels=pixels.compute() if drawn else None,
        oracle_pixels=oracle_pixels.compute() if drawn else None,
    )


def _judge_block(detector: Detector, seen: Seen, home: Indices, hints: Arrays) -> tuple[Judged, Judged]:
    """A few images as they would be served, and with their class given; judged once where that is the same."""
    served = detector.judge(seen, hints=hints)
    if not detector.traits.routes:
        return served, served
    if (served.place == home).all() and not detector.alignment.names_class:
        return served, served
    return served, detector.judge(seen, given=home, hints=hints)


def _joined(parts: list[npt.NDArray[Any]], kind: type) -> npt.NDArray[Any]:
    return np.concatenate([np.empty(0, kind), *parts])


def _hints(parts: Sequence[Arrays]) -> Arrays:
    names = parts[0].keys() if parts else ()
    return {name: np.concatenate([part[name] for part in parts]) for name in names}
