"""Bottleneck and decoder of reverse distillation (Deng and Li, 2022), for the levels of any encoder.

Imported where a network is built, not before: it needs torch.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, interpolate

Level = tuple[int, int, int]
"""Channels, rows and columns."""


class Residual(nn.Module):
    """Two 3 × 3 convolutions beside a shortcut."""

    def __init__(self, inside: int, outside: int, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inside, outside, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outside),
            nn.GELU(),
            nn.Conv2d(outside, outside, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outside),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or inside != outside:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside)
            )

    def forward(self, state: Tensor) -> Tensor:
        """``[n, inside, H, W]`` → ``[n, outside, H / stride, W / stride]``."""
        return gelu(self.body(state) + self.shortcut(state))


class Bottleneck(nn.Module):
    """All levels, brought to the size of the deepest, in one code of half its side (one-class embedding)."""

    def __init__(self, levels: Sequence[Level]) -> None:
        super().__init__()
        deepest = levels[-1][0]
        self.sides = levels[-1][1:]
        self.down = nn.ModuleList()
        for channels, rows, _ in levels[:-1]:
            steps: list[nn.Module] = []
            for _ in range(max(1, round(rows / self.sides[0]).bit_length() - 1)):
                stride = 2 if rows > self.sides[0] else 1
                convolution = nn.Conv2d(channels, deepest, 3, stride, 1, bias=False)
                steps += [convolution, nn.BatchNorm2d(deepest), nn.GELU()]
                channels = deepest  # noqa: PLW2901
            self.down.append(nn.Sequential(*steps))
        self.code = nn.Sequential(
            Residual(deepest * len(levels), 2 * deepest, stride=2), Residual(2 * deepest, 2 * deepest)
        )

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Levels, shallowest first, → code ``[n, 2 · C, H / 2, W / 2]`` of the deepest's C × H × W."""
        brought = [resized(down(level), self.sides) for down, level in zip(self.down, levels, strict=False)]
        code: Tensor = self.code(torch.cat([*brought, levels[-1]], dim=1))
        return code


class Decoder(nn.Module):
    """The encoder's mirror: from the code to the deepest level, and on to the shallowest."""

    def __init__(self, levels: Sequence[Level]) -> None:
        super().__init__()
        inside, self.sides = 2 * levels[-1][0], [level[1:] for level in levels]
        self.up, self.heads = nn.ModuleList(), nn.ModuleList()
        for channels, _, _ in reversed(levels):
            self.up.append(nn.Sequential(Residual(inside, channels), Residual(channels, channels)))
            # An encoder's levels may have no activation behind them: what they hold is of either sign.
            self.heads.append(nn.Conv2d(channels, channels, 1))
            inside = channels

    def forward(self, code: Tensor) -> list[Tensor]:
        """Code → levels, shallowest first."""
        made: list[Tensor] = []
        for up, head, sides in zip(self.up, self.heads, reversed(self.sides), strict=True):
            code = up(resized(code, sides))
            made.append(head(code))
        return made[::-1]


def resized(state: Tensor, sides: Sequence[int]) -> Tensor:
    """``[n, C, H, W]`` with other sides; the nearest value."""
    return state if tuple(state.shape[2:]) == tuple(sides) else interpolate(state, tuple(sides))
