"""Training a network that reconstructs features on a class and on what is shown of those before.

The training is cut into rounds. After each the state can be stored, and a run that was killed goes on from it with the
same result: which images a step sees depends on the seed and its number alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from evernorm import checkpoint as checkpoints
from evernorm.errors import MachineError
from evernorm.reconstruction.network import Reconstructor
from evernorm.reconstruction.params import Precision, ReconstructionPrompts
from evernorm.repeatable import deterministic
from evernorm.types import Arrays, Indices, Progress

if TYPE_CHECKING:
    from torch import Tensor

_ROUNDS = 20


@dataclass(frozen=True)
class Material:
    """What a training sees.

    Attributes:
        fresh: What the encoder gives of the images that are to be learned, by name ``[n, …]``.
        kept: The same of images of classes before, of which half a batch is made; None where there are none.
        steps: How many steps.
        seeds: Of what is drawn.
    """

    fresh: Arrays
    kept: Arrays | None
    steps: int
    seeds: Sequence[int]


class Training:
    """The state between rounds: values, AdamW's moments, what normalisations counted, the losses so far.

    Raises:
        MachineError: Steps in bfloat16 are asked of a processor that has no arithmetic for it.
    """

    def __init__(self, network: Reconstructor, material: Material, params: ReconstructionPrompts) -> None:
        import torch

        self.network, self.material, self.params = network, material, params
        self.mixed = params.precision is Precision.BFLOAT16
        if self.mixed and network.device.type == "cpu":
            _check_processor()
        self.values = network.values()
        groups = network.rates(params.learning_rate)
        self.optimizer = torch.optim.AdamW(groups, weight_decay=params.weight_decay)
        self.losses: list[float] = []

    def run(self, checkpoint: Path | None, progress: Progress | None) -> None:
        """Train to the last round.

        Raises:
            TrainingError: A loss that is no number any more.
            StateError: The checkpoint is damaged, or belongs to another training.
        """
        if checkpoint is not None and checkpoints.is_stored(checkpoint):
            self._restore(checkpoint)
        rounds = np.array_split(np.arange(self.material.steps), min(_ROUNDS, self.material.steps))
        for number in range(len(self.losses), len(rounds)):
            self._round(rounds[number])
            if checkpoint is not None:
                counted = {
                    f"counted.{name}": each.cpu().numpy() for name, each in self.network.counted().items()
                }
                checkpoints.store(checkpoint, {"loss": self.losses}, self.values, self.optimizer, counted)
            if progress:
                progress(number + 1, len(rounds))
        self.network.parts.eval().requires_grad_(False)

    @deterministic()
    def _round(self, steps: Indices) -> None:
        import torch

        total, device = 0.0, self.network.device
        for step in steps:
            self.network.parts.train()
            self.optimizer.zero_grad()
            with (
                torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
                torch.autocast(device.type, torch.bfloat16, enabled=self.mixed),
            ):
                torch.manual_seed(int(self._rng(step).integers(2**31)))  # of what the loss draws
                loss = self.network.loss(self._batch(int(step)), float(step) / self.material.steps)
            cure = f"lower the prompts' learning_rate ({self.params.learning_rate:g})"
            total += checkpoints.finite("loss", loss, len(self.losses), cure)
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
        self.losses.append(total / len(steps))

    def _batch(self, step: int) -> "dict[str, Tensor]":
        """Images drawn anew at each step: where any are kept, half of them are."""
        import torch

        rng = self._rng(step)
        groups = [self.material.fresh] + ([self.material.kept] if self.material.kept else [])
        parts = []
        for group in groups:
            count, wanted = len(next(iter(group.values()))), self.params.batch_size // len(groups)
            chosen = rng.choice(count, wanted, replace=count < wanted)
            parts.append(self.network.on_device(group, np.sort(chosen)))
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def _rng(self, step: int) -> np.random.Generator:
        return np.random.default_rng([*self.material.seeds, step])

    def _restore(self, folder: Path) -> None:
        import torch

        with checkpoints.restoring(folder):
            history, arrays = checkpoints.restore(folder, self.values, self.optimizer)
            counted = self.network.counted()
            for name, stored in checkpoints.named("counted", arrays, counted).items():
                counted[name].copy_(torch.from_numpy(np.array(stored)))
            self.losses = list(history["loss"])


def _check_processor() -> None:
    import torch

    able = torch.cpu.get_capabilities()
    if able["architecture"] == "x86_64" and not (able["avx512_bf16"] or able["amx_bf16"]):
        raise MachineError(
            f"prompts.precision is bfloat16, for which this processor ({able['cpu_name']}) has no arithmetic: a step would "
            "take many times as long as in float32; set it to float32, or train on a GPU"
        )
