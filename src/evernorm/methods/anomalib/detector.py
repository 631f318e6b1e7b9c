"""Judging by a model of anomalib a class."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from evernorm.maps import resized
from evernorm.methods.anomalib.model import STORED, Model
from evernorm.methods.detector import Detector, Found, Seen
from evernorm.methods.discriminant import Discriminants
from evernorm.methods.learner import NOTHING, ClassState
from evernorm.types import Arrays, Floats, Image, Indices

if TYPE_CHECKING:
    from evernorm.methods.anomalib.adapter import Anomalib

IMAGES, POOLED = "images", "pooled"
"""What an image is seen as: resized, and what names its class."""


class AnomalibDetector(Detector):
    """The pooled features name the class, whose model judges."""

    learner: "Anomalib"

    @cached_property
    def models(self) -> list[Model]:
        """One a class."""
        return [self.learner.model_of(state.trained) for state in self.states]

    @cached_property
    def discriminants(self) -> Discriminants:
        """What names the class."""
        means = np.stack([state.entry["mean"] for state in self.states])
        return Discriminants(means, np.mean([state.entry["covariance"] for state in self.states], axis=0))

    @property
    def bytes_by_class(self) -> dict[str, int]:
        """Bytes of what a class is named by, and of its model but for what it has from the backbone."""
        return {
            state.name: sum(
                array.nbytes for arrays in (state.entry, _kept(state.trained)) for array in arrays.values()
            )
            for state in self.states
        }

    def kept(self) -> list[ClassState]:
        """Without the models that only calibrated."""
        return [
            replace(state, entry=dict(state.entry), trained=_kept(state.trained)) for state in self.states
        ]

    def see(self, images: Sequence[Image]) -> Seen:
        """The resized images, and what names their class."""
        return Seen(self.learner.eye(NOTHING)(list(images)))

    def find(self, seen: Seen, given: Indices | None, hints: Arrays) -> Found:
        """Name the class, ask its model."""
        place = given
        if place is None:
            place = self.discriminants.nearest(np.asarray(seen.arrays[POOLED]))
        images = np.asarray(seen.arrays[IMAGES])
        raw = np.empty(len(place), np.float32)
        places = np.empty((len(place), images.shape[1] * images.shape[2]), np.float32)
        for each in np.unique(place):
            of = place == each
            raw[of], places[of] = self.models[each].scores(images[of])
        return Found(place, raw, places, np.zeros(len(place), np.bool_))

    def _draw(self, patches: Floats, shape: tuple[int, int]) -> Floats:
        """The model has smoothed it."""
        side = self.learner.backbone.preprocess.size
        return resized(patches.reshape(side, side), shape)


def _kept(trained: Arrays) -> Arrays:
    return {name: trained[name] for name in trained if name.startswith(STORED)}
