"""What methods that reconstruct features share: how they go from class to class, what is kept, what scores mean.

The encoder is frozen, so how its features are pooled names the class of an image however the network goes on learning
(`methods.discriminant`). The network's scores of a class do not stay: where images of it are at hand that were never
trained on, their scores tell by which factor those of the class have grown since they were calibrated.
"""

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from evernorm.calibration.evidence import Evidence
from evernorm.calibration.weibull import Calibration
from evernorm.data.experience import Experience
from evernorm.errors import StateError
from evernorm.features.extract import collect
from evernorm.maps import highest
from evernorm.methods.ablation import Tables
from evernorm.methods.discriminant import covariance
from evernorm.methods.held_out import split
from evernorm.methods.learner import NOTHING, ClassState, Eye, StateKind, TorchLearner, Traits
from evernorm.methods.lesson import Lesson
from evernorm.methods.reconstruction.ablations import cada_tables
from evernorm.methods.reconstruction.detector import ReconstructionDetector
from evernorm.methods.reconstruction.kept import Kept
from evernorm.methods.reconstruction.looked import POOLED, inputs_of
from evernorm.params.groups import AlignmentKind
from evernorm.reconstruction.network import PREFIX, Reconstructor
from evernorm.reconstruction.params import Continual, ReconstructionParams
from evernorm.reconstruction.training import Material, Training
from evernorm.types import Arrays, Floats, Image, Indices, Progress, Read


