"""What a person reads while a stream is learned, and at the end."""

from collections.abc import Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from evernorm.words import figure, percent
from tasks.logs import run_log
from tasks.tracking.gate import Decision
from tasks.tracking.summary import Summary
from tasks.workspace.pipeline import StageRun


class Reporter:
    """One line when an experience begins, one when it ends, with what is left."""

    def __init__(self, total: int) -> None:
        self.console = Console(stderr=True, highlight=False)
        self.log = run_log()
        self.total = total
        self.done = 0
        self.worked: list[float] = []

    def begin(self, name: str) -> None:
        """An experience begins."""
        self.log.info("[%d/%d] %s", self.done + 1, self.total, name)
        self.console.print(f"[bold]\\[{self.done + 1}/{self.total}] {escape(name)}[/bold]")

    def end(self, ran: Sequence[StageRun], decision: Decision | None, seconds: float) -> None:
        """An experience has ended; with a version of the bank, if it made one."""
        self.done += 1
        took = " · ".join(f"{stage.stage} {stage.seconds or 0:.1f} s" for stage in ran) or "up to date"
        left = ""
        if ran:
            self.worked.append(seconds)
            if self.done < self.total:
                mean = sum(self.worked) / len(self.worked)
                left = f" · about {_duration((self.total - self.done) * mean)} left"
        self.console.print(f"      {took}{left}", style="dim", soft_wrap=True)
        self.log.info("%s%s", took, left)
        if decision is not None:
            remarks = f": {decision.remarks}" if decision.remarks else ""
            told = f"{decision.model} version {decision.version} {decision.alias}{remarks}"
            (self.log.warning if decision.refused else self.log.info)(told)
            self.console.print(f"      {told}", soft_wrap=True, markup=False)
            if decision.cure:
                self.console.print(f"      {decision.cure}", soft_wrap=True, markup=False)

    def tell_aside(self, left: Mapping[str, str]) -> None:
        """Classes are set aside."""
        for name, why in left.items():
            self.log.warning("%s is set aside: %s", name, why)
            self.console.print(
                f"      {name} is set aside ({why}); the classes after it are served without it",
                style="yellow",
                soft_wrap=True,
                markup=False,
            )


def show(summary: Summary, console: Console) -> None:
    """Print the summary."""
    console.print()
    console.print(_matrix(summary))
    console.print(_classes(summary))
    forgetting = summary.forgetting
    lines = [
        (
            "pooled image AUROC, one threshold",
            f"{figure(summary.pooled.image_auroc)} (alignment {summary.alignment})",
        ),
        ("mean image AUROC, true class given", figure(summary.oracle.image_auroc)),
        (
            "forgetting",
            f"{figure(forgetting.chaudhry)} (Chaudhry) · {figure(forgetting.relative_percent)} % (relative) · "
            f"{figure(forgetting.mtrmb)} (MTRMB)",
        ),
        ("routing accuracy", figure(summary.routing_accuracy)),
        ("false alarms on good test images", percent(summary.mean.false_alarm_rate)),
        ("bank", f"{summary.bank_bytes / 1e6:.1f} MB"),
        ("time", " · ".join(f"{name} {_duration(stage.seconds)}" for name, stage in summary.stages.items())),
        ("registered", _registered(summary)),
        *((f"{name} is set aside", escape(why)) for name, why in summary.set_aside.items()),
        *_little(summary),
        *_not_measured(summary),
        *_not_kept(summary),
    ]
    if left := {name: len(images) for name, images in summary.dropped.items()}:
        told = ", ".join(f"{count} of {escape(summary.display[name])}" for name, count in left.items())
        lines.append(("images at fault, left out", told))
    if summary.unknown:
        rates = summary.unknown
        called = f"{percent(rates.good_rate)} of good, {percent(rates.defective_rate)} of defective images"
        lines[4:4] = [
            ("left-out classes called unknown", percent(rates.recognised)),
            ("learned classes called unknown", called),
        ]
    table = Table.grid(padding=(0, 2))
    for name, value in lines:
        table.add_row(Text(name, style="dim"), value)
    console.print(table)


def _registered(summary: Summary) -> str:
    made = summary.registered
    return f"{made.name} version {made.version} ({made.alias})" if made else "not registered (an experiment)"


def _little(summary: Summary) -> list[tuple[str, str]]:
    """Of each class that finds next to nothing, how much, and what shows why."""
    return [
        (
            "finds little",
            f"[yellow]{escape(summary.display[name])}: {percent(share)} of its defects[/]; "
            f"`evernorm threshold {name}` shows what other thresholds would find",
        )
        for name, share in summary.finds_little.items()
    ]


def _not_measured(summary: Summary) -> list[tuple[str, str]]:
    """Of each class that lacks test images, what its training images say."""
    lines = []
    for name, lacking in summary.not_measured.items():
        known = summary.normal_images[name]
        says = (
            f"; of the {known.number} normal images that calibrate it, {percent(known.false_alarm_rate)} would be alarms"
            if known
            else ""
        )
        lines.append(("not measured", f"{name}: {lacking}{says}"))
    return lines


def _not_kept(summary: Summary) -> list[tuple[str, str]]:
    """Of classes with too few normal images for the rate that was asked for, what holds instead."""
    return [
        ("false-alarm rate", f"[yellow]{escape(summary.display[name])}[/]: {known.promise}")
        for name, known in summary.normal_images.items()
        if known and known.number < known.needed
    ]


def _matrix(summary: Summary) -> Table:
    table = _table("Image AUROC of each class (across) after each experience (down)")
    table.add_column("after", no_wrap=True)
    for number in range(1, len(summary.classes) + 1):  # numbers, so that many classes fit on a line
        table.add_column(str(number), justify="right", no_wrap=True)
    for number, row in enumerate(summary.matrix.image_auroc, 1):
        name = escape(summary.display[summary.classes[number - 1]])
        table.add_row(f"{number} {name}", *[figure(value, missing="") for value in row])
    return table


def _classes(summary: Summary) -> Table:
    table = _table("After the last experience (F1 all: if everything were called defective)")
    columns = {
        "image\nAUROC": "image_auroc",
        "image\nAP": "image_ap",
        "image\nF1": "image_f1max",
        "F1\nall": "trivial_f1",
        "pixel\nAUROC": "pixel_auroc",
        "pixel\nAP": "pixel_ap",
        "\nAUPRO": "pixel_aupro",
    }
    table.add_column("class", no_wrap=True)
    for title in (*columns, "false\nalarms", "\nfound"):
        table.add_column(title, justify="right", no_wrap=True)
    for name, figures in [*summary.per_class.items(), ("mean", summary.mean)]:
        values = [figure(getattr(figures, field)) for field in columns.values()]
        if name == "mean":
            table.add_section()
        table.add_row(
            escape(summary.display.get(name, name)),
            *values,
            percent(figures.false_alarm_rate),
            percent(figures.detection_rate),
        )
    return table


def _table(title: str) -> Table:
    return Table(
        title=title,
        min_width=min(len(title) + 2, 78),
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )


def _duration(seconds: float) -> str:
    if seconds < 99:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
