"""What `evernorm watch` does: look into the inbox once, or whenever the schedule says so."""

import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from evernorm.errors import ParamsError
from flows.commands.environment import prepare
from flows.commands.run import with_defaults_of_backbone, with_whole_paths
from flows.commands.runner import kill_children, run_flow, say

if TYPE_CHECKING:
    from flows.watch import Taken
    from tasks.inbox.inbox import Refusal
    from tasks.workspace.workspace import Workspace


def watch_once(root: Path, inbox: str | None, settings: list[str]) -> None:
    """Take in what has arrived, and say what became of it.

    Raises:
        EvernormError: Anything the user can cure; the next run goes on from there.
    """
    workspace = _prepared(root, inbox, settings)
    from flows.watch import watch_inbox

    show_watched(*run_flow(lambda: watch_inbox(workspace.root)))


def watch_on_schedule(root: Path, inbox: str | None, settings: list[str]) -> None:
    """Serve the flow on the cron schedule of params.yaml until it is stopped.

    Raises:
        EvernormError: Anything the user can cure, and no Prefect server to keep the schedule.
    """
    if not os.environ.get("PREFECT_API_URL"):
        raise ParamsError(
            "a schedule is kept by a Prefect server: start one with `prefect server start` and name it in "
            "PREFECT_API_URL, or look once with --once"
        )
    workspace = _prepared(root, inbox, settings)
    from prefect.client.schemas.schedules import CronSchedule

    from flows.watch import watch_inbox

    watch = workspace.params.watch
    try:
        CronSchedule(cron=watch.cron)
    except ValueError as error:
        raise ParamsError(
            f"watch.cron {watch.cron!r} is no cron schedule; */15 * * * * is every quarter of an hour"
        ) from error
    say(f"looking into {watch.inbox} at {watch.cron} (cron) for {workspace.root}; Ctrl-C ends it")
    signal.signal(signal.SIGINT, _stop)
    watch_inbox.serve(
        name=f"inbox-{workspace.identity[:8]}",
        cron=watch.cron,
        parameters={"root": str(workspace.root)},
        limit=1,  # a run that takes longer than the schedule's step is not overtaken
        print_starting_message=False,
    )


def _stop(_signal: int, _frame: object) -> None:
    """Ctrl-C: end the run that is under way, and let Prefect pause the schedule; a second one waits for nothing."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    kill_children()
    raise KeyboardInterrupt


def show_watched(taken: "list[Taken]", refusals: "list[Refusal]") -> None:
    """Print what was taken in and what was left, and why."""
    from tasks.tracking.registry import MODEL

    for each in taken:
        decision = each.decision
        version = (
            f"{MODEL} version {decision.version} is {decision.alias}" if decision else "nothing to learn"
        )
        say(f"{'Updated' if each.update else 'Learned'} {each.name}: {version}")
    if not taken and not refusals:
        say("nothing new in the inbox")
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    for refusal in refusals:
        console.print(str(refusal))


def _prepared(root: Path, inbox: str | None, settings: list[str]) -> "Workspace":
    prepare(root)
    from tasks.workspace.workspace import Workspace

    if inbox == "":
        raise ParamsError("--inbox is empty; name a directory or s3://bucket/prefix")
    if inbox is not None:
        place = inbox if "://" in inbox else str(Path(inbox).resolve())
        settings = [*settings, f"watch.inbox={json.dumps(place, ensure_ascii=False)}"]
    workspace = Workspace.open_or_create(root)
    prepare(root)
    settings = with_whole_paths(settings)
    with workspace.locked():
        known = workspace.params
        workspace.configure(settings if known.order else with_defaults_of_backbone(known, settings))
    place = workspace.params.watch.inbox
    if not place:
        raise ParamsError("no inbox is named; name a directory or s3://bucket/prefix with --inbox")
    if "://" not in place and (
        Path(place).is_relative_to(workspace.root) or workspace.root.is_relative_to(place)
    ):
        raise ParamsError(f"the inbox {place} and the workspace {workspace.root} overlap; keep them apart")
    return workspace
