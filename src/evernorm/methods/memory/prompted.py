"""Images on their way through a prompted backbone: seen frozen first, then adapted to the class they go to."""

from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

import numpy as np

from evernorm.methods.detector import Seen
from evernorm.prompts import prompted
from evernorm.types import Floats, Image, Indices

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


def adapt(
    seen: Seen,
    place: Indices,
    classes: Sequence[str],
    adapters: Sequence[Adapted],
    network: Network[Adapted],
    batch_size: int,
) -> Floats:
    """Features of image i with the adapter of class ``place[i]``, float32 ``[n, P, d]``.

    Of stored images only those pass the backbone again that go to another class than they were stored with.
    """
    chosen = [adapters[each] for each in place]
    if isinstance(seen, Begun):
        return seen.adapted(chosen)
    features = seen.arrays[ADAPTED]
    home = classes.index(seen.home) if seen.home in classes else -1
    astray = np.flatnonzero(place != home)
    if astray.size:
        if seen.again is None:
            raise ValueError(
                "images that go to another class must be seen again, and `Seen.again` is not set"
            )
        features = np.array(features)
        begun = Begun(network, seen.again(astray), batch_size)
        features[astray] = begun.adapted([chosen[each] for each in astray])
    return features
