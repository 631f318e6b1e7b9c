"""Kill (SIGKILL) a build, a worker or the writer at random moments; each time the end must be that of an undisturbed run.

Two workers of a real Prefect server build two drawn classes for a writer, `evernorm watch --once`, which records on a real
MLflow server. An undisturbed run says what must come of it, and when classes are being built. Then, again and again: a new
workspace, and at a random moment one of them is killed with all that it has started: of five kills two hit the process
in which a worker builds, two the writer, one a worker. A worker is started again, a writer is run again; then the
comparison: the same bytes in every file and in DVC's records, one run, version, promotion and commit a class,
everything in the remotes, nothing left over.

    python benchmarks/kill_fleet.py [--count 25] [--seed 0] [--keep]
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import psutil
from fleet import BUILDS, OPEN_GATE, POOL, evernorm, inbox_in, made, run, servers, workspace_in

from infra.services.worker import Worker

CLASSES = ("cloth", "metal")
SETTINGS = (
    "features.image_size=64",
    "patchcore_cl.knowledge.budget=150",
    f"fleet.builders={POOL}",
    *OPEN_GATE,
)
VICTIMS = ("build", "build", "writer", "writer", "worker")
PATIENCE = 900  # seconds after which a run hangs


@dataclass(frozen=True)
class Undisturbed:
    """An undisturbed run: its end, its seconds, and in how many of them classes were being built."""

    state: dict[str, Any]
    seconds: float
    building: float


def main() -> None:
    """Print a line a kill, then how many went wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--keep", action="store_true", help="keep the workspaces that went wrong, and the logs"
    )
    options = parser.parse_args()
    chance = random.Random(options.seed)
    root = Path(tempfile.mkdtemp(prefix="kill-fleet-"))
    inbox = inbox_in(root, CLASSES)
    wrong, started = 0, time.monotonic()
    with servers(root) as worker:
        workers = [worker(f"{POOL}-{number}") for number in range(2)]
        try:
            run(*evernorm("deploy", "--workspace", workspace_in(root / "deployed", SETTINGS)))
            for each in workers:
                each.start()
            undisturbed = _undisturbed(root / "undisturbed", inbox, workers)
            places, killed = (root / f"killed-{number}" for number in count()), 0
            while killed < options.count:
                good = _round(next(places), chance, inbox, workers, undisturbed, keep=options.keep)
                if good is not None:
                    killed, wrong = killed + 1, wrong + (not good)
        finally:
            for each in workers:
                _kill(_family(each))
    took = (time.monotonic() - started) / 60
    print(f"{options.count} kills (seed {options.seed}) in {took:.0f} min: {wrong} went wrong")
    if not (wrong and options.keep):
        shutil.rmtree(root)
    sys.exit(wrong > 0)


def _undisturbed(place: Path, inbox: Path, workers: list[Worker]) -> Undisturbed:
    workspace = workspace_in(place, SETTINGS)
    writer, started, seen = _write(workspace, inbox), time.monotonic(), []
    while writer.poll() is None:
        if any(map(_flows, workers)):
            seen.append(time.monotonic() - started)
        time.sleep(0.1)
    if writer.returncode:
        sys.exit(f"the undisturbed run failed:\n{(place / 'said').read_text()}")
    whole = time.monotonic() - started
    state = _state(workspace)
    commits, champions = "; ".join(reversed(state["commits"])), state["champions"]
    print(
        f"undisturbed: {whole:.0f} s, builds from {seen[0]:.0f} to {seen[-1]:.0f} s; {commits}; champions {champions}",
        flush=True,
    )
    return Undisturbed(state, whole, seen[-1] - seen[0])


def _round(
    place: Path,
    chance: random.Random,
    inbox: Path,
    workers: list[Worker],
    undisturbed: Undisturbed,
    *,
    keep: bool,
) -> bool | None:
    """One kill, what came of it, and whether that is as it should be; None: what was to be killed had ended."""
    victim, worker = chance.choice(VICTIMS), chance.choice(workers)
    moment = chance.uniform(0, undisturbed.seconds if victim == "writer" else undisturbed.building)
    workspace, started = workspace_in(place, SETTINGS), time.monotonic()
    writer = _write(workspace, inbox)
    while victim != "writer" and writer.poll() is None and not any(map(_flows, workers)):
        time.sleep(0.05)
    with suppress(subprocess.TimeoutExpired):
        writer.wait(moment)
    moment, where = time.monotonic() - started, ""
    if victim == "worker":
        where = f"{worker.name}, which {'builds' if _flows(worker) else 'waits'}"
        _kill(_family(worker))
        worker.start()
    elif victim == "build" and (flows := _flows(worker)):
        where = f"a build of {worker.name}"
        _kill([each for flow in flows for each in _with_children(flow)])
    elif victim == "writer" and writer.poll() is None:
        where = f"the writer {_how_far(workspace)}"
        _kill(_with_children(psutil.Process(writer.pid)))
        writer.wait()
        writer = _write(workspace, inbox)
    try:
        writer.wait(PATIENCE)
        failed = {"failed": (place / "said").read_text()} if writer.returncode else None
    except subprocess.TimeoutExpired:
        _kill(_with_children(psutil.Process(writer.pid)))
        failed = {"hangs": (place / "said").read_text()}
    took = time.monotonic() - started
    again = _settle(place / "origin.git", workers)
    if not where:
        shutil.rmtree(place)
        return None
    found = failed or _state(workspace)
    differs = {key: value for key, value in found.items() if value != undisturbed.state.get(key)}
    print(
        f"{place.name:9}  after {moment:5.1f} s {where}; the end after {took:4.0f} s; "
        f"builds: {again}: {differs or 'ok'}",
        flush=True,
    )
    if not (differs and keep):
        shutil.rmtree(place)
    return not differs


