"""anomalib's models as a method: one model a class, routed as methods without keys are."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from evernorm.alignment.encoding import of_patches
from evernorm.calibration.evidence import Evidence
from evernorm.errors import TrainingError
from evernorm.features.extract import collect
from evernorm.methods.anomalib.detector import IMAGES, POOLED, AnomalibDetector
from evernorm.methods.anomalib.model import Model
from evernorm.methods.anomalib.params import AnomalibParams
from evernorm.methods.anomalib.training import Schedule, train
from evernorm.methods.discriminant import covariance
from evernorm.methods.held_out import split
from evernorm.methods.learner import NOTHING, ClassState, Eye, Learner, Traits
from evernorm.methods.lesson import Lesson
from evernorm.methods.registry import learner
from evernorm.params.groups import AlignmentKind
from evernorm.types import Arrays, Floats, Image, Progress

ENCODED = "encoded"
TRIAL = "trial."
"""Begins the names of the arrays of the model that was learned without the held-out images, where another followed."""


@learner
class Anomalib(Learner):
    """A model of anomalib a class."""

    name = "anomalib"
    group = AnomalibParams
    traits = Traits(trained=True)
    packages = ("anomalib", "lightning")

    @property
    def own(self) -> AnomalibParams:
        """The method's group of parameters."""
        return self.params.own(AnomalibParams)

    @property
    def exchangeable(self) -> bool:
        """Of a model that never learned from the images that calibrate it, whose scores are measured by nothing else."""
        return not self.own.prompts.refit and self.params.calibration.alignment is AlignmentKind.WEIBULL

    def check(self) -> None:
        """Refuse what anomalib cannot build: see `Model`."""
        Model(self.params, self.backbone)

    def model_of(self, arrays: Arrays) -> Model:
        """A trained one.

        Raises:
            StateError: They are of another model.
        """
        model = Model(self.params, self.backbone, stored=True)
        model.load(arrays)
        return model

    def train(
        self,
        lesson: Lesson,
        before: Arrays = NOTHING,
        *,
        checkpoint: Path | None = None,
        progress: Progress | None = None,
    ) -> Arrays:
        """Train a model without the held-out images, and where `refit` says so, another with all.

        Memory: the resized images, side² · 3 bytes each, and what the model itself holds: PatchCore all patches.
        """
        own = self.own.prompts
        images = self._see(lesson)[IMAGES]
        learned, _ = split(len(images), own.held_out, self.params.seed)
        schedule = Schedule(own.epochs, own.batch_size, self.params.seed)
        model = Model(self.params, self.backbone)
        train(model, images[learned], schedule, checkpoint and checkpoint / "trial", progress)
        if not own.refit:
            return model.arrays()
        trial = {f"{TRIAL}{name}": array for name, array in model.arrays().items()}
        model = Model(self.params, self.backbone)
        train(model, images, schedule, checkpoint and checkpoint / "whole", progress)
        return {**trial, **model.arrays()}

    def remember(
        self, lesson: Lesson, trained: Arrays, before: Arrays = NOTHING, *, progress: Progress | None = None
    ) -> tuple[Arrays, Evidence]:
        """What names the class, and how its held-out images score.

        Memory: the resized images, and a map of each that is held out, side² · 4 bytes.

        Raises:
            TrainingError: Their scores are no numbers.
        """
        seen = self._see(lesson, progress)
        _, held_out = split(len(seen[IMAGES]), self.own.prompts.held_out, self.params.seed)
        trial = {name.removeprefix(TRIAL): trained[name] for name in trained if name.startswith(TRIAL)}
        raw, places = self.model_of(trial or trained).scores(seen[IMAGES][held_out])
        if not (np.isfinite(raw).all() and np.isfinite(places).all()):
            raise TrainingError(
                f"the scores that anomalib's {self.own.prompts.model} gives to normal images of {lesson.name} are no "
                "numbers; change anomalib.prompts.settings or epochs"
            )
        entry = {"mean": seen[POOLED].mean(axis=0), "covariance": covariance(seen[POOLED])}
        shown = {name: array[held_out] for name, array in seen.items()}
        return entry, self.shown(Evidence.of_maps(raw, places), shown)

    def eye(self, trained: Arrays) -> Eye:
        """The resized image, which every class's model sees, and what names its class."""
        return self.look

    def look(self, images: Sequence[Image]) -> Arrays:
        """By name ``[n, …]``."""
        features = self.backbone.features(images)
        return {
            IMAGES: np.stack([self.backbone.preprocess.resize(image) for image in images]),
            POOLED: features.mean(axis=1),
            ENCODED: of_patches(features, self.backbone.grid),
        }

    def encoded(self, arrays: Arrays) -> Floats | None:
        """The patches of the backbone, averaged to fewer."""
        return arrays[ENCODED]

    def assemble(self, states: Sequence[ClassState]) -> AnomalibDetector:
        """The detector of these classes."""
        return AnomalibDetector(self, states)

    def _see(self, lesson: Lesson, progress: Progress | None = None) -> Arrays:
        images, size = lesson.experience, self.params.features.batch_size
        return collect(self.look, images.read, len(images), size, progress=progress)
