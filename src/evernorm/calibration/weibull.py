"""How the readings of a class's scores are fitted and stored.

Everything follows from how the class's normal training images score as if they had not been learned from
(`calibration.evidence`), at the size at which a memory is now read.
"""

from pathlib import Path
from typing import Any

import numpy as np

from evernorm.calibration.evidence import Evidence
from evernorm.calibration.evt import WeibullTail, fit_high
from evernorm.calibration.reading import Reading, RoutingTail, score_at
from evernorm.errors import FitError, StateError
from evernorm.files import check_schema, read_arrays, read_json, write_arrays, write_json
from evernorm.params.groups import Guarantee, WeibullParams
from evernorm.types import Floats

SCHEMA = 1
MIN_IMAGES = 5  # fewer scores than this have no tail


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
    return RoutingTail(unit, tail, score_at(params.false_unknown_rate, kept, unit, tail))


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
