"""Attention and dropout as torch's own, with a dropout that does not take longer than what it drops from.

torch draws a double for each value (`bernoulli_`), which on a CPU takes two fifths of a transformer's training step. Sixteen
bits a value are enough. Imported where a network is built, not before: it needs torch.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import linear

_LEVELS = 2**16
_BITS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


class Dropout(nn.Dropout):
    """Each value is kept with a probability of 1 - p, to 1 in 65,536, and then divided by it."""

    def forward(self, input: Tensor) -> Tensor:
        """Of any shape; itself where nothing is trained."""
        return self.kept(input) * self.factor if self.by_bits(input) else super().forward(input)

    def by_bits(self, input: Tensor) -> bool:
        """Whether values are dropped by us, and not by torch."""
        return self.training and self.p > 0 and input.device.type == "cpu"

    @property
    def factor(self) -> float:
        """By what is kept is multiplied."""
        return 1 / (1 - self.p)

    def kept(self, input: Tensor) -> Tensor:
        """Zeros where a value is dropped; the others as they are (`by_bits`)."""
        rng = np.random.Generator(np.random.SFC64(int(torch.randint(2**62, ()))))
        words = rng.integers(0, 2**64, -(-input.numel() // 4), np.uint64)
        drawn = torch.from_numpy(words.view(np.int16)[: input.numel()]).view(input.shape)
        # All bits of a value or none: booleans would take five times as long.
        bits = torch.empty(input.shape, dtype=_BITS[input.element_size()])
        torch.ge(drawn, round(self.p * _LEVELS) - _LEVELS // 2, out=bits)
        made: Tensor = _Kept.apply(input, bits.neg_())
        return made


class _Kept(torch.autograd.Function):
    """Bits of values, and of their gradients, as a mask has them."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, bits: Tensor) -> Tensor:
        """The values."""
        ctx.save_for_backward(bits)
        return (input.view(bits.dtype) & bits).view(input.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """The gradients."""
        (bits,) = ctx.saved_tensors
        return (gradient.view(bits.dtype) & bits).view(gradient.dtype), None


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
        if self.drop.by_bits(looked):
            # The factor of what is kept comes last: it is no number of bfloat16, and there are fewer values then.
            found = (self.drop.kept(looked.to(v.dtype)) @ v) * self.drop.factor
        else:
            found = self.drop(looked).to(v.dtype) @ v
        made: Tensor = self.out_proj(found.transpose(1, 2).flatten(2))
        return made

    def _heads(self, tokens: Tensor) -> Tensor:
        """``[n, heads, P, width / heads]``."""
        images, places, _ = tokens.shape
        return tokens.view(images, places, self.num_heads, self.head_dim).transpose(1, 2)
