"""Networks behind one frozen encoder: they take its levels as they are."""

from collections.abc import Sequence

import numpy as np

from evernorm.alignment.encoding import encoding
from evernorm.methods.reconstruction.base import ReconstructionLearner
from evernorm.methods.reconstruction.looked import POOLED
from evernorm.types import Arrays, Floats, Image


class LevelsLearner(ReconstructionLearner):
    """Looks at an image once."""

    def look(self, images: Sequence[Image]) -> Arrays:
        """The levels, and their means over the places."""
        import torch

        with torch.inference_mode(), self.backbone.half():
            levels = self.backbone.levels(self.backbone.inputs(images))
        arrays = {f"level{place}": level.float().cpu().numpy() for place, level in enumerate(levels)}
        pooled = np.concatenate([array.mean(axis=(2, 3)) for array in arrays.values()], axis=1)
        return {**arrays, POOLED: pooled}

    def encoded(self, arrays: Arrays) -> Floats | None:
        """The deepest level."""
        return encoding(arrays[f"level{len(self.levels) - 1}"])
