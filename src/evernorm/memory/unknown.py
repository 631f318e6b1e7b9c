"""Products that the bank never learned: when an image is called unknown, and how often that is right.

An image farther from the keys of its class than the class's own images are (the tail of its leave-one-out
routing distances) is not normal. That alone does not make it another product: where normal images are alike,
every defect lies in that tail. So the limit stands part of the way, on a logarithmic scale, from the tail to
the nearest other class of the bank, which says how far apart products are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from evernorm.types import Doubles, Floats


@dataclass(frozen=True)
class UnknownRule:
    """The limits of a bank of T classes.

    Attributes:
        tails: ``[T]``, routing distance from which on an image is in the class's tail.
        between: ``[T, T]``, routing distance from the keys of class t (row) to class s.
        margin: Part of the way from the tail to the nearest other class; 0: the tail alone.
    """

    tails: Doubles
    between: Floats
    margin: float

    @property
    def limits(self) -> Doubles:
        """Routing distance beyond which an image is none of class t, ``[T]``.

        Infinite for a bank of one class with a margin: nothing tells how far another product would be.
        """
        if self.margin == 0:
            return self.tails
        apart = self.between.astype(np.float64) + np.diag(np.full(len(self.tails), np.inf))
        nearest = apart.min(axis=1, initial=np.inf)
        limits: Doubles = np.maximum(self.tails, self.tails ** (1 - self.margin) * nearest**self.margin)
        return limits

    def without(self, place: int) -> "UnknownRule":
        """The rule of the bank that never learned this class."""
        tails, between = np.delete(self.tails, place), np.delete(np.delete(self.between, place, 0), place, 1)
        return UnknownRule(tails, between, self.margin)

    def applies(self, distances: Floats) -> npt.NDArray[np.bool_]:
        """Whether each image is unknown, bool ``[n]``, by its routing distances float32 ``[n, T]``."""
        place = distances.argmin(axis=1)
        beyond: npt.NDArray[np.bool_] = distances[np.arange(len(distances)), place] > self.limits[place]
        return beyond


def unknown_figures(
    statistics: Mapping[str, Floats],
    labels: Mapping[str, npt.NDArray[np.bool_]],
    classes: Sequence[str],
    rule: UnknownRule,
) -> dict[str, Any]:
    """Shares of test images that are called unknown, rightly and wrongly.

    Entries are independent, so a bank without a class is a column less in the routing distances: each class in
    turn is the unknown product, and nothing is learned or seen again.

    Args:
        statistics: Class of the images → float32 ``[n, T]``, their routing distances to the classes of the bank.
        labels: Class of the images → bool ``[n]``, True = anomalous.
        classes: The T classes of the bank.
        rule: Its rule.

    Returns:
        Per class, and as means over the classes: ``recognised``, the share of its images that the bank without it
        calls unknown; ``good_rate`` and ``defective_rate``, the shares of its normal and of its anomalous images
        that the whole bank calls unknown. None where there is no such image, or where that bank has no limit.
    """
    per_class: dict[str, dict[str, float | None]] = {}
    for name, distances in statistics.items():
        place, called = list(classes).index(name), rule.applies(distances)
        without, rest = np.delete(distances, place, axis=1), rule.without(place)
        per_class[name] = {
            "recognised": _share(rest.applies(without)) if np.isfinite(rest.limits).any() else None,
            "good_rate": _share(called[~labels[name]]),
            "defective_rate": _share(called[labels[name]]),
        }
    rates = ("recognised", "good_rate", "defective_rate")
    return {
        "per_class": per_class,
        **{rate: _mean([each[rate] for each in per_class.values()]) for rate in rates},
    }


def _share(called: npt.NDArray[np.bool_]) -> float | None:
    return float(called.mean()) if called.size else None


def _mean(values: Sequence[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return float(np.mean(present)) if present else None
