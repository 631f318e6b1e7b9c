"""The network of an alignment: from what an encoder sees of an image to its class, or to its normal statistics.

Convolutions, a mean over the places, linear layers with dropout before each (CADA section 3.3). Runs on the CPU, where it
takes a fraction of the backbone's pass, so that a GPU changes nothing.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from evernorm.errors import TrainingError
from evernorm.files import below
from evernorm.params.groups import HeadParams
from evernorm.types import Arrays, Doubles, Floats, Indices

_STILL = 1e-3  # of the channels' mean standard deviation
_CLIP = 1.0  # largest norm of the gradient: the rate is high, and some encoders see far out


class Head:
    """A trained one.

    Args:
        network: Judging, without gradients.
        mean: float32 ``[C, 1, 1]``, of each channel of what it is trained on.
        std: float32 ``[C, 1, 1]``, its standard deviation.
        scale: float32 ``[outputs]``, by which its outputs are multiplied.
    """

    def __init__(self, network: nn.Sequential, mean: Floats, std: Floats, scale: Floats) -> None:
        self._network = network.to(memory_format=torch.channels_last)  # twice as fast for so small maps
        self._mean, self._std, self._scale = mean, std, scale

    def __call__(self, encoded: Floats) -> Floats:
        """Outputs ``[n, outputs]`` of ``[n, C, h, w]``."""
        with torch.inference_mode():
            inputs = torch.from_numpy((encoded - self._mean) / self._std)
            outputs: Floats = self._network(inputs.contiguous(memory_format=torch.channels_last)).numpy()
        return outputs * self._scale

    def arrays(self) -> Arrays:
        """By name."""
        state = {f"network.{name}": value.numpy() for name, value in self._network.state_dict().items()}
        return {**state, "mean": self._mean, "std": self._std, "scale": self._scale}

    @classmethod
    def of(cls, arrays: Arrays, params: HeadParams) -> Self:
        """Undo `arrays`."""
        network = _network(len(arrays["mean"]), len(arrays["scale"]), params)
        state = {name: torch.from_numpy(np.array(each)) for name, each in below(arrays, "network.").items()}
        network.load_state_dict(state)
        return cls(network.eval(), *(np.asarray(arrays[name]) for name in ("mean", "std", "scale")))


def fit_classifier(encoded: Floats, groups: Indices, params: HeadParams, seed: int) -> Head:
    """Train a head to name the class by cross-entropy (Eq. 2).

    Args:
        encoded: float32 ``[N, C, h, w]``.
        groups: int64 ``[N]``, the class of each.
        params: Structure and training.
        seed: Of weights, batches and dropout.
    """
    classes = int(groups.max()) + 1
    labels = torch.from_numpy(groups)

    def loss(outputs: Tensor, chosen: Tensor) -> Tensor:
        return functional.cross_entropy(outputs, labels[chosen])

    return _fit(encoded, groups, loss, np.ones(classes, np.float32), params, seed)


def fit_regressor(encoded: Floats, groups: Indices, targets: Doubles, params: HeadParams, seed: int) -> Head:
    """Train a head to give the normal statistics of an image by smooth L1 (Eq. 3 and 4).

    Args:
        encoded: float32 ``[N, C, h, w]``.
        groups: int64 ``[N]``, the class of each; every class is shown as often.
        targets: float64 ``[N, 2]``, the statistics, of any unit: they are divided by the mean of the classes' highest.
        params: Structure and training.
        seed: Of weights, batches and dropout.
    """
    unit = float(np.mean([targets[groups == each].max(axis=1).mean() for each in np.unique(groups)]))
    wanted = torch.from_numpy((targets / unit).astype(np.float32))

    def loss(outputs: Tensor, chosen: Tensor) -> Tensor:
        each = functional.smooth_l1_loss(outputs, wanted[chosen], beta=params.smoothing, reduction="none")
        return each.sum(dim=1).mean()

    return _fit(encoded, groups, loss, np.full(targets.shape[1], unit, np.float32), params, seed)


def _fit(
    encoded: Floats,
    groups: Indices,
    loss: Callable[[Tensor, Tensor], Tensor],
    scale: Floats,
    params: HeadParams,
    seed: int,
) -> Head:
    """SGD with momentum .9, decay 1e-4 and a rate that falls to nothing; batches draw each class as often."""
    mean = encoded.mean(axis=(0, 2, 3), keepdims=True)[0]
    std = encoded.std(axis=(0, 2, 3), keepdims=True)[0]
    # A channel that hardly moved is not read: what little it moves later would look like anything.
    std = np.where(std > _STILL * std.mean(), std, np.float32(np.inf))
    inputs = torch.from_numpy((encoded - mean) / std)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _network(encoded.shape[1], len(scale), params).train()
        optimizer = torch.optim.SGD(
            network.parameters(), lr=params.learning_rate, momentum=0.9, weight_decay=1e-4
        )
        rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, params.iterations)
        rng = np.random.default_rng(seed)
        members = [np.flatnonzero(groups == each) for each in np.unique(groups)]
        for step in range(params.iterations):
            drawn = rng.integers(len(members), size=params.batch_size)
            chosen = torch.from_numpy(np.array([rng.choice(members[each]) for each in drawn]))
            optimizer.zero_grad()
            found = loss(network(inputs[chosen]), chosen)
            found.backward()  # type: ignore[no-untyped-call]
            if not torch.isfinite(found):
                raise TrainingError(
                    f"the head of the alignment diverged in step {step + 1}; lower calibration.head.learning_rate "
                    f"({params.learning_rate:g})"
                )
            nn.utils.clip_grad_norm_(network.parameters(), _CLIP)
            optimizer.step()
            rate.step()
    return Head(network.eval().requires_grad_(False), mean, std, scale)


def _network(channels: int, outputs: int, params: HeadParams) -> nn.Sequential:
    parts: list[nn.Module] = []
    for _ in range(params.convolutions):
        parts += [nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU()]
    parts += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    widths = [channels, *[params.width] * (params.layers - 1), outputs]
    for number, (width, following) in enumerate(pairwise(widths)):
        parts += [nn.ReLU()] if number else []
        parts += [nn.Dropout(params.dropout), nn.Linear(width, following)]
    return nn.Sequential(*parts)
