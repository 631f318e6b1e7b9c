"""Noise in and out: the schedule that the U-Net is trained on, and DDIM's way back (Song et al., 2021).

Both are diffusers'. All noise is drawn on the CPU from a seed, so that every device sees the same.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from evernorm.methods.diffcont.params import DiffContPrompts, Prediction, Space
from evernorm.repeatable import fixed_kernels
from evernorm.types import Floats

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from evernorm.methods.diffcont.network import Network

STEPS = 1000
"""Of the schedule the U-Net is trained on (section 4.3)."""
_RANGE = {Space.PIXELS: 1.0, Space.FEATURES: 4.0}  # of standardised inputs, on either side of 0
_AT_ONCE = 32  # images a pass without gradients
_RANDOM_STEPS = 8  # of each image, for the figures of the embeddings


def generator(*seeds: int) -> "torch.Generator":
    """A source of random numbers that depends on all of these, on the CPU."""
    import torch

    return torch.Generator().manual_seed(int(np.random.SeedSequence(seeds).generate_state(1)[0]))


def scheduler(space: Space, prediction: Prediction) -> Any:
    """DDIM's. An image that the noise is taken from stays in range: a small error at the noisiest steps is multiplied."""
    from diffusers import DDIMScheduler

    said = {Prediction.NOISE: "epsilon", Prediction.CLEAN: "sample"}[prediction]
    return DDIMScheduler(num_train_timesteps=STEPS, clip_sample_range=_RANGE[space], prediction_type=said)


_kept = cache(scheduler)  # to add noise with, which changes nothing in it


def _schedule(params: DiffContPrompts) -> Any:
    return _kept(params.space, params.prediction)


def noisy(network: "Network", clean: "Tensor", noise: "Tensor", steps: "Tensor") -> "Tensor":
    """x_t of Eq. 1: standardised inputs ``[n, C, H, W]`` with noise, each at its step."""
    mixed: Tensor = _schedule(network.params).add_noise(clean, noise, steps)
    return mixed


def target(network: "Network", clean: "Tensor", noise: "Tensor") -> "Tensor":
    """What the network is to say of `noisy` inputs, ``[n, C, H, W]``."""
    return noise if network.params.prediction is Prediction.NOISE else clean


def embed(network: "Network", inputs: "Tensor", seed: int) -> "Tensor":
    """Whitened embeddings ``[n, d]`` of inputs ``[n, C, H, W]``.

    The mean over the draws and steps of `LookParams`, of the same noise for every image: an embedding depends on no
    other image, and is the same each time.
    """
    look = network.params.look
    return _mean_of_views(
        network, inputs, look.steps, look.draws, seed, lambda _, mixed, _aim, at: network.embed(mixed, at)
    )


def embeddings_amid_training(network: "Network", inputs: Floats, seed: int) -> "Tensor":
    """Embeddings ``[n · k, d]`` of inputs ``[n, C, H, W]`` as the training sees them: at k random steps each."""
    import torch

    source, seen = generator(seed, STEPS), []
    with torch.inference_mode():
        for part in _parts(len(inputs)):
            clean = network.standardise(torch.from_numpy(inputs[part]).to(network.device))
            for _ in range(_RANDOM_STEPS):
                steps = torch.randint(STEPS, (len(clean),), generator=source).to(clean.device)
                noise = torch.randn(clean.shape, generator=source).to(clean.device)
                seen.append(network.embed(noisy(network, clean, noise, steps), steps))
        return torch.cat(seen)


def errors(
    network: "Network", inputs: "Tensor", labels: "Tensor", steps: Sequence[int], draws: int, seed: int
) -> "Tensor":
    """How wrong the network is at each place: ``[n, H · W]``, the mean over channels, draws and steps.

    Args:
        network: The network.
        inputs: ``[n, C, H, W]``.
        labels: int64 ``[n]``, the class of each image.
        steps: How noisy.
        draws: Of noise at each step.
        seed: Of the noise, the same for every image.
    """
    rows = labels.to(network.device) + 1

    def error(part: slice, mixed: "Tensor", aim: "Tensor", at: "Tensor") -> "Tensor":
        wrong = network.walk(mixed, at, rows[part]).predicted - aim
        return wrong.square().mean(dim=1).flatten(1)

    return _mean_of_views(network, inputs, steps, draws, seed, error)


def _mean_of_views(
    network: "Network",
    inputs: "Tensor",
    steps: Sequence[int],
    draws: int,
    seed: int,
    measure: "Callable[[slice, Tensor, Tensor, Tensor], Tensor]",
) -> "Tensor":
    """What `measure` makes of noisy images, its mean over the views; its first argument says which images they are."""
    import torch

    with torch.inference_mode(), fixed_kernels():
        means = []
        for part in _parts(len(inputs)):
            clean = network.standardise(inputs[part].to(network.device))
            views = _views(network, clean, steps, draws, seed)
            means.append(torch.stack([measure(part, *view) for view in views]).mean(dim=0))
        return torch.cat(means)


def _parts(count: int) -> list[slice]:
    return [slice(start, start + _AT_ONCE) for start in range(0, count, _AT_ONCE)]


def _views(
    network: "Network", clean: "Tensor", steps: Sequence[int], draws: int, seed: int
) -> "Iterator[tuple[Tensor, Tensor, Tensor]]":
    """Noisy images, what is to be said of them and their steps: the same noise for every image, another for each draw and step."""
    import torch

    for step in steps:
        at = torch.full((len(clean),), step, device=clean.device)
        source = generator(seed, step)
        for _ in range(draws):
            noise = torch.randn(clean.shape[1:], generator=source).to(clean.device).expand_as(clean)
            yield noisy(network, clean, noise, at), target(network, clean, noise), at


def sample(network: "Network", place: int, count: int, steps: int, source: "torch.Generator") -> "Tensor":
    """New inputs of a class ``[count, C, H, W]``, by DDIM, on the CPU.

    Args:
        network: The teacher.
        place: The class.
        count: How many.
        steps: Of the way from noise to image.
        source: Of the noise to begin with.
    """
    import torch

    own = network.params
    way, side = scheduler(own.space, own.prediction), own.side
    way.set_timesteps(steps)
    state = torch.randn((count, network.channels, side, side), generator=source).to(network.device)
    rows = torch.full((count,), place + 1, device=network.device)
    with torch.inference_mode(), fixed_kernels():
        for step in way.timesteps:
            at = torch.full((count,), int(step), device=network.device)
            predicted = network.walk(state, at, rows).predicted
            state = way.step(predicted, step, state).prev_sample
        made: Tensor = (state * network.fixed["scale"] + network.fixed["shift"]).cpu()
        return made
