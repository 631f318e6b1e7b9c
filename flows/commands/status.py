"""What the bank knows, class by class."""

from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.commands.environment import prepare


def show_status(root: Path) -> None:
    """Print what a workspace's bank knows."""
    prepare(root)
    from tasks.workspace.workspace import Workspace

    workspace = Workspace.open(root)  # before Prefect is imported, which would make its home there

    from evernorm.data.manifest import Manifest
    from evernorm.files import read_json
    from tasks.tracking.ownership import ForeignError, registry_of
    from tasks.tracking.registry import champion_of

    console = Console(highlight=False)
    paths, order = workspace.paths, workspace.params.order
    learned = [name for name in order if paths.metrics(name).is_file()]
    if not learned:
        console.print(f"{root} knows no class yet ({len(order)} in the stream)")
        return
    last = read_json(paths.metrics(learned[-1]))
    columns = (
        "training\nimages",
        "image AUROC\nwhen learned",
        "\nnow",
        "\nbytes",
        "false\nalarms",
        "\nfound",
    )
    table = Table("class", *columns, box=SIMPLE_HEAD)
    for name in learned:
        now = last["per_class"][name]
        then = last["learned"]["image_auroc"][name]
        figures = [_figure(value) for value in (then, now["image_auroc"])]
        shares = [_figure(now[key]) for key in ("false_alarm_rate", "detection_rate")]
        manifest = Manifest.load(paths.manifest(name))
        table.add_row(
            Text(manifest.display), str(len(manifest.train)), *figures, _figure(now["bytes"], 0), *shares
        )
    console.print(table)
    for name in (name for name in order if name not in learned):
        console.print(f"{workspace.display(name)}: in the stream, not learned yet", markup=False)
    for name, why in workspace.params.set_aside.items():
        console.print(f"{workspace.display(name)}: set aside, {why}", markup=False, soft_wrap=True)
    try:
        with registry_of(workspace) as registry:
            champion = champion_of(registry)
    except ForeignError as error:
        console.print(f"champion: none, as {error.message}", soft_wrap=True, markup=False)
    else:
        console.print(f"champion: version {champion.version}" if champion else "champion: none")


def _figure(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
