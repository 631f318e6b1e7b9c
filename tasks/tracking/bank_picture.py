"""The rows of a bank as points of a plane, by t-SNE (van der Maaten and Hinton, 2008), as in MTRMB's Figure 3.

Rows that are alike lie together, so that classes which the memory confuses are seen. How far apart groups lie, and how
wide they are, means nothing.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.typing import ColorType

from evernorm.types import Floats

MOST = 1000  # points in all; t-SNE of more takes seconds and shows no more
LEAST = 5  # distinct points of which a picture can say anything
# Nine and ten have no common divisor: ninety classes differ in one of the two before a pair comes again.
_COLOURS = [colormaps["tab10"](number) for number in range(10)]
_MARKERS = ("o", "^", "s", "D", "v", "P", "<", "X", ">")
_FRAME = "#bbbbbb"
_LINES, _LETTERS = 30, 32  # of the legend


def some_rows(rows: Floats, number: int) -> Floats:
    """So many rows at most, drawn with a fixed seed, in the order in which they are kept.

    Args:
        rows: ``[n, d]``.
        number: How many.

    Returns:
        float32 ``[min(n, number), d]``.
    """
    drawn = np.random.default_rng(0).permutation(len(rows))[:number]
    return np.asarray(rows[np.sort(drawn)], np.float32)


def in_plane(rows: Floats) -> Floats:
    """Where t-SNE puts rows: the same rows, the same places.

    Args:
        rows: float32 ``[n, d]``; `LEAST` of them differ.

    Returns:
        float32 ``[n, 2]``.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    # Several threads add in an order of their own, and points this few gain nothing by them.
    with threadpool_limits(1):
        reduced = PCA(min(50, *rows.shape), random_state=0).fit_transform(rows)
        tsne = TSNE(init="pca", perplexity=min(30, len(rows) / 4), max_iter=500, random_state=0)
        points: npt.NDArray[np.float32] = tsne.fit_transform(reduced)
    return points


def look_of(place: int) -> tuple[ColorType, str]:
    """Colour and marker of the class that was learned at this place of the stream."""
    return _COLOURS[place % len(_COLOURS)], _MARKERS[place % len(_MARKERS)]


def bank_map(points: Mapping[int, Floats], classes: Sequence[str], title: str) -> Figure:
    """The points of each class in a colour, with the marker of its experience.

    Args:
        points: Place of a class in the stream → ``[n, 2]``; a class of which nothing is left has none.
        classes: What people call the classes of the stream.
        title: What is shown.
    """
    columns = -(-len(points) // _LINES)
    figure = Figure(figsize=(5.3 + 2.7 * columns, 5.6), layout="constrained")
    axes = figure.add_subplot()
    for place, at in points.items():
        name, (colour, marker) = classes[place], look_of(place)
        short = name if len(name) <= _LETTERS else f"{name[: _LETTERS - 1]}…"
        axes.scatter(
            at[:, 0],
            at[:, 1],
            s=18,
            color=colour,
            marker=marker,
            alpha=0.8,
            lw=0,
            label=f"{place + 1}  {short}",
        )
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal", adjustable="datalim")
    axes.spines[:].set_color(_FRAME)
    axes.set_title(title, fontsize=11)
    figure.legend(loc="outside right upper", ncols=columns, fontsize=8, markerscale=1.4, frameon=False)
    return figure
