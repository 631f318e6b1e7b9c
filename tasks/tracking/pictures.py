"""What people would rather look at: the accuracy matrix, ROC curves, score histograms, example maps.

Classes come as `Classes`, by their keys: what people call them.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.ticker import MaxNLocator

from evernorm.evaluation.trade_off import Choice
from evernorm.files import write_bytes
from evernorm.metrics.image import roc_curve

Arrays = Mapping[str, npt.NDArray[Any]]
Classes = Mapping[str, str]
_GOOD, _BAD, _LINE = "#3b6ea5", "#c8553d", "#444444"
_TERM = "loss."
_STRIPS = 20  # classes of a picture that has a strip for each


def called(key: str, display: str) -> str:
    """What people call a class, in a picture: its key where the font lacks a letter of its name."""
    letters = get_font(findfont(FontProperties())).get_charmap()
    return display.replace("$", r"\$") if all(ord(letter) in letters for letter in display) else key


def draw_all(
    folder: Path,
    classes: Classes,
    matrix: Sequence[Sequence[float | None]],
    outcomes: Arrays,
    examples: Arrays,
    thresholds: Arrays,
) -> None:
    """Write every picture of one experience into `folder` as PNG."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = {
        "accuracy_matrix": accuracy_matrix(matrix, [*classes.values()]),
        "roc": roc(outcomes, classes),
        "scores": score_histograms(outcomes, classes, thresholds),
        "alignment": alignment(outcomes, classes),
    }
    if any(key.endswith("/map") for key in examples):
        figures["examples"] = example_maps(examples, [*classes.values()][-1])
    for name, figure in figures.items():
        save(figure, folder / f"{name}.png")


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, without the date or the software's name: the same figure, the same bytes."""
    encoded = io.BytesIO()
    figure.set_dpi(120)
    # Photographs hardly become smaller when they are compressed for longer. `savefig` would draw it twice.
    options = {"compress_level": 3}
    canvas: Any = FigureCanvasAgg(figure)  # untyped
    canvas.print_png(encoded, metadata={"Software": None}, pil_kwargs=options)
    write_bytes(path, encoded.getvalue())


def training_curve(history: Arrays, name: str) -> Figure:
    """The loss of each epoch and its terms, where it has several, and which epoch was kept."""
    figure = Figure(figsize=(5.5, 3.4), layout="constrained")
    axes = figure.add_subplot()
    epochs = range(1, len(history["loss"]) + 1)
    axes.plot(epochs, history["loss"], color=_GOOD, marker=".", label="training loss")
    for key in sorted(key for key in history if key.startswith(_TERM)):
        term = key.removeprefix(_TERM).replace("_", " ")
        axes.plot(epochs, history[key], lw=1, ls=":", marker=".", markersize=3, label=term)
    axes.set(xlabel="epoch", ylabel="loss", title=f"{name}: training")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if len(history["held_out"]):
        other = axes.twinx()
        values = history["held_out"]
        other.plot(range(len(values)), values, color=_BAD, marker=".", label="held-out images")
        other.set_ylabel("criterion on held-out images", color=_BAD)
    axes.axvline(int(history["kept"][0]), color=_LINE, lw=1.2, ls="--", label="kept")
    figure.legend(loc="outside lower center", ncols=3, fontsize=8)
    return figure


