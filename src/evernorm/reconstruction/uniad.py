"""UniAD: a transformer that gives back features it may not look at (You et al., NeurIPS 2022).

Imported where a network is built, not before: it needs torch.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, relu

from evernorm.reconstruction.attention import Attention, Dropout
from evernorm.reconstruction.blocks import Level
from evernorm.reconstruction.network import Reconstructor
from evernorm.reconstruction.params import UniAdSizes


class UniAdNetwork(Reconstructor):
    """Encoder and decoder over the tokens of all levels, at the places of the deepest.

    Args:
        levels: Of the encoder, shallowest first.
        sizes: Of the transformer.
        device: Where to put it.
        seed: First values.
    """

    def __init__(self, levels: Sequence[Level], sizes: UniAdSizes, device: torch.device, seed: int) -> None:
        self.device, self.sizes, self.grid = device, sizes, levels[-1][1:]
        places, channels = self.grid[0] * self.grid[1], sum(level[0] for level in levels)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.parts = nn.ModuleDict(
                {
                    "inside": nn.Linear(channels, sizes.width),
                    "encoder": nn.ModuleList(_EncoderLayer(sizes) for _ in range(sizes.layers)),
                    "decoder": nn.ModuleList(_DecoderLayer(places, sizes) for _ in range(sizes.layers)),
                    "outside": nn.Linear(sizes.width, channels),
                }
            )
            self.parts.register_parameter(
                "position", nn.Parameter(0.02 * torch.randn(1, places, sizes.width))
            )
        self.parts.to(device)
        hidden = neighbours(self.grid, sizes.neighbourhood)
        self.mask = torch.zeros(hidden.shape).masked_fill_(hidden, -torch.inf).to(device)

    def loss(self, inputs: Mapping[str, Tensor], done: float) -> Tensor:
        """Mean squared error of the tokens that are given back from disturbed ones."""
        tokens = self._tokens(inputs)
        scale = self.sizes.jitter * tokens.norm(dim=2, keepdim=True) / tokens.shape[2]
        error: Tensor = (self._made(tokens + scale * torch.randn_like(tokens)) - tokens).square().mean()
        return error

    def distances(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Length of the difference of each token."""
        tokens = self._tokens(inputs)
        lengths: Tensor = (self._made(tokens) - tokens).norm(dim=2)
        return lengths

    def _tokens(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """``[n, P, C]``."""
        levels = [
            interpolate(level, self.grid, mode="bilinear", align_corners=False, antialias=True)
            if tuple(level.shape[2:]) != tuple(self.grid)
            else level
            for level in inputs.values()
        ]
        return torch.cat(levels, dim=1).flatten(2).mT

    def _made(self, tokens: Tensor) -> Tensor:
        parts: nn.ModuleDict = self.parts  # type: ignore[assignment]
        position = self.parts.get_parameter("position")
        state = parts["inside"](tokens)
        for layer in parts["encoder"]:  # type: ignore[attr-defined]
            state = layer(state + position, self.mask)
        memory = state + position
        for layer in parts["decoder"]:  # type: ignore[attr-defined]
            state = layer(state + position, memory, self.mask)
        made: Tensor = parts["outside"](state)
        return made


class _EncoderLayer(nn.Module):
    """Values, names and result of `torch.nn.TransformerEncoderLayer`."""

    def __init__(self, sizes: UniAdSizes) -> None:
        super().__init__()
        self.self_attn = Attention(sizes.width, sizes.heads, sizes.dropout)
        self.linear1 = nn.Linear(sizes.width, 4 * sizes.width)
        self.linear2 = nn.Linear(4 * sizes.width, sizes.width)
        self.norm1, self.norm2 = nn.LayerNorm(sizes.width), nn.LayerNorm(sizes.width)
        self.dropout = Dropout(sizes.dropout)

    def forward(self, state: Tensor, mask: Tensor) -> Tensor:
        """``[n, P, width]``, and -inf where it may not be looked at ``[P, P]``."""
        state = self.norm1(state + self.dropout(self.self_attn(state, state, mask)))
        forth = self.linear2(self.dropout(relu(self.linear1(state))))
        last: Tensor = self.norm2(state + self.dropout(forth))
        return last


class _DecoderLayer(nn.Module):
    """A query of its own asks the encoder first, then the layer before: it cannot pass its input on."""

    def __init__(self, places: int, sizes: UniAdSizes) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(1, places, sizes.width))
        self.attention = nn.ModuleList(Attention(sizes.width, sizes.heads, sizes.dropout) for _ in range(2))
        self.forth = nn.Sequential(
            nn.Linear(sizes.width, 4 * sizes.width),
            nn.ReLU(),
            Dropout(sizes.dropout),
            nn.Linear(4 * sizes.width, sizes.width),
        )
        self.norms = nn.ModuleList(nn.LayerNorm(sizes.width) for _ in range(3))
        self.dropout = Dropout(sizes.dropout)

    def forward(self, before: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        """``[n, P, width]`` each, and -inf where it may not be looked at ``[P, P]``."""
        state = self.query.expand(len(before), -1, -1)
        for attention, norm, source in zip(self.attention, self.norms, (memory, before), strict=False):
            state = norm(state + self.dropout(attention(state, source, mask)))
        last: Tensor = self.norms[2](state + self.dropout(self.forth(state)))
        return last


def neighbours(grid: Sequence[int], side: int) -> Tensor:
    """Which places each may not look at: those of the square around it, itself among them.

    On a small grid the square is smaller, at most half of its side, so that something is left to look at.

    Args:
        grid: Rows and columns.
        side: Of the square, odd.

    Returns:
        bool ``[P, P]``, true where it may not look.
    """
    reach = min(side // 2, (min(grid) // 2 - 1) // 2)
    rows, columns = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
    places = torch.stack([rows.flatten(), columns.flatten()], dim=1)
    return (places[:, None] - places[None]).abs().amax(dim=2) <= reach
