"""Training images beside their parts, for a person to judge the structure by."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.colors import hsv_to_rgb
from matplotlib.figure import Figure

from evernorm.words import counted

SHOWN, _COLUMNS = 12, 3
_GOLDEN = 0.618034  # steps of the hue by which neighbouring ids differ most


def contact_sheet(pairs: Sequence[tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint16]]], name: str) -> Figure:
    """The first images of a class, each beside its regions: a colour an id, background black.

    Args:
        pairs: RGB image ``[H, W, 3]`` and label map ``[H, W]``; twelve at most are shown.
        name: The class.
    """
    shown = pairs[:SHOWN]
    columns = min(_COLUMNS, max(len(shown), 1))
    lines = max(-(-len(shown) // columns), 1)
    tallness = float(np.mean([image.shape[0] / image.shape[1] for image, _ in shown])) if shown else 1.0
    figure = Figure(figsize=(4.4 * columns, 0.7 + lines * (0.3 + 2.1 * tallness)), layout="constrained")
    figure.suptitle(f"{name}: training images and their parts", fontsize=11)
    for place, (image, labels) in enumerate(shown):
        number = len(np.setdiff1d(labels, [0]))
        axes = figure.add_subplot(lines, columns, place + 1)
        axes.imshow(np.hstack([image, _coloured(labels)]))
        axes.set_title(counted(number, "region"), fontsize=8)
        axes.set_axis_off()
    return figure


def _coloured(labels: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint8]:
    """A colour an id, always the same; white lines where regions meet."""
    ids = np.arange(int(labels.max()) + 1)
    hues = np.stack([ids * _GOLDEN % 1, 0.55 + 0.35 * (ids % 2), 0.6 + 0.15 * (ids % 3)], axis=1)
    colours: npt.NDArray[Any] = (hsv_to_rgb(hues) * 255).astype(np.uint8)
    colours[0] = 0
    picture: npt.NDArray[np.uint8] = colours[labels]
    right, down = labels[:, 1:] != labels[:, :-1], labels[1:] != labels[:-1]
    picture[:, 1:][right] = 255
    picture[1:][down] = 255
    return picture