def accuracy_matrix(rows: Sequence[Sequence[float | None]], classes: Sequence[str]) -> Figure:
    """R[i, j] as a heat map: experience down, class across."""
    size = len(classes)
    values = np.full((size, size), np.nan)
    for i, row in enumerate(rows):
        values[i, : len(row)] = [np.nan if value is None else value for value in row]
    figure = Figure(figsize=(2.2 + 0.85 * size, 1.6 + 0.6 * size), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(values, vmin=0.5, vmax=1, cmap="YlGnBu", aspect="auto")
    axes.set_xticks(range(size), classes, rotation=30, ha="right")
    axes.set_yticks(range(size), [f"after {name}" for name in classes])
    axes.set_title("Image AUROC of each class after each experience")
    for (i, j), value in np.ndenumerate(values):
        if np.isfinite(value):
            axes.text(
                j, i, f"{value:.3f}", ha="center", va="center", color="white" if value > 0.85 else "black"
            )
    figure.colorbar(image, ax=axes, shrink=0.8)
    return figure


def roc(outcomes: Arrays, classes: Classes) -> Figure:
    """One ROC curve a class, and the pooled one with one threshold for all."""
    figure = Figure(figsize=(6, 5.5), layout="constrained")
    axes = figure.add_subplot()
    pooled = (
        np.concatenate([outcomes[f"{name}/labels"] for name in classes]),
        np.concatenate([outcomes[f"{name}/scores"] for name in classes]),
    )
    for name in classes:
        if (curve := roc_curve(outcomes[f"{name}/labels"], outcomes[f"{name}/scores"])) is not None:
            axes.plot(curve[0], curve[1], lw=1.2, label=classes[name])
    if (curve := roc_curve(*pooled)) is not None:
        axes.plot(curve[0], curve[1], lw=2.2, color="black", label="all, one threshold")
    axes.plot([0, 1], [0, 1], color=_LINE, lw=0.6, ls=":")
    axes.set(
        xlabel="false alarm rate",
        ylabel="detection rate",
        title="ROC by image",
        xlim=(-0.01, 1),
        ylim=(0, 1.01),
    )
    _legend(axes, loc="lower right", fontsize=8)
    return figure


def score_histograms(outcomes: Arrays, classes: Classes, thresholds: Arrays) -> Figure:
    """Standardised scores of normal and defective test images, with the decision threshold."""
    columns = min(4, len(classes))
    lines = -(-len(classes) // columns)
    figure = Figure(figsize=(3.4 * columns, 2.6 * lines), layout="constrained")
    for place, name in enumerate(classes):
        axes = figure.add_subplot(lines, columns, place + 1)
        labels, scores = outcomes[f"{name}/labels"], outcomes[f"{name}/scores"]
        if len(scores):
            bins = np.linspace(scores.min(), np.quantile(scores, 0.99), 24)
            shown = np.clip(scores, bins[0], bins[-1])
            axes.hist(
                [shown[~labels], shown[labels]],
                bins=bins.tolist(),
                color=[_GOOD, _BAD],
                label=["good", "defective"],
            )
        if name in thresholds:
            axes.axvline(thresholds[name].item(), color=_LINE, lw=1.2, ls="--", label="threshold")
        axes.set_title(classes[name], fontsize=10)
        axes.set_xlabel("score (standard deviations)", fontsize=8)
        if not place:
            _legend(axes, fontsize=7)
    return figure


def alignment(outcomes: Arrays, classes: Classes) -> Figure:
    """Scores of all classes on one axis: as the method gives them, and as they are answered (CADA's Figure 5).

    A strip a class, the last `_STRIPS` of them: where its normal images lie should be where those of the others do.
    """
    names = [name for name in classes if len(outcomes[f"{name}/labels"])][-_STRIPS:]
    figure = Figure(figsize=(9, 1.2 + 0.75 * max(1, len(names))), layout="constrained")
    panels = figure.subplots(max(1, len(names)), 2, squeeze=False, sharex="col")
    titles = ("raw", "the method's own score"), ("scores", "as answered: one threshold for all")
    for column, (kind, title) in enumerate(titles):
        panels[0, column].set_title(title, fontsize=10)
        every = np.concatenate([outcomes[f"{name}/{kind}"] for name in names]) if names else np.zeros(1)
        bins = np.linspace(every.min(), max(np.quantile(every, 0.98), every.min() + 1e-6), 60)
        for axes, name in zip(panels[:, column], names, strict=False):
            labels, scores = outcomes[f"{name}/labels"], outcomes[f"{name}/{kind}"]
            shown = np.clip(scores, bins[0], bins[-1])
            parts = [(_GOOD, "good", shown[~labels]), (_BAD, "defective", shown[labels])]
            for colour, label, values in parts:
                axes.hist(
                    values, bins=bins.tolist(), histtype="stepfilled", color=colour, label=label, alpha=0.75
                )
            axes.set_yticks([])
            axes.spines[["top", "right", "left"]].set_visible(False)
            if not column:
                axes.set_ylabel(classes[name], rotation=0, ha="right", va="center", fontsize=8)
    for axes, label in zip(panels[-1], ("score", "standard deviations"), strict=True):
        axes.set_xlabel(label, fontsize=8)
    _legend(panels[0, 1], fontsize=7)
    return figure


def trade_off_curves(choices: Sequence[Choice], present: float, name: str) -> Figure:
    """What each false-alarm rate that can be asked for brings: false alarms, and defects found."""
    figure = Figure(figsize=(6, 4.2), layout="constrained")
    axes = figure.add_subplot()
    asked = [choice.asked for choice in choices]
    lines = (
        ("found", "defects found", _BAD, "-"),
        ("false_alarms", "false alarms, good test images", _GOOD, "-"),
        ("normal", "false alarms, training images left out in turn", _GOOD, ":"),
    )
    for field, label, colour, style in lines:
        values = [getattr(choice, field) for choice in choices]
        if None not in values:
            axes.plot(asked, values, color=colour, ls=style, marker=".", label=label)
    axes.plot(asked, asked, color=_LINE, lw=0.6, label="as asked")
    axes.axvline(present, color=_LINE, lw=1.2, ls="--", label=f"now: {present:g}")
    axes.set(xscale="log", xlabel="false-alarm rate asked for", ylabel="share of images", ylim=(-0.02, 1.02))
    axes.set_xticks(asked, [f"{rate:.3g}" for rate in asked], fontsize=8)
    axes.set_xticks([], minor=True)
    axes.set_title(f"{name}: what a threshold costs")
    axes.legend(fontsize=8, loc="center left")
    return figure


def example_maps(examples: Arrays, name: str) -> Figure:
    """Test images with their anomaly map and, where there is one, the outline of the true defect."""
    numbers = sorted({int(key.split("/")[0]) for key in examples})
    figure = Figure(figsize=(1.9 * max(len(numbers), 1), 4.2), layout="constrained")
    figure.suptitle(
        f"{name}: images and anomaly maps (one colour scale; white: the true defect)", fontsize=10
    )
    highest = max((float(examples[f"{n}/map"].max()) for n in numbers), default=1)
    for place, number in enumerate(numbers):
        image, spot = examples[f"{number}/image"], examples[f"{number}/map"]
        defective = bool(examples[f"{number}/label"][0])
        upper = figure.add_subplot(2, len(numbers), place + 1)
        lower = figure.add_subplot(2, len(numbers), len(numbers) + place + 1)
        upper.imshow(image)
        lower.imshow(image)
        lower.imshow(spot, cmap="inferno", vmin=0, vmax=max(highest, 1e-6), alpha=0.65)
        mask = examples.get(f"{number}/mask")
        if mask is not None and mask.any():
            lower.contour(mask, levels=[0.5], colors="white", linewidths=0.8)
        upper.set_title(
            f"{'defective' if defective else 'good'}\n{float(examples[f'{number}/score'][0]):+.1f}",
            fontsize=8,
        )
        for axes in (upper, lower):
            axes.set_axis_off()
    return figure


def _legend(axes: Axes, **options: Any) -> None:
    """A legend where there is something to tell apart; a class without test images has nothing."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(**options)
