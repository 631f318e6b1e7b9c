"""RevDist: reverse distillation from a one-class embedding (Deng and Li, CVPR 2022), as CADA trains it."""

from evernorm.methods.reconstruction.levels import LevelsLearner
from evernorm.methods.registry import learner
from evernorm.reconstruction.network import Reconstructor
from evernorm.reconstruction.params import ReconstructionParams


class RevDistParams(ReconstructionParams):
    """RevDist's parameters."""


@learner
class RevDist(LevelsLearner):
    """A decoder gives back the levels of the encoder, from a code too narrow for a defect."""

    name = "revdist"
    group = RevDistParams

    def network(self) -> Reconstructor:
        """Bottleneck and decoder."""
        from evernorm.reconstruction.revdist import RevDistNetwork

        return RevDistNetwork(self.levels, self.backbone.device, self.params.seed)