def _write(workspace: Path, inbox: Path) -> "subprocess.Popen[bytes]":
    """Begin a run of the writer."""
    with (workspace.parent / "said").open("ab") as said:
        command = evernorm("watch", "--once", "--workspace", workspace, "--inbox", inbox)
        return subprocess.Popen(command, start_new_session=True, stdout=said, stderr=said)


def _how_far(workspace: Path) -> str:
    subjects = run("git", "log", "--format=%s", cwd=workspace).splitlines()
    if (workspace / ".evernorm/beside").is_dir():
        return "that waits for builds"
    return f"after {subjects[0]!r}"


def _with_children(process: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return [process, *process.children(recursive=True)]
    return []


def _family(worker: Worker) -> list[psutil.Process]:
    return _with_children(worker.process) if worker.process else []


def _flows(worker: Worker) -> list[psutil.Process]:
    """The processes in which a worker builds now."""
    with suppress(psutil.NoSuchProcess):
        return worker.process.children() if worker.process else []
    return []


def _kill(family: list[psutil.Process]) -> None:
    """Kill processes, the eldest first, and what they start meanwhile."""
    while family:
        for each in family:
            with suppress(psutil.NoSuchProcess):
                os.kill(each.pid, signal.SIGKILL)
        later = [child for each in family for child in _with_children(each)[1:]]
        family = [each for each in later if each not in family]


def _settle(origin: Path, workers: list[Worker]) -> str:
    """Wait until no build is left of a workspace, and say how they ended."""
    from collections import Counter

    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import DeploymentFilter

    mine = DeploymentFilter.model_validate({"name": {"any_": [POOL]}})
    deadline = time.monotonic() + PATIENCE
    while True:
        with get_client(sync_client=True) as client:
            runs = client.read_flow_runs(deployment_filter=mine, limit=200)
        states = [each.state for each in runs if each.parameters["repository"] == str(origin)]
        done = all(state is not None and state.is_final() for state in states)
        if (done and not any(map(_flows, workers))) or time.monotonic() > deadline:
            counted = Counter(state.name.lower() for state in states if state is not None)
            return ", ".join(f"{count} {name}" for name, count in sorted(counted.items()))
        time.sleep(0.5)


def _state(workspace: Path) -> dict[str, Any]:
    from mlflow import MlflowClient

    from tasks.tracking.ownership import Registry
    from tasks.tracking.promotions import standing
    from tasks.workspace.workspace import Workspace

    origin, client = workspace.parent / "origin.git", MlflowClient()
    model = workspace.parent.name
    runs = client.search_runs([each.experiment_id for each in client.search_experiments()], max_results=5000)
    identity = Workspace.open(workspace).identity
    mine = [each for each in runs if identity in each.data.tags.get("evernorm.key", "")]
    versions = client.search_model_versions(f"name = '{model}'")
    return {
        **made(workspace),
        "commits": run("git", "log", "--format=%s", cwd=workspace).splitlines(),
        "unclean": run("git", "status", "--porcelain", cwd=workspace),
        "pushed": run("git", "rev-parse", "main", cwd=origin)
        == run("git", "rev-parse", "HEAD", cwd=workspace),
        "handed over": run("git", "for-each-ref", BUILDS, cwd=origin),
        "versions": sorted(int(each.version) for each in versions),
        "runs": sorted(each.data.tags.get("evernorm.class", "stream") for each in mine),
        "champions": [change.after for change in standing(Registry(client, model))],
        "received": json.loads((workspace / "received.json").read_text()),
        "not in the remote": _missing(workspace),
        "unfinished": [
            name for name in ("arriving.json", "beside") if (workspace / ".evernorm" / name).exists()
        ],
    }


def _missing(workspace: Path) -> dict[str, str]:
    """What DVC names and its remote does not have."""
    from tasks.workspace.workspace import Workspace

    opened = Workspace.open(workspace)
    with opened.locked(), opened.dvc.ask("dvc status") as repo:
        missing: dict[str, str] = repo.status(cloud=True)
    return missing


if __name__ == "__main__":
    main()
