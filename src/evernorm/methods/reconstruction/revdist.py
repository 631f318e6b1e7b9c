"""RevDist: reverse distillation from a one-class embedding (Deng and Li, CVPR 2022), as CADA trains it."""

from collections.abc import Mapping, Sequence

import numpy as np

from evernorm.methods.reconstruction.base import POOLED, ReconstructionLearner
from evernorm.methods.registry import learner
from evernorm.reconstruction.network import Reconstructor
from evernorm.reconstruction.params import ReconstructionParams
from evernorm.types import Floats, Image


class RevDistParams(ReconstructionParams):
    """RevDist's parameters."""


@learner
class RevDist(ReconstructionLearner):
    """A decoder gives back the levels of the encoder, from a code too narrow for a defect."""

    name = "revdist"
    group = RevDistParams

    def network(self) -> Reconstructor:
        """Bottleneck and decoder."""
        from evernorm.reconstruction.revdist import RevDistNetwork

        return RevDistNetwork(self.levels, self.backbone.device, self.params.seed)

    def look(self, images: Sequence[Image]) -> Mapping[str, Floats]:
        """The levels."""
        import torch

        with torch.inference_mode(), self.backbone.half():
            levels = self.backbone.levels(self.backbone.inputs(images))
        arrays = {f"level{place}": level.float().cpu().numpy() for place, level in enumerate(levels)}
        pooled = np.concatenate([array.mean(axis=(2, 3)) for array in arrays.values()], axis=1)
        return {**arrays, POOLED: pooled}
