"""Training DiffCont's network on a class and on what is replayed of those before (sections 3.5 and 4.8).

After every epoch the state can be stored, and a run that was killed goes on from it with the same result: whatever is
drawn in an epoch depends on the seed and its number alone.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from evernorm import checkpoint as checkpoints
from evernorm.methods.diffcont import losses
from evernorm.methods.diffcont.diffusion import STEPS, generator, noisy, target
from evernorm.methods.diffcont.network import NO_CLASS, Network
from evernorm.methods.diffcont.replay import Replay
from evernorm.repeatable import deterministic
from evernorm.types import Arrays, Floats, Indices, Progress

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_CLIP = 1.0  # largest norm of the gradient
_WARM_UP = 100  # steps, at most half of all; Adam's first are of full length whatever the gradient, and would leave the teacher at once


class Training:
    """The state between epochs: the student's values, Adam's moments, their moving average, the losses so far.

    Args:
        student: What to train; its last class is the one that is learned.
        teacher: The network before; None for the first class, and where nothing is replayed.
        inputs: float32 ``[n, C, H, W]``, the normal images of the class.
        replay: Of the classes before; None where nothing is replayed.
        seed: Of everything that is drawn.
    """

    def __init__(
        self, student: Network, teacher: Network | None, inputs: Floats, replay: Replay | None, seed: int
    ) -> None:
        import torch

        self.student, self.teacher, self.seed = student, teacher, seed
        self.params = student.params
        labels = np.full(len(inputs), student.classes - 1)
        # The new images first; only what is replayed is known to the teacher.
        self.fresh = len(inputs)
        if replay is not None:
            inputs, labels = np.concatenate([inputs, replay.inputs]), np.concatenate([labels, replay.labels])
        self.labels = torch.from_numpy(labels)
        self.clean = student.standardise(torch.from_numpy(inputs).to(student.device))
        self.values = student.parameters()
        self.optimizer = torch.optim.Adam(self.values.values(), lr=self.params.learning_rate)
        averaged = self.values if self.params.ema else {}
        self.average = {name: value.detach().clone() for name, value in averaged.items()}
        self.history: dict[str, list[float]] = {}

    @property
    def epochs(self) -> int:
        """How many are done."""
        return len(self.history.get("loss", []))

    def run(self, checkpoint: Path | None, progress: Progress | None) -> None:
        """Train to the last epoch, and leave the student with the values that are kept.

        Raises:
            TrainingError: A loss or gradient that is no number any more.
            StateError: The checkpoint is damaged, or belongs to another training.
        """
        import torch

        if checkpoint is not None:
            self.restore(checkpoint)
        self.student.parts.train()
        for epoch in range(self.epochs, self.params.epochs):
            self.run_epoch(epoch)
            if checkpoint is not None:
                self.store(checkpoint)
            if progress:
                progress(epoch + 1, self.params.epochs)
        self.student.parts.eval().requires_grad_(False)
        with torch.no_grad():
            for name, value in self.average.items():
                self.values[name].copy_(value)

    @deterministic()
    def run_epoch(self, epoch: int) -> None:
        """One pass over the images of the class, as many replayed ones beside them."""
        import torch

        sums: dict[str, float] = {}
        batches = self._batches(epoch)
        source = generator(self.seed, self.student.classes, epoch)
        warm_up = min(_WARM_UP, -(-self.params.epochs * len(batches) // 2))
        for place, batch in enumerate(batches):
            self.optimizer.zero_grad()
            device = self.student.device
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                terms = self._terms(batch, source)
                loss = losses.total(terms, self.params.weights.model_dump())
            sums["loss"] = sums.get("loss", 0.0) + self._finite("loss", loss, epoch)
            for name, term in terms.items():
                sums[name] = sums.get(name, 0.0) + term.item()
            loss.backward()  # type: ignore[no-untyped-call]
            norm = torch.nn.utils.clip_grad_norm_(self.values.values(), _CLIP)
            self._finite("gradient", norm, epoch)
            step = epoch * len(batches) + place
            self.optimizer.param_groups[0]["lr"] = self.params.learning_rate * min(1, (step + 1) / warm_up)
            self.optimizer.step()
            self._follow(step)
        for name, total in sums.items():
            self.history.setdefault(name, []).append(total / len(batches))

    def _follow(self, step: int) -> None:
        """Move the average towards the values; less of the first ones stays in it than its decay would keep."""
        import torch

        decay = min(self.params.ema, (1 + step) / (10 + step))
        with torch.no_grad():
            for name, value in self.average.items():
                value.lerp_(self.values[name], 1 - decay)

    def _batches(self, epoch: int) -> "list[Indices]":
        """Image numbers of each batch: half of them new, half replayed, where anything is.

        A class of few images is seen more often in an epoch: as many times as K images would be.
        """
        rng = np.random.default_rng([self.seed, self.student.classes, epoch])
        shown = max(self.fresh, self.params.replay.per_class)
        fresh = np.resize(rng.permutation(self.fresh), shown)
        replayed = np.arange(self.fresh, len(self.clean))
        half = self.params.batch_size if not len(replayed) else self.params.batch_size // 2
        batches = [fresh[start : start + half] for start in range(0, shown, half)]
        if not len(replayed):
            return batches
        drawn = np.resize(rng.permutation(replayed), shown)
        return [
            np.concatenate([batch, drawn[place * half : place * half + len(batch)]])
            for place, batch in enumerate(batches)
        ]

    def _terms(self, batch: Indices, source: "torch.Generator") -> "dict[str, Tensor]":
        """The terms of Eq. 7 that apply.

        Every other image is told no class: those are embedded, classified and pulled together, and stay where the
        teacher has them, the new ones too ("ensure that this latent space stays fixed"). All else that the teacher knows is
        asked of what is replayed alone.
        """
        import torch

        network, device = self.student, self.student.device
        clean, labels = self.clean[batch], self.labels[batch].to(device)
        steps = torch.randint(STEPS, (len(batch),), generator=source).to(device)
        noise = torch.randn(clean.shape, generator=source).to(device)
        mixed = noisy(network, clean, noise, steps)
        untold = torch.arange(len(batch), device=device) % 2 == 0
        rows = torch.where(untold, NO_CLASS, labels + 1)
        seen = network.walk(mixed, steps, rows)
        aim = target(network, clean, noise)
        terms = {"denoising": losses.denoising(aim, seen.predicted)}
        if network.classes > 1:
            terms["classifier"] = losses.classifier(seen.logits[untold], labels[untold])
            terms["center"] = losses.center(seen.embeddings[untold], labels[untold])
        if self.teacher is not None:
            known = labels < self.teacher.classes
            asked = known | untold
            with torch.no_grad():
                taught = self.teacher.walk(mixed[asked], steps[asked], rows[asked])
            known_of, untold_of = known[asked], untold[asked]
            terms["align"] = losses.align(taught.embeddings[untold_of], seen.embeddings[untold])
            if known.any():
                terms["noise"] = losses.distil_noise(taught.predicted[known_of], seen.predicted[known])
            if (both := known & untold).any():
                terms["distill"] = losses.distil_classifier(taught.logits[both[asked]], seen.logits[both])
        return terms

    def _finite(self, what: str, value: "Tensor", epoch: int) -> float:
        cure = f"lower diffcont.prompts.learning_rate ({self.params.learning_rate:g})"
        return checkpoints.finite(what, value, epoch, cure)

    def store(self, folder: Path) -> None:
        """Write the state."""
        average = {f"average.{name}": value.cpu().numpy() for name, value in self.average.items()}
        checkpoints.store(folder, self.history, self.values, self.optimizer, average)

    def restore(self, folder: Path) -> None:
        """Go on from what `store` wrote, if anything."""
        import torch

        if not checkpoints.is_stored(folder):
            return
        with checkpoints.restoring(folder):
            self.history, arrays = checkpoints.restore(folder, self.values, self.optimizer)
            average = checkpoints.named("average", arrays, self.average)
            self.average = {
                name: torch.from_numpy(value).to(self.student.device) for name, value in average.items()
            }

    def losses(self) -> Arrays:
        """The loss of each epoch and its terms, as they are stored with what was trained."""
        return {
            "history.loss" if name == "loss" else f"history.loss.{name}": np.array(each, np.float64)
            for name, each in self.history.items()
        } | {"history.held_out": np.empty(0), "history.kept": np.array([self.epochs])}
