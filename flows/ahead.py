"""Classes are built on the workers of a pool before they are learned here, where only what depends on others is left."""

import json
import time
from collections.abc import Mapping, Sequence
from typing import cast

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import WorkerFilter
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from rich.console import Console

from evernorm.data.manifest import Manifest
from evernorm.errors import PipelineError
from evernorm.files import write_json
from evernorm.methods.learner import StateKind
from evernorm.methods.registry import learners
from evernorm.words import counted
from tasks.fleet.beside import beside
from tasks.fleet.snapshot import hand_over, take_down
from tasks.logs import run_log
from tasks.workspace.data import bring_in
from tasks.workspace.paths import seconds_file
from tasks.workspace.pipeline import up_to_date
from tasks.workspace.versions import record_versions
from tasks.workspace.workspace import INBOX, Workspace

_TIMES = 3  # a build whose worker is lost is begun again
_POLL = 1.0  # seconds


def build_ahead(workspace: Workspace, names: Sequence[str]) -> None:
    """Have classes built that are not up to date; what a worker cannot build is told, and built here.

    Args:
        workspace: Held by the caller; its params name the pool, or none.
        names: Classes to be learned.

    Raises:
        ParamsError: The workspace has no remotes.
        PassingError: A remote is out of reach.
        PipelineError: No such pool is deployed.
    """
    if not workspace.params.fleet.builders:
        return
    take_down(workspace)  # of a run that was killed
    if not names or not _can_be(workspace):
        return
    current = {*up_to_date(workspace, names)}
    _build(workspace, workspace, [name for name in names if name not in current])


def build_arrivals(workspace: Workspace, manifests: Mapping[str, Manifest]) -> list[str]:
    """Have classes built that have been fetched from the inbox, before any of them is placed in the workspace.

    Args:
        workspace: Held by the caller; its params name the pool.
        manifests: Of the classes, by name; their images are below `INBOX`.

    Returns:
        The classes that need no builder any more.

    Raises:
        ParamsError, PassingError, PipelineError: See `build_ahead`.
    """
    take_down(workspace)  # of a run that was killed
    if len(manifests) < 2 or not _can_be(workspace):
        return []  # one is built when it is learned
    record_versions(workspace.params, workspace.paths)
    with beside(workspace) as second:
        for name, manifest in manifests.items():
            bring_in(second, workspace.root / INBOX / name, {name: manifest})
        order = second.params.order
        second.configure(order=[*order, *(name for name in manifests if name not in order)])
        _build(workspace, second, [*manifests])
    return [*manifests]


def _can_be(workspace: Workspace) -> bool:
    method = workspace.params.method
    independent = learners()[method].traits.state is StateKind.INDEPENDENT
    if not independent:
        _console().print(
            f"{method} learns each class with what the one before left: they are built here, in turn"
        )
    return independent


def _build(workspace: Workspace, source: Workspace, names: Sequence[str]) -> None:
    """Build classes on workers.

    Args:
        workspace: Where they will be learned.
        source: Where their data are.
        names: The classes.
    """
    if not names:
        return
    pool, said = workspace.params.fleet.builders, _console()
    waiting = _check_deployed(pool)
    repository, commit = hand_over(workspace, source, names)
    said.print(f"{counted(len(names), 'class', 'classes')} → workers of pool {pool}{waiting}")
    try:
        runs = _built(pool, repository, commit, names)
    finally:
        take_down(workspace)
    for name, run in zip(names, runs, strict=True):
        state = run.state
        if state is not None and state.is_completed():
            for stage, seconds in json.loads(state.message or "{}").items():
                if seconds is not None:
                    write_json(seconds_file(workspace.root, stage, name), {"seconds": seconds})
            continue
        why = (state.message if state is not None else None) or "no state"
        run_log().warning("%s was not built by a worker: %s", name, why)
        said.print(f"{name} was not built by a worker ({why}); it is built here", style="yellow")


def _console() -> Console:
    return Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


def _check_deployed(pool: str) -> str:
    """What is to be said where no worker is up."""
    online = WorkerFilter.model_validate({"status": {"any_": ["ONLINE"]}})
    with get_client(sync_client=True) as client:
        try:
            deployment = client.read_deployment_by_name(f"build-class/{pool}")
        except ObjectNotFound as error:
            raise PipelineError(
                f"fleet.builders is {pool!r}, and no builders of that name are deployed; `evernorm deploy` does it, with what "
                "prefect.yaml names"
            ) from error
        name = deployment.work_pool_name or pool
        up = client.read_workers_for_work_pool(name, worker_filter=online)
    return "" if up else f", of which none is up: waiting for `prefect worker start --pool {name}`"


def _built(pool: str, repository: str, commit: str, names: Sequence[str]) -> list[FlowRun]:
    """The last run of each class, ended.

    By the client of the flow under way: a new one would not wait for a server that is away when it is first asked.
    """
    times = dict.fromkeys(names, 0)

    def begin(name: str) -> FlowRun:
        times[name] += 1
        key = f"{commit} {name} {times[name]}"  # one run, also where its answer was lost and it was asked for again
        parameters = {"repository": repository, "commit": commit, "name": name}
        begun = run_deployment(f"build-class/{pool}", parameters=parameters, idempotency_key=key, timeout=0)
        return cast(FlowRun, begun)

    runs = {name: begin(name) for name in names}
    with get_client(sync_client=True) as client:
        while left := [name for name, run in runs.items() if run.state is None or not run.state.is_final()]:
            time.sleep(_POLL)
            for name in left:
                runs[name] = run = client.read_flow_run(runs[name].id)
                if run.state is not None and run.state.is_crashed() and times[name] < _TIMES:
                    runs[name] = begin(name)
    return [runs[name] for name in names]
