"""What sizes the training images of a class had, so that an image of quite another size is told."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

from evernorm.data.manifest import Manifest
from evernorm.errors import StateError

FAR_SIZE = 2.0
"""A side this many times longer than the longest, or shorter than the shortest, is told."""

FAR_ASPECT = 1.25
"""So are proportions this many times beyond the training images'."""

Range = tuple[float, float]


@dataclass(frozen=True)
class ImageSizes:
    """Lowest and highest width, height (both in pixels) and width / height of the training images of a class."""

    width: Range
    height: Range
    aspect: Range

    @classmethod
    def of(cls, manifest: Manifest) -> Self:
        """Of the training images of a manifest, of which there is one at least."""
        train = manifest.train
        return cls(
            _range(record.width for record in train),
            _range(record.height for record in train),
            _range(record.width / record.height for record in train),
        )

    def to_json(self) -> dict[str, list[float]]:
        """As it is stored."""
        return {"width": list(self.width), "height": list(self.height), "aspect": list(self.aspect)}

    @classmethod
    def from_json(cls, stored: Any) -> Self:
        """As it was stored.

        Raises:
            StateError: It is nothing that `to_json` gives.
        """
        try:
            ranges = []
            for name in ("width", "height", "aspect"):
                low, high = map(float, stored[name])
                if not 0 < low <= high:
                    raise ValueError(name)
                ranges.append((low, high))
        except (KeyError, TypeError, ValueError) as error:
            raise StateError(
                f"{stored!r:.80} are no sizes of training images; learn the class again"
            ) from error
        return cls(*ranges)

    def warning(self, height: int, width: int) -> str | None:
        """A sentence on an image (sides in pixels) that is far from the training images; None for one that is not."""
        odd = [
            what
            for what, beyond, far in (
                ("proportions", _beyond(width / height, self.aspect), FAR_ASPECT),
                ("size", max(_beyond(width, self.width), _beyond(height, self.height)), FAR_SIZE),
            )
            if beyond > far
        ]
        if not odd:
            return None
        return (
            f"{width} x {height} pixels: far in {' and '.join(odd)} from the training images of the class "
            f"({_shown(self.width)} x {_shown(self.height)}); it was scaled to their shape, so judge with care"
        )


def _range(values: Iterable[float]) -> Range:
    listed = [float(value) for value in values]
    return min(listed), max(listed)


def _beyond(value: float, bounds: Range) -> float:
    """How many times a value is above or below a range; 1 within it, or less."""
    low, high = bounds
    return max(value / high, low / value)


def _shown(bounds: Range) -> str:
    low, high = bounds
    return f"{low:.0f}" if low == high else f"{low:.0f}–{high:.0f}"
