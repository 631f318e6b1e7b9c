"""DiffCont: a diffusion model that evolves from class to class (section 3), beside its algorithm.

Algorithm 1, line by line: the teacher is what the class before carries, replay is generated and screened
(`replay.generate`), the student is trained on both (`training`, Eq. 1 to 7), mean and distances of the class are taken
in the whitened space (section 4.5) and the pipeline fits the Weibull tail to them (section 4.6). Inference: the head
names the class, its mean and tail judge. What the paper leaves open: docs/decisions/diffcont-readings.md.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from evernorm import checkpoint as checkpoints
from evernorm.alignment.encoding import encoding
from evernorm.calibration.evidence import Evidence
from evernorm.calibration.weibull import Calibration
from evernorm.errors import FitError
from evernorm.features.backbone import Backbone, choose_device
from evernorm.features.extract import collect
from evernorm.files import read_arrays, write_arrays
from evernorm.maps import highest
from evernorm.methods.ablation import Tables, Variant
from evernorm.methods.diffcont import space
from evernorm.methods.diffcont.detector import WORST, DiffContDetector, pooled
from evernorm.methods.diffcont.diffusion import embed, embeddings_amid_training, errors
from evernorm.methods.diffcont.network import PREFIX, Network
from evernorm.methods.diffcont.params import DiffContParams, Score, Shown, Space
from evernorm.methods.diffcont.replay import (
    Gate,
    Replay,
    followed,
    generate,
    remembered,
    squared_distances,
)
from evernorm.methods.diffcont.training import Training
from evernorm.methods.discriminant import covariance
from evernorm.methods.learner import NOTHING, ClassState, Eye, Learner, StateKind, Traits
from evernorm.methods.lesson import Lesson
from evernorm.methods.registry import learner
from evernorm.params.groups import Params
from evernorm.types import Arrays, Doubles, Floats, Indices, Progress
from evernorm.words import counted

if TYPE_CHECKING:
    import torch

    from evernorm.data.experience import Experience

_FEWEST = 2


@learner
class DiffCont(Learner):
    """Diffusion replay gated by Weibull tails."""

    name = "diffcont"
    group = DiffContParams
    traits = Traits(state=StateKind.CHAINED, trained=True)
    packages = ("diffusers",)
    extra = "diffusion"
    revisions: ClassVar[Mapping[str, int]] = {
        **Learner.revisions,
        **dict.fromkeys(("knowledge", "weibull", "evaluate"), 4),
        "prompts": 3,
    }

    @property
    def own(self) -> DiffContParams:
        """The method's group of parameters."""
        return self.params.own(DiffContParams)

    @cached_property
    def frozen(self) -> Backbone | None:
        """The backbone whose features are diffused; None where pixels are."""
        return self.backbone if self.own.prompts.space is Space.FEATURES else None

    @property
    def weights(self) -> str:
        """`Backbone.digest`; empty where pixels are diffused."""
        return self.frozen.digest if self.frozen else ""

    @property
    def engines(self) -> tuple[str, ...]:
        """The backbone's, where there is one."""
        return super().engines if self.frozen else ()

    @property
    def looks_back(self) -> bool:
        """In joint training alone."""
        return self.own.prompts.replay.kind is Shown.IMAGES

    @classmethod
    def sources(cls, params: Params) -> str:
        """The backbone's, where there is one."""
        features = params.own(DiffContParams).prompts.space is Space.FEATURES
        return super().sources(params) if features else ""

    def check(self) -> None:
        """Refuse sizes that make no network, and a machine without diffusers."""
        Network(space.channels(self.frozen), self.own.prompts, 1)

    def ablations(self) -> Tables:
        """Table 3 (epochs), Table 4 (tail), and what replay and its gate are good for."""
        prompts = "diffcont.prompts"
        return {
            "3": [Variant(counted(each, "epoch"), (f"{prompts}.epochs={each}",)) for each in (1, 100)],
            "4": [Variant(f"tail {each:.0%}", (f"weibull.tail_fraction={each}",)) for each in (0.05, 0.1)],
            "replay": [
                Variant("replay, gated"),
                Variant("replay, no gate", (f"{prompts}.replay.gate=1",)),
                Variant("no replay", (f"{prompts}.replay.kind=none",)),
                Variant("joint", (f"{prompts}.replay.kind=images",)),
            ],
        }

    # -- learning (Algorithm 1) ------------------------------------------------------------------------

    def train(
        self,
        lesson: Lesson,
        before: Arrays = NOTHING,
        *,
        checkpoint: Path | None = None,
        progress: Progress | None = None,
    ) -> Arrays:
        """Generate what is replayed, and train the student on it and on the class.

        Memory: what is diffused of the class and of K samples of each before, C · side² · 4 bytes each, on the device; in
        joint training that of all images of all classes.
        """
        own, inputs, seed = self.own.prompts, self.inputs_of(lesson), self.params.seed
        teacher, replayed = None, None
        if before:
            last = Network.of(before, own, self.device)
            student = last.grown(seed)
            if own.replay.kind is not Shown.NONE:
                teacher = last
                replayed = self._replayed(last, before, lesson.earlier, checkpoint)
        else:
            student = Network(inputs.shape[1], own, 1, seed).to(self.device)
            if own.space is Space.FEATURES:
                student.fixed |= _figures_of_channels(inputs, student)
        training = Training(student, teacher, inputs, replayed, seed)
        training.run(checkpoint, progress)
        if not before:
            self._whiten(student, inputs)
        learned = {**student.arrays(), **training.losses()}
        if teacher is None or replayed is None:
            return learned
        if own.replay.follow:
            learned["means"] = followed(before["means"], replayed, teacher, student, seed)
        return {**learned, **replayed.report}

    def _replayed(
        self, teacher: Network, before: Arrays, earlier: Sequence["Experience"], checkpoint: Path | None
    ) -> Replay:
        """Generated once a training, also where it was killed."""
        if self.own.prompts.replay.kind is Shown.IMAGES:
            return remembered([self.inputs_of(Lesson(each)) for each in earlier])
        stored = checkpoint and checkpoint / "replay.safetensors"
        if checkpoint and stored and stored.is_file():
            with checkpoints.restoring(checkpoint):
                return Replay.of(read_arrays(stored))
        replayed = generate(teacher, Gate(before["means"], before["tails"]), self.params.seed)
        if stored:
            write_arrays(stored, replayed.arrays())
        return replayed

    def remarks(self, trained: Arrays, earlier: Sequence[str]) -> list[str]:
        """Of which classes too few samples passed the gate."""
        if "replay.accepted" not in trained:
            return []
        wanted = self.own.prompts.replay.per_class
        return [
            f"{accepted} of {tried} samples of {name} passed the gate, {wanted} were wanted: the least outlying of the "
            "others are replayed as well"
            for name, accepted, tried in zip(
                earlier, trained["replay.accepted"], trained["replay.tried"], strict=True
            )
            if accepted < wanted
        ]

    def _whiten(self, student: Network, inputs: Floats) -> None:
        """Mean and deviation of the projector's channels in the first class, which no later class changes (section 4.5).

        Over all places, as the projector is the same at all, and as the training sees the images, at random steps:
        within one class and at one noise some places hardly vary, and would drown all others in the distances of the
        next.
        """
        import torch

        seen = embeddings_amid_training(student, inputs, self.params.seed)
        variance, mean = torch.var_mean(
            seen.reshape(len(seen), self.own.prompts.embedding, -1), dim=(0, 2), correction=0
        )
        student.fixed["mean"] = mean[:, None, None]
        student.fixed["std"] = variance.sqrt().clamp(min=1e-6)[:, None, None]

    def remember(
        self, lesson: Lesson, trained: Arrays, before: Arrays = NOTHING, *, progress: Progress | None = None
    ) -> tuple[Arrays, Evidence]:
        """The mean of the class's embeddings, and how far its images are from the mean of the others.

        Memory: the inputs of all images, n · C · side² · 4 bytes, and a batch of them in the network.
        """
        import torch

        inputs = self.inputs_of(lesson, progress)
        if len(inputs) <= _FEWEST:
            raise FitError(
                f"{len(inputs)} training images are too few for a mean and a tail; add normal images"
            )
        network = Network.of(trained, self.own.prompts, self.device)
        seen = torch.from_numpy(inputs)
        embeddings = embed(network, seen, self.params.seed).cpu().numpy()
        mean = embeddings.mean(axis=0)
        count = len(embeddings)
        left_out = squared_distances(embeddings, mean) * (count / (count - 1)) ** 2
        places = self.places(network, inputs, np.full(count, network.classes - 1))
        if self.own.knowledge.score is Score.EMBEDDING:
            scores, scale = left_out, _like(left_out, places)
        else:
            scores, scale = highest(places, WORST), np.array([1.0, 0.0])
        scaled = (places * scale[0] + scale[1]).astype(np.float32)
        spread = covariance(pooled(embeddings, self.own.prompts.embedding))
        entry = {"mean": mean, "covariance": spread, "map_scale": scale, "left_out": left_out}
        evidence = Evidence.of_maps(scores.astype(np.float32), scaled)
        return entry, self.shown(evidence, {"inputs": inputs})

    def carry(self, before: Arrays, trained: Arrays, entry: Arrays, calibration: Calibration) -> Arrays:
        """The network, what screens its samples, and the mean covariance of the classes."""
        network = {name: trained[name] for name in trained if name.startswith(PREFIX)}
        gate = Gate.after(before, trained, entry["mean"], self.gated(entry, calibration))
        spread, known = entry["covariance"], len(gate.means)
        if before:
            spread = (before["covariance"] * (known - 1) + spread) / np.float32(known)
        return {**network, **gate.arrays(), "covariance": spread}

    def gated(self, entry: Arrays, calibration: Calibration) -> Calibration:
        """The tail of the squared distances, whatever the images are judged by."""
        if self.own.knowledge.score is Score.EMBEDDING:
            return calibration
        return self.calibrate(Evidence(np.asarray(entry["left_out"], np.float32)[None]))

    # -- seeing ------------------------------------------------------------------------------------------

    @property
    def device(self) -> "torch.device":
        """Where the network runs."""
        return choose_device(self.params.features.device)

    def inputs_of(self, lesson: Lesson, progress: Progress | None = None) -> Floats:
        """What is diffused of a class, float32 ``[n, C, side, side]``."""
        images, size = lesson.experience, self.params.features.batch_size
        return collect(self.eye(NOTHING), images.read, len(images), size, progress=progress)["inputs"]

    def eye(self, trained: Arrays) -> Eye:
        """What is diffused, whatever the class."""
        return lambda images: {"inputs": space.inputs(images, self.own.prompts.side, self.frozen)}

    def encoded(self, arrays: Arrays) -> Floats | None:
        """What is diffused, averaged to fewer places."""
        return encoding(arrays["inputs"])

    def places(self, network: Network, inputs: Floats, labels: Indices) -> Floats:
        """How wrong the network is at each place, float32 ``[n, P]``."""
        import torch

        own = self.own.knowledge
        found = errors(
            network,
            torch.from_numpy(np.ascontiguousarray(inputs)),
            torch.from_numpy(labels),
            own.map_steps,
            own.map_draws,
            self.params.seed,
        )
        places: Floats = found.cpu().numpy()
        return places

    def assemble(self, states: Sequence[ClassState]) -> DiffContDetector:
        """The detector of these classes: the last network, and the mean of each."""
        return DiffContDetector(self, states)


def _figures_of_channels(inputs: Floats, network: Network) -> "dict[str, torch.Tensor]":
    """Mean of each channel ``[C, 1, 1]``, and one deviation for all.

    With its own, a channel that hardly varies in the first class would be all that is seen of the next.
    """
    import torch

    channels = torch.from_numpy(inputs).to(network.device)
    variance, mean = torch.var_mean(channels, dim=(0, 2, 3), correction=0)
    scale = variance.mean().sqrt().clamp(min=1e-6).expand_as(mean).clone()
    return {"shift": mean[:, None, None], "scale": scale[:, None, None]}


def _like(scores: Floats, places: Floats) -> Doubles:
    """Factor and summand that give the worst place of the training images the mean and deviation of their scores.

    So a place alone is as odd as an image whose score has that value, and one threshold serves both.
    """
    highest = places.max(axis=1)
    factor = float(scores.std()) / max(float(highest.std()), 1e-12)
    return np.array([factor, float(scores.mean()) - factor * float(highest.mean())])
