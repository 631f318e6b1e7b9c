"""The one interface of every method."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from evernorm.data.experience import Experience


@dataclass(frozen=True)
class Prediction:
    """The answer for one image.

    An image of no class that the bank knows has no score: a distance from another product's memory means
    nothing. It counts as anomalous, since it is no normal image of any known class.

    Attributes:
        routed_class: The class whose memory explains the image best; None for an unknown product.
        score: Standardised anomaly score: standard deviations above the class's normal images.
        probability: Outlier probability in [0, 1], from the Weibull tail.
        p_value: How often a normal image of the class scores at least this high.
        anomalous: The decision at the false-alarm rate the bank was calibrated for.
        map: float32 ``[H, W]``, standardised anomaly map of the image's own size.
        map_threshold: Map value at which a patch alone makes its image anomalous.
    """

    routed_class: str | None
    score: float
    probability: float
    p_value: float
    anomalous: bool
    map: npt.NDArray[np.float32]
    map_threshold: float

    @classmethod
    def of_unknown(cls, shape: tuple[int, int]) -> Self:
        """The answer for an unknown product: NaN where there would be figures."""
        nothing = np.full(shape, np.nan, np.float32)
        return cls(None, np.nan, np.nan, np.nan, anomalous=True, map=nothing, map_threshold=np.nan)


class ContinualDetector(ABC):
    """Learns one class after another from normal images; is never told the class of a test image."""

    @abstractmethod
    def learn(self, experience: Experience) -> None:
        """Learn one more class from its normal training images; what was learned before stays."""

    @abstractmethod
    def predict(self, images: Sequence[npt.NDArray[np.uint8]]) -> list[Prediction]:
        """Judge images (uint8 ``[H, W, 3]`` each); the answer for one never depends on the others."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write everything needed to predict and to go on learning."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""

    @property
    @abstractmethod
    def classes(self) -> tuple[str, ...]:
        """The classes known, in the order in which they were learned."""

    @property
    @abstractmethod
    def memory_bytes(self) -> int:
        """Bytes of memory kept for the classes, without the backbone."""
