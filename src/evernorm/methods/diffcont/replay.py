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
from evernorm.types import Arrays, Doubles, Floats, Images, Indices

SHOWN = 16
"""Accepted and rejected samples of each class that are kept as pictures."""
_AT_ONCE = 50  # candidates a batch
_COLOURS = 3


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
        report: How it went: ``replay.tried`` and ``replay.accepted``, int64 ``[T]``, candidates of each class and those
            that passed the gate; ``replay.pictures``, uint8 ``[T, 2, k, H, W, 3]``, the first accepted and rejected
            ones, white where there are fewer. Nothing where the images themselves are shown.
    """

    inputs: Floats
    labels: Indices
    report: Arrays

    def arrays(self) -> Arrays:
        """By name."""
        return {"inputs": self.inputs, "labels": self.labels, **self.report}

    @classmethod
    def of(cls, arrays: Arrays) -> "Replay":
        """Undo `arrays`."""
        report = {name: value for name, value in arrays.items() if name.startswith("replay.")}
        return cls(arrays["inputs"], arrays["labels"], report)


def generate(teacher: Network, gate: Gate, seed: int) -> Replay:
    """Sample K inputs of each class that the teacher knows, by DDIM, until so many passed the gate.

    No more than `attempts` · K candidates: where fewer passed, the least outlying of the rejected make up for them
    (`Replay.report` tells how many there were).

    Args:
        teacher: The network after the class before.
        gate: What it knows of its classes.
        seed: Of the noise; that of the embeddings is the training's too.
    """
    own = teacher.params.replay
    chosen, tried, accepted, shown = list[Floats](), list[int](), list[int](), list[Floats]()
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
        shown += [inputs[within][:SHOWN], inputs[~within][:SHOWN]]
    labels = np.repeat(np.arange(teacher.classes), [len(each) for each in chosen])
    report: Arrays = {
        "replay.tried": np.array(tried),
        "replay.accepted": np.array(accepted),
        "replay.pictures": pictures(shown),
    }
    return Replay(np.concatenate(chosen), labels, report)


def remembered(inputs: Sequence[Floats]) -> Replay:
    """All inputs of each class before, ``[n, C, H, W]`` each, instead of samples: joint training."""
    labels = np.repeat(np.arange(len(inputs)), [len(each) for each in inputs])
    return Replay(np.concatenate(inputs), labels, {})


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


def pictures(groups: Sequence[Floats]) -> Images:
    """Inputs as small pictures: pixels as they are, features by their three principal components.

    Args:
        groups: 2 · T times at most k inputs ``[·, C, H, W]``.

    Returns:
        uint8 ``[T, 2, k, H, W, 3]``, white where a group has fewer.
    """
    values = [np.moveaxis(group, 1, -1).astype(np.float64) for group in groups]
    height, width, channels = values[0].shape[1:]
    if channels != _COLOURS:
        values = _principal(values)
    sheet = np.full((len(groups), SHOWN, height, width, _COLOURS), 255, np.uint8)
    for place, group in enumerate(values):
        sheet[place, : len(group)] = np.rint((np.clip(group, -1, 1) + 1) * 127.5)
    return sheet.reshape(-1, 2, *sheet.shape[1:])


def _principal(groups: Sequence[Doubles]) -> list[Doubles]:
    """``[·, H, W, C]`` each in three principal components of them all; nearly all values lie in [−1, 1]."""
    flat = np.concatenate([group.reshape(-1, group.shape[-1]) for group in groups])
    mean = flat.mean(axis=0)
    _, _, components = np.linalg.svd(np.cov((flat - mean).T))
    axes = components[:_COLOURS].T
    low, high = np.quantile((flat - mean) @ axes, [0.01, 0.99], axis=0)
    return [((group - mean) @ axes - low) / (high - low + 1e-12) * 2 - 1 for group in groups]