class ReconstructionLearner(TorchLearner):
    """A network behind a frozen encoder that learns to give back what normal images look like there."""

    traits = Traits(state=StateKind.CHAINED, trained=True)

    @property
    def own(self) -> ReconstructionParams:
        """The method's group of parameters."""
        return self.params.own(ReconstructionParams)

    @property
    def exchangeable(self) -> bool:
        """Of a network a class, which no later class changes, whose scores are measured by nothing else."""
        separate = self.own.prompts.continual is Continual.SEPARATE
        return separate and self.params.calibration.alignment is AlignmentKind.WEIBULL

    @property
    def looks_back(self) -> bool:
        """In joint training alone."""
        return self.own.prompts.continual is Continual.JOINT

    @abstractmethod
    def network(self) -> Reconstructor:
        """An untrained network."""

    @abstractmethod
    def look(self, images: Sequence[Image]) -> Arrays:
        """What the network takes of images, by name ``[n, …]``, and what tells their class (`looked`)."""

    def network_of(self, arrays: Arrays) -> Reconstructor:
        """A trained one.

        Raises:
            StateError: It has other sizes.
        """
        network = self.network()
        network.load(arrays)
        network.parts.eval().requires_grad_(False)
        return network

    def eye(self, trained: Arrays) -> Eye:
        """What the encoder sees, whatever the class."""
        return self.look

    @cached_property
    def levels(self) -> list[tuple[int, int, int]]:
        """Channels, rows and columns of the encoder's levels, shallowest first."""
        import torch

        size = self.backbone.preprocess.size
        with torch.inference_mode():
            levels = self.backbone.levels(torch.zeros(1, 3, size, size, device=self.backbone.device))
        return [(level.shape[1], level.shape[2], level.shape[3]) for level in levels]

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the places that are judged: those of the shallowest level."""
        return self.levels[0][1:]

    def ablations(self) -> Tables:
        """CADA's Tables 3 to 5."""
        return cada_tables(self.name)

    # -- learning ----------------------------------------------------------------------------------------

    def train(
        self,
        lesson: Lesson,
        before: Arrays = NOTHING,
        *,
        checkpoint: Path | None = None,
        progress: Progress | None = None,
    ) -> Arrays:
        """Train the network on the class and on what is shown of those before.

        Memory: what the network takes of the images of the class or, jointly, of all classes (memory-mapped where that
        is large: `extract.collect`), and of the buffer.
        """
        own, network = self.own.prompts, self.network()
        earlier = lesson.earlier if self.looks_back else ()
        goes_on = own.continual in {Continual.FINETUNE, Continual.BUFFER}
        if before and goes_on:
            network.load(before)
        shown = [
            (each, int(number))
            for each in (*earlier, lesson.experience)
            for number in self.split(len(each))[0]
        ]
        fresh = self._see(lambda place: shown[place][0].read(shown[place][1]), len(shown))
        kept = None
        if before and own.continual is Continual.BUFFER:
            images = Kept.of(before).rehearsed
            kept = inputs_of(self._see(lambda number: images[number], len(images)))
        known = len(before["means"]) if before else 0
        material = Material(
            inputs_of(fresh), kept, own.iterations * (1 + len(earlier)), (self.params.seed, known)
        )
        training = Training(network, material, own)
        training.run(checkpoint, progress)
        curve = {"history.loss": np.array(training.losses), "history.held_out": np.empty(0)}
        return {**network.arrays(), **curve, "history.kept": np.array([len(training.losses)])}

    def remember(
        self, lesson: Lesson, trained: Arrays, before: Arrays = NOTHING, *, progress: Progress | None = None
    ) -> tuple[Arrays, Evidence]:
        """What names the class, how its held-out images score, and how the scores of the classes before have grown.

        Memory: what the network takes of all images, as in `train`.

        Raises:
            StateError: In joint training, not all classes before are in the lesson.
        """
        network, images = self.network_of(trained), lesson.experience
        learned, held_out = self.split(len(images))
        seen = self._see(images.read, len(images), progress)
        errors = network.errors(inputs_of(some(seen, held_out)))
        scores = highest(errors, self.own.knowledge.top)
        pooled = seen[POOLED]
        own, resize = self.own.prompts, self.backbone.preprocess.resize
        kept = (
            Kept.chosen(images, learned, held_out, scores, own.buffer, resize)
            if own.continual is Continual.BUFFER
            else Kept.scored(scores)
        )
        drift = self._drift(network, lesson, before)
        entry = {
            "mean": pooled.mean(axis=0),
            "covariance": covariance(pooled),
            "drift": drift,
            **kept.arrays(),
        }
        return entry, self.shown(Evidence.of_maps(scores, errors), some(seen, held_out))

    def _drift(self, network: Reconstructor, lesson: Lesson, before: Arrays) -> Floats:
        """By which factor the scores of each class have grown since it was calibrated, float32 ``[T]``; 1 of this one."""
        continual = self.own.prompts.continual
        factors = np.ones(len(before["means"]) + 1 if before else 1, np.float32)
        if not before or continual not in {Continual.BUFFER, Continual.JOINT}:
            return factors
        kept = Kept.of(before)
        if continual is Continual.JOINT and len(lesson.earlier) != len(kept.counts):
            raise StateError(
                f"joint training knows {len(kept.counts)} classes before, the lesson holds {len(lesson.earlier)}; give all"
            )
        for place, then in enumerate(kept.scores_by_class()):
            if continual is Continual.JOINT:
                earlier = lesson.earlier[place]
                seen = self._seen(earlier, self.split(len(earlier))[1])
            else:
                images = kept.judged_of(place)
                seen = self._see(lambda number, images=images: images[number], len(images))  # type: ignore[misc]
            now = highest(network.errors(inputs_of(seen)), self.own.knowledge.top)
            factors[place] = now.mean() / then.mean()
        return factors

    def carry(self, before: Arrays, trained: Arrays, entry: Arrays, calibration: Calibration) -> Arrays:
        """The network, what names the classes, the drift of their scores, and the images that are kept."""
        own, mean, spread = self.own.prompts, entry["mean"][None], entry["covariance"]
        kept = Kept.of(entry)
        if before:
            known = len(before["means"]) + 1
            spread = (before["covariance"] * (known - 1) + spread) / np.float32(known)
            mean = np.concatenate([before["means"], mean])
            kept = Kept.of(before).followed_by(kept, own.buffer)
        network = {name: trained[name] for name in trained if name.startswith(PREFIX)}
        return {
            **({} if own.continual is Continual.SEPARATE else network),
            "means": mean,
            "covariance": spread,
            "drift": entry["drift"],
            **kept.arrays(),
        }

    def assemble(self, states: Sequence[ClassState]) -> ReconstructionDetector:
        """The detector of these classes."""
        return ReconstructionDetector(self, states)

    # -- images ------------------------------------------------------------------------------------------

    def split(self, count: int) -> tuple[Indices, Indices]:
        """See `held_out.split`."""
        return split(count, self.own.prompts.held_out, self.params.seed)

    def _seen(self, images: Experience, chosen: Indices) -> Arrays:
        return self._see(lambda number: images.read(int(chosen[number])), len(chosen))

    def _see(self, read: Read, count: int, progress: Progress | None = None) -> Arrays:
        return collect(self.look, read, count, self.params.features.batch_size, progress=progress)


def some(seen: Arrays, chosen: Indices) -> Arrays:
    """Some of the images of arrays ``[n, …]``."""
    return {name: array[chosen] for name, array in seen.items()}
