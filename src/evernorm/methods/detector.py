"""How a bank judges: one interface for every method; nothing else speaks of rows, keys or networks."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, final

import numpy as np
import numpy.typing as npt

from evernorm.alignment.alignment import Alignment, align
from evernorm.calibration.evidence import Evidence
from evernorm.calibration.reading import Reading
from evernorm.data.profile import Profile
from evernorm.errors import StateError
from evernorm.features.frozen import FrozenBackbone
from evernorm.features.kit import Kit
from evernorm.maps import anomaly_map, region_of
from evernorm.methods.learner import ClassState, Learner, Traits
from evernorm.types import Arrays, Doubles, Flags, Floats, Image, Indices

IMAGES_AT_ONCE = 16  # images judged together; bounds the memory of a prediction
UNKNOWN = -1


@dataclass(frozen=True)
class Prediction:
    """The answer for one image.

    An image of no class that the bank knows has no score: a distance from another product's memory means
    nothing. It counts as anomalous, since it is no normal image of any known class.

    Attributes:
        routed_class: The class the image was sent to; None for an unknown product, and for a method that
            does not ask.
        unknown: Whether the image shows no class that the bank knows.
        score: Standardised anomaly score: standard deviations above the class's normal images, or above those of all
            classes where one reading serves all (`alignment`).
        threshold: The score beyond which an image of the class is called anomalous.
        probability: Outlier probability in [0, 1], from the Weibull tail.
        p_value: How often a normal image of the class scores at least this high.
        anomalous: The decision at the false-alarm rate the bank was calibrated for.
        map: float32 ``[H, W]``, standardised anomaly map of the image's own size; None where there is none.
        map_threshold: Map value at which a patch alone makes its image anomalous; None without a map.
        display: What people call the class; empty where there is none.
        warning: What is odd about the image: sides or proportions far from the class's training images.
    """

    routed_class: str | None
    unknown: bool
    score: float
    threshold: float
    probability: float
    p_value: float
    anomalous: bool
    map: Floats | None
    map_threshold: float | None
    display: str = ""
    warning: str | None = None

    @property
    def region(self) -> tuple[int, int, int, int] | None:
        """`maps.region_of` the map, at its threshold; None without a map."""
        if self.map is None or self.map_threshold is None:
            return None
        return region_of(self.map, self.map_threshold)

    def to_json(self) -> dict[str, Any]:
        """As JSON has it, without the map: None for what cannot be said of an unknown product."""
        figures = {
            "score": self.score,
            "threshold": self.threshold,
            "p_value": self.p_value,
            "probability": self.probability,
        }
        region = self.region
        return {
            "class": self.routed_class,
            "display": self.display or None,
            "unknown": self.unknown,
            "anomalous": self.anomalous,
            **{name: None if self.unknown else value for name, value in figures.items()},
            "region": None if region is None else list(region),
            "warning": self.warning,
        }


@dataclass(frozen=True)
class Seen:
    """n images as a detector sees them.

    Attributes:
        arrays: By name, ``[n, …]``; may be memory-mapped.
        home: The class with which `Learner.eye` made the arrays; None where no class was told.
        again: Image numbers → images; for what the arrays do not hold.
    """

    arrays: Arrays
    home: str | None = None
    again: Callable[[Indices], list[Image]] | None = None

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def some(self, chosen: Indices) -> "Seen":
        """Some of the images, read into memory."""
        arrays = {name: np.asarray(array[chosen]) for name, array in self.arrays.items()}
        return Seen(arrays, self.home, self.again and _chosen(self.again, chosen))


def _chosen(again: Callable[[Indices], list[Image]], chosen: Indices) -> Callable[[Indices], list[Image]]:
    return lambda numbers: again(chosen[numbers])


@dataclass(frozen=True)
class Found:
    """What a method makes of n images, before calibration.

    Attributes:
        place: int64 ``[n]``, number of the class each image was sent to.
        raw: float32 ``[n]``, its score there.
        patches: float32 ``[n, P]``, the scores of its patches; None without maps.
        unknown: bool ``[n]``, whether it shows no class that the bank knows.
        hints: By name ``[n, …]``, what shortens a later search for the same images; never changes an answer.
    """

    place: Indices
    raw: Floats
    patches: Floats | None
    unknown: Flags
    hints: Arrays = field(default_factory=dict)


@dataclass(frozen=True)
class Judged:
    """Answers for n images, as arrays.

    Attributes:
        place: int64 ``[n]``, number of the class each image was sent to, also where it is unknown.
        routed: int64 ``[n]``, the same, but `UNKNOWN` for an image of no class that the bank knows.
        raw: float32 ``[n]``, the method's own score.
        score: float64 ``[n]``, standardised in the class.
        probability: float64 ``[n]``.
        p_value: float64 ``[n]``.
        anomalous: bool ``[n]``, the decision; an unknown product is an alarm.
        threshold: float64 ``[n]``, standardised score beyond which an image of the class is an alarm.
        map_threshold: float64 ``[n]``, patch score of the map that corresponds to it; None without maps.
        patches: float32 ``[n, P]``, standardised patch scores; None without maps.
        hints: See `Found`.
        draw: Patch scores ``[P]`` and an image's shape → its map ``[H, W]``.
    """

    place: Indices
    routed: Indices
    raw: Floats
    score: Doubles
    probability: Doubles
    p_value: Doubles
    anomalous: Flags
    threshold: Doubles
    map_threshold: Doubles | None
    patches: Floats | None
    hints: Arrays
    draw: Callable[[Floats, tuple[int, int]], Floats]

    def map(self, number: int, shape: tuple[int, int]) -> Floats | None:
        """Standardised anomaly map ``[H, W]`` of one image; None without maps."""
        return None if self.patches is None else self.draw(self.patches[number], shape)


class Detector(ABC):
    """Judges images by the classes that were learned; is never told which class an image shows.

    Args:
        learner: What learned the classes; its parameters, traits and backbone.
        states: The classes, in the order in which they were learned.
    """

    images_at_once: ClassVar[int] = IMAGES_AT_ONCE

    def __init__(self, learner: Learner, states: Sequence[ClassState]) -> None:
        self.learner = learner
        self.states = tuple(states)
        self.alignment = Alignment(learner.params.calibration)
        self.readings: Sequence[Reading] = ()

    @property
    def traits(self) -> Traits:
        """The method's."""
        return self.learner.traits

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes known, in the order in which they were learned."""
        return tuple(state.name for state in self.states)

    @property
    def profiles(self) -> list[Profile]:
        """Names, bit depths and sizes of the classes' images, of those on record."""
        return [state.profile for state in self.states if state.profile is not None]

    @cached_property
    def own_readings(self) -> Sequence[Reading]:
        """How the method's scores are read: one a class; a single one where the method does not route."""
        return [state.calibration.at(0) for state in self.states if state.calibration is not None]

    @final
    def align(self, alignment: Alignment | None = None) -> None:
        """Say how scores are read on the scale of all classes (`readings`).

        Args:
            alignment: A stored one, on whose scale `own_readings` are; fitted where it is not given.

        Raises:
            StateError: Scores of this method, or what is stored of these classes, cannot be aligned so.
            FitError: Aligned scores have no tail.
        """
        if not self.states:
            return
        params, own = self.learner.params, self.own_readings
        if alignment is not None:
            self.alignment, self.readings = alignment, own
            return
        evidence = (
            Evidence.of(state.evidence).at(reading.size)
            for state, reading in zip(self.states[-len(own) :], own, strict=True)
        )
        self.alignment, self.readings = align(evidence, own, params.calibration, params.weibull, params.seed)

    @property
    @abstractmethod
    def bytes_by_class(self) -> dict[str, int]:
        """Bytes kept for each class, without the backbone."""

    @property
    def shared_bytes(self) -> int:
        """Bytes kept for all classes together, without the backbone."""
        return 0

    @property
    def bank_bytes(self) -> int:
        """Bytes kept in all, without the backbone."""
        return sum(self.bytes_by_class.values()) + self.shared_bytes + self.alignment.nbytes

    @abstractmethod
    def see(self, images: Sequence[Image]) -> Seen:
        """Look at a few images (uint8 ``[H, W, 3]`` each)."""

    @abstractmethod
    def find(self, seen: Seen, given: Indices | None, hints: Arrays) -> Found:
        """Send each image to a class and score it there; the answer for one never depends on the others.

        Args:
            seen: n images.
            given: int64 ``[n]``, the class each is to be judged in; None: the method's own choice.
            hints: `Found.hints` for the same images, of a bank of fewer classes; may be empty.
        """

    def left_out(self, seen: Seen, home: Indices) -> Flags | None:
        """Whether a bank that never learned the class of image i would call it unknown; for evaluation.

        Args:
            seen: n images.
            home: int64 ``[n]``, their classes.

        Returns:
            bool ``[n]``; None where that cannot be told.
        """
        return None

    def kits(self) -> list[Kit]:
        """Graphs of its frozen passes, to be stored with a bank; none where torch runs them."""
        backbone = self.learner.backbone
        return [backbone.kit] if isinstance(backbone, FrozenBackbone) else []

    def kept(self) -> list[ClassState]:
        """The classes as they are read now: what a stored bank holds, and all that later classes need."""
        return list(self.states)

    @final
    def judge(self, seen: Seen, *, given: Indices | None = None, hints: Arrays | None = None) -> Judged:
        """Judge images.

        Args:
            seen: What `see` gave, or what was stored with `Learner.eye`.
            given: int64 ``[n]``, numbers of the classes the images are known to show ("oracle").
            hints: What an earlier bank gave for the same images (`Found.hints`).

        Raises:
            StateError: The bank knows no class yet.
        """
        if not self.states:
            raise StateError("the bank is empty: learn a class before predicting")
        found = self.find(seen, given, hints or {})
        count, scores, spots = len(found.place), found.raw, found.patches
        if self.alignment.measures and spots is not None:
            encoded = self.learner.encoded(seen.arrays) if self.alignment.asks else None
            told = given is not None
            scores, spots = self.alignment.applied(scores, spots, encoded, found.place, given=told)
        score, probability, p_value, threshold, map_threshold = (np.empty(count) for _ in range(5))
        beyond = np.empty(count, np.bool_)
        patches = None if spots is None else np.empty_like(spots)
        for place in np.unique(found.place):
            reading, of = self.readings[place], found.place == place
            raw = scores[of]
            score[of], probability[of] = reading.standardise(raw), reading.probability(raw)
            p_value[of], beyond[of] = reading.p_value(raw), raw > reading.threshold
            threshold[of] = reading.standardise(reading.threshold)
            if patches is not None and spots is not None:
                patches[of] = reading.standardise_patches(spots[of])
                map_threshold[of] = reading.standardise_patches(np.array([reading.threshold], np.float32))
        return Judged(
            place=found.place,
            routed=np.where(found.unknown, UNKNOWN, found.place),
            raw=found.raw,
            score=score,
            probability=probability,
            p_value=p_value,
            anomalous=beyond | found.unknown,
            threshold=threshold,
            map_threshold=None if patches is None else map_threshold,
            patches=patches,
            hints=found.hints,
            draw=self._draw,
        )

    @final
    def predict(self, images: Sequence[Image]) -> list[Prediction]:
        """Judge images of any size; bounded memory whatever their number.

        Raises:
            StateError: The bank knows no class yet.
        """
        if not self.states:
            raise StateError("the bank is empty: learn a class before predicting")
        predictions: list[Prediction] = []
        for start in range(0, len(images), self.images_at_once):
            batch = images[start : start + self.images_at_once]
            judged = self.judge(self.see(batch))
            predictions += [self._prediction(judged, i, image.shape) for i, image in enumerate(batch)]
        return predictions

    def _draw(self, patches: Floats, shape: tuple[int, int]) -> Floats:
        backbone = self.learner.backbone
        return anomaly_map(patches, backbone.grid, backbone.preprocess.size, shape)

    def _prediction(self, judged: Judged, number: int, shape: tuple[int, ...]) -> Prediction:
        unknown = bool(judged.routed[number] == UNKNOWN)
        state = self.states[judged.place[number]] if self.traits.routes and not unknown else None
        profile = state.profile if state is not None else None

        def figure(values: npt.NDArray[Any]) -> float:
            return float("nan") if unknown else float(values[number])

        return Prediction(
            routed_class=state.name if state is not None else None,
            unknown=unknown,
            score=figure(judged.score),
            threshold=figure(judged.threshold),
            probability=figure(judged.probability),
            p_value=figure(judged.p_value),
            anomalous=bool(judged.anomalous[number]),
            map=None if unknown else judged.map(number, (shape[0], shape[1])),
            map_threshold=None
            if unknown or judged.map_threshold is None
            else float(judged.map_threshold[number]),
            display=profile.display if profile is not None else state.name if state is not None else "",
            warning=profile.sizes.warning(shape[0], shape[1]) if profile is not None else None,
        )
