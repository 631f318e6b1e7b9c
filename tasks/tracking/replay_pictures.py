"""What was replayed of the classes before: samples that passed the gate beside those that did not (DiffCont)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from evernorm.types import Images

_GAP = 1  # white columns between samples


def samples_sheet(trained: Mapping[str, Any], classes: Sequence[str]) -> Figure:
    """A line a class: accepted samples on the left, rejected ones on the right, and how many there were of each.

    Args:
        trained: ``replay.pictures``, uint8 ``[T, 2, k, H, W, 3]``, white where there are fewer than k, and
            ``replay.tried`` and ``replay.accepted``, int64 ``[T]``.
        classes: What the classes before are called.
    """
    pictures, tried, accepted = (trained[f"replay.{name}"] for name in ("pictures", "tried", "accepted"))
    figure = Figure(figsize=(13, 0.6 + 0.95 * len(classes)), layout="constrained")
    figure.suptitle("samples of the classes before, as they were replayed", fontsize=11)
    grid = figure.subplots(len(classes), 2, squeeze=False)
    for place, name in enumerate(classes):
        counts = (
            f"{accepted[place]} of {tried[place]} accepted",
            f"{tried[place] - accepted[place]} rejected",
        )
        for side, count in enumerate(counts):
            axes = grid[place, side]
            axes.set_title(f"{name}: {count}" if not side else count, fontsize=8, loc="left")
            axes.imshow(_beside(pictures[place, side]), aspect="equal")
            axes.set_axis_off()
    return figure


def _beside(pictures: Images) -> Images:
    """``[k, H, W, 3]`` in one row ``[H, k · (W + gap), 3]``."""
    padded = np.pad(pictures, ((0, 0), (0, 0), (0, _GAP), (0, 0)), constant_values=255)
    return np.concatenate(list(padded), axis=1)
