"""What a network that reconstructs features has to be able to do."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from evernorm.errors import StateError
from evernorm.files import below
from evernorm.repeatable import fixed_kernels
from evernorm.types import Arrays, Floats

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

PREFIX = "network."
_AT_ONCE = 32  # images a pass without gradients


class Reconstructor(ABC):
    """A trained part behind a frozen encoder.

    Attributes:
        parts: What is trained.
        device: Where it is.
    """

    parts: "nn.Module"
    device: "torch.device"

    @abstractmethod
    def loss(self, inputs: "Mapping[str, Tensor]", done: float) -> "Tensor":
        """What is made small.

        Args:
            inputs: A batch of what the encoder gives, by name.
            done: How much of the training is over, in [0, 1).
        """

    @abstractmethod
    def distances(self, inputs: "Mapping[str, Tensor]") -> "Tensor":
        """How badly each place is reconstructed, ``[n, P]``, row by row."""

    def rates(self, learning_rate: float) -> list[dict[str, Any]]:
        """What is trained, by learning rate: torch's parameter groups."""
        return [{"params": list(self.values().values()), "lr": learning_rate}]

    def values(self) -> "dict[str, nn.Parameter]":
        """What is trained, by name."""
        return {name: value for name, value in self.parts.named_parameters() if value.requires_grad}

    def counted(self) -> "dict[str, Tensor]":
        """What is counted beside it: the running figures of normalisations."""
        buffers = self.parts.named_buffers()
        return {name: each.view(1) if each.dim() == 0 else each for name, each in buffers}

    def errors(self, inputs: Arrays) -> Floats:
        """`distances` of any number of images, float32 ``[n, P]``."""
        import torch

        count, found = len(next(iter(inputs.values()))), []
        self.parts.eval()
        with torch.inference_mode(), fixed_kernels():
            for start in range(0, count, _AT_ONCE):
                part = slice(start, start + _AT_ONCE)
                found.append(self.distances(self.on_device(inputs, part)).cpu().numpy())
        return np.concatenate(found)

    def on_device(self, inputs: Arrays, chosen: Any) -> "dict[str, Tensor]":
        """Some of the images."""
        import torch

        return {
            name: torch.from_numpy(np.ascontiguousarray(array[chosen])).to(self.device)
            for name, array in inputs.items()
        }

    def arrays(self) -> Arrays:
        """Its state, by name."""
        return {
            f"{PREFIX}{name}": value.detach().cpu().numpy().copy()
            for name, value in self.parts.state_dict().items()
        }

    def load(self, arrays: Arrays) -> None:
        """Undo `arrays`.

        Raises:
            StateError: They belong to a network of other sizes.
        """
        import torch

        values = {name: torch.from_numpy(np.array(each)) for name, each in below(arrays, PREFIX).items()}
        try:
            self.parts.load_state_dict(values)
        except RuntimeError as error:
            raise StateError(
                f"the network of these classes has other sizes than the backbone asks for; learn them again: {error}"
            ) from error
