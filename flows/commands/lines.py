"""What `compare` and `ablate` do: learn one stream in several ways, and print the tables."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from evernorm.errors import EvernormError, ParamsError
from evernorm.files import write_bytes
from evernorm.params.model import default_params
from flows.commands.environment import prepare
from flows.commands.learn import take_in
from flows.commands.runner import run_flow, say

_WIDTH = 170


def learn_lines(
    data: Path,
    root: Path,
    order: list[str] | None,
    shared: Sequence[str],
    lines: Mapping[str, Sequence[str]],
    out: Path,
    kind: str,
    title: str,
    *,
    seeds: Sequence[int] | None = None,
    drop_faulty: bool = False,
) -> None:
    """Learn the stream with every line, each an MLflow run, and print the tables; no bank is registered.

    Args:
        data: A folder of classes.
        root: The workspace; its parameters are those of the line that is learned, and else their defaults.
        order: The stream; all classes by name where None.
        shared: Settings of all lines, ``key=value``.
        lines: In which settings each differs, by name.
        out: Where the tables (``table.txt``) and each line's summary go.
        kind: See `Comparison`.
        title: What it is called.
        seeds: Every line is learned with each; with that of the settings where None.
        drop_faulty: See `learn_folder`.

    Raises:
        ParamsError: A line that is no set of parameters; all of them are told.
    """
    from tasks.workspace.settings import with_settings

    _, base = with_settings(default_params(), shared)
    # All parameters, as the workspace keeps those that the line before has set.
    values = base.model_dump(mode="json", exclude={"stream"}).items()
    common = [f"{group}={json.dumps(value)}" for group, value in values]
    trials: list[tuple[str, list[str], int | None]] = []
    faults = []
    for name, settings in lines.items():
        try:
            written, _ = with_settings(base, settings)
        except EvernormError as error:
            faults += [f"{name}: {each}" for each in (error.faults or [error.message])]
        else:
            trials += [(name, written, seed) for seed in (seeds if seeds else (None,))]
    if faults:
        raise ParamsError("nothing was learned, as some of what is compared cannot be", faults)
    prepare(root)
    from tasks.tracking.comparison import Comparison, Line

    chosen = tuple(
        Line(
            name,
            (*common, *settings, *([] if seed is None else [f"seed={seed}"])),
            " ".join(each for each in lines[name] if not each.startswith("method=")),
            f"{_file_name(name)}{'' if seed is None else f'-seed{seed}'}.json",
            seed if seeds and len(seeds) > 1 else None,
        )
        for name, settings, seed in trials
    )
    workspace, _ = take_in(data, root, order, [[*line.settings] for line in chosen], drop_faulty=drop_faulty)

    from flows.commands.pages import pages_of
    from flows.compare import compare_methods
    from tasks.tracking.comparison import EXPERIMENT
    from tasks.tracking.view import COMPARISONS

    comparison = Comparison(kind, title, chosen)
    tables = run_flow(lambda: compare_methods(workspace.root, comparison, out, return_state=True))
    console = Console(record=True, width=_WIDTH)
    for each in tables:
        table = Table(*map(escape, each.header), box=SIMPLE_HEAD, title=each.title)
        for row in each.rows:
            table.add_row(*map(escape, row))
        console.print(table)
    write_bytes(out / "table.txt", console.export_text().encode())
    for line in pages_of(workspace, EXPERIMENT, COMPARISONS):
        say(line)


def _file_name(name: str) -> str:
    kept = "".join(letter if letter.isalnum() or letter in "=.-_" else " " for letter in name)
    return "-".join(kept.split())
