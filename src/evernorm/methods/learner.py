"""How a method learns: one pure function a stage, from which the in-memory path is composed."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np

from evernorm.alignment.alignment import ASKING, MEASURED, Alignment
from evernorm.alignment.encoding import shown
from evernorm.calibration.evidence import Evidence
from evernorm.calibration.weibull import Calibration, calibrate
from evernorm.data.profile import Profile
from evernorm.errors import ParamsError, StateError
from evernorm.features.backbone import Backbone, TimmBackbone, build_backbone
from evernorm.features.frozen import FrozenBackbone, frozen_backbone
from evernorm.features.weights import source_digest
from evernorm.methods.ablation import Tables
from evernorm.params.groups import AlignmentKind, MethodParams, Params
from evernorm.types import Arrays, Floats, Image, Progress

if TYPE_CHECKING:
    from evernorm.methods.detector import Detector
    from evernorm.methods.lesson import Lesson

NOTHING: Arrays = {}
Eye = Callable[[list[Image]], Mapping[str, Floats]]


class StateKind(StrEnum):
    """What the state after a class depends on."""

    INDEPENDENT = "independent"  # its own images alone
    CHAINED = "chained"  # and the state after the class before
    CUMULATIVE = "cumulative"  # and the images of all classes before


@dataclass(frozen=True)
class Traits:
    """What the pipeline, the evaluation and the commands need to know of a method.

    Attributes:
        state: What the state after a class depends on.
        structured: Asks where the parts of its training images are (stage `masks`).
        trained: Trains something (stage `prompts`).
        routes: Whether the class of an image is a question at all.
        open_set: Whether an image may be called unknown: of no class that was learned.
        maps: Whether answers come with an anomaly map.
        fixed_features: What an image is seen as never changes once its class is trained, so that it can be stored.
    """

    state: StateKind = StateKind.INDEPENDENT
    structured: bool = False
    trained: bool = False
    routes: bool = True
    open_set: bool = False
    maps: bool = True
    fixed_features: bool = True


@dataclass(frozen=True)
class ClassState:
    """What is kept of a class.

    Attributes:
        name: The class.
        calibration: How its scores are read; None where the class has none of its own.
        entry: What is remembered.
        trained: What was trained.
        carry: What the next class is learned with.
        weights: `Backbone.digest` of the backbone it was learned with; empty where there is none.
        profile: Name, bit depth and sizes of its images; None where they were never on record.
        evidence: What it was calibrated by (`Evidence.arrays`); empty in a stored bank, whose alignment is fitted.
    """

    name: str
    calibration: Calibration | None
    entry: Arrays = field(default_factory=dict)
    trained: Arrays = field(default_factory=dict)
    carry: Arrays = field(default_factory=dict)
    weights: str = ""
    profile: Profile | None = None
    evidence: Arrays = field(default_factory=dict)


class Learner(ABC):
    """Learns one class after another from normal images. Stateless but for the backbone, which is built once.

    Args:
        params: Everything in params.yaml.
        backbone: The frozen backbone; built from `params` where it is not given.
    """

    name: ClassVar[str]
    traits: ClassVar[Traits] = Traits()
    group: ClassVar[type[MethodParams]] = MethodParams
    revisions: ClassVar[Mapping[str, int]] = {
        "masks": 1,
        "prompts": 1,
        "knowledge": 3,
        "weibull": 2,
        "features": 1,
        "evaluate": 2,
    }
    """By stage; raised by hand whenever the same input gives another result than before."""
    packages: ClassVar[tuple[str, ...]] = ()
    """Distributions whose versions its results depend on, beside those of every method."""
    extra: ClassVar[str] = ""
    """Of the distribution evernorm, without which its banks cannot be served."""

    def __init__(self, params: Params, backbone: Backbone | None = None) -> None:
        self.params = params
        self._given = backbone

    @cached_property
    def backbone(self) -> Backbone:
        """The frozen backbone.

        Raises:
            ParamsError: No such backbone, level, or device.
            WeightsError: The weights are missing or do not fit.
            MachineError: The engine that is to run it is not installed.
        """
        return self._given or frozen_backbone(self.params.features, self.params.seed)

    @property
    def weights(self) -> str:
        """`Backbone.digest`; empty for a method without a frozen backbone."""
        return self.backbone.digest

    @property
    def engines(self) -> tuple[str, ...]:
        """The distribution that runs its frozen passes, where that is not torch."""
        return (self.backbone.engine.value,) if isinstance(self.backbone, FrozenBackbone) else ()

    @property
    def exchangeable(self) -> bool:
        """Whether images that calibrate a class are judged as later ones are: never learned from, by what never changes."""
        return False

    @property
    def looks_back(self) -> bool:
        """Whether a lesson holds the images of the classes before, too (`Lesson.earlier`)."""
        return self.traits.state is StateKind.CUMULATIVE

    @classmethod
    def sources(cls, params: Params) -> str:
        """What tells the frozen weights that its results depend on from others, without loading them.

        Raises:
            WeightsError: They do not exist.
        """
        return source_digest(params.features.weights, params.features.backbone)

    def check(self) -> None:
        """Refuse parameters that cannot work together, before anything is made.

        Raises:
            ParamsError: All faults at once.
            WeightsError: The weights are missing or do not fit.
        """
        _ = self.backbone

    @final
    def check_alignment(self) -> None:
        """Refuse an alignment that scores of this method cannot have, before anything is made.

        Raises:
            ParamsError: It has no maps, or no frozen encoder.
        """
        kind = self.params.calibration.alignment
        lacking = None
        if kind in MEASURED and not self.traits.maps:
            lacking = "has no anomaly map to measure"
        elif kind in ASKING and type(self).encoded is Learner.encoded:
            lacking = "has no frozen encoder to expect anything from"
        if lacking:
            raise ParamsError(
                f"calibration.alignment is {kind.value}, but {self.name} {lacking}; set it to "
                f"{AlignmentKind.WEIBULL.value} or {AlignmentKind.NONE.value}"
            )

    def ablations(self) -> Tables:
        """The tables of its paper that can be made with these parameters; none where it has none."""
        return {}

    def train(
        self,
        lesson: "Lesson",
        before: Arrays = NOTHING,
        *,
        checkpoint: Path | None = None,
        progress: Progress | None = None,
    ) -> Arrays:
        """Train what has gradients (stage `prompts`).

        Args:
            lesson: The class.
            before: What the class before carries.
            checkpoint: A folder for the state of an unfinished training; what is there is continued.
            progress: Called with (epochs done, epochs in all).
        """
        return {}

    def remarks(self, trained: Arrays, earlier: Sequence[str]) -> list[str]:
        """What went worse in a training than it should have, for a person to read; empty where nothing did.

        Args:
            trained: What `train` gave.
            earlier: The classes before, in order.
        """
        return []

    @abstractmethod
    def remember(
        self, lesson: "Lesson", trained: Arrays, before: Arrays = NOTHING, *, progress: Progress | None = None
    ) -> tuple[Arrays, Evidence]:
        """Build what is kept of a class, and score its own images (stage `knowledge`).

        Args:
            lesson: The class.
            trained: What `train` gave.
            before: What the class before carries.
            progress: Called with (images seen, images in all).
        """

    def calibrate(self, evidence: Evidence) -> Calibration:
        """Say what scores mean (stage `weibull`); loads no torch.

        Raises:
            FitError: The images do not allow it; says why.
        """
        return calibrate(evidence, self.params.weibull, self.params.calibration.guarantee)

    def carry(self, before: Arrays, trained: Arrays, entry: Arrays, calibration: Calibration) -> Arrays:
        """What the next class is learned with (stage `weibull`); nothing where states are independent."""
        return {}

    def eye(self, trained: Arrays) -> Eye | None:
        """What images of a class are seen as: arrays ``[n, …]`` worth storing (stage `features`).

        None where `Traits.fixed_features` is false.
        """
        return None

    def encoded(self, arrays: Arrays) -> Floats | None:
        """What a frozen encoder sees of images, of what `eye` gives: float32 ``[n, C, h, w]`` (`alignment.encoding`).

        None for a method without one: then nothing can be expected of an image before it is judged.
        """
        return None

    @final
    def shown(self, evidence: Evidence, seen: Arrays) -> Evidence:
        """With what the encoder sees of some of its images.

        Args:
            evidence: Of n images.
            seen: What `eye` gives of them.
        """
        chosen = shown(evidence.scores.shape[1])
        encoded = self.encoded({name: np.asarray(array[chosen]) for name, array in seen.items()})
        if encoded is None:
            return evidence
        return replace(evidence, shown=chosen, encoded=encoded.astype(np.float16))

    @abstractmethod
    def assemble(self, states: Sequence[ClassState]) -> "Detector":
        """The detector of these classes, in the order in which they were learned (`detector_of` checks them)."""

    @final
    def detector_of(self, states: Sequence[ClassState], alignment: Alignment | None = None) -> "Detector":
        """Assemble the detector of classes that were learned with this backbone, and align them.

        Args:
            states: The classes, in the order in which they were learned.
            alignment: Of a stored bank, whose classes are read by it already; fitted where it is not given.

        Raises:
            StateError: A class is there twice, was learned with other weights, or cannot be aligned so.
        """
        faults = [
            f"{each.name}: learned with weights {each.weights[:12] or 'of no record'}, the backbone has "
            f"{self.weights[:12] or 'none'}"
            for each in states
            if each.weights != self.weights
        ]
        names = [each.name for each in states]
        faults += [
            f"{name}: in the bank more than once" for name in sorted(set(names)) if names.count(name) > 1
        ]
        if faults:
            raise StateError("these classes make no bank; learn them again with one backbone", faults)
        detector = self.assemble(states)
        detector.align(alignment)
        return detector

    @final
    def learn(
        self, lesson: "Lesson", before: Arrays = NOTHING, *, trained: Arrays | None = None
    ) -> ClassState:
        """Learn one class in memory: the stages one after another.

        Args:
            lesson: The class.
            before: `ClassState.carry` of the class before.
            trained: What was trained for all classes at once; None trains for this one.
        """
        trained = self.train(lesson, before) if trained is None else trained
        entry, evidence = self.remember(lesson, trained, before)
        calibration = self.calibrate(evidence)
        carry = self.carry(before, trained, entry, calibration)
        return ClassState(
            lesson.name, calibration, entry, trained, carry, self.weights, evidence=evidence.arrays()
        )


class TorchLearner(Learner):
    """A method whose own networks stand on the frozen one, so that torch runs all of them."""

    extra = "torch"

    @cached_property
    def backbone(self) -> TimmBackbone:
        """The frozen backbone, in torch.

        Raises:
            ParamsError: No such backbone, level, or device.
            WeightsError: The weights are missing or do not fit.
        """
        return (
            self._given.trainable if self._given else build_backbone(self.params.features, self.params.seed)
        )
