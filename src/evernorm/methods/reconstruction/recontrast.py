"""ReContrast: contrastive reconstruction with a second encoder that adapts (Guo et al., NeurIPS 2023)."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from evernorm.alignment.encoding import encoding
from evernorm.methods.reconstruction.base import ReconstructionLearner
from evernorm.methods.reconstruction.looked import ENCODED, POOLED
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
    revisions: ClassVar[Mapping[str, int]] = {
        **ReconstructionLearner.revisions,
        "knowledge": 4,
        "features": 2,
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

    def look(self, images: Sequence[Image]) -> Mapping[str, Floats]:
        """The images as the encoders take them; the frozen one names their class, and what to expect of them."""
        import torch

        inputs = self.backbone.inputs(images)
        with torch.inference_mode(), self.backbone.half():
            levels = self.backbone.levels(inputs)
        pooled = np.concatenate([level.float().mean(dim=(2, 3)).cpu().numpy() for level in levels], axis=1)
        deepest = encoding(levels[-1].float().cpu().numpy())
        return {"inputs": inputs.cpu().numpy(), POOLED: pooled, ENCODED: deepest}

    def encoded(self, arrays: Arrays) -> Floats | None:
        """The deepest level of the frozen encoder."""
        return arrays[ENCODED]
