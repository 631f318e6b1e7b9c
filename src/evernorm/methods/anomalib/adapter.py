"""anomalib's models as a method: one model a class, routed as methods without keys are."""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import ClassVar

import numpy as np

from evernorm.alignment.encoding import of_patches
from evernorm.calibration.evidence import Evidence
from evernorm.calibration.weibull import MIN_IMAGES
from evernorm.errors import FitError, TrainingError
from evernorm.features.extract import collect
from evernorm.files import below, sha256_file
from evernorm.methods.anomalib.detector import IMAGES, POOLED, AnomalibDetector
from evernorm.methods.anomalib.model import Model
from evernorm.methods.anomalib.params import AnomalibParams
from evernorm.methods.anomalib.training import Schedule, train
from evernorm.methods.discriminant import covariance
from evernorm.methods.learner import NOTHING, ClassState, Eye, TorchLearner, Traits
from evernorm.methods.lesson import Lesson
from evernorm.methods.registry import learner
from evernorm.params.groups import Params
from evernorm.types import Arrays, Floats, Image, Progress

ENCODED = "encoded"
JUDGED = "judged."
"""Begins the names of what models that did not know an image say of it: `Evidence.arrays`."""


@learner
class Anomalib(TorchLearner):
    """A model of anomalib a class."""

    name = "anomalib"
    group = AnomalibParams
    traits = Traits(trained=True)
    packages = ("anomalib", "lightning")
    extra = "anomalib"
    revisions: ClassVar[Mapping[str, int]] = {
        **TorchLearner.revisions,
        "prompts": TorchLearner.revisions["prompts"] + 1,
        "knowledge": TorchLearner.revisions["knowledge"] + 1,
    }

    @property
    def own(self) -> AnomalibParams:
        """The method's group of parameters."""
        return self.params.own(AnomalibParams)

    @classmethod
    def sources(cls, params: Params) -> str:
        """The backbone's, and what the folders hold that the model reads beside it."""
        own = params.own(AnomalibParams).prompts
        folders = [
            Path(each) for each in (own.weights, *own.settings.values()) if each and isinstance(each, str)
        ]
        return " ".join([super().sources(params), *(_digest(each) for each in folders if each.is_dir())])

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
        """Train a model with the images but for a part, once for each part, which it then judges; and one with all.

        Memory: the resized images, side² · 3 bytes each, and what the model itself holds: PatchCore all patches.

        Raises:
            FitError: There are too few images.
            TrainingError: Their scores are no numbers.
        """
        own, seed = self.own.prompts, self.params.seed
        images = self._see(lesson)[IMAGES]
        if len(images) < MIN_IMAGES:
            raise FitError(
                f"{lesson.name} has {len(images)} training images; what scores mean takes {MIN_IMAGES} at least; add normal images"
            )
        schedule = Schedule(own.epochs, own.batch_size, seed)
        folds = np.random.default_rng([seed, len(images)]).permutation(len(images)) % own.folds
        judged = np.empty((4, len(images)), np.float32)
        for number in range(folds.max() + 2):
            model, apart = Model(self.params, self.backbone), folds == number  # nothing, at last
            place = checkpoint and checkpoint / f"fold{number}"
            train(model, images[~apart], schedule, place, _as_part(progress, number, folds.max() + 2))
            if apart.any():
                raw, places = model.scores(images[apart])
                judged[:, apart] = raw, places.mean(axis=1), places.std(axis=1), places.max(axis=1)
        if not np.isfinite(judged).all():
            raise TrainingError(
                f"the scores that anomalib's {own.model} gives to normal images of {lesson.name} are no "
                "numbers; change anomalib.prompts.settings or epochs"
            )
        evidence = Evidence(judged[:1], None, *judged[1:, None])
        return {**{f"{JUDGED}{name}": array for name, array in evidence.arrays().items()}, **model.arrays()}

    def remember(
        self, lesson: Lesson, trained: Arrays, before: Arrays = NOTHING, *, progress: Progress | None = None
    ) -> tuple[Arrays, Evidence]:
        """What names the class, and how models that did not know its images score them.

        Memory: the resized images.
        """
        seen = self._see(lesson, progress)
        entry = {"mean": seen[POOLED].mean(axis=0), "covariance": covariance(seen[POOLED])}
        return entry, self.shown(Evidence.of(below(trained, JUDGED)), seen)

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


def _as_part(progress: Progress | None, number: int, parts: int) -> Progress | None:
    """The progress of one of several trainings of the same length."""
    if progress is None:
        return None
    return lambda done, of: progress(number * of + done, parts * of)


def _digest(folder: Path) -> str:
    """Tells one folder from another: by the contents of the files that hold tensors, by names and sizes of all (images)."""
    told = sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        what = sha256_file(path) if path.suffix in {".pth", ".pt", ".safetensors"} else path.stat().st_size
        told.update(f"{path.relative_to(folder)} {what}\n".encode())
    return told.hexdigest()
