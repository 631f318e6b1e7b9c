"""The methods side by side on the same classes: the papers' tables, on one's own images."""

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from evernorm.errors import ParamsError
from evernorm.files import write_bytes
from evernorm.methods.registry import learners
from flows.commands.environment import prepare

if TYPE_CHECKING:
    from tasks.tracking.summary import Summary


def compare_methods(
    data: Path,
    root: Path,
    order: list[str] | None,
    settings: list[str],
    out: Path | None,
    chosen: list[str] | None = None,
    *,
    drop_faulty: bool = False,
) -> None:
    """Learn the stream with each method in one workspace and print the table; no bank is registered.

    DVC's run cache keeps each method's results, so a second call, and going back to a method, costs little.

    Args:
        data: A folder of classes.
        root: The workspace.
        order: The stream; all classes by name where None.
        settings: Parameters that all methods share.
        out: Where the summaries go as ``<method>.json``, and the table as ``table.txt``.
        chosen: The methods; all where None.
        drop_faulty: See `learn_folder`.

    Raises:
        ParamsError: There is no such method.
    """
    prepare(root)
    from flows.commands.learn import learn_folder

    out, known = out or root / "comparison", learners()
    if unknown := sorted({*(chosen or [])} - {*known}):
        raise ParamsError(f"--methods {','.join(unknown)}: the methods are {', '.join(known)}")
    methods = {name: known[name] for name in chosen or known}
    for method in methods:
        Console(stderr=True).rule(method)
        learn_folder(
            data,
            root,
            order,
            [*settings, f"method={method}"],
            out / f"{method}.json",
            drop_faulty=drop_faulty,
            published=False,
        )

    from tasks.tracking.summary import (
        Summary,  # loads Prefect, which looks for its home when it is imported
    )

    summaries = {m: Summary.model_validate_json((out / f"{m}.json").read_bytes()) for m in methods}
    table = Table(
        "method", "class told", *_COLUMNS, "bank MB", title="Means over classes after the last experience"
    )
    for method, summary in summaries.items():
        if methods[method].traits.routes:
            table.add_row(method, "yes", *_cells(summary, told=True), f"{summary.bank_bytes / 1e6:.1f}")
        table.add_row(method, "no", *_cells(summary, told=False), f"{summary.bank_bytes / 1e6:.1f}")
    console = Console(record=True, width=140)
    console.print(table)
    write_bytes(out / "table.txt", console.export_text().encode())


_COLUMNS = (
    "image AUROC",
    "image F1",
    "pooled AUROC",
    "pixel AUROC",
    "pixel AP",
    "AUPRO",
    "forgetting",
    "routing",
)


def _cells(summary: "Summary", *, told: bool) -> list[str]:
    mean = summary.oracle if told else summary.mean
    values = [
        mean.image_auroc,
        mean.image_f1max,
        None if told else summary.pooled.image_auroc,
        mean.pixel_auroc,
        mean.pixel_ap,
        mean.pixel_aupro,
        None if told else summary.forgetting.chaudhry,
        None if told else summary.routing_accuracy,
    ]
    return ["–" if value is None else f"{value:.3f}" for value in values]
