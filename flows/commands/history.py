"""Who was champion when, and what became of a class, for people to read."""

from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table

from evernorm.words import figure, minute
from flows.commands.environment import prepare
from flows.commands.runner import table_console


def show_history(root: Path, name: str | None) -> None:
    """Print the changes of the champion; of a class, when it was learned and which versions served it.

    Raises:
        EvernormError: No workspace, no such class, MLflow out of reach.
    """
    prepare(root)
    from tasks.workspace.workspace import Workspace

    workspace = Workspace.open(root)  # before Prefect is imported, which would make its home there
    from tasks.tracking.history import changes_of, history_of

    console = table_console(markup=False)
    if name is None:
        changes = changes_of(workspace)
        table = _table("when", "what", "champion", "mean image\nAUROC", "by", "why")
        for each in changes:
            auroc = each.metrics.get("mean_image_auroc", each.metrics.get("mean/image_auroc"))
            table.add_row(
                minute(each.at), each.what, f"{each.before} → {each.after}", figure(auroc), each.by, each.why
            )
        console.print(table if changes else "no version has been champion yet")
        return
    lessons, served = history_of(workspace, workspace.key(name))
    table = _table(f"{name}\nlearned or\nmeasured", "training\nimages", "data (DVC)", "commit", "MLflow run")
    for lesson in lessons:
        table.add_row(
            minute(lesson.at), str(lesson.images), lesson.data[:10], lesson.commit[:10] or "–", lesson.run[:8]
        )
    console.print(table)
    if not served:
        console.print("no version that knows it has been champion")
        return
    table = _table("champion\nfrom", "until", "version", "by", "why")
    for service in served:
        change = service.change
        why = f"{change.what}: {change.why}"
        until = minute(service.until) if service.until else "now"
        table.add_row(minute(change.at), until, change.after, change.by, why)
    console.print(table)


def _table(*columns: str) -> Table:
    table = Table(box=SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, no_wrap=column not in {"by", "why"}, overflow="fold")
    return table
