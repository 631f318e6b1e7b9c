"""UCAD's ablations (its Tables 6 to 8, and how the prompts are trained) on one's own images."""

import json
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from evernorm.errors import ParamsError
from evernorm.files import write_bytes
from evernorm.params.file import override, parse_params
from evernorm.params.groups import Method, Params, PromptKind, Stopping
from flows.commands.environment import prepare
from flows.commands.run import learn_folder, with_defaults_of_backbone, with_whole_paths

if TYPE_CHECKING:
    from tasks.tracking.summary import Figure, Summary


@dataclass(frozen=True)
class Variant:
    """One line of a table.

    Attributes:
        name: What differs.
        settings: The parameters that make it so.
    """

    name: str
    settings: tuple[str, ...]


TABLES = ("6", "7", "8", "training")


def ablate(
    data: Path,
    root: Path,
    order: list[str] | None,
    settings: list[str],
    tables: list[str],
    seeds: list[int],
    out: Path | None,
) -> None:
    """Learn the stream with every variant, each an MLflow run, and print the table.

    DVC's run cache holds what variants share, so a variant of the knowledge trains no prompt again, and a
    second call costs little.

    Args:
        data: A folder of classes.
        root: The workspace; its other parameters are set to their defaults.
        order: The stream; all classes by name where None.
        settings: Parameters that all variants share.
        tables: Which of `TABLES`.
        seeds: Every variant is learned with each.
        out: Where the table (``table.txt``) and each variant's summary go; default: in the workspace.

    Raises:
        ParamsError: No such table, or a variant that these settings do not allow.
    """
    settings = with_whole_paths(settings)
    settings = with_defaults_of_backbone(Params(), [*settings, f"method={Method.UCAD.value}"])
    base = parse_params(override(Params().model_dump(mode="json"), settings))
    if (strange := [table for table in tables if table not in TABLES]) or not tables:
        raise ParamsError(f"--tables {','.join(strange)!r}: expected some of {','.join(TABLES)}")
    prepare(root)
    variants = [variant for table in tables for variant in _variants(table, base)]

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
            learn_folder(data, root, order, chosen, file)
            summaries.setdefault(variant, []).append(_record(root, variant, file))
    console = Console(record=True, width=150)
    console.print(_means(summaries, len(seeds)))
    console.print(_classes(summaries))
    write_bytes(out / "table.txt", console.export_text().encode())


def _variants(table: str, base: Params) -> list[Variant]:
    """The lines of a table; those that tables share are learned once."""
    rows, faster = base.knowledge.rows, 10 * base.prompts.learning_rate
    plain, full = Variant("CPM", (f"prompts.kind={PromptKind.NONE.value}",)), Variant("CPM + SCL", ())
    if table == "6":
        # Without the continual prompting module there is one memory, relearned on each class.
        forgetful = (f"method={Method.FINETUNE.value}", f"knowledge.budget={rows}")
        return [Variant("no CPM", forgetful), plain, full]
    if table == "7":
        sizes = [(f"{times} x {rows} rows", f"knowledge.rows={times * rows}") for times in (2, 4)]
        return [
            Variant(f"{line.name}, {name}" if name else line.name, (*line.settings, *size))
            for line in (plain, full)
            for name, *size in [("",), *sizes]
        ]
    if table == "8":
        from evernorm.features.backbone import single_levels

        levels = single_levels(base.features.backbone)
        return [full, *(Variant(f"level {level}", (f"features.layers=[{level}]",)) for level in levels)]
    changes = {
        "loss=linear": "prompts.loss=linear",
        f"learning_rate={faster:g}": f"prompts.learning_rate={faster}",
        "first_block=5": "prompts.first_block=5",
        **{
            f"stopping={each.value}": f"prompts.stopping={each.value}"
            for each in Stopping
            if each is not base.prompts.stopping
        },
        "scale=50": "masks.superpixels.scale=50",
    }
    if base.masks.sam.checkpoint:
        changes["structure=sam"] = "masks.structure=sam"
    return [full, *(Variant(name, (change,)) for name, change in changes.items())]


def _record(root: Path, variant: Variant, file: Path) -> "Summary":
    from tasks.tracking.runs import record_variant
    from tasks.tracking.summary import Summary

    summary = Summary.model_validate_json(file.read_bytes())
    record_variant(root, variant.name, file)
    return summary


def _file_name(name: str) -> str:
    return "-".join(
        "".join(letter if letter.isalnum() or letter in "=.-" else " " for letter in name).split()
    )


def _means(summaries: "dict[Variant, list[Summary]]", seeds: int) -> Table:
    columns = ("image AUROC", "pixel AP", "pooled AUROC", "forgetting", "routing", "bytes a class")
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
            _spread([each.forgetting.chaudhry for each in learned]),
            _spread([each.routing_accuracy for each in learned]),
            f"{learned[0].bank_bytes / len(learned[0].classes):,.0f}",
        )
    return table


def _classes(summaries: "dict[Variant, list[Summary]]") -> Table:
    names = next(iter(summaries.values()))[0].classes
    table = Table("variant", *names, box=SIMPLE_HEAD, title="Image AUROC of each class")
    for variant, learned in summaries.items():
        figures = [[each.per_class[name].image_auroc for each in learned] for name in names]
        table.add_row(variant.name, *[_spread(values) for values in figures])
    return table


def _spread(values: "list[Figure]") -> str:
    present = [value for value in values if value is not None]
    if not present:
        return "–"
    return f"{fmean(present):.3f}" + (f" ±{stdev(present):.3f}" if len(present) > 1 else "")
