"""What a score means in its class: standardised, as an outlier probability, as a p-value, as a decision."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from evernorm.calibration.evt import WeibullTail
from evernorm.errors import StateError
from evernorm.params.groups import Guarantee
from evernorm.types import Doubles, Floats


@dataclass(frozen=True)
class Reading:
    """The reading of a class's scores at one memory size.

    Attributes:
        size: Rows of memory that the training scores were taken with; 0 where there are none to count.
        scores: float32 ``[n]``, training scores, ascending.
        mean: Mean training score.
        std: Standard deviation of the training scores.
        unit: Median training score, or 1 where scores are measured already (`alignment`); the tail is fitted on scores divided by it.
        patch_mean: Mean score of a training patch; None for a method without maps.
        patch_std: Standard deviation of the training patches' scores.
        tail: The Weibull tail.
        threshold: Score beyond which an image is called anomalous.
        rate: The false-alarm rate that the threshold was asked for; None in a bank of an earlier version.
        guarantee: What that rests on.
        classes: Of how many classes the scores are; more than one where one reading serves all.
    """

    size: int
    scores: Floats
    mean: float
    std: float
    unit: float
    patch_mean: float | None
    patch_std: float | None
    tail: WeibullTail
    threshold: float
    rate: float | None = None
    guarantee: Guarantee = Guarantee.TAIL
    classes: int = 1

    def standardise(self, score: npt.ArrayLike) -> Doubles:
        """(score − mean) / std, comparable between classes: one threshold serves all of them."""
        return (np.asarray(score, np.float64) - self.mean) / self.std

    def standardise_patches(self, scores: Floats) -> Floats:
        """(score − mean) / std of patch scores, comparable between classes.

        Raises:
            StateError: The method has no maps.
        """
        if self.patch_mean is None or self.patch_std is None:
            raise StateError("this calibration was fitted without patch scores; learn the class again")
        return (scores - np.float32(self.patch_mean)) / np.float32(self.patch_std)

    def probability(self, score: npt.ArrayLike) -> Doubles:
        """Outlier probability: the Weibull tail's `w_score`. Nearly 0 below the tail, so it does not rank there."""
        return self.tail.w_score(np.asarray(score, np.float64) / self.unit)

    def p_value(self, score: npt.ArrayLike) -> Doubles:
        """How often a normal image scores at least this high. Never increases with the score.

        Within the tail: the tail's share of the training images times 1 − `w_score`; below it: the share of training
        images that score at least as high. Conformal: that share, the image itself counted among them, so that it is
        at most α for at most a share α of images that are exchangeable with them (Vovk et al., 2005).
        """
        values = np.asarray(score, np.float64)
        higher = len(self.scores) - np.searchsorted(self.scores, values, side="left")
        if self.guarantee is Guarantee.CONFORMAL:
            return np.asarray((higher + 1) / (len(self.scores) + 1))
        below = higher / len(self.scores)
        within = self.tail.size / len(self.scores) * (1 - self.probability(values))
        return np.where(values >= self.tail.minimum * self.unit, within, below)

    def score_at(self, rate: float) -> float:
        """The score that a normal image exceeds this often: where `p_value` falls to `rate` in (0, 1).

        Conformal: the least score beyond which it has; the highest normal score where not even that is rare enough
        (`reached`).
        """
        if self.guarantee is Guarantee.CONFORMAL:
            return float(self.scores[-max(1, _ranks(rate, len(self.scores)))])
        return score_at(rate, self.scores, self.unit, self.tail)

    def at_rate(self, rate: float) -> "Reading":
        """With the threshold of another false-alarm rate in (0, 1)."""
        return replace(self, threshold=self.score_at(rate), rate=rate)

    def to_json(self) -> dict[str, Any]:
        """All but the scores, as plain values."""
        return {
            **{key: value for key, value in vars(self).items() if key not in {"scores", "tail", "guarantee"}},
            "guarantee": self.guarantee.value,
            "tail": self.tail.to_json(),
        }


@dataclass(frozen=True)
class RoutingTail:
    """How far from the keys of a class its own images can be (`memory.keys`); what is farther is unknown.

    Attributes:
        unit: Median distance of a training image to the keys of the others; the tail is fitted on distances
            divided by it.
        tail: The Weibull tail.
        threshold: Distance beyond which an image shows no class the bank knows.
    """

    unit: float
    tail: WeibullTail
    threshold: float

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"unit": self.unit, "tail": self.tail.to_json(), "threshold": self.threshold}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "RoutingTail":
        """Rebuild from plain values."""
        return cls(values["unit"], WeibullTail(**values["tail"]), values["threshold"])


def reached(rate: float, images: int) -> float:
    """The least false-alarm rate that the ranks of so many normal images can keep, if `rate` is below it.

    A rate α needs 1 / α − 1 images: 99 for 1 %.
    """
    return max(1, _ranks(rate, images)) / (images + 1)


def _ranks(rate: float, images: int) -> int:
    """How many of an image and so many others may score as high as it, for it to be an alarm."""
    return min(images, int(rate * (images + 1) + 1e-9))


def score_at(rate: float, scores: Floats, unit: float, tail: WeibullTail) -> float:
    """The score that a normal image exceeds with a rate in (0, 1): in the tail as the tail says, below it as seen.

    Args:
        rate: The rate.
        scores: ``[n]``, ascending.
        unit: What scores are divided by before the tail is asked.
        tail: Fitted on the highest of them.
    """
    share = tail.size / len(scores)
    if rate < share:
        return unit * max(float(tail.quantile(1 - rate / share)), tail.minimum)
    return float(np.quantile(scores, 1 - rate, method="higher"))
