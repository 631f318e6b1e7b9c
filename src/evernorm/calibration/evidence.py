"""How a learner scores its own normal images: what every calibration is fitted on."""

from dataclasses import dataclass, fields
from typing import Self

from evernorm.types import Arrays, Floats, Indices


@dataclass(frozen=True)
class Evidence:
    """Scores of the n training images of a class, each as if it had not been learned from.

    Attributes:
        scores: float32 ``[L, n]``, at each of L memory sizes; NaN where an image cannot be scored.
        sizes: int64 ``[L]``, those sizes in rows, descending; None (and L = 1) where nothing ever shrinks.
        patch_mean: float32 ``[L]``, mean score of the patches; None for a method without maps.
        patch_std: float32 ``[L]``, their standard deviation.
        routing: float32 ``[n]``, by what statistic each image would find its class; None where no product is
            called unknown by it.
    """

    scores: Floats
    sizes: Indices | None = None
    patch_mean: Floats | None = None
    patch_std: Floats | None = None
    routing: Floats | None = None

    def arrays(self) -> Arrays:
        """What there is, by name."""
        return {each.name: array for each in fields(self) if (array := getattr(self, each.name)) is not None}

    @classmethod
    def of(cls, arrays: Arrays) -> Self:
        """Undo `arrays`."""
        return cls(**dict(arrays))
