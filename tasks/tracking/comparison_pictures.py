"""A comparison as a picture: what each line knows as classes arrive, and what an image costs it."""

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

if TYPE_CHECKING:
    from tasks.tracking.comparison import Learned

_AREA = 30, 12  # points² of the smallest bank, and of a megabyte


def compared_lines(learned: "Sequence[Learned]", title: str) -> Figure:
    """Left: the mean as classes arrive, and pooled at the end; right: the mean against what an image costs."""
    figure = Figure(figsize=(10.5, 4 + 0.12 * len(learned)), layout="constrained")
    figure.suptitle(title.replace("$", r"\$"), fontsize=11)
    stream, cost = figure.subplots(1, 2)
    for place, each in enumerate(learned):
        colour, summary = f"C{place % 10}", each.summary
        width = 1.5 + 3 * (1 - (place + 1) / len(learned))  # lines that lie on one another are all seen
        known = [
            (step, fmean(values))
            for step, row in enumerate(summary.matrix.image_auroc, 1)
            if (values := [value for value in row if value is not None])
        ]
        stream.plot(
            *zip(*known, strict=True) if known else ([], []),
            marker=".",
            lw=width,
            color=colour,
            label=each.line.name,
        )
        if (pooled := summary.pooled.image_auroc) is not None:
            stream.plot(len(summary.classes), pooled, marker="x", ls="", color=colour)
        if (mean := summary.mean.image_auroc) is not None:
            at = each.measured.milliseconds, mean
            area = _AREA[0] + _AREA[1] * summary.bank_bytes / 1e6
            cost.scatter(*at, s=area, alpha=0.6, color=colour)
            cost.annotate(each.line.name, at, (7, 5), textcoords="offset points", fontsize=8)
    titles = (
        "mean of the classes known; × all of them with one threshold",
        "and its cost; area: bytes of the bank",
    )
    for axes, label, text in zip(
        (stream, cost), ("classes known", "milliseconds an image"), titles, strict=True
    ):
        axes.set(xlabel=label, ylabel="image AUROC")
        axes.set_title(text, fontsize=9)
        axes.grid(alpha=0.25)
    stream.xaxis.set_major_locator(MaxNLocator(integer=True))
    cost.margins(0.25)
    cost.set_xlim(left=0)
    figure.legend(
        *stream.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=min(5, len(learned)),
        fontsize=8,
    )
    return figure
