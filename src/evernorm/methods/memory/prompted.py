"""Images on their way through a prompted backbone: seen frozen first, then adapted to the class they go to."""

from collections.abc import Sequence

import numpy as np

from evernorm.methods.detector import Seen
from evernorm.prompts.prompt import Prompt
from evernorm.prompts.prompted import PromptedBackbone
from evernorm.types import Floats, Image, Indices

FROZEN, ADAPTED = "frozen", "adapted"


class Begun(Seen):
    """Images that have passed the backbone as far as no prompt changes anything, and are kept there.

    Args:
        network: The backbone.
        images: uint8 ``[H, W, 3]`` each.
        batch_size: Images a pass.
    """

    def __init__(self, network: PromptedBackbone, images: Sequence[Image], batch_size: int) -> None:
        self._network = network
        self._batches, frozen = [], []
        for start in range(0, len(images), batch_size):
            begun, keys = network.begin(images[start : start + batch_size])
            self._batches.append(begun)
            frozen.append(keys)
        super().__init__({FROZEN: np.concatenate(frozen)})

    def adapted(self, prompts: Sequence[Prompt]) -> Floats:
        """One pass over all images, each with its prompt: float32 ``[n, P, d]``."""
        parts, start = [], 0
        for begun in self._batches:
            chosen = prompts[start : start + len(begun.state)]
            parts.append(self._network.finish(begun, chosen))
            start += len(chosen)
        return np.concatenate(parts)


def adapt(
    seen: Seen,
    place: Indices,
    classes: Sequence[str],
    prompts: Sequence[Prompt],
    network: PromptedBackbone,
    batch_size: int,
) -> Floats:
    """Features of image i with the prompt of class ``place[i]``, float32 ``[n, P, d]``.

    Of stored images only those pass the backbone again that go to another class than they were stored with.
    """
    chosen = [prompts[each] for each in place]
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
