"""What is kept of the classes before: images to learn again, and images that tell how their scores have grown."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from evernorm.data.experience import Experience
from evernorm.files import below
from evernorm.types import Arrays, Floats, Image, Images, Indices

_JUDGED = 4  # one image in so many of the buffer was not trained on
_NONE = np.empty((0, 0, 0, 3), np.uint8)


@dataclass(frozen=True)
class Kept:
    """Images of classes, each as the encoder takes it, one class after another.

    Attributes:
        rehearsed: uint8 ``[·, side, side, 3]``, that are learned again.
        learned: int64 ``[T]``, how many of them each class has.
        judged: uint8 ``[·, side, side, 3]``, that were never trained on; none where all images stay at hand.
        scores: float32 ``[·]``, how those scored when their class was calibrated.
        counts: int64 ``[T]``, how many of them each class has.
    """

    rehearsed: Images
    learned: Indices
    judged: Images
    scores: Floats
    counts: Indices

    @classmethod
    def scored(cls, scores: Floats) -> Self:
        """No image of a class, the scores of all that were held out."""
        return cls(_NONE, np.zeros(1, np.int64), _NONE, scores, np.array([len(scores)]))

    @classmethod
    def chosen(
        cls,
        images: Experience,
        learned: Indices,
        held_out: Indices,
        scores: Floats,
        size: int,
        resize: Callable[[Image], Image],
    ) -> Self:
        """Images of a class, in an order that does not depend on how many will stay.

        Args:
            images: Of the class.
            learned: Numbers of those that were trained on.
            held_out: Numbers of the others.
            scores: Of the held-out ones.
            size: The buffer.
            resize: To what the encoder takes.
        """
        rehearsed, judged = _shares(size)
        order = np.random.default_rng(len(images)).permutation(len(learned))[:rehearsed]
        places = np.random.default_rng(len(images)).permutation(len(held_out))[:judged]

        def taken(numbers: Indices) -> Images:
            return np.stack([resize(images.read(int(number))) for number in numbers])

        return cls(
            taken(learned[order]),
            np.array([len(order)]),
            taken(held_out[places]),
            scores[places],
            np.array([len(places)]),
        )

    def followed_by(self, other: "Kept", size: int) -> "Kept":
        """With a class more; each keeps the first of its images, as many as the buffer has for it."""
        rehearsed, judged = _shares(size // (len(self.counts) + 1))
        images = _first(_groups(self.rehearsed, self.learned), other.rehearsed, rehearsed)
        shown = _first(_groups(self.judged, self.counts), other.judged, judged)
        # Where no image is kept, the scores of all that were held out are.
        scores = _first(
            _groups(self.scores, self.counts), other.scores, judged if len(other.judged) else None
        )
        learned, counts = (np.array([len(group) for group in groups]) for groups in (images, scores))
        return Kept(np.concatenate(images), learned, np.concatenate(shown), np.concatenate(scores), counts)

    def scores_by_class(self) -> list[Floats]:
        """How the judged images of each class scored when it was calibrated."""
        return _groups(self.scores, self.counts)

    def judged_of(self, place: int) -> Images:
        """The images of a class that were never trained on."""
        return _groups(self.judged, self.counts)[place]

    def arrays(self) -> Arrays:
        """By name."""
        return {f"kept.{name}": value for name, value in vars(self).items()}

    @classmethod
    def of(cls, arrays: Arrays) -> Self:
        """Undo `arrays`, which may hold more."""
        return cls(**below(arrays, "kept."))


def _shares(size: int) -> tuple[int, int]:
    """Of so many images of a class: how many are learned again, how many only judged; one of each at least."""
    judged = max(1, size // _JUDGED)
    return max(1, size - judged), judged


def _groups(array: npt.NDArray[Any], counts: Indices) -> list[npt.NDArray[Any]]:
    return np.split(array, np.cumsum(counts)[:-1])


def _first(
    groups: list[npt.NDArray[Any]], other: npt.NDArray[Any], limit: int | None
) -> list[npt.NDArray[Any]]:
    return [group[:limit] for group in (*groups, other)]
