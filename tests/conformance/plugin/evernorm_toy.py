"""A chained method that learns by gradient: a linear auto-encoder over frozen features, without map or routing.

It exists to prove that the pipeline asks nothing of a method that only memories have. It is found as any
method of another distribution is, by its entry point.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from evernorm.calibration.evidence import Evidence
from evernorm.calibration.reading import Reading
from evernorm.calibration.weibull import Calibration
from evernorm.errors import TrainingError
from evernorm.features.extract import extract
from evernorm.files import read_arrays, write_arrays
from evernorm.methods.detector import Detector, Found, Seen
from evernorm.methods.learner import NOTHING, ClassState, Eye, Learner, StateKind, Traits
from evernorm.methods.lesson import Lesson
from evernorm.methods.registry import learner
from evernorm.params.groups import Group, MethodParams
from evernorm.types import Arrays, Floats, Image, Indices, Progress


class ToyPrompts(Group):
    """How the auto-encoder is trained."""

    width: Annotated[int, Field(ge=1)] = 8
    epochs: Annotated[int, Field(ge=1)] = 12
    learning_rate: Annotated[float, Field(gt=0)] = 0.1


class ToyParams(MethodParams):
    """The toy's parameters."""

    prompts: ToyPrompts = ToyPrompts()


@learner
class Toy(Learner):
    """Weights that evolve from class to class."""

    name = "toy"
    group = ToyParams
    traits = Traits(state=StateKind.CHAINED, trained=True, routes=False, maps=False)

    def train(
        self,
        lesson: Lesson,
        before: Arrays = NOTHING,
        *,
        checkpoint: Path | None = None,
        progress: Progress | None = None,
    ) -> Arrays:
        """Go on from the weights of the class before, by gradient descent, an epoch a checkpoint."""
        params = self.params.own(ToyParams).prompts
        rows = self._features(lesson).reshape(-1, self.backbone.dim).astype(np.float64)
        rows /= np.sqrt(np.square(rows).sum(axis=1).mean())  # so that the step suits any features
        rng = np.random.default_rng(self.params.seed)
        weights = before.get("weights", rng.normal(0, 0.1, (self.backbone.dim, params.width)))
        done, stored = 0, checkpoint and checkpoint / "epoch.safetensors"
        if stored and stored.is_file():
            state = read_arrays(stored)
            weights, done = state["weights"], int(state["done"][0])
        for epoch in range(done, params.epochs):
            error = rows @ weights @ weights.T - rows
            gradient = 2 * (rows.T @ (error @ weights) + error.T @ (rows @ weights)) / len(rows)
            weights = weights - params.learning_rate * gradient
            if not np.isfinite(weights).all():
                raise TrainingError("the auto-encoder diverged; lower toy.prompts.learning_rate")
            if stored:
                write_arrays(stored, {"weights": weights, "done": np.array([epoch + 1])})
            if progress:
                progress(epoch + 1, params.epochs)
        return {"weights": weights}

    def remember(
        self, lesson: Lesson, trained: Arrays, before: Arrays = NOTHING, *, progress: Progress | None = None
    ) -> tuple[Arrays, Evidence]:
        """Nothing is kept but how the images are reconstructed."""
        errors = reconstruction(self._features(lesson, progress), trained["weights"])
        return {}, Evidence(errors[None])

    def carry(self, before: Arrays, trained: Arrays, entry: Arrays, calibration: Calibration) -> Arrays:
        """The weights."""
        return {"weights": trained["weights"]}

    def eye(self, trained: Arrays) -> Eye | None:
        """Frozen features."""
        return lambda images: {"features": self.backbone.features(images)}

    def assemble(self, states: Sequence[ClassState]) -> Detector:
        """The last weights judge all images."""
        return ToyDetector(self, states)

    def _features(self, lesson: Lesson, progress: Progress | None = None) -> Floats:
        images = lesson.experience
        return extract(self.backbone, images.read, len(images), progress=progress)


class ToyDetector(Detector):
    """Scores an image by how badly it is reconstructed."""

    @cached_property
    def own_readings(self) -> Sequence[Reading]:
        """Of the last class."""
        calibration = self.states[-1].calibration
        assert calibration is not None
        return [calibration.at(0)]

    @property
    def bytes_by_class(self) -> dict[str, int]:
        """Nothing a class."""
        return {}

    @property
    def shared_bytes(self) -> int:
        """The weights."""
        return int(self.states[-1].trained["weights"].nbytes)

    def see(self, images: Sequence[Image]) -> Seen:
        """Frozen features."""
        return Seen({"features": self.learner.backbone.features(images)})

    def find(self, seen: Seen, given: Indices | None, hints: Arrays) -> Found:
        """One place for all."""
        raw = reconstruction(seen.arrays["features"], self.states[-1].trained["weights"])
        return Found(np.zeros(len(raw), np.int64), raw, None, np.zeros(len(raw), np.bool_))


def reconstruction(features: Floats, weights: Floats) -> Floats:
    """Mean squared error of each image's patches: float32 ``[n]``."""
    rows = features.astype(np.float64)
    errors = np.square(rows - rows @ weights @ weights.T).mean(axis=(1, 2))
    return errors.astype(np.float32)
