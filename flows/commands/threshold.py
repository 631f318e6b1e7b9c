"""What a class's threshold costs, and setting it."""

from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table

from evernorm.errors import ParamsError
from evernorm.words import percent
from flows.commands.environment import prepare
from flows.commands.runner import run_flow, say, table_console

if TYPE_CHECKING:
    from tasks.tracking.thresholds import Thresholds


def threshold_in_workspace(
    root: Path,
    name: str,
    rate: float | None,
    reason: str | None,
    picture: Path | None,
    *,
    default: bool = False,
) -> None:
    """Print and draw what each false-alarm rate costs; set one where it is named.

    Args:
        root: The workspace.
        name: A class, by its key or what people call it.
        rate: The rate to set.
        reason: Why; needed to set one.
        picture: Where the trade-off is drawn; default: ``threshold-<class>.png`` in the current directory.
        default: Whether the class goes back to the rate of all.

    Raises:
        EvernormError: Anything the user can cure; nothing has changed then.
    """
    prepare(root)
    from tasks.workspace.workspace import Workspace

    workspace = Workspace.open(root)  # before Prefect is imported, which would make its home there
    from tasks.tracking.thresholds import draw_trade_off, refuse_without, thresholds_of
    from tasks.workspace.forget import reason_line

    name = workspace.key(name)
    setting = rate is not None or default
    if (rate is not None and default) or (rate is not None and not 0 < rate < 1):
        raise ParamsError(f"--rate {rate}: expected a number between 0 and 1, without --default")
    if setting != (reason is not None):
        raise ParamsError(
            "--reason goes with --rate or --default, and they with it: say why the threshold changes"
        )
    picture = picture or Path(f"threshold-{name}.png")
    if picture.suffix.lower() != ".png":
        raise ParamsError(f"--out {picture}: the picture is a PNG; name a file that ends with .png")
    if setting:
        refuse_without(workspace, name)
        # Committed: a run that was cut short has it in params.yaml only, and goes on.
        if workspace.committed_params().own_rates.get(name) == rate:
            say(f"{workspace.display(name)} has that rate already; nothing was changed")
            return
        workspace.check_writable()
        line = reason_line(reason or "")
        from flows.threshold import set_threshold

        decision = run_flow(lambda: set_threshold(workspace.root, name, rate, line, return_state=True))
    there = thresholds_of(workspace, name, rate)
    table_console().print(_table(there))
    measured = (
        "" if there.choices[0].found is not None else "; there are no test images to measure what is found"
    )
    say(f"{there.promise}{measured}")
    draw_trade_off(there, picture)
    say(f"drawn in {picture}")
    if setting:
        say(decision.told)


def _table(there: "Thresholds") -> Table:
    """A row a rate; the one in use is marked."""
    table = Table(
        title=f"{there.display}: what a false-alarm rate costs",
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
    )
    for title in (
        "asked",
        "threshold\n(std. dev.)",
        "training images\nleft out in turn",
        "good test\nimages",
        "defects\nfound",
    ):
        table.add_column(title, justify="right")
    for each in there.choices:
        now = each.asked == there.present
        table.add_row(
            f"{each.asked:.1%}{' (now)' if now else ''}",
            f"{each.threshold:+.2f}",
            *map(percent, (each.normal, each.false_alarms, each.found)),
            style="bold" if now else "",
        )
    return table
