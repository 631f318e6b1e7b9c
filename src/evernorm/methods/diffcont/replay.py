"""What is replayed of the classes before: samples of the frozen teacher, screened by Weibull tails (section 4.7).

No image of an earlier class is read: all that is known of one is its row in the teacher, its mean and its tail.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evernorm.calibration.evt import WeibullTail
from evernorm.calibration.weibull import Calibration
from evernorm.methods.diffcont.diffusion import embed, generator, sample
from evernorm.methods.diffcont.network import Network
from evernorm.types import Arrays, Doubles, Floats, Indices

SHOWN = 16
"""Accepted and rejected samples of each class that are kept for a picture."""
_AT_ONCE = 50  # candidates a batch
_REPLAYED = ("replay.inputs", "replay.labels")


@dataclass(frozen=True)
class Gate:
    """How far from its mean a class's embeddings are, for each class in the order of arrival.

    Attributes:
        means: float32 ``[T, d]``.
        tails: float64 ``[T, 4]``: unit, scale, shape and minimum of the Weibull tail of the squared distances.
    """

    means: Floats
    tails: Doubles

    def probability(self, place: int, embeddings: Floats) -> Doubles:
        """Outlier probability ``[n]`` of embeddings ``[n, d]`` in a class (section 3.2, on squared distances)."""
        unit, scale, shape, minimum = self.tails[place]
        tail = WeibullTail(scale, shape, minimum, 0)
        return tail.w_score(squared_distances(embeddings, self.means[place]) / unit)

    def arrays(self) -> Arrays:
        """By name."""
        return {"means": self.means, "tails": self.tails}

    @classmethod
    def after(cls, before: Arrays, trained: Arrays, mean: Floats, calibration: Calibration) -> "Gate":
        """With one class more; the means of those before where `trained` has them, if it moved them."""
        reading = calibration.steps[0]
        tail = np.array([reading.unit, reading.tail.scale, reading.tail.shape, reading.tail.minimum])
        means, tails = [mean[None]], [tail[None]]
        if "means" in before:
            moved = trained.get("means", before["means"])
            means, tails = [moved, *means], [before["tails"], *tails]
        return cls(np.concatenate(means), np.concatenate(tails))


@dataclass(frozen=True)
class Replay:
    """What is replayed.

    Attributes:
        inputs: float32 ``[m, C, H, W]``.
        labels: int64 ``[m]``, the class of each.
        tried: int64 ``[T]``, candidates of each class.
        accepted: int64 ``[T]``, those that passed the gate.
        shown: float32 ``[T, 2, k, C, H, W]``, the accepted and the rejected that are looked at; zeros where there are
            fewer.
    """

    inputs: Floats
    labels: Indices
    tried: Indices
    accepted: Indices
    shown: Floats

    def arrays(self) -> Arrays:
        """By name."""
        return {f"replay.{name}": value for name, value in vars(self).items()}

    def report(self) -> Arrays:
        """How it went, by name, without what is replayed."""
        return {name: value for name, value in self.arrays().items() if name not in _REPLAYED}

    @classmethod
    def of(cls, arrays: Arrays) -> "Replay":
        """Undo `arrays`."""
        return cls(
            **{name.removeprefix("replay."): arrays[name] for name in arrays if name.startswith("replay.")}
        )


def generate(teacher: Network, gate: Gate, seed: int) -> Replay:
    """Sample K inputs of each class that the teacher knows, by DDIM, until so many passed the gate.

    No more than `attempts` · K candidates: where fewer passed, the least outlying of the rejected make up for them
    (`Replay.accepted` tells how many there were).

    Args:
        teacher: The network after the class before.
        gate: What it knows of its classes.
        seed: Of the noise; that of the embeddings is the training's too.
    """
    own = teacher.params.replay
    chosen, tried, accepted, shown = [], [], [], []
    for place in range(teacher.classes):
        source = generator(seed, teacher.classes, place)
        made: list[Floats] = []
        outlying: list[Doubles] = []
        limit, passed = own.per_class * own.attempts, 0
        while passed < own.per_class and (count := sum(map(len, made))) < limit:
            size = min(_AT_ONCE, own.per_class - passed, limit - count)
            batch = sample(teacher, place, size, own.steps, source)
            made.append(batch.numpy())
            outlying.append(gate.probability(place, embed(teacher, batch, seed).cpu().numpy()))
            passed += int((outlying[-1] <= own.gate).sum())
        inputs, probability = np.concatenate(made), np.concatenate(outlying)
        within = probability <= own.gate
        # Accepted in the order in which they were drawn, then the others, the least outlying first.
        order = np.lexsort((np.where(within, 0, probability), ~within))
        chosen.append(inputs[order[: own.per_class]])
        tried.append(len(inputs))
        accepted.append(passed)
        shown.append(np.stack([_first(inputs[within]), _first(inputs[~within])]))
    labels = np.repeat(np.arange(teacher.classes), [len(each) for each in chosen])
    return Replay(np.concatenate(chosen), labels, np.array(tried), np.array(accepted), np.stack(shown))


def remembered(inputs: Sequence[Floats]) -> Replay:
    """All inputs of each class before, ``[n, C, H, W]`` each, as if they were samples that passed: joint training."""
    counts = np.array([len(each) for each in inputs])
    shown = np.stack([np.stack([_first(each), _first(each[:0])]) for each in inputs])
    return Replay(np.concatenate(inputs), np.repeat(np.arange(len(inputs)), counts), counts, counts, shown)


def followed(means: Floats, replay: Replay, teacher: Network, student: Network, seed: int) -> Floats:
    """Means ``[T, d]`` moved as the embeddings of their classes' samples were, from the teacher's to the student's.

    Semantic drift compensation (Yu et al., 2020): a network that goes on learning embeds the old classes elsewhere.
    """
    import torch

    inputs = torch.from_numpy(replay.inputs)
    moved = (embed(student, inputs, seed) - embed(teacher, inputs, seed)).cpu().numpy()
    return np.stack([mean + moved[replay.labels == place].mean(axis=0) for place, mean in enumerate(means)])


def squared_distances(embeddings: Floats, mean: Floats) -> Floats:
    """‖z − μ‖² of embeddings ``[n, d]`` to one mean ``[d]`` or one each ``[n, d]``: float32 ``[n]`` (section 3.1)."""
    distances: Floats = np.square(embeddings - mean, dtype=np.float32).sum(axis=1)
    return distances


def _first(inputs: Floats) -> Floats:
    padded = np.zeros((SHOWN, *inputs.shape[1:]), np.float32)
    padded[: len(inputs)] = inputs[:SHOWN]
    return padded
