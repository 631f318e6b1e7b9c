"""The same stream learned in several ways, one after another, in one workspace."""

from collections.abc import Sequence
from pathlib import Path

from prefect import flow
from rich.console import Console

from evernorm.files import write_bytes
from flows.commands.console import show
from flows.learn import learn_stream
from tasks.tracking.comparison import Comparison, Learned, record_line, record_tables
from tasks.tracking.comparison_tables import Table, tables_of
from tasks.tracking.summary import summarise
from tasks.workspace.trial import kept_if_it_works
from tasks.workspace.workspace import Workspace


@flow(name="compare-methods", flow_run_name="{comparison.title}")
def compare_methods(root: Path, comparison: Comparison, out: Path) -> Sequence[Table]:
    """Learn the stream with every line of a comparison; no bank is registered.

    DVC's run cache keeps what each line made, so a second call, and what lines share, costs little.

    Args:
        root: The workspace, with all classes.
        comparison: Its lines.
        out: Where each line's summary goes as JSON.

    Returns:
        The tables.
    """
    told, learned = Console(stderr=True), []
    for line in comparison.lines:
        told.rule(line.name)
        workspace = Workspace.open(root)
        with kept_if_it_works(workspace, workspace.params):
            with workspace.locked():
                workspace.configure(line.settings)
            experiences, _ = learn_stream(root, published=False)
        workspace = Workspace.open(root)
        with workspace.locked():
            recorded = [each.recorded for each in experiences.values()]
            summary = summarise(workspace, recorded, None)
            file = out / line.file
            write_bytes(file, (summary.model_dump_json(indent=2) + "\n").encode())
            measured = record_line(workspace, comparison, line, recorded, file)
        show(summary, Console(highlight=False))
        learned.append(Learned(line, summary, measured))
    tables = tables_of(learned)
    record_tables(workspace, comparison, tables, learned)
    return tables
