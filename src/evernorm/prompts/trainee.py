"""What is trained for one class on a frozen backbone, and the loss that it lowers."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from evernorm.prompts.contrastive import structure_loss
from evernorm.prompts.params import PromptKind
from evernorm.prompts.prompt import Prompt
from evernorm.prompts.prompted import Begun, PromptedBackbone
from evernorm.types import Floats, Indices

if TYPE_CHECKING:
    from torch import Tensor


class Trainee(ABC):
    """Values that get a gradient; the backbone gets none.

    Attributes:
        network: The frozen backbone, whose `params` say how to train.
        values: What is trained, by the names under which it is kept.
    """

    def __init__(self, network: PromptedBackbone, values: Mapping[str, Floats]) -> None:
        import torch

        self.network = network
        device = network.backbone.device
        self.values = {
            name: torch.from_numpy(value).to(device).requires_grad_() for name, value in values.items()
        }

    @abstractmethod
    def features(self, begun: Begun) -> "Tensor":
        """Adapted features of n images on their way: float ``[n, P, d]``."""

    @abstractmethod
    def terms(self, images: Indices, begun: Begun) -> "dict[str, Tensor]":
        """The terms of the loss by name, weighted, each the mean over the images; their sum is the loss.

        Args:
            images: int64 ``[n]``, their numbers.
            begun: The images on their way.
        """


class PromptTrainee(Trainee):
    """A prompt, and nothing else (UCAD).

    Args:
        network: The frozen backbone.
        labels: For each image, int64 ``[P]``, the part each patch belongs to.
        seed: First values of a prefix.
    """

    def __init__(self, network: PromptedBackbone, labels: Sequence[Indices], seed: int) -> None:
        import torch

        super().__init__(network, first_prompt(network, seed).arrays())
        self._labels = torch.from_numpy(np.stack(labels))

    def features(self, begun: Begun) -> "Tensor":
        """Prompted features."""
        return self.network.resume(begun, spread(self.network, self.values, len(begun.state)))

    def terms(self, images: Indices, begun: Begun) -> "dict[str, Tensor]":
        """The structure-based contrastive loss alone (UCAD Eq. 3)."""
        features, params = self.features(begun), self.network.params
        labels = self._labels[images].to(features.device)
        return {"structure": structure_loss(features, labels, params.loss, params.temperature)}


def first_prompt(network: PromptedBackbone, seed: int) -> Prompt:
    """Prompts to begin with: zeros to add, which change nothing; a prefix is drawn (N(0, 0.02²)), as equal ones stay equal."""
    rng = np.random.default_rng([seed, 0])
    if network.kind is PromptKind.PREFIX:
        drawn = {block: rng.normal(0, 0.02, shape) for block, shape in network.shapes.items()}
        return Prompt(network.kind, {block: value.astype(np.float32) for block, value in drawn.items()})
    return Prompt(
        network.kind, {block: np.zeros(shape, np.float32) for block, shape in network.shapes.items()}
    )


def spread(network: PromptedBackbone, values: "Mapping[str, Tensor]", count: int) -> "dict[int, Tensor]":
    """One prompt for each of `count` images, as `PromptedBackbone.resume` takes them."""
    by_block = Prompt.by_block(network.shapes, values)
    return {block: value.expand(count, *value.shape) for block, value in by_block.items()}
