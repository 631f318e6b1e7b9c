"""What a learner may see of a class."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from evernorm.data.experience import Experience
from evernorm.types import Image, Labels


@dataclass(frozen=True)
class Lesson:
    """One class to learn: its normal training images, and nothing that leads to a test image.

    Attributes:
        experience: The images.
        parts: Image number → label map ``[H, W]`` of its parts; None where the method does not ask.
        earlier: The classes before, in order; of a learner that looks back alone.
    """

    experience: Experience
    parts: Callable[[int], Labels] | None = None
    earlier: tuple[Experience, ...] = ()

    @property
    def name(self) -> str:
        """The class."""
        return self.experience.name


def images_of(experiences: Iterable[Experience]) -> tuple[Callable[[int], Image], int]:
    """The images of several classes as one sequence: how to read one, and how many there are."""
    listed = [(each, number) for each in experiences for number in range(len(each))]
    return lambda place: listed[place][0].read(listed[place][1]), len(listed)
