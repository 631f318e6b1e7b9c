"""Judging by how badly features are reconstructed."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from evernorm.maps import anomaly_map, highest
from evernorm.methods.detector import Detector, Found, Seen
from evernorm.methods.discriminant import Discriminants
from evernorm.methods.learner import NOTHING, ClassState
from evernorm.methods.reconstruction.looked import POOLED, inputs_of
from evernorm.reconstruction.network import PREFIX, Reconstructor
from evernorm.reconstruction.params import Continual
from evernorm.types import Arrays, Floats, Image, Indices

if TYPE_CHECKING:
    from evernorm.methods.reconstruction.base import ReconstructionLearner


class ReconstructionDetector(Detector):
    """The pooled features name the class; the places that are reconstructed worst are the score.

    Scores of a class are divided by how much they have grown since it was calibrated.
    """

    learner: "ReconstructionLearner"

    @cached_property
    def networks(self) -> Mapping[int, Reconstructor]:
        """By place of the class: one for all, or one each."""
        if self._separate:
            return {place: self.learner.network_of(state.trained) for place, state in enumerate(self.states)}
        return dict.fromkeys(range(len(self.states)), self.learner.network_of(self.states[-1].carry))

    @cached_property
    def discriminants(self) -> Discriminants:
        """What names the class."""
        carry = self.states[-1].carry
        return Discriminants(carry["means"], carry["covariance"])

    @cached_property
    def drift(self) -> Floats:
        """How much the scores of each class have grown, float32 ``[T]``."""
        return np.asarray(self.states[-1].carry["drift"])

    @property
    def _separate(self) -> bool:
        return self.learner.own.prompts.continual is Continual.SEPARATE

    @property
    def bytes_by_class(self) -> dict[str, int]:
        """Bytes of a class's pooled features, and of its network where it has its own."""
        size = self.states[-1].carry["means"][0].nbytes if self.states else 0
        return {
            state.name: size + _bytes(_network(state.trained) if self._separate else {})
            for state in self.states
        }

    @property
    def shared_bytes(self) -> int:
        """Bytes of network, covariance and kept images."""
        if not self.states:
            return 0
        return _bytes({name: array for name, array in self.states[-1].carry.items() if name != "means"})

    def kept(self) -> list[ClassState]:
        """The last state carries what all are judged by, but for networks of their own."""
        last = len(self.states) - 1
        return [
            replace(
                state,
                entry={},
                trained=_network(state.trained) if self._separate else {},
                carry=dict(state.carry) if place == last else {},
            )
            for place, state in enumerate(self.states)
        ]

    def see(self, images: Sequence[Image]) -> Seen:
        """What the encoder sees."""
        return Seen(self.learner.eye(NOTHING)(list(images)))

    def find(self, seen: Seen, given: Indices | None, hints: Arrays) -> Found:
        """Name the class, reconstruct what the encoder saw."""
        place = given
        if place is None:
            place = self.discriminants.nearest(np.asarray(seen.arrays[POOLED]))
        inputs = inputs_of(seen.arrays)
        errors: Floats = self._errors(inputs, place) / self.drift[place][:, None]
        raw = highest(errors, self.learner.own.knowledge.top)
        return Found(place, raw, errors, np.zeros(len(place), np.bool_))

    def _errors(self, inputs: Arrays, place: Indices) -> Floats:
        if not self._separate:
            return self.networks[0].errors(inputs)
        rows, columns = self.learner.grid
        errors = np.empty((len(place), rows * columns), np.float32)
        for each in np.unique(place):
            of = place == each
            errors[of] = self.networks[int(each)].errors({name: array[of] for name, array in inputs.items()})
        return errors

    def _draw(self, patches: Floats, shape: tuple[int, int]) -> Floats:
        return anomaly_map(patches, self.learner.grid, self.learner.backbone.preprocess.size, shape)


def _network(arrays: Arrays) -> Arrays:
    return {name: array for name, array in arrays.items() if name.startswith(PREFIX)}


def _bytes(arrays: Arrays) -> int:
    return sum(int(array.nbytes) for array in arrays.values())
