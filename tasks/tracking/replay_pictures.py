"""What was replayed of the classes before: samples that passed the gate beside those that did not (DiffCont)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from evernorm.types import Floats

_PIXELS = 3  # channels
_GAP = 1  # white columns between samples


def samples_sheet(trained: Mapping[str, Any], classes: Sequence[str]) -> Figure:
    """A line a class: accepted samples on the left, rejected ones on the right, and how many there were of each.

    Samples of features are shown by their three principal components.

    Args:
        trained: ``replay.shown``, float32 ``[T, 2, k, C, H, W]``, zeros where there are fewer than k, and
            ``replay.tried`` and ``replay.accepted``, int64 ``[T]``.
        classes: What the classes before are called.
    """
    shown, tried, accepted = (trained[f"replay.{name}"] for name in ("shown", "tried", "accepted"))
    coloured = _coloured(shown)
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
            axes.imshow(_beside(coloured[place, side]), aspect="equal")
            axes.set_axis_off()
    return figure


def _coloured(shown: Floats) -> Floats:
    """``[T, 2, k, H, W, 3]`` in [0, 1]; white where there is no sample."""
    there = shown.any(axis=(3, 4, 5))
    values = np.moveaxis(shown, 3, -1).astype(np.float64)
    if values.shape[-1] != _PIXELS:
        flat = values[there].reshape(-1, values.shape[-1])
        mean = flat.mean(axis=0)
        _, _, components = np.linalg.svd(np.cov((flat - mean).T))
        values = (values - mean) @ components[:_PIXELS].T
        limits = np.quantile(values[there].reshape(-1, _PIXELS), [0.01, 0.99], axis=0)
        values = (values - limits[0]) / (limits[1] - limits[0] + 1e-12) * 2 - 1
    pictures: Floats = np.clip((values + 1) / 2, 0, 1).astype(np.float32)
    pictures[~there] = 1
    return pictures


def _beside(pictures: Floats) -> Floats:
    """``[k, H, W, 3]`` in one row ``[H, k · (W + gap), 3]``."""
    padded = np.pad(pictures, ((0, 0), (0, 0), (0, _GAP), (0, 0)), constant_values=1)
    return np.concatenate(list(padded), axis=1)
