"""How a learner scores its own normal images: what every calibration is fitted on."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from evernorm.errors import StateError
from evernorm.types import Arrays, Floats, Indices


@dataclass(frozen=True)
class Evidence:
    """Scores of the n training images of a class, each as if it had not been learned from.

    Attributes:
        scores: float32 ``[L, n]``, at each of L memory sizes; NaN where an image cannot be scored.
        sizes: int64 ``[L]``, those sizes in rows, descending; None (and L = 1) where nothing ever shrinks.
        means: float32 ``[L, n]``, mean score of an image's patches; NaN as above; None for a method without maps.
        stds: float32 ``[L, n]``, their standard deviation.
        peaks: float32 ``[L, n]``, the highest.
        routing: float32 ``[n]``, by what statistic each image would find its class; None where no product is
            called unknown by it.
        shown: int64 ``[K]``, numbers of the images of which `encoded` is kept; None where none is.
        encoded: float16 ``[K, C, h, w]``, what the frozen encoder sees of them (`alignment.encoding`).
    """

    scores: Floats
    sizes: Indices | None = None
    means: Floats | None = None
    stds: Floats | None = None
    peaks: Floats | None = None
    routing: Floats | None = None
    shown: Indices | None = None
    encoded: npt.NDArray[np.float16] | None = None

    @classmethod
    def of_maps(cls, scores: Floats, places: Floats) -> Self:
        """Of scores ``[n]`` and the patch scores of the same images ``[n, P]``, at the one size there is."""
        moments = (places.mean(axis=1), places.std(axis=1), places.max(axis=1))
        return cls(scores[None], None, *(each[None].astype(np.float32) for each in moments))

    def arrays(self) -> Arrays:
        """What there is, by name."""
        return {each.name: array for each in fields(self) if (array := getattr(self, each.name)) is not None}

    @classmethod
    def of(cls, arrays: Arrays) -> Self:
        """Undo `arrays`.

        Raises:
            StateError: There is none.
        """
        if "scores" not in arrays:
            raise StateError(
                "a class comes without the scores of its normal images, which alignment needs: a stored bank goes on "
                "learning with calibration.alignment weibull alone; learn in the workspace that made it"
            )
        return cls(**dict(arrays))

    def at(self, size: int) -> "Evidence":
        """At one size alone; at the only one where there are no sizes."""
        level = 0 if self.sizes is None else int(np.flatnonzero(self.sizes == size)[0])
        return replace(
            self, sizes=None, **{name: array[level : level + 1] for name, array in self._of_sizes()}
        )

    def some(self, images: Indices) -> "Evidence":
        """Of some of the images ``[m]``, ascending."""
        kept: Arrays = {}
        if self.shown is not None and self.encoded is not None:
            of = np.isin(self.shown, images)
            kept = {"shown": np.searchsorted(images, self.shown[of]), "encoded": self.encoded[of]}
        return Evidence(
            sizes=self.sizes, **{name: array[:, images] for name, array in self._of_sizes()}, **kept
        )

    def with_encoding(self) -> "Evidence":
        """Of the images of which `encoded` is kept.

        Raises:
            StateError: None is.
        """
        if self.shown is None:
            raise StateError(
                "a class was stored without what alignment predicts from: its method has no frozen encoder, or it was "
                "learned with an earlier version; set calibration.alignment to weibull, or learn the class again"
            )
        return self.some(self.shown)

    def moments(self) -> tuple[Floats, Floats, Floats]:
        """Means, stds and peaks.

        Raises:
            StateError: There are none.
        """
        if self.means is None or self.stds is None or self.peaks is None:
            raise StateError(
                "scores without maps cannot be aligned by them; set calibration.alignment to weibull or none"
            )
        return self.means, self.stds, self.peaks

    def measured(self, low: Floats, spread: Floats) -> "Evidence":
        """Scores and moments by what is expected of each image ``[n]``: (s − low) / spread."""
        means, stds, peaks = self.moments()
        scores, means, peaks = ((each - low) / spread for each in (self.scores, means, peaks))
        return Evidence(scores, self.sizes, means, stds / spread, peaks)

    @staticmethod
    def joined(parts: "Sequence[Evidence]") -> "Evidence":
        """Of the images of several classes, at the one size each has; scores, and moments where all have them."""
        names = set.intersection(*({name for name, _ in part._of_sizes()} for part in parts))
        return Evidence(
            **{name: np.concatenate([getattr(part, name) for part in parts], axis=1) for name in names}
        )

    def patch_moments(self, level: int) -> tuple[float | None, float | None]:
        """Mean and standard deviation of the patch scores of all images; None without maps."""
        if self.means is None or self.stds is None:
            return None, None
        means, stds = (array[level].astype(np.float64) for array in (self.means, self.stds))
        mean = np.nanmean(means)
        return float(mean), float(np.sqrt(max(0.0, np.nanmean(stds**2 + means**2) - mean**2)))

    def _of_sizes(self) -> list[tuple[str, npt.NDArray[Any]]]:
        return [
            (name, array)
            for name in ("scores", "means", "stds", "peaks")
            if (array := getattr(self, name)) is not None
        ]
