"""Class-agnostic distribution alignment: CADA (Guo et al., 2024), beside its equations, over classes that keep arriving.

The score of a patch is measured by the mean u of an image's normal patch scores and by γ, where they end:
(s − u) / (γ − u) (Eq. 1 and 5). u and γ are those of the class (CaDA-A, that an image was sent to or that is given; CaDA-B,
that a classifier names; section 3.2), or what a regressor expects of the image (CADA, section 3.3), or the mean of a class's
and the regressor's measurement (`both`: our own, as the errors of the two have little to do with each other). Everything is
fitted from what each class has stored (`calibration.evidence`): no image is read again, and a class that arrives makes the
heads anew, so that none is forgotten (docs/decisions/alignment.md).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np

from evernorm.calibration.evidence import Evidence
from evernorm.calibration.reading import Reading
from evernorm.calibration.weibull import calibrate
from evernorm.errors import StateError
from evernorm.files import below
from evernorm.params.groups import AlignmentKind, CalibrationParams, Spread, WeibullParams
from evernorm.types import Arrays, Doubles, Floats, Indices

if TYPE_CHECKING:
    from evernorm.alignment.head import Head

ASKING = {AlignmentKind.CADA_B, AlignmentKind.CADA, AlignmentKind.BOTH, AlignmentKind.CADA_WEIBULL}
"""The kinds that ask what a frozen encoder sees of an image."""
MEASURED = {AlignmentKind.CADA_A, *ASKING}
"""The kinds that change scores, and so need maps."""
_LEAST = 0.1  # of the classes' smallest spread: what none that is regressed is below, however odd the image
_FOLDS = 5


@dataclass(frozen=True)
class Alignment:
    """By what scores are measured.

    Attributes:
        params: What kind it is.
        statistics: float32 ``[T, 2]``, u and γ of each class; None where no score is changed.
        head: The classifier or regressor; None where there is none.
    """

    params: CalibrationParams
    statistics: Floats | None = None
    head: "Head | None" = None

    @property
    def measures(self) -> bool:
        """Whether it changes scores."""
        return self.statistics is not None

    @property
    def asks(self) -> bool:
        """Whether it asks what the encoder sees of an image."""
        return self.head is not None

    @property
    def names_class(self) -> bool:
        """Whether it names the class itself, so that being told makes a difference."""
        return self.params.alignment is AlignmentKind.CADA_B

    @property
    def regresses(self) -> bool:
        """Whether what it expects of an image is regressed, and so better known of those it was trained on."""
        return self.asks and not self.names_class

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
            encoded: What the encoder sees of them (`alignment.encoding`); None where it is not asked.
            place: int64 ``[n]``, the classes they were sent to.
            given: Whether that is known to be right; the regressor does not ask.

        Raises:
            StateError: The alignment asks the encoder of a method without one.
        """
        low, spread = self.expected(encoded, place, given=given)
        return (scores - low) / spread, (patches - low[:, None]) / spread[:, None]

    def expected(
        self, encoded: Floats | None, place: Indices, *, given: bool = False
    ) -> tuple[Floats, Floats]:
        """The u and γ − u of images, float32 ``[n]`` each; see `applied`."""
        if self.statistics is None:
            raise ValueError(f"alignment {self.params.alignment.value} changes no score")
        least = 0.0
        if self.head is None or (self.names_class and given):
            ends = self.statistics[place]
        elif encoded is None:
            raise StateError(
                "a method without a frozen encoder cannot be aligned by what is expected of an image"
            )
        elif self.names_class:
            ends = self.statistics[self.head(encoded).argmax(axis=1)]
        else:
            ends = self.head(encoded)
            least = _LEAST * float(np.diff(self.statistics).min())
        low, spread = ends[:, 0], np.maximum(ends[:, 1] - ends[:, 0], np.float32(least))
        if self.params.alignment is not AlignmentKind.BOTH:
            return low, spread
        # The mean of two measurements of a score is one: (s − a) / b and (s − c) / d together.
        of_class = self.statistics[place]
        own, wide = of_class[:, 0], of_class[:, 1] - of_class[:, 0]
        return (low * wide + own * spread) / (wide + spread), 2 * wide * spread / (wide + spread)

    def arrays(self) -> Arrays:
        """By name, without the parameters."""
        if self.statistics is None:
            return {}
        head = {} if self.head is None else self.head.arrays()
        return {"statistics": self.statistics, **{f"head.{name}": each for name, each in head.items()}}

    @classmethod
    def of(cls, arrays: Arrays, params: CalibrationParams) -> Self:
        """Undo `arrays`.

        Raises:
            StateError: Something is missing, or of another shape.
        """
        if params.alignment not in MEASURED:
            return cls(params)
        try:
            statistics = np.asarray(arrays["statistics"])
            if params.alignment not in ASKING:
                return cls(params, statistics)
            from evernorm.alignment.head import Head

            return cls(params, statistics, Head.of(below(arrays, "head."), params.head))
        except (KeyError, RuntimeError) as error:
            raise StateError(
                f"the stored alignment {params.alignment.value} is damaged ({error}); fetch the bank again"
            ) from error


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
        one = calibrate(Evidence.joined(scored), weibull, params.guarantee, unit=unit).steps[0]
        readings = [replace(one, classes=len(scored))] * len(own)
    return alignment, [_decided(each, before) for each, before in zip(readings, own, strict=True)]


