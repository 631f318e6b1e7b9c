"""The tables of a comparison: one model for what is printed and for what MLflow's page shows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from evernorm.words import figure

if TYPE_CHECKING:
    from tasks.tracking.comparison import Learned

_Values = Sequence[float | None]


@dataclass(frozen=True)
class Table:
    """Words by line and column.

    Attributes:
        title: What it shows.
        header: Names of the columns.
        rows: As many words each.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """As MLflow's page shows it."""
        cells = [[each.replace("|", r"\|") for each in row] for row in (self.header, *self.rows)]
        lines = [f"| {' | '.join(row)} |" for row in cells]
        return "\n".join([f"**{self.title}**", "", lines[0], "|---" * len(self.header) + "|", *lines[1:]])


_COLUMNS: Mapping[str, tuple[int, "Callable[[Learned], float | None]"]] = {
    "image AUROC": (3, lambda one: one.summary.mean.image_auroc),
    "class told": (3, lambda one: one.summary.oracle.image_auroc),
    "pooled": (3, lambda one: one.summary.pooled.image_auroc),
    "pixel AP": (3, lambda one: one.summary.mean.pixel_ap),
    "pooled pixel AP": (3, lambda one: one.summary.pooled.pixel_ap),
    "AUPRO": (3, lambda one: one.summary.mean.pixel_aupro),
    "forgetting": (3, lambda one: one.summary.forgetting.chaudhry),
    "routing": (3, lambda one: one.summary.routing_accuracy),
    "bank MB": (2, lambda one: one.summary.bank_bytes / 1e6),
    "learned in s": (0, lambda one: sum(one.measured.seconds)),
    "ms an image": (1, lambda one: one.measured.milliseconds),
}
"""Digits, and where the figure is."""


def tables_of(learned: "Sequence[Learned]") -> tuple[Table, Table]:
    """Means over the classes after the last experience, and each class's image AUROC; over seeds, with deviation."""
    lines: dict[str, list[Learned]] = {}
    for each in learned:
        lines.setdefault(each.line.name, []).append(each)
    seeds = max(map(len, lines.values()))
    spread = f"; ± over {seeds} seeds" if seeds > 1 else ""
    means = tuple(
        (name, *(_spread([of(one) for one in ones], digits) for digits, of in _COLUMNS.values()))
        for name, ones in lines.items()
    )
    names, display = learned[0].summary.classes, learned[0].summary.display
    classes = tuple(
        (name, *(_spread([one.summary.per_class[each].image_auroc for one in ones], 3) for each in names))
        for name, ones in lines.items()
    )
    return (
        Table(f"Means over classes after the last experience{spread}", ("", *_COLUMNS), means),
        Table("Image AUROC of each class", ("", *(display[name] for name in names)), classes),
    )


def _spread(values: _Values, digits: int) -> str:
    present = [value for value in values if value is not None]
    if not present:
        return figure(None)
    mean = figure(fmean(present), digits)
    return f"{mean} ±{figure(stdev(present), digits)}" if len(present) > 1 else mean
