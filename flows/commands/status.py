"""What the bank knows, class by class, and which of it is served."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from evernorm.words import counted, figure
from flows.commands.environment import prepare
from flows.commands.runner import table_console

if TYPE_CHECKING:
    from tasks.workspace.workspace import Workspace


def show_status(root: Path) -> None:
    """Print what a workspace's bank knows, and which of it the champion serves."""
    prepare(root)
    from tasks.workspace.workspace import Workspace

    workspace = Workspace.open(root)  # before Prefect is imported, which would make its home there

    from evernorm.files import read_json
    from tasks.tracking.figures import unmeasured, weak

    console = table_console()
    paths, order = workspace.paths, workspace.params.order
    learned = [name for name in order if paths.metrics(name).is_file()]
    if not learned:
        waiting = f" ({counted(len(order), 'class', 'classes')} in the stream)" if order else ""
        console.print(f"{root} knows no class yet{waiting}")
        return
    served = _served(workspace)
    last = read_json(paths.metrics(learned[-1]))
    console.print(_table(workspace, learned, last, served))

    def tell(name: str, what: str, style: str = "") -> None:
        told = f"{workspace.display(name)}: {what}"
        console.print(told, markup=False, soft_wrap=True, style=style)

    for name in (name for name in order if name not in learned):
        tell(name, "in the stream, not learned yet")
    for name, why in workspace.params.set_aside.items():
        tell(name, f"set aside, {why}")
    for name, found in weak(last).items():
        tell(
            name,
            f"only {found:.0%} of its defects are found; see `evernorm threshold {name}`",
            style="yellow",
        )
    for name, lacking in unmeasured(last).items():
        tell(name, f"not measured, {lacking}")
    for name in (served.data or {}).keys() - set(learned):
        tell(name, "served by the champion, but not in the bank as it was learned last")
    console.print(served.champion, markup=False, soft_wrap=True)


@dataclass(frozen=True)
class _Served:
    """What the champion is, and DVC's hash of the images of each class that it knows; None where that is not known."""

    champion: str
    data: dict[str, str] | None

    def answer(self, name: str, data: str | None) -> str:
        if self.data is None:
            return "?"
        if name not in self.data:
            return "no"
        return "yes" if self.data[name] == data else "other images"


def _served(workspace: "Workspace") -> _Served:
    from evernorm.errors import EvernormError
    from tasks.tracking.ownership import ForeignError, registry_of
    from tasks.tracking.registry import champion_of, data_of

    try:
        with registry_of(workspace) as registry:
            version = champion_of(registry)
    except ForeignError as error:
        return _Served(f"champion: none, as {error.message}", {})
    except EvernormError as error:
        return _Served(f"champion: not known, as {error.message}", None)
    if version is None:
        return _Served("champion: none", {})
    data = data_of(version)
    names = ", ".join(workspace.display(name) for name in data)
    return _Served(f"champion: version {version.version}, serves {names}", data)


def _table(workspace: "Workspace", learned: list[str], last: dict[str, Any], served: _Served) -> Table:
    from evernorm.data.manifest import Manifest
    from tasks.workspace.pipeline import data_hash

    columns = (
        "\nserved",
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
        figures = [figure(value) for value in (last["learned"]["image_auroc"][name], now["image_auroc"])]
        shares = [figure(now[key]) for key in ("false_alarm_rate", "detection_rate")]
        manifest = Manifest.load(workspace.paths.manifest(name))
        table.add_row(
            Text(manifest.display),
            # Without its .dvc file a class is just being brought in.
            served.answer(
                name,
                data_hash(workspace.root, name)
                if (workspace.root / "data" / f"{name}.dvc").is_file()
                else None,
            ),
            str(len(manifest.train)),
            *figures,
            figure(now["bytes"], 0),
            *shares,
        )
    return table
