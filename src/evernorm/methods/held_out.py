"""Images of a class that are not learned from: they tell what scores mean."""

import numpy as np

from evernorm.calibration.weibull import MIN_IMAGES
from evernorm.errors import FitError
from evernorm.types import Indices

_FEWEST = 2  # images that are trained on


def split(count: int, share: float, seed: int) -> tuple[Indices, Indices]:
    """Which of a class's images are trained on, and which only tell what scores mean; both ascending.

    Args:
        count: Images.
        share: Of those that are held out; as many at least as have a tail.
        seed: Of the choice.

    Raises:
        FitError: There are too few.
    """
    held_out = max(MIN_IMAGES, round(share * count))
    if count - held_out < _FEWEST:
        raise FitError(
            f"{count} training images are too few: {held_out} tell what scores mean, and {_FEWEST} at least are "
            "trained on; add normal images"
        )
    shuffled = np.random.default_rng([seed, count]).permutation(count)
    return np.sort(shuffled[held_out:]), np.sort(shuffled[:held_out])