def _decided(reading: Reading, own: Reading) -> Reading:
    """At the size and the false-alarm rate of the class."""
    reading = replace(reading, size=own.size)
    return reading if own.rate is None else reading.at_rate(own.rate)


def _fitted(
    evidence: Sequence[Evidence], params: CalibrationParams, seed: int
) -> tuple[Alignment, list[Evidence]]:
    """The alignment, and scores and moments as the images of each class have them by it.

    A regressor knows the images that it was trained on too well. So what is expected of them is asked of one that was
    trained on the others, as new images will be measured by the one that was trained on all.
    """
    alignment = Alignment(
        params, np.array([_ends(each, params.spread).mean(axis=0) for each in evidence], np.float32)
    )
    if params.alignment in ASKING:
        kept = [each.with_encoding() for each in evidence]
        alignment = replace(alignment, head=_trained(kept, params, seed))
    if not alignment.regresses:
        return alignment, [_measured(alignment, each, place) for place, each in enumerate(evidence)]
    parts: list[list[Evidence]] = [[] for _ in kept]
    for fold in range(_FOLDS):
        folds = [np.arange(each.scores.shape[1]) % _FOLDS == fold for each in kept]
        others = [each.some(np.flatnonzero(~of)) for each, of in zip(kept, folds, strict=True)]
        apart = replace(alignment, head=_trained(others, params, seed))
        for place, (each, of) in enumerate(zip(kept, folds, strict=True)):
            parts[place].append(_measured(apart, each.some(np.flatnonzero(of)), place))
    return alignment, [Evidence.joined(each) for each in parts]


def _trained(evidence: Sequence[Evidence], params: CalibrationParams, seed: int) -> "Head":
    """A head, on what is kept of the images of each class."""
    from evernorm.alignment.head import fit_classifier, fit_regressor

    inputs = np.concatenate([_encoded(each) for each in evidence])
    groups = np.repeat(np.arange(len(evidence)), [each.scores.shape[1] for each in evidence])
    if params.alignment is AlignmentKind.CADA_B:
        return fit_classifier(inputs, groups, params.head, seed)
    ends = np.concatenate([_ends(each, params.spread) for each in evidence])
    return fit_regressor(inputs, groups, ends, params.head, seed)


def _measured(alignment: Alignment, evidence: Evidence, place: int) -> Evidence:
    """Of a class, by what is expected of each of its images."""
    encoded = _encoded(evidence) if alignment.regresses else None
    places = np.full(evidence.scores.shape[1], place)
    return evidence.measured(*alignment.expected(encoded, places, given=True))


def _encoded(evidence: Evidence) -> Floats:
    return np.asarray(evidence.encoded, np.float32)


def _ends(evidence: Evidence, spread: Spread) -> Doubles:
    """U and γ of each image ``[n, 2]``; of a class, their means (section 3.2)."""
    means, stds, peaks = (np.asarray(each[0], np.float64) for each in evidence.moments())
    high = peaks if spread is Spread.PEAK else means + 3 * stds  # Table 5
    return np.stack([means, high], axis=1)
