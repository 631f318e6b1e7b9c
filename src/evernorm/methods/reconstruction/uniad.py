"""UniAD: features given back by a transformer that may not look at them (You et al., NeurIPS 2022), as CADA trains it."""

from collections.abc import Mapping
from typing import ClassVar

from evernorm.methods.reconstruction.levels import LevelsLearner
from evernorm.methods.registry import learner
from evernorm.reconstruction.network import Reconstructor
from evernorm.reconstruction.params import (
    Decay,
    Rate,
    ReconstructionParams,
    ReconstructionPrompts,
    UniAdSizes,
)


class UniAdPrompts(ReconstructionPrompts):
    """And how large the transformer is."""

    learning_rate: Rate = 3e-4
    weight_decay: Decay = 1e-4
    sizes: UniAdSizes = UniAdSizes()


class UniAdParams(ReconstructionParams):
    """UniAD's parameters."""

    prompts: UniAdPrompts = UniAdPrompts()


@learner
class UniAd(LevelsLearner):
    """Neighbours are masked, queries are learned, inputs disturbed: three ways not to copy a defect."""

    name = "uniad"
    group = UniAdParams
    revisions: ClassVar[Mapping[str, int]] = {
        **LevelsLearner.revisions,
        "prompts": LevelsLearner.revisions["prompts"] + 2,
    }

    @property
    def own(self) -> UniAdParams:
        """The method's group of parameters."""
        return self.params.own(UniAdParams)

    @property
    def grid(self) -> tuple[int, int]:
        """That of the deepest level."""
        return self.levels[-1][1:]

    def network(self) -> Reconstructor:
        """The transformer."""
        from evernorm.reconstruction.uniad import UniAdNetwork

        return UniAdNetwork(self.levels, self.own.prompts.sizes, self.backbone.device, self.params.seed)
