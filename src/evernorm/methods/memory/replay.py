"""Replay: fine-tuning with a rehearsal buffer of N images of the classes before (UCAD's starred baselines)."""

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from evernorm.calibration.evidence import Evidence
from evernorm.calibration.weibull import Calibration
from evernorm.features.extract import extract
from evernorm.memory.params import BudgetParams
from evernorm.methods.learner import NOTHING, ClassState, StateKind, Traits
from evernorm.methods.lesson import Lesson
from evernorm.methods.memory.base import BudgetMethodParams, MemoryDetector, MemoryLearner
from evernorm.methods.memory.baselines import last_alone
from evernorm.methods.registry import learner
from evernorm.types import Arrays, Image, Progress

_NO_CLASSES = np.empty(0, np.int64)


class ReplayParams(BudgetParams):
    """A memory and the images that are kept for the next one."""

    buffer: Annotated[int, Field(ge=1, le=1_000_000)] = 100  # images in all (UCAD: 100)


class ReplayMethodParams(BudgetMethodParams):
    """Replay's parameters."""

    knowledge: ReplayParams = ReplayParams()


@learner
class Replay(MemoryLearner):
    """One memory of M rows, relearned on each new class and on the N buffered images of those before.

    The buffer is shared by the classes alike. An image is kept as the backbone takes it, resized to its input
    size, which changes no feature.
    """

    name = "replay"
    group = ReplayMethodParams
    traits = Traits(state=StateKind.CHAINED, routes=False)
    revisions: ClassVar[Mapping[str, int]] = {**MemoryLearner.revisions, "knowledge": 7}

    @property
    def own(self) -> ReplayMethodParams:
        """The method's group of parameters."""
        return self.params.own(ReplayMethodParams)

    def remember(
        self, lesson: Lesson, trained: Arrays, before: Arrays = NOTHING, *, progress: Progress | None = None
    ) -> tuple[Arrays, Evidence]:
        """Remember the buffered images and the new ones; set images of the class aside for the buffer."""
        new, old, known = lesson.experience, before.get("images", ()), before.get("counts", _NO_CLASSES)

        def read(number: int) -> Image:
            image: Image = old[number] if number < len(old) else new.read(number - len(old))
            return image

        size = self.params.features.batch_size
        features = extract(self.backbone, read, len(old) + len(new), batch_size=size, progress=progress)
        entry, evidence = self.memorise(features, [*known.tolist(), len(new)])
        order = np.random.default_rng(self.params.seed).permutation(len(new))
        chosen = order[: self.own.knowledge.buffer]
        resize = self.backbone.preprocess.resize
        images = np.stack([resize(new.read(int(number))) for number in chosen])
        return {**entry, "images": images}, self.shown(evidence, {"features": features})

    def carry(self, before: Arrays, trained: Arrays, entry: Arrays, calibration: Calibration) -> Arrays:
        """N // T images of each of T classes; those of a class stay in the order in which they were drawn."""
        counts = [*before.get("counts", _NO_CLASSES).tolist(), len(entry["images"])]
        room, share = self.own.knowledge.buffer, max(1, self.own.knowledge.buffer // len(counts))
        groups = [entry["images"]]
        if "images" in before:
            groups = [*np.split(before["images"], np.cumsum(counts[:-1])[:-1]), *groups]
        kept = [group[: share if place < room else 0] for place, group in enumerate(groups)]
        return {
            "images": np.concatenate(kept),
            "counts": np.array([len(group) for group in kept], np.int64),
        }

    def rows_read(self, sizes: list[int]) -> list[int]:
        """All rows of the last entry, which rehearsed the others."""
        return last_alone(sizes)

    def assemble(self, states: Sequence[ClassState]) -> "ReplayDetector":
        """A memory whose buffer counts as memory."""
        return ReplayDetector(self, states)


class ReplayDetector(MemoryDetector):
    """A memory whose buffer counts as memory."""

    @property
    def shared_bytes(self) -> int:
        """Bytes of the memory and of the buffer for the next class."""
        return super().shared_bytes + sum(array.nbytes for array in self.states[-1].carry.values())
