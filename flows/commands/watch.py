"""What `evernorm watch` does: look into the inbox once, or whenever the schedule says so."""

import asyncio
import json
import os
import signal
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from rich.console import Console

from evernorm.errors import ParamsError
from flows.commands.environment import prepare
from flows.commands.learn import follow_writers
from flows.commands.runner import reach_server, run_flow, say
from flows.commands.stopping import kill_children, leave

if TYPE_CHECKING:
    from prefect.runner import Runner

    from evernorm.params.groups import Params
    from flows.watch import Taken
    from tasks.inbox.inbox import Refusal
    from tasks.workspace.workspace import Workspace


LEFT = 3
"""Exit status of a look that left something in the inbox, or whose version the gate refused."""


def watch_once(root: Path, inbox: str | None, settings: list[str]) -> int:
    """Take in what has arrived, and say what became of it.

    Returns:
        `LEFT`, or 0 where all that is in the inbox is served.

    Raises:
        EvernormError: Anything the user can cure; the next run goes on from there.
    """
    workspace, before = _prepared(root, inbox, settings)
    from flows.watch import watch_inbox
    from tasks.workspace.trial import kept_if_it_works

    with kept_if_it_works(workspace, before):
        taken, refusals = run_flow(lambda: watch_inbox(workspace.root, return_state=True))
    show_watched(taken, refusals)
    return LEFT if refusals or any(each.refused for each in taken) else 0


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
    workspace, before = _prepared(root, inbox, settings)
    reach_server()
    import httpx
    from prefect.client.orchestration import get_client

    from flows.watch import watch_inbox
    from tasks.inbox.inbox import check_reach
    from tasks.workspace.trial import kept_if_it_works

    watch = workspace.params.watch
    with kept_if_it_works(workspace, before):
        check_cron(watch.cron)
        if watch.inbox != before.watch.inbox:
            check_reach(watch.inbox)
    say(f"looking into {watch.inbox} at {watch.cron} (cron) for {workspace.root}; Ctrl-C ends it")
    runner = _runner(deployment_of(workspace))
    parameters = {"root": str(workspace.root)}
    deployment = runner.add_flow(watch_inbox, name=runner.name, cron=watch.cron, parameters=parameters)
    try:
        asyncio.run(runner.start())
    finally:
        # Not by the runner, which gives it up where it is stopped amid a run.
        with suppress(httpx.HTTPError), get_client(sync_client=True) as client:
            client.pause_deployment(str(deployment))


def deployment_of(workspace: "Workspace") -> str:
    """What the deployment is called that looks into a workspace's inbox, here as in prefect.yaml."""
    return f"inbox-{workspace.identity[:8]}"


def check_cron(cron: str) -> None:
    """Refuse a schedule that Prefect would not keep.

    Raises:
        ParamsError: It is one.
    """
    from prefect.client.schemas.schedules import CronSchedule

    try:
        CronSchedule(cron=cron)
    except ValueError as error:
        raise ParamsError(
            f"watch.cron {cron!r} is no cron schedule; */15 * * * * is every quarter of an hour"
        ) from error


def _runner(name: str) -> "Runner":
    """A runner that waits for no run under way when it is stopped."""
    from prefect.runner import Runner

    def stop(number: int, frame: FrameType | None) -> None:
        kill_children()
        leave(number, frame)

    class Watching(Runner):
        def handle_sigterm(self, *_: object) -> None:  # Prefect's own waits for the run
            stop(signal.SIGTERM, None)

    signal.signal(signal.SIGINT, stop)
    # A run that takes longer than the schedule's step is not overtaken.
    return Watching(name=name, limit=1, pause_on_shutdown=False)


def show_watched(taken: "list[Taken]", refusals: "list[Refusal]") -> None:
    """Print what was taken in and what was left, and why."""
    for each in taken:
        decision = each.decision
        version = (
            f"{decision.model} version {decision.version} is {decision.alias}"
            if decision
            else "nothing to learn"
        )
        remarks = f" ({decision.remarks})" if decision and decision.remarks else ""
        say(f"{'Updated' if each.update else 'Learned'} {each.name}: {version}{remarks}")
        if each.replaced:
            say(f"  {each.replaced}")
        if decision and decision.cure:
            say(f"  {decision.cure}")
    if not taken and not refusals:
        say("nothing new in the inbox")
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    for refusal in refusals:
        console.print(str(refusal))


def _prepared(root: Path, inbox: str | None, settings: list[str]) -> "tuple[Workspace, Params]":
    """The workspace with these settings, and the parameters it had before.

    Nothing is made or changed if the settings, or what they ask for, are at fault.
    """
    prepare(root)
    from tasks.inbox.inbox import place_of
    from tasks.workspace.checks import check_change
    from tasks.workspace.settings import with_settings
    from tasks.workspace.workspace import Workspace

    if inbox == "":
        raise ParamsError("--inbox is empty; name a directory or s3://bucket/prefix")
    if inbox is not None:
        settings = [*settings, f"watch.inbox={json.dumps(place_of(inbox), ensure_ascii=False)}"]
    follow_writers(root)
    known = Workspace.params_in(root)
    settings, params = with_settings(known, settings)
    _check_inbox(params.watch.inbox, root.resolve())
    if params != known:
        check_change(known, params)
    workspace = Workspace.open_or_create(root)
    prepare(root)
    with workspace.locked():
        workspace.configure(settings)
    return workspace, known


def _check_inbox(place: str, root: Path) -> None:
    if not place:
        raise ParamsError("no inbox is named; name a directory or s3://bucket/prefix with --inbox")
    if "://" not in place and (Path(place).is_relative_to(root) or root.is_relative_to(place)):
        raise ParamsError(f"the inbox {place} and the workspace {root} overlap; keep them apart")
