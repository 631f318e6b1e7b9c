"""What UCAD and MTRMB share: images are seen frozen first, then adapted to the class they go to."""

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import numpy as np

from evernorm.alignment.encoding import of_patches, of_whole
from evernorm.errors import StateError
from evernorm.methods.detector import Seen
from evernorm.methods.learner import Eye
from evernorm.methods.lesson import Lesson
from evernorm.methods.memory.base import MemoryDetector, MemoryLearner
from evernorm.prompts import prompted
from evernorm.prompts.trainee import Trainee
from evernorm.prompts.training import train
from evernorm.structure.grid import to_grid
from evernorm.types import Arrays, Floats, Image, Indices, Progress

FROZEN, ADAPTED = "frozen", "adapted"

Adapted = TypeVar("Adapted")
"""What adapts the backbone to a class."""
_Adapter_contra = TypeVar("_Adapter_contra", contravariant=True)


class Network(Protocol[_Adapter_contra]):
    """A frozen backbone that can be adapted."""

    def begin(self, images: Sequence[Image]) -> tuple[prompted.Begun, Floats]:
        """Images up to where they are adapted, and what they are routed by, ``[n, …]``."""
        ...

    def finish(self, begun: prompted.Begun, prompts: Sequence[_Adapter_contra]) -> Floats:
        """Features ``[n, P, d]`` of each image with its adapter."""
        ...


class Begun(Seen, Generic[Adapted]):
    """Images that have passed the backbone as far as no prompt changes anything, and are kept there.

    Args:
        network: The backbone.
        images: uint8 ``[H, W, 3]`` each.
        batch_size: Images a pass.
    """

    def __init__(self, network: Network[Adapted], images: Sequence[Image], batch_size: int) -> None:
        self._network = network
        self._batches, frozen = [], []
        for start in range(0, len(images), batch_size):
            begun, keys = network.begin(images[start : start + batch_size])
            self._batches.append(begun)
            frozen.append(keys)
        super().__init__({FROZEN: np.concatenate(frozen)})

    def adapted(self, adapters: Sequence[Adapted]) -> Floats:
        """One pass over all images, each with its adapter: float32 ``[n, P, d]``."""
        parts, start = [], 0
        for begun in self._batches:
            chosen = adapters[start : start + len(begun.state)]
            parts.append(self._network.finish(begun, chosen))
            start += len(chosen)
        return np.concatenate(parts)


class PromptedLearner(MemoryLearner, Generic[Adapted]):
    """Trains what adapts a frozen backbone to a class, and remembers what is seen with it."""

    @property
    @abstractmethod
    def network(self) -> Network[Adapted]:
        """The backbone that can be adapted.

        Raises:
            ParamsError: It takes no such prompts.
        """

    @abstractmethod
    def adapter_of(self, trained: Arrays) -> Adapted:
        """What a class is seen with."""

    def eye(self, trained: Arrays) -> Eye:
        """What images are routed by, and their features with the adapter of the class."""
        adapter = self.adapter_of(trained)

        def see(images: list[Image]) -> dict[str, Floats]:
            begun = Begun(self.network, images, self.params.features.batch_size)
            return {FROZEN: begun.arrays[FROZEN], ADAPTED: begun.adapted([adapter] * len(images))}

        return see

    def encoded(self, arrays: Arrays) -> Floats | None:
        """What images are routed by, whatever the class."""
        frozen = arrays[FROZEN]
        if frozen.ndim == 2:  # of the whole image
            return of_whole(frozen)
        return of_patches(frozen, self.backbone.grid)

    def rows_read(self, sizes: list[int]) -> list[int]:
        """All rows of each entry: the size of the knowledge is fixed for each class, not in all."""
        return sizes

    def parts_of(self, lesson: Lesson) -> list[Indices]:
        """For each training image, int64 ``[P]``, the part each patch belongs to.

        Raises:
            StateError: No parts were found.
        """
        if lesson.parts is None:
            raise StateError(f"{lesson.name}: no parts of its images to train a prompt with; run stage masks")
        return [to_grid(lesson.parts(number), self.backbone.grid) for number in range(len(lesson.experience))]

    def fit(
        self, trainee: Trainee, lesson: Lesson, checkpoint: Path | None, progress: Progress | None
    ) -> Arrays:
        """Train, and keep the values and how they came about (`prompts.training.train`)."""
        images = lesson.experience
        values, history = train(
            trainee,
            images.read,
            len(images),
            self.params.seed,
            at_once=self.params.features.batch_size,
            checkpoint=checkpoint,
            progress=progress,
        )
        return {**values, **history.arrays()}


class PromptedDetector(MemoryDetector, Generic[Adapted]):
    """Finds the class of an image frozen, and scores it as it is seen with the adapter of that class."""

    learner: PromptedLearner[Adapted]
    adapters: Sequence[Adapted]

    def see(self, images: Sequence[Image]) -> Seen:
        """Run the backbone over a few images as far as no prompt changes anything."""
        return Begun(self.learner.network, images, self.learner.params.features.batch_size)

    def adapted(self, seen: Seen, place: Indices) -> Floats:
        """Features of image i with the adapter of class ``place[i]``, float32 ``[n, P, d]``.

        Of stored images only those pass the backbone again that go to another class than they were stored with.
        """
        chosen = [self.adapters[each] for each in place]
        if isinstance(seen, Begun):
            return seen.adapted(chosen)
        features = seen.arrays[ADAPTED]
        home = self.classes.index(seen.home) if seen.home in self.classes else -1
        astray = np.flatnonzero(place != home)
        if astray.size:
            if seen.again is None:
                raise ValueError(
                    "images that go to another class must be seen again, and `Seen.again` is not set"
                )
            features = np.array(features)
            begun = Begun(self.learner.network, seen.again(astray), self.learner.params.features.batch_size)
            features[astray] = begun.adapted([chosen[each] for each in astray])
        return features
