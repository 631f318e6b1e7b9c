"""From `evernorm pack --announce` to champion with everything up: seconds, split by step.

Servers, a builder and a worker of the deployed writer run; the first class of a folder is learned to warm them, then each of the
others is announced in its turn, and what Prefect has on record of its runs is put in order. A step begins where the one
before ended; what lies between two tasks is the flow's own.

    python benchmarks/arrival.py --data FOLDER [--order bottle,pan,cookie] [--set ...]
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from fleet import OPEN_GATE, POOL, evernorm, run, servers, workspace_in

from infra.services.service import stop
from tasks.stages import STAGES

BOUND = 20.0  # seconds beside the stages
_PATIENCE = 1800


def main() -> None:
    """Print a table a class, and what was spent beside the stages."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="a folder of classes")
    parser.add_argument("--order", required=True, help="a,b,c")
    parser.add_argument("--set", action="append", default=[], dest="settings", help="a parameter, key=value")
    options = parser.parse_args()
    first, *others = options.order.split(",")
    with tempfile.TemporaryDirectory(prefix="arrival-") as folder, servers(Path(folder)) as worker:
        inbox = Path(folder) / "inbox"
        inbox.mkdir()
        settings = [
            f"fleet.builders={POOL}",
            f"watch.inbox={inbox}",
            "watch.cron=0 4 1 1 *",
            *OPEN_GATE,
            *options.settings,
        ]
        workspace = workspace_in(Path(folder) / "stream", settings)
        run(*evernorm("deploy", "--workspace", workspace))
        workers = [worker(POOL), worker("writer", "writer")]
        try:
            for each in workers:
                each.start()
            for name in (first, *others):
                took = _arrival(options.data / name, inbox)
                if name != first:
                    _show(name, took)
        finally:
            stop(workers)


def _arrival(photos: Path, inbox: Path) -> list[tuple[str, float]]:
    """The steps of a class's way, in order, with the seconds of each."""
    began = time.time()
    subprocess.run(evernorm("pack", photos, inbox, "--announce"), check=True, capture_output=True)
    packed, watch = time.time(), None
    while watch is None or not watch.state.is_final():
        if time.time() - packed > _PATIENCE:
            sys.exit(f"{photos.name} was not learned within {_PATIENCE} s")
        time.sleep(0.5)
        watch = next(iter(_runs("watch-inbox", began)), None)
    if not watch.state.is_completed():
        sys.exit(f"{photos.name} was not learned: {watch.state}")
    marks = [
        ("pack: checked, hashed, copied, announced", began, packed),
        ("the event starts a run", packed, _at(watch.created)),
    ]
    marks.append(("the writer takes it, and imports", _at(watch.created), _at(watch.start_time)))
    builds = _runs("build-class", began)
    for build in builds:
        marks.append(("the builder takes it, and imports", _at(build.created), _at(build.start_time)))
        marks += [(f"builder: {name}", *when) for name, *when in _tasks([build])]
    # Tasks of the flow, and of those that it called.
    called = [each for each in _runs(None, began) if each.parent_task_run_id]
    marks += [(name, *when) for name, *when in _tasks([watch, *called])]
    return [*_steps(sorted(marks, key=lambda mark: (mark[1], mark[2])), began, _at(watch.end_time))]


def _steps(
    marks: Sequence[tuple[str, float, float]], began: float, ended: float
) -> Iterator[tuple[str, float]]:
    now = began
    for name, start, end in marks:
        if start > now:
            yield f"before: {name}", start - now
        if end > now:
            yield name, end - max(start, now)
            now = end
    yield "the run ends", max(ended - now, 0.0)


def _show(name: str, steps: Sequence[tuple[str, float]]) -> None:
    gate = max(place for place, (step, _) in enumerate(steps) if step.startswith("gate"))
    whole = sum(seconds for _, seconds in steps[: gate + 1])
    stages = sum(seconds for step, seconds in steps if _is_stage(step))
    gathered: dict[str, float] = {}
    for step, seconds in steps:
        gathered[step] = gathered.get(step, 0.0) + seconds
    print(
        f"{name}: {whole:.1f} s from pack to champion, stages {stages:.1f} s, beside them {whole - stages:.1f} s (bound {BOUND:.0f})"
    )
    for step, seconds in gathered.items():
        print(f"  {seconds:7.1f}  {step}", flush=True)


def _is_stage(step: str) -> bool:
    return step.removeprefix("builder: ").partition("@")[0] in STAGES


def _runs(flow: str | None, after: float) -> list[Any]:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowFilter
    from prefect.client.schemas.sorting import FlowRunSort

    of = FlowFilter.model_validate({"name": {"any_": [flow]}}) if flow else None
    with get_client(sync_client=True) as client:
        found = client.read_flow_runs(flow_filter=of, sort=FlowRunSort.START_TIME_ASC)
    return [each for each in found if _at(each.created) >= after]


def _tasks(flows: Sequence[Any]) -> list[tuple[str, float, float]]:
    """Names, beginnings and ends of the tasks of flow runs, but for those that stand for a flow."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter

    mine = FlowRunFilter.model_validate({"id": {"any_": [str(each.id) for each in flows]}})
    with get_client(sync_client=True) as client:
        found = client.read_task_runs(flow_run_filter=mine)
    stands = {each.parent_task_run_id for each in flows}
    return [
        (each.name, _at(each.start_time), _at(each.end_time))
        for each in found
        if each.id not in stands and each.start_time and each.end_time
    ]


def _at(moment: datetime | None) -> float:
    assert moment is not None
    return moment.timestamp()


if __name__ == "__main__":
    main()
