"""What a training step of a method that reconstructs costs: milliseconds, images a second, peak memory of the device.

In both precisions. Images are noise, as no accuracy is meant: so weights may be random.

    python benchmarks/steps.py --method revdist --set features.backbone=wide_resnet50_2 --set features.weights=random
"""

import argparse
import time
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor

from evernorm.methods.reconstruction.base import ReconstructionLearner
from evernorm.methods.reconstruction.looked import inputs_of
from evernorm.methods.registry import learner_of
from evernorm.params.file import override, parse_params
from evernorm.params.model import default_params
from evernorm.reconstruction.network import Reconstructor


def main() -> None:
    """Print a line a precision."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--method", choices=("revdist", "recontrast", "uniad"), default="revdist")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--set", action="append", default=[], dest="settings", help="a parameter, key=value")
    options = parser.parse_args()
    settings = [f"method={options.method}", *options.settings]
    learner = learner_of(parse_params(override(default_params().model_dump(mode="json"), settings)))
    assert isinstance(learner, ReconstructionLearner)
    device, count = learner.backbone.device, learner.own.prompts.batch_size
    images = np.random.default_rng(0).integers(0, 256, (count, 300, 300, 3), np.uint8)
    started = time.perf_counter()
    seen = learner.look(list(images))
    looking = time.perf_counter() - started
    network = learner.network()
    batch = network.on_device(inputs_of(seen), slice(None))
    taken = sum(each.numel() * each.element_size() for each in batch.values()) / count
    trained = sum(each.numel() for each in network.values().values())
    print(f"{' '.join(settings)}: batches of {count} on {where(device)}")
    print(
        f"  {trained / 1e6:.1f} M values are trained; an image takes {taken / 1e6:.2f} MB; {looking:.2f} s for the first look"
    )
    for mixed in (True, False):
        milliseconds, peak = measured(network, learner, batch, options.steps, mixed)
        print(
            f"  {'bfloat16' if mixed else 'float32':8}  {milliseconds:8.1f} ms a step  {count / milliseconds * 1e3:8.0f} images/s"
            + (f"  {peak / 2**30:6.2f} GiB at the peak" if device.type == "cuda" else ""),
            flush=True,
        )


def measured(
    network: Reconstructor,
    learner: ReconstructionLearner,
    batch: dict[str, Tensor],
    steps: int,
    mixed: bool,
) -> tuple[float, int]:
    """Milliseconds of the median step and bytes at the peak, after a few steps that are not counted."""
    device, own = network.device, learner.own.prompts
    optimizer = torch.optim.AdamW(network.rates(own.learning_rate), weight_decay=own.weight_decay)
    network.parts.train()
    precision: AbstractContextManager[object] = (
        torch.autocast(device.type, torch.bfloat16) if mixed else nullcontext()
    )
    seconds = []
    for number in range(steps + 3):
        if number == 3 and device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        started = time.perf_counter()
        optimizer.zero_grad()
        with precision:
            loss = network.loss(batch, number / (steps + 3))
        loss.backward()
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - started)
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
    return float(np.median(seconds[3:])) * 1e3, peak


def where(device: torch.device) -> str:
    """The device's name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} cores"


if __name__ == "__main__":
    main()
