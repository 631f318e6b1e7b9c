"""Attention and dropout as torch's own, with a dropout that does not take longer than what it drops from.

torch draws a double for each value (`bernoulli_`), which on a CPU takes two fifths of a transformer's training step. Sixteen
bits a value are enough. Imported where a network is built, not before: it needs torch.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import linear

_LEVELS = 2**16


class Dropout(nn.Dropout):
    """Each value is kept with a probability of 1 - p, to 1 in 65,536, and then divided by it."""

    def forward(self, input: Tensor) -> Tensor:
        """Of any shape; itself where nothing is trained."""
        if not self.training or self.p == 0 or input.device.type != "cpu":
            return super().forward(input)
        rng = np.random.Generator(np.random.SFC64(int(torch.randint(2**62, ()))))
        words = rng.integers(0, 2**64, -(-input.numel() // 4), np.uint64)
        drawn = torch.from_numpy(words.view(np.int16)[: input.numel()]).view(input.shape)
        kept, dropped = input.new_tensor(1 / (1 - self.p)), input.new_tensor(0)
        return input * torch.where(drawn >= round(self.p * _LEVELS) - _LEVELS // 2, kept, dropped)


class Attention(nn.MultiheadAttention):
    """Values, names and result of `torch.nn.MultiheadAttention`, batch first, without its weights."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__(width, heads, batch_first=True)
        self.drop = Dropout(dropout)

    def forward(self, query: Tensor, source: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        """Ask a source.

        Args:
            query: ``[n, P, width]``.
            source: ``[n, Q, width]``, keys and values alike.
            mask: float ``[P, Q]``, -inf where a query may not look.

        Returns:
            ``[n, P, width]``.
        """
        weights, biases = self.in_proj_weight, self.in_proj_bias
        asked = linear(query, weights[: self.embed_dim], biases[: self.embed_dim])
        told = linear(source, weights[self.embed_dim :], biases[self.embed_dim :])
        q, k, v = (self._heads(each) for each in (asked, *told.chunk(2, dim=2)))
        looked = torch.softmax(q @ (k * self.head_dim**-0.5).mT + mask, dim=-1)
        found = (self.drop(looked).to(v.dtype) @ v).transpose(1, 2).flatten(2)
        made: Tensor = self.out_proj(found)
        return made

    def _heads(self, tokens: Tensor) -> Tensor:
        """``[n, heads, P, width / heads]``."""
        images, places, _ = tokens.shape
        return tokens.view(images, places, self.num_heads, self.head_dim).transpose(1, 2)
