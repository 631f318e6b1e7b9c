"""A method's ablations, the tables of its paper, on one's own images."""

import json
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from evernorm.errors import ParamsError
from evernorm.files import write_bytes
from evernorm.methods.ablation import Variant
from evernorm.methods.registry import learner_of
from evernorm.params.model import default_params
from flows.commands.environment import prepare
from flows.commands.learn import learn_folder
from tasks.workspace.settings import with_settings

if TYPE_CHECKING:
    from tasks.tracking.summary import Figure, Summary


def ablate(
    data: Path,
    root: Path,
    order: list[str] | None,
    settings: list[str],
    method: str,
    tables: list[str] | None,
    seeds: list[int],
    out: Path | None,
    *,
    drop_faulty: bool = False,
) -> None:
    """Learn the stream with every variant, each an MLflow run, and print the table; no bank is registered.

    DVC's run cache holds what variants share, so a variant of the knowledge trains no prompt again, and a
    second call costs little.

    Args:
        data: A folder of classes.
        root: The workspace; its other parameters are set to their defaults.
        order: The stream; all classes by name where None.
        settings: Parameters that all variants share.
        method: Whose tables.
        tables: Which of `Learner.ablations`; all where None.
        seeds: Every variant is learned with each.
        out: Where the table (``table.txt``) and each variant's summary go; default: in the workspace.
        drop_faulty: See `learn_folder`.

    Raises:
        ParamsError: No such table, or a variant that these settings do not allow.
    """
    _, base = with_settings(default_params(), [*settings, f"method={method}"])
    known = learner_of(base).ablations()
    chosen = list(known) if tables is None else tables
    strange = [table for table in chosen if table not in known]
    if strange or tables == []:
        there = ", ".join(known) or "none"
        raise ParamsError(f"--tables {','.join(strange)}: the tables of {method} are: {there}")
    prepare(root)
    variants = [variant for table in chosen for variant in known[table]]
    if not variants:
        raise ParamsError(f"method {method} has no ablations")

    out = out or root / "ablation"
    console = Console(stderr=True)
    # All parameters, as the workspace keeps those that the variant before has set.
    values = base.model_dump(mode="json", exclude={"seed", "stream"}).items()
    shared = [f"{group}={json.dumps(value)}" for group, value in values]
    summaries: dict[Variant, list[Summary]] = {}
    for variant in dict.fromkeys(variants):
        for seed in seeds:
            console.rule(f"{variant.name}, seed {seed}")
            chosen = [*shared, f"seed={seed}", *variant.settings]
            file = out / f"{_file_name(variant.name)}-seed{seed}.json"
            learn_folder(data, root, order, chosen, file, drop_faulty=drop_faulty, published=False)
            summaries.setdefault(variant, []).append(_record(root, variant, file))
    console = Console(record=True, width=150)
    console.print(_means(summaries, len(seeds)))
    console.print(_classes(summaries))
    write_bytes(out / "table.txt", console.export_text().encode())


def _record(root: Path, variant: Variant, file: Path) -> "Summary":
    from tasks.tracking.runs import record_variant
    from tasks.tracking.summary import Summary
    from tasks.workspace.workspace import Workspace

    summary = Summary.model_validate_json(file.read_bytes())
    record_variant(Workspace.open(root), variant.name, file)
    return summary


def _file_name(name: str) -> str:
    return "-".join(
        "".join(letter if letter.isalnum() or letter in "=.-" else " " for letter in name).split()
    )


def _means(summaries: "dict[Variant, list[Summary]]", seeds: int) -> Table:
    columns = (
        "image AUROC",
        "pixel AP",
        "pooled AUROC",
        "pooled pixel AP",
        "forgetting",
        "routing",
        "bytes a class",
    )
    title = f"Means over classes after the last experience; ± over {seeds} seeds"
    table = Table(
        "variant", *columns, box=SIMPLE_HEAD, title=title if seeds > 1 else title.split(";", maxsplit=1)[0]
    )
    for variant, learned in summaries.items():
        table.add_row(
            variant.name,
            _spread([each.mean.image_auroc for each in learned]),
            _spread([each.mean.pixel_ap for each in learned]),
            _spread([each.pooled.image_auroc for each in learned]),
            _spread([each.pooled.pixel_ap for each in learned]),
            _spread([each.forgetting.chaudhry for each in learned]),
            _spread([each.routing_accuracy for each in learned]),
            f"{learned[0].bank_bytes / len(learned[0].classes):,.0f}",
        )
    return table


def _classes(summaries: "dict[Variant, list[Summary]]") -> Table:
    one = next(iter(summaries.values()))[0]
    names = one.classes
    called = [escape(one.display[name]) for name in names]
    table = Table("variant", *called, box=SIMPLE_HEAD, title="Image AUROC of each class")
    for variant, learned in summaries.items():
        figures = [[each.per_class[name].image_auroc for each in learned] for name in names]
        table.add_row(variant.name, *[_spread(values) for values in figures])
    return table


def _spread(values: "list[Figure]") -> str:
    present = [value for value in values if value is not None]
    if not present:
        return "–"
    return f"{fmean(present):.3f}" + (f" ±{stdev(present):.3f}" if len(present) > 1 else "")
