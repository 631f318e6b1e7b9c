"""How well images of products the bank never learned are recognised: each class in turn is left out.

Entries are independent, so a bank without a class is a column less in the routing statistics, and nothing is
learned or seen again.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from evernorm.memory.search import Floats

Rates = dict[str, float | None]


def unknown_figures(
    statistics: Mapping[str, Floats],
    normal: Mapping[str, npt.NDArray[np.bool_]],
    classes: Sequence[str],
    farthest: npt.NDArray[np.float64],
) -> dict[str, Any]:
    """Shares of test images that are called unknown, rightly and wrongly.

    Args:
        statistics: Class of the images → float32 ``[n, T]``, their routing distances to the classes of the bank.
        normal: Class of the images → bool ``[n]``, the images without a defect.
        classes: The T classes of the bank.
        farthest: ``[T]``, the distance beyond which an image is unknown.

    Returns:
        Per class and as means over the classes: ``recognised``, the share of its images that the bank without it
        calls unknown; ``false_rate``, the share of its normal images that the whole bank calls unknown. None where
        there is no such image or no other class.
    """
    per_class: dict[str, Rates] = {}
    for name, distances in statistics.items():
        others = np.array([each != name for each in classes], np.bool_)
        per_class[name] = {
            "recognised": _share(distances[:, others], farthest[others]),
            "false_rate": _share(distances[normal[name]], farthest),
        }
    means = {
        rate: _mean([figures[rate] for figures in per_class.values()])
        for rate in ("recognised", "false_rate")
    }
    return {"per_class": per_class, **means}


def _share(distances: Floats, farthest: npt.NDArray[np.float64]) -> float | None:
    if 0 in distances.shape:
        return None
    nearest = distances.argmin(axis=1)
    return float((distances[np.arange(len(distances)), nearest] > farthest[nearest]).mean())


def _mean(values: Sequence[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return float(np.mean(present)) if present else None
