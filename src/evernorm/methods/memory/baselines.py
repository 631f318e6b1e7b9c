"""What PatchCoreCL is compared with (its section 4.2), and UCAD's starred rows: what naive updates forget."""

from collections.abc import Mapping
from typing import ClassVar

from evernorm.methods.learner import StateKind, Traits
from evernorm.methods.memory.base import MemoryLearner, RoutedMethodParams
from evernorm.methods.registry import learner


@learner
class Separate(MemoryLearner):
    """One model a class, M rows each: memory grows with the classes. The upper bound when the class is given."""

    name = "separate"
    group = RoutedMethodParams

    def rows_read(self, sizes: list[int]) -> list[int]:
        """All rows of each entry."""
        return sizes


@learner
class FineTune(MemoryLearner):
    """The memory is simply relearned on each new class."""

    name = "finetune"
    traits = Traits(routes=False)

    def rows_read(self, sizes: list[int]) -> list[int]:
        """All rows of the last entry, none of the others."""
        return last_alone(sizes)


@learner
class Joint(MemoryLearner):
    """One memory of M rows over the images of all classes so far: not continual, it needs the old images."""

    name = "joint"
    traits = Traits(state=StateKind.CUMULATIVE, routes=False)
    revisions: ClassVar[Mapping[str, int]] = {**MemoryLearner.revisions, "knowledge": 7}

    def rows_read(self, sizes: list[int]) -> list[int]:
        """All rows of the last entry, which holds all classes."""
        return last_alone(sizes)


def last_alone(sizes: list[int]) -> list[int]:
    """All rows of the last entry, none of the others."""
    return [0] * (len(sizes) - 1) + sizes[-1:]
