"""What the backbone makes of images: frozen features that find the class, then features adapted to it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from evernorm.prompts.prompt import Prompt
from evernorm.prompts.prompted import PromptedBackbone
from evernorm.types import Floats, Indices


class Seen(Protocol):
    """n images as the backbone sees them."""

    @property
    def frozen(self) -> Floats:
        """Features with no prompt, float32 ``[n, P', d']``."""
        ...

    def adapted(self, place: Indices) -> Floats:
        """Features of image i with the prompt of class ``place[i]``, float32 ``[n, P, d]``."""
        ...


@dataclass(frozen=True)
class Unprompted:
    """Images for a method without prompts: the frozen features are all there is."""

    frozen: Floats

    def adapted(self, place: Indices) -> Floats:
        """The frozen features."""
        return self.frozen


class Prompted:
    """Images that have passed the backbone as far as no prompt changes anything, and are kept there.

    Args:
        network: The backbone.
        images: uint8 ``[H, W, 3]`` each.
        prompts: The prompt of each class.
        batch_size: Images a pass.
    """

    def __init__(
        self,
        network: PromptedBackbone,
        images: Sequence[npt.NDArray[np.uint8]],
        prompts: Sequence[Prompt],
        batch_size: int,
    ) -> None:
        self._network, self._prompts = network, prompts
        self._begun = []
        frozen = []
        for start in range(0, len(images), batch_size):
            begun, keys = network.begin(images[start : start + batch_size])
            self._begun.append(begun)
            frozen.append(keys)
        self.frozen = np.concatenate(frozen)

    def adapted(self, place: Indices) -> Floats:
        """One pass over all images, each with the prompt of its class."""
        parts, start = [], 0
        for begun in self._begun:
            chosen = place[start : start + len(begun.state)]
            parts.append(self._network.finish(begun, [self._prompts[each] for each in chosen]))
            start += len(chosen)
        return np.concatenate(parts)


class StoredSeen:
    """The test images of one class, their features stored: frozen ones, and adapted to their own class.

    Args:
        frozen: float32 ``[n, P', d']``, usually memory-mapped.
        own: float32 ``[n, P, d]``, with the prompt of class `home`; None for a method without prompts.
        home: The place of the images' own class.
        live: Image numbers → those images through the backbone, for images that go to another class.
    """

    def __init__(
        self,
        frozen: Floats,
        own: Floats | None = None,
        home: int = 0,
        live: Callable[[Indices], Seen] | None = None,
    ) -> None:
        self._frozen, self._own, self._home, self._live = frozen, own, home, live

    def __len__(self) -> int:
        return len(self._frozen)

    def block(self, block: slice) -> Seen:
        """Some of the images."""
        frozen = np.asarray(self._frozen[block])
        if self._own is None or self._live is None:
            return Unprompted(frozen)
        numbers = np.arange(len(self))[block]
        return _StoredBlock(frozen, np.asarray(self._own[block]), self._home, numbers, self._live)


@dataclass(frozen=True)
class _StoredBlock:
    frozen: Floats
    own: Floats
    home: int
    numbers: Indices
    live: Callable[[Indices], Seen]

    def adapted(self, place: Indices) -> Floats:
        """The stored features, and those of the images that go astray anew."""
        astray = np.flatnonzero(place != self.home)
        if not astray.size:
            return self.own
        features = self.own.copy()
        features[astray] = self.live(self.numbers[astray]).adapted(place[astray])
        return features
