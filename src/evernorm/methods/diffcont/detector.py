"""Judging by the network of the last class: the head names the class, its mean and what is denoised badly judge."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from evernorm.errors import StateError
from evernorm.maps import anomaly_map, highest
from evernorm.methods.detector import Detector, Found, Seen
from evernorm.methods.diffcont.diffusion import embed
from evernorm.methods.diffcont.network import PREFIX, Network
from evernorm.methods.diffcont.params import Naming, Score
from evernorm.methods.diffcont.replay import squared_distances
from evernorm.methods.discriminant import Discriminants
from evernorm.methods.learner import NOTHING, ClassState
from evernorm.types import Arrays, Doubles, Floats, Image, Indices

if TYPE_CHECKING:
    import torch

    from evernorm.methods.diffcont.diffcont import DiffCont

WORST = 0.01  # share of the places whose errors are an image's score


class DiffContDetector(Detector):
    """The head names the class, the distance to its mean is the score, the denoising error is the map."""

    learner: "DiffCont"

    def __init__(self, learner: "DiffCont", states: Sequence[ClassState]) -> None:
        super().__init__(learner, states)
        if not states:
            return
        self.network = Network.of(states[-1].carry, learner.own.prompts, learner.device)
        self.means = np.asarray(states[-1].carry["means"])
        covariance = np.asarray(states[-1].carry["covariance"])
        self.discriminants = Discriminants(pooled(self.means, len(covariance)), covariance)
        self.map_scales = np.stack([state.entry["map_scale"] for state in states])
        known = (self.network.classes, self.network.dim)
        if known != (len(states), self.network.dim) or known != self.means.shape:
            raise StateError(
                f"the network knows {known[0]} classes and embeds in {known[1]} columns, the bank holds {len(states)} "
                f"and means of shape {self.means.shape}; learn the classes again"
            )

    @property
    def bytes_by_class(self) -> dict[str, int]:
        """Bytes of mean, class embedding, row of the head and tail."""
        return {
            state.name: mean.nbytes + self._row for state, mean in zip(self.states, self.means, strict=True)
        }

    @property
    def _row(self) -> int:
        state = self.states[-1].carry
        rows = ("unet.class_embedding.weight", "head.weight", "head.bias")
        return sum(int(state[f"{PREFIX}{name}"][0].nbytes) for name in rows) + int(state["tails"][0].nbytes)

    @property
    def shared_bytes(self) -> int:
        """Bytes of the network but for what is a class's own."""
        if not self.states:
            return 0
        state = self.states[-1].carry
        whole = sum(int(state[name].nbytes) for name in state if name != "means")
        return whole - len(self.states) * self._row

    def kept(self) -> list[ClassState]:
        """The last network alone: what was trained before is in it, and so are the means and covariances."""
        last = len(self.states) - 1
        return [
            replace(
                state,
                entry={"map_scale": state.entry["map_scale"]},
                trained={},
                carry=dict(state.carry) if place == last else {},
            )
            for place, state in enumerate(self.states)
        ]

    def see(self, images: Sequence[Image]) -> Seen:
        """What is diffused."""
        return Seen(self.learner.eye(NOTHING)(list(images)))

    def find(self, seen: Seen, given: Indices | None, hints: Arrays) -> Found:
        """Name the class, measure the distance to its mean."""
        import torch

        inputs = np.ascontiguousarray(seen.arrays["inputs"])
        embedded = embed(self.network, torch.from_numpy(inputs), self.learner.params.seed)
        place = given
        if place is None:
            place = self._named(embedded)
        errors = self.learner.places(self.network, inputs, place)
        if self.learner.own.knowledge.score is Score.EMBEDDING:
            raw = squared_distances(embedded.cpu().numpy(), self.means[place])
        else:
            raw = highest(errors, WORST)
        scale = self.map_scales[place]
        patches = (errors * scale[:, :1] + scale[:, 1:]).astype(np.float32)
        return Found(place, raw.astype(np.float32), patches, np.zeros(len(place), np.bool_))

    def _named(self, embedded: "torch.Tensor") -> Indices:
        import torch

        if self.learner.own.evaluate.routing is Naming.LDA:
            return self.discriminants.nearest(
                pooled(embedded.cpu().numpy(), self.learner.own.prompts.embedding)
            )
        with torch.inference_mode():
            place: Indices = self.network.classify(embedded).argmax(dim=1).cpu().numpy()
        return place

    def _draw(self, patches: Floats, shape: tuple[int, int]) -> Floats:
        side = self.learner.own.prompts.side
        return anomaly_map(patches, (side, side), self.learner.params.features.image_size, shape)


def pooled(embeddings: Floats, channels: int) -> Doubles:
    """Embeddings ``[n, channels · places]`` averaged over their places ``[n, channels]``: few images tell their covariance."""
    mean: Doubles = embeddings.reshape(len(embeddings), channels, -1).mean(axis=2, dtype=np.float64)
    return mean
