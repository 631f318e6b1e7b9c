"""A method's ablations, the tables of its paper, on one's own images."""

from pathlib import Path

from evernorm.errors import ParamsError
from evernorm.methods.registry import learner_of
from evernorm.params.model import default_params
from flows.commands.lines import learn_lines
from tasks.workspace.settings import with_settings


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
    """Learn the stream with every variant and print the tables; no bank is registered.

    A variant of the knowledge trains no prompt again: DVC's run cache holds what variants share.

    Args:
        data: A folder of classes.
        root: The workspace; see `learn_lines`.
        order: The stream; all classes by name where None.
        settings: Parameters that all variants share.
        method: Whose tables.
        tables: Which of `Learner.ablations`; all where None.
        seeds: Every variant is learned with each.
        out: Where the tables (``table.txt``) and each variant's summary go; default: in the workspace.
        drop_faulty: See `learn_folder`.

    Raises:
        ParamsError: No such table, or a variant that these settings do not allow.
    """
    shared = [*settings, f"method={method}"]
    _, base = with_settings(default_params(), shared)
    known = learner_of(base).ablations()
    chosen = list(known) if tables is None else tables
    strange = [table for table in chosen if table not in known]
    if strange or tables == []:
        there = ", ".join(known) or "none"
        raise ParamsError(f"--tables {','.join(strange)}: the tables of {method} are: {there}")
    lines = {variant.name: variant.settings for table in chosen for variant in known[table]}
    if not lines:
        raise ParamsError(f"method {method} has no ablations")
    title = f"{method}: ablation {', '.join(chosen)}"
    learn_lines(
        data, root, order, shared, lines, out or root / "ablation", "ablation", title,
        seeds=seeds, drop_faulty=drop_faulty,
    )  # fmt: skip
