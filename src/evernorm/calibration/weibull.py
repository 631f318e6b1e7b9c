"""What a score means in its class: standardised, as an outlier probability, as a p-value, as a decision.

Everything follows from how the class's normal training images score as if they had not been learned from
(`calibration.evidence`), at the size at which a memory is now read.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from evernorm.calibration.evidence import Evidence
from evernorm.calibration.evt import WeibullTail, fit_high
from evernorm.errors import FitError, StateError
from evernorm.files import check_schema, read_arrays, read_json, write_arrays, write_json
from evernorm.params.groups import Guarantee, WeibullParams
from evernorm.types import Doubles, Floats

SCHEMA = 1
MIN_IMAGES = 5  # fewer scores than this have no tail


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
        return _score_at(rate, self.scores, self.unit, self.tail)

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


class Calibration:
    """A class's readings for every memory size, largest first, and the tail of its routing distances if it has one."""

    def __init__(self, steps: list[Reading], routing: RoutingTail | None = None) -> None:
        self.steps = steps
        self.routing = routing

    def at(self, rows: int) -> Reading:
        """The reading for a memory of `rows` rows: the largest size that is not larger.

        A smaller memory scores a little higher, so a step that does not fit exactly errs towards fewer
        false alarms.
        """
        return next((step for step in self.steps if step.size <= rows), self.steps[-1])

    def within(self, rows: int) -> "Calibration":
        """Without the readings for memories larger than `rows`."""
        return Calibration(
            [step for step in self.steps if step.size <= rows] or self.steps[-1:], self.routing
        )

    def at_rate(self, rate: float) -> "Calibration":
        """With the thresholds of another false-alarm rate in (0, 1)."""
        return Calibration([step.at_rate(rate) for step in self.steps], self.routing)

    def save(self, folder: Path) -> None:
        """Write ``weibull.json`` and ``scores.safetensors``."""
        write_arrays(folder / "scores.safetensors", {f"{step.size:08d}": step.scores for step in self.steps})
        record: dict[str, Any] = {"schema": SCHEMA, "steps": [step.to_json() for step in self.steps]}
        if self.routing is not None:
            record["routing"] = self.routing.to_json()
        write_json(folder / "weibull.json", record)

    @classmethod
    def load(cls, folder: Path) -> "Calibration":
        """Read them back.

        Raises:
            StateError: Missing, damaged, or of another schema.
        """
        record = check_schema(read_json(folder / "weibull.json"), SCHEMA, folder)
        scores = read_arrays(folder / "scores.safetensors")
        try:
            steps = [
                Reading(
                    **{
                        **step,
                        "tail": WeibullTail(**step["tail"]),
                        "scores": scores[f"{step['size']:08d}"],
                        "guarantee": Guarantee(step.get("guarantee", Guarantee.TAIL)),
                    }
                )
                for step in record["steps"]
            ]
            routing = RoutingTail.from_json(record["routing"]) if "routing" in record else None
            return cls(steps, routing)
        except (KeyError, TypeError, ValueError) as error:
            raise StateError(
                f"{folder} lacks or has too much: {error}; restore it with `dvc checkout`"
            ) from error


def reached(rate: float, images: int) -> float:
    """The least false-alarm rate that the ranks of so many normal images can keep, if `rate` is below it.

    A rate α needs 1 / α − 1 images: 99 for 1 %.
    """
    return max(1, _ranks(rate, images)) / (images + 1)


def _ranks(rate: float, images: int) -> int:
    """How many of an image and so many others may score as high as it, for it to be an alarm."""
    return min(images, int(rate * (images + 1) + 1e-9))


def calibrate(
    evidence: Evidence,
    params: WeibullParams,
    guarantee: Guarantee = Guarantee.TAIL,
    *,
    unit: float | None = None,
) -> Calibration:
    """Fit every size that has enough training scores.

    Args:
        evidence: The scores.
        params: The tails.
        guarantee: What the threshold rests on.
        unit: In which scores are measured; their median where it is not given.

    Raises:
        FitError: Not even the full memory can be calibrated; says why.
    """
    steps: list[Reading] = []
    for number, row in enumerate(evidence.scores):
        scores = np.sort(row[np.isfinite(row)])
        if len(scores) < MIN_IMAGES:
            if not steps:
                raise FitError(
                    f"only {len(scores)} training images can be scored as if they had not been learned from; "
                    f"calibration needs at least {MIN_IMAGES}"
                )
            break
        size = 0 if evidence.sizes is None else int(evidence.sizes[number])
        fitted = _fit(size, scores, *evidence.patch_moments(number), params, guarantee, unit)
        steps.append(fitted.at_rate(params.false_alarm_rate))
    return Calibration(steps, None if evidence.routing is None else _fit_routing(evidence.routing, params))


def _fit_routing(distances: Floats, params: WeibullParams) -> RoutingTail:
    kept = np.sort(distances[np.isfinite(distances)])
    if len(kept) < MIN_IMAGES or kept[0] == kept[-1]:
        raise FitError(
            f"{len(kept)} training images can be compared with the keys of the others, at distances from "
            f"{kept.min(initial=np.inf):g} to {kept.max(initial=-np.inf):g}; at least {MIN_IMAGES} different ones are needed"
        )
    unit = float(np.median(kept))
    tail = _tail(kept, unit, params)
    return RoutingTail(unit, tail, _score_at(params.false_unknown_rate, kept, unit, tail))


def _tail(values: Floats, unit: float, params: WeibullParams) -> WeibullTail:
    count = max(MIN_IMAGES, round(params.tail_fraction * len(values)))
    return fit_high(values.astype(np.float64) / unit, min(count, len(values)), params.engine)


def _fit(
    size: int,
    scores: Floats,
    patch_mean: float | None,
    patch_std: float | None,
    params: WeibullParams,
    guarantee: Guarantee,
    unit: float | None,
) -> Reading:
    unit = float(np.median(scores)) if unit is None else unit
    std = float(scores.std(dtype=np.float64))
    if unit <= 0 or std <= 0 or (patch_std is not None and patch_std <= 0):
        raise FitError(
            f"the {len(scores)} training images score alike (median {unit:g}, standard deviation {std:g}): they are "
            f"copies of one another; calibration needs different images"
        )
    tail = _tail(scores, unit, params)
    return Reading(
        size=size,
        scores=scores,
        mean=float(scores.mean(dtype=np.float64)),
        std=std,
        unit=unit,
        patch_mean=patch_mean,
        patch_std=patch_std,
        tail=tail,
        threshold=float("nan"),
        guarantee=guarantee,
    )


def _score_at(rate: float, scores: Floats, unit: float, tail: WeibullTail) -> float:
    share = tail.size / len(scores)
    if rate < share:
        return unit * max(float(tail.quantile(1 - rate / share)), tail.minimum)
    return float(np.quantile(scores, 1 - rate, method="higher"))
