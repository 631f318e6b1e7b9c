"""Class-agnostic distribution alignment: CADA (Guo et al., 2024), beside its equations, over classes that keep arriving.

The score of a patch is measured by the mean u of an image's normal patch scores and by γ, where they end:
(s − u) / (γ − u) (Eq. 1 and 5). u and γ are those of the class (CaDA-A, that an image was sent to or that is given; CaDA-B, that a classifier
names; section 3.2), or what a regressor expects of the image (CADA, section 3.3). Everything is fitted from what each class
has stored (`calibration.evidence`): no image is read again, and a class that arrives makes the heads anew, so that none
is forgotten (docs/decisions/alignment.md).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np

from evernorm.calibration.evidence import Evidence
from evernorm.calibration.weibull import Reading, calibrate
from evernorm.errors import StateError
from evernorm.params.groups import AlignmentKind, CalibrationParams, Spread, WeibullParams
from evernorm.types import Arrays, Doubles, Floats, Indices

if TYPE_CHECKING:
    from evernorm.alignment.head import Head

_LEAST = (
    0.1  # of the classes' mean spread: what no spread is below, whatever the regressor says of an odd image
)
ASKING = {AlignmentKind.CADA_B, AlignmentKind.CADA, AlignmentKind.CADA_WEIBULL}
"""The kinds that ask what a frozen encoder sees of an image."""
MEASURED = {AlignmentKind.CADA_A, *ASKING}
"""The kinds that change scores, and so need maps."""


@dataclass(frozen=True)
class Alignment:
    """By what scores are measured.

    Attributes:
        params: What kind it is.
        statistics: float32 ``[T, 2]``, u and γ of each class; None where no score is changed.
        head: The classifier or regressor, by name; empty where there is none.
    """

    params: CalibrationParams
    statistics: Floats | None = None
    head: Arrays = field(default_factory=dict)

    @cached_property
    def _head(self) -> "Head":
        from evernorm.alignment.head import Head

        return Head.of(self.head, self.params.head)

    @property
    def measures(self) -> bool:
        """Whether it changes scores."""
        return self.statistics is not None

    @property
    def nbytes(self) -> int:
        """What is kept of it."""
        return sum(int(array.nbytes) for array in self.arrays().values())

    def applied(
        self, scores: Floats, patches: Floats, encoded: Floats | None, place: Indices, *, given: bool
    ) -> tuple[Floats, Floats]:
        """Scores ``[n]`` and patch scores ``[n, P]`` of images, by what is expected of each (Eq. 5).

        Args:
            scores: Of the images.
            patches: Of their patches.
            encoded: What the encoder sees of them (`alignment.encoding`); None for a method without one.
            place: int64 ``[n]``, the classes they were sent to.
            given: Whether that is known to be right; the regressor does not ask.

        Raises:
            StateError: There is no encoder, and the alignment asks it.
        """
        low, spread = self.expected(encoded, place, given=given)
        return (scores - low) / spread, (patches - low[:, None]) / spread[:, None]

    def expected(
        self, encoded: Floats | None, place: Indices, *, given: bool = False
    ) -> tuple[Floats, Floats]:
        """The u and γ − u of images, float32 ``[n]`` each; see `applied`."""
        kind = self.params.alignment
        if self.statistics is None:
            raise ValueError(f"alignment {kind.value} changes no score")
        if kind is AlignmentKind.CADA_A or (kind is AlignmentKind.CADA_B and given):
            found = self.statistics[place]
        elif encoded is None:
            raise StateError(
                "a method without a frozen encoder cannot be aligned by what is expected of an image"
            )
        elif kind is AlignmentKind.CADA_B:
            found = self.statistics[self._head(encoded).argmax(axis=1)]
        else:
            found = self._head(encoded)
        low, high = found.T
        usual = self.statistics[:, 1] - self.statistics[:, 0]
        return low, np.maximum(high - low, _LEAST * usual.mean())

    def arrays(self) -> Arrays:
        """By name, without the parameters."""
        if self.statistics is None:
            return {}
        return {"statistics": self.statistics, **{f"head.{name}": each for name, each in self.head.items()}}

    @classmethod
    def of(cls, arrays: Arrays, params: CalibrationParams) -> Self:
        """Undo `arrays`."""
        head = {name.removeprefix("head."): arrays[name] for name in arrays if name.startswith("head.")}
        return cls(params, np.asarray(arrays["statistics"]) if "statistics" in arrays else None, head)


def align(
    evidence: Iterable[Evidence],
    own: Sequence[Reading],
    params: CalibrationParams,
    weibull: WeibullParams,
    seed: int,
) -> tuple[Alignment, list[Reading]]:
    """Bring classes to one scale, and say what their scores mean on it.

    Args:
        evidence: Of each class, at the size at which it is read; not asked for where nothing is aligned.
        own: How each class is read without alignment; their false-alarm rates stay.
        params: Which kind.
        weibull: The tails.
        seed: Of the head.

    Returns:
        The alignment, and a reading for each class.

    Raises:
        StateError: Evidence was stored without what the kind needs.
        FitError: Aligned scores have no tail.
    """
    kind = params.alignment
    if kind is AlignmentKind.WEIBULL:
        return Alignment(params), list(own)
    scored = [each.some(np.flatnonzero(np.isfinite(each.scores[0]))) for each in evidence]
    alignment = Alignment(params)
    if kind in MEASURED:
        alignment, scored = _fitted(scored, params, seed)
    unit = 1.0 if alignment.measures else None  # γ − u
    if kind is AlignmentKind.CADA_WEIBULL:
        readings = [calibrate(each, weibull, params.guarantee, unit=unit).steps[0] for each in scored]
    else:  # one for all
        readings = calibrate(Evidence.joined(scored), weibull, params.guarantee, unit=unit).steps * len(own)
    return alignment, [_decided(each, before) for each, before in zip(readings, own, strict=True)]


def _decided(reading: Reading, own: Reading) -> Reading:
    """At the size and the false-alarm rate of the class."""
    reading = replace(reading, size=own.size)
    return reading if own.rate is None else reading.at_rate(own.rate)


def _fitted(
    evidence: Sequence[Evidence], params: CalibrationParams, seed: int
) -> tuple[Alignment, list[Evidence]]:
    """The alignment, and scores and moments as the images of each class have them by it.

    Of the images that are kept alone where they are measured by what is expected of them.
    """
    statistics = np.array([_ends(each, params.spread).mean(axis=0) for each in evidence], np.float32)
    if params.alignment is AlignmentKind.CADA_A:
        alignment = Alignment(params, statistics)
        return alignment, [_measured(alignment, each, None, place) for place, each in enumerate(evidence)]
    from evernorm.alignment.head import fit_classifier, fit_regressor

    kept = [each.with_encoding() for each in evidence]
    inputs = [np.asarray(each.encoded, np.float32) for each in kept]
    ends = [_ends(each, params.spread) for each in kept]
    groups = np.concatenate([np.full(len(each), place) for place, each in enumerate(ends)])
    if params.alignment is AlignmentKind.CADA_B:
        head = fit_classifier(np.concatenate(inputs), groups, params.head, seed)
    else:
        head = fit_regressor(np.concatenate(inputs), groups, np.concatenate(ends), params.head, seed)
        evidence = kept
    alignment = Alignment(params, statistics, head.arrays())
    pairs = enumerate(zip(evidence, inputs, strict=True))
    return alignment, [_measured(alignment, each, encoded, place) for place, (each, encoded) in pairs]


def _measured(alignment: Alignment, evidence: Evidence, encoded: Floats | None, place: int) -> Evidence:
    """Of a class, by what is expected of each of its images."""
    places = np.full(evidence.scores.shape[1], place)
    return evidence.measured(*alignment.expected(encoded, places, given=True))


def _ends(evidence: Evidence, spread: Spread) -> Doubles:
    """U and γ of each image ``[n, 2]``; of a class, their means (section 3.2)."""
    means, stds, peaks = (np.asarray(each[0], np.float64) for each in evidence.moments())
    high = peaks if spread is Spread.PEAK else means + 3 * stds  # Table 5
    return np.stack([means, high], axis=1)
