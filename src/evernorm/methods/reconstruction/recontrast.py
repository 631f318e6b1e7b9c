"""ReContrast: contrastive reconstruction with a second encoder that adapts (Guo et al., NeurIPS 2023)."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from evernorm.methods.reconstruction.levels import LevelsLearner
from evernorm.methods.registry import learner
from evernorm.reconstruction.network import Reconstructor
from evernorm.reconstruction.params import Rate, ReconstructionParams, ReconstructionPrompts
from evernorm.types import Arrays, Image


class ReContrastPrompts(ReconstructionPrompts):
    """And how fast the second encoder adapts."""

    encoder_learning_rate: Rate = 1e-5


class ReContrastParams(ReconstructionParams):
    """ReContrast's parameters."""

    prompts: ReContrastPrompts = ReContrastPrompts()


@learner
class ReContrast(LevelsLearner):
    """Two encoders, one frozen and one that adapts, each decoded from the other."""

    name = "recontrast"
    group = ReContrastParams
    revisions: ClassVar[Mapping[str, int]] = {
        **LevelsLearner.revisions,
        "prompts": 2,
        "knowledge": 5,
        "features": 3,
    }

    @property
    def own(self) -> ReContrastParams:
        """The method's group of parameters."""
        return self.params.own(ReContrastParams)

    def network(self) -> Reconstructor:
        """Second encoder, bottleneck and decoder."""
        from evernorm.reconstruction.recontrast import ReContrastNetwork

        rate = self.own.prompts.encoder_learning_rate
        return ReContrastNetwork(self.levels, self.backbone, rate, self.params.seed)

    def look(self, images: Sequence[Image]) -> Arrays:
        """The images, resized, and what the frozen encoder sees of them."""
        from evernorm.reconstruction.recontrast import IMAGES

        resized = [self.backbone.preprocess.resize(image) for image in images]
        return {**super().look(resized), IMAGES: np.stack(resized)}
