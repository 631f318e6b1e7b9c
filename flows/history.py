"""Who was champion when, and what became of a class, for people to read."""

from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from flows.environment import prepare


def show_history(root: Path, name: str | None) -> None:
    """Print the changes of the champion; of a class, when it was learned and which versions served it.

    Raises:
        EvernormError: No workspace, no such class, MLflow out of reach.
    """
    prepare(root)
    from tasks.workspace import Workspace

    workspace = Workspace.open(root)  # before Prefect is imported, which would make its home there
    from tasks.history import changes_of, history_of

    console = Console(highlight=False)
    if name is None:
        changes = changes_of(workspace)
        table = _table("when", "what", "champion", "mean image\nAUROC", "by", "why")
        for each in changes:
            auroc = each.metrics.get("mean/image_auroc")
            figure = "–" if auroc is None else f"{auroc:.3f}"
            table.add_row(each.at, each.what, f"{each.before} → {each.after}", figure, each.by, each.why)
        console.print(table if changes else "no version has been champion yet")
        return
    lessons, served = history_of(workspace, name)
    table = _table(f"{name}\nlearned or measured", "data (DVC)", "training\nimages", "commit", "run")
    for lesson in lessons:
        table.add_row(lesson.at, lesson.data, str(lesson.images), lesson.commit[:10] or "–", lesson.run)
    console.print(table)
    if not served:
        console.print("no version that knows it has been champion")
        return
    table = _table("champion\nfrom", "until", "version", "by", "why")
    for service in served:
        change = service.change
        why = f"{change.what}: {change.why}"
        table.add_row(change.at, service.until or "now", change.after, change.by, why)
    console.print(table)


def _table(*columns: str) -> Table:
    return Table(*columns, box=SIMPLE_HEAD)
