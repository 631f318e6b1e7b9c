"""ReContrast: contrastive reconstruction with a second encoder that adapts (Guo et al., NeurIPS 2023)."""

from collections.abc import Mapping, Sequence

import numpy as np

from evernorm.alignment.encoding import of_whole
from evernorm.methods.reconstruction.base import POOLED, ReconstructionLearner
from evernorm.methods.registry import learner
from evernorm.reconstruction.network import Reconstructor
from evernorm.reconstruction.params import Rate, ReconstructionParams, ReconstructionPrompts
from evernorm.types import Arrays, Floats, Image


class ReContrastPrompts(ReconstructionPrompts):
    """And how fast the second encoder adapts."""

    encoder_learning_rate: Rate = 1e-5


class ReContrastParams(ReconstructionParams):
    """ReContrast's parameters."""

    prompts: ReContrastPrompts = ReContrastPrompts()


@learner
class ReContrast(ReconstructionLearner):
    """Two encoders, one frozen and one that adapts, each decoded from the other."""

    name = "recontrast"
    group = ReContrastParams

    @property
    def own(self) -> ReContrastParams:
        """The method's group of parameters."""
        return self.params.own(ReContrastParams)

    def network(self) -> Reconstructor:
        """Second encoder, bottleneck and decoder."""
        from evernorm.reconstruction.recontrast import ReContrastNetwork

        rate = self.own.prompts.encoder_learning_rate
        return ReContrastNetwork(self.levels, self.backbone, rate, self.params.seed)

    def look(self, images: Sequence[Image]) -> Mapping[str, Floats]:
        """The images as the encoders take them; the frozen one names their class."""
        import torch

        inputs = self.backbone.inputs(images)
        with torch.inference_mode(), self.backbone.half():
            levels = self.backbone.levels(inputs)
        pooled = np.concatenate([level.float().mean(dim=(2, 3)).cpu().numpy() for level in levels], axis=1)
        return {"inputs": inputs.cpu().numpy(), POOLED: pooled}

    def encoded(self, arrays: Arrays) -> Floats | None:
        """The levels of the frozen encoder, each the mean of its places: more than that is not kept of an image."""
        return of_whole(arrays[POOLED])
