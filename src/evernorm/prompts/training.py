"""Training what adapts a frozen backbone to one class, on its normal images.

Nothing but the trainee's values gets a gradient, all in full precision. What lies before the first prompted block
is computed once and kept, so an epoch is the forward and backward passes from there and little else. After every
epoch the state can be stored, and a run that was killed goes on from it with the same result.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from evernorm import checkpoint as checkpoints
from evernorm.errors import FitError
from evernorm.features.extract import collect
from evernorm.prompts.params import PromptParams, Stopping
from evernorm.prompts.prompted import Begun, PromptedBackbone
from evernorm.prompts.trainee import Trainee
from evernorm.repeatable import deterministic
from evernorm.types import Arrays, Floats, Image, Indices, Progress, Read

if TYPE_CHECKING:
    from torch import Tensor


COMPARED = 32
"""Training images that held-out ones are compared with, to tell when to stop."""
_SAMPLE = 2048  # patches of them
_LEAST_HELD_OUT = 2


@dataclass
class History:
    """What happened in each epoch.

    Attributes:
        loss: Mean training loss of each epoch.
        terms: The same of each of its terms by name, where there are several.
        held_out: Criterion on held-out images before the first epoch and after each; empty for `last`.
        kept: Epochs of training in the values that are kept; 0: those it began with.
    """

    loss: list[float] = field(default_factory=list)
    held_out: list[float] = field(default_factory=list)
    kept: int = 0
    terms: dict[str, list[float]] = field(default_factory=dict)

    def arrays(self) -> Arrays:
        """By name, as they are stored with what was trained."""
        return {
            "history.loss": np.array(self.loss, np.float64),
            "history.held_out": np.array(self.held_out, np.float64),
            "history.kept": np.array([self.kept], np.int64),
            **{f"history.loss.{name}": np.array(each, np.float64) for name, each in self.terms.items()},
        }


def train(
    trainee: Trainee,
    read: Read,
    count: int,
    seed: int,
    *,
    at_once: int = 4,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> tuple[Arrays, History]:
    """Train for one class; `PromptedBackbone.params` of the trainee's network say how.

    Memory: the state of every image at the first prompted block (`extract.collect`), and the graph of `at_once`
    images, with several arrays of P² values each for the loss.

    Args:
        trainee: What to train.
        read: Image number → uint8 ``[H, W, 3]``.
        count: Images.
        seed: Order of the images, choice of the held-out ones.
        at_once: Images a pass; changes speed, and results only in the last bits.
        checkpoint: A folder for the state after each epoch; what is there is continued.
        progress: Called with (epochs done, epochs in all).

    Returns:
        The values by name, and how they came about.

    Raises:
        FitError: Too few images.
        TrainingError: A loss or gradient that is no number any more.
        StateError: The checkpoint is damaged, or belongs to another training.
    """
    training = _Training(trainee, read, count, seed, at_once)
    epochs = trainee.network.params.epochs
    if checkpoint is not None:
        training.restore(checkpoint)
    for epoch in range(len(training.history.loss), epochs):
        if training.exhausted:
            break
        with deterministic():
            training.run_epoch(epoch)
        if checkpoint is not None:
            training.store(checkpoint)
        if progress:
            progress(epoch + 1, epochs)
    return training.best, training.history


def count_held_out(params: PromptParams, count: int) -> int:
    """How many of so many training images are held out, to tell when to stop."""
    return 0 if params.stopping is Stopping.LAST else max(_LEAST_HELD_OUT, round(params.held_out * count))


class _Training:
    """The state between epochs: the values, Adam's moments, history, the best values so far."""

    def __init__(self, trainee: Trainee, read: Read, count: int, seed: int, at_once: int) -> None:
        import torch

        self.trainee, self.params, self.values = trainee, trainee.network.params, trainee.values
        self.seed, self.at_once = seed, at_once
        self.states = _Cache(trainee.network, read, count, at_once)
        self.train, self.held_out = self._split(count)
        self.optimizer = torch.optim.Adam(self.values.values(), lr=self.params.learning_rate)
        self.history = History()
        self.best = self._snapshot()
        if len(self.held_out):
            self.history.held_out.append(self._criterion())

    @property
    def exhausted(self) -> bool:
        """Whether held-out images have not gained for `patience` epochs."""
        waited = len(self.history.loss) - self.history.kept
        return len(self.held_out) > 0 and waited >= self.params.patience

    def run_epoch(self, epoch: int) -> None:
        """One pass over the training images, in an order drawn from seed and epoch."""
        import torch

        order = np.random.default_rng([self.seed, epoch]).permutation(self.train)
        total, totals = 0.0, dict[str, float]()
        for start in range(0, len(order), self.params.batch_size):
            chosen = order[start : start + self.params.batch_size]
            self.optimizer.zero_grad()
            # The gradient of a batch is the sum of its parts' gradients; small passes suit a CPU's cache.
            for part in _parts(chosen, self.at_once):
                terms = self._terms(part)
                loss = _sum(terms)
                total += self._finite("loss", loss, epoch) * len(part)
                for name, term in terms.items():
                    totals[name] = totals.get(name, 0.0) + term.item() * len(part)
                (loss * (len(part) / len(chosen))).backward()  # type: ignore[no-untyped-call]
            norm = torch.nn.utils.clip_grad_norm_(self.values.values(), self.params.clip)
            self._finite("gradient", norm, epoch)
            self.optimizer.step()
        self.history.loss.append(total / len(order))
        if len(totals) > 1:
            for name, each in totals.items():
                self.history.terms.setdefault(name, []).append(each / len(order))
        if not len(self.held_out):
            self._keep(epoch + 1)
            return
        value = self._criterion()
        if value < min(self.history.held_out):
            self._keep(epoch + 1)
        self.history.held_out.append(value)

    def _finite(self, what: str, value: "Tensor", epoch: int) -> float:
        cure = (
            f"lower the prompts' learning_rate ({self.params.learning_rate:g}) or raise the temperature "
            f"({self.params.temperature:g})"
        )
        return checkpoints.finite(what, value, epoch, cure)

    def store(self, folder: Path) -> None:
        """Write the state."""
        best = {f"best.{name}": value for name, value in self.best.items()}
        checkpoints.store(folder, vars(self.history), self.values, self.optimizer, best)

    def restore(self, folder: Path) -> None:
        """Go on from what `store` wrote, if anything."""
        if not checkpoints.is_stored(folder):
            return
        with checkpoints.restoring(folder):
            history, arrays = checkpoints.restore(folder, self.values, self.optimizer)
            self.history = History(**history)
            self.best = checkpoints.named("best", arrays, self.values)

    def _split(self, count: int) -> tuple[Indices, Indices]:
        held_out = count_held_out(self.params, count)
        if not held_out:
            return np.arange(count), np.arange(0)
        if count - held_out < 1:
            raise FitError(
                f"{count} training images are too few to hold {held_out} of them out; set the prompts' stopping to last"
            )
        shuffled = np.random.default_rng([self.seed, count]).permutation(count)
        return np.sort(shuffled[held_out:]), np.sort(shuffled[:held_out])

    def _terms(self, chosen: Indices) -> "dict[str, Tensor]":
        return self.trainee.terms(chosen, self.states.batch(chosen))

    def _features(self, chosen: Indices) -> "Tensor":
        return self.trainee.features(self.states.batch(chosen))

    def _criterion(self) -> float:
        """The lower, the better the values do on held-out normal images."""
        import torch

        held_out = _parts(self.held_out, self.at_once)
        with torch.no_grad():
            if self.params.stopping is Stopping.LOSS:
                losses = [_sum(self._terms(part)).item() * len(part) for part in held_out]
                return sum(losses) / len(self.held_out)
            images = np.random.default_rng([self.seed, 0]).permutation(self.train)[:COMPARED]
            seen = torch.cat([self._features(part).flatten(0, 1) for part in _parts(images, self.at_once)])
            seen = seen[np.random.default_rng([self.seed, 1]).permutation(len(seen))[:_SAMPLE]]
            nearest, spread = 0.0, 0.0
            for part in held_out:
                distances = torch.cdist(self._features(part).flatten(0, 1), seen)
                nearest += distances.min(dim=1).values.sum().item()
                spread += distances.mean(dim=1).sum().item()
            return nearest / spread

    def _keep(self, epochs: int) -> None:
        self.best, self.history.kept = self._snapshot(), epochs

    def _snapshot(self) -> dict[str, Floats]:
        return {name: value.detach().cpu().numpy().copy() for name, value in self.values.items()}


def _sum(terms: "dict[str, Tensor]") -> "Tensor":
    first, *others = terms.values()
    return sum(others, first)


def _parts(images: Indices, size: int) -> list[Indices]:
    return [images[start : start + size] for start in range(0, len(images), size)]


class _Cache:
    """What the images are at the first prompted block, computed once."""

    def __init__(self, network: PromptedBackbone, read: Read, count: int, at_once: int) -> None:
        self._device = network.backbone.device
        self._levels: list[int] = []

        def see(images: list[Image]) -> dict[str, Floats]:
            import torch

            with torch.inference_mode():
                begun = network.enter(network.backbone.inputs(images))
            self._levels = list(begun.levels)
            levels = {str(level): part.cpu().numpy() for level, part in begun.levels.items()}
            return {"state": begun.state.cpu().numpy(), **levels}

        self._arrays = collect(see, read, count, at_once)

    def batch(self, chosen: Indices) -> Begun:
        """The images chosen."""
        import torch

        state, *levels = (torch.from_numpy(array[chosen]).to(self._device) for array in self._arrays.values())
        return Begun(state, dict(zip(self._levels, levels, strict=True)))
