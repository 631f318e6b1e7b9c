"""What PatchCoreCL is compared with (its section 4.2): one model per class, joint training, fine-tuning."""

from evernorm.calibration.weibull import calibrate
from evernorm.data.experience import Experience
from evernorm.errors import StateError
from evernorm.methods.memory.base import MemoryDetector
from evernorm.methods.memory.remembered import Remembered
from evernorm.params.groups import Method

JOINT = "joint"


class Separate(MemoryDetector):
    """One model per class, M rows each: memory grows with the classes. The upper bound when the class is given."""

    method = Method.SEPARATE

    @staticmethod
    def rows_read(budget: int, sizes: list[int]) -> list[int]:
        """All rows of each entry."""
        return sizes


class FineTune(MemoryDetector):
    """The memory is simply relearned on each new class: what naive updates forget."""

    method = Method.FINETUNE
    routes = False
    only_shrinks = False

    @staticmethod
    def rows_read(budget: int, sizes: list[int]) -> list[int]:
        """All rows of the last entry, none of the others."""
        return [0] * (len(sizes) - 1) + sizes[-1:]


class Joint(MemoryDetector):
    """One memory of M rows over the images of all classes so far: not continual, it needs the old images."""

    method = Method.JOINT
    routes = False
    only_shrinks = False
    cumulative = True

    def learn(self, experience: Experience) -> None:
        """Rebuild the one memory from all images seen so far.

        Raises:
            StateError: The bank was loaded: the images it was learned from are not stored with it.
        """
        if self.remembered and not getattr(self, "_seen", []):
            raise StateError(
                "a stored joint bank cannot go on learning: it needs the images of all classes again"
            )
        self._seen: list[Experience] = [*getattr(self, "_seen", []), experience]
        entry, training = self.build(self._seen, JOINT)
        self.remembered = []
        self.append(Remembered(entry, calibrate(training, self.settings.weibull)))

    @staticmethod
    def rows_read(budget: int, sizes: list[int]) -> list[int]:
        """All rows of the one entry."""
        return sizes
