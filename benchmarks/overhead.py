"""What the pipeline costs beside the work: seconds of an experience outside its stages, and of a watch with nothing to do.

Three drawn classes arrive in an inbox, one after another, with a Prefect server of its own, a DVC remote and MLflow on
SQLite. A stage's seconds are those of its process, from its start to its end; those of `learn_experience` are Prefect's. A watch
run also looks, fetches, checks, registers, pushes, commits and decides. The first one imports MLflow and DVC and makes
MLflow's database.

    python benchmarks/overhead.py
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.helpers.backends import prefect_server
from tests.helpers.photos import draw_photos

SETTINGS = ("features.image_size=64", "patchcore_cl.knowledge.budget=150", "gate.min_image_auroc=0")
CLASSES = ("cloth", "metal", "blue")


def main() -> None:
    """Learn three classes, then look again."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        with prefect_server(root) as server:
            os.environ["PREFECT_API_URL"] = server.url
            _measure(root)


def _measure(root: Path) -> None:
    from flows.commands.environment import prepare

    prepare()
    from flows.commands.runner import run_flow
    from flows.watch import watch_inbox
    from tasks.inbox.delivery import pack
    from tasks.workspace.workspace import Workspace

    inbox = root / "inbox"
    inbox.mkdir()
    draw_photos(root / "photos", names=CLASSES)
    workspace = Workspace.open_or_create(root / "workspace")
    workspace.configure([*SETTINGS, f"watch.inbox={inbox}"])
    remote = ["remote", "add", "-q", "-d", "storage", str(root / "remote")]
    subprocess.run([sys.executable, "-m", "dvc", *remote], cwd=workspace.root, check=True)

    def watch() -> float:
        started = time.perf_counter()
        run_flow(lambda: watch_inbox(workspace.root, return_state=True))
        return time.perf_counter() - started

    stages, runs = [], []
    for name in CLASSES:
        pack(root / "photos" / name, str(inbox))
        runs.append(watch())
        notes = (workspace.root / ".evernorm/seconds").glob(f"*@{name}.json")
        stages.append(sum(json.loads(note.read_text())["seconds"] for note in notes))
    _say("learn_experience", _experiences(), stages)
    _say("a watch run", runs, stages)
    print(f"a watch run with nothing to do: {watch():.1f} s")


def _experiences() -> list[float]:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowFilter, FlowFilterName
    from prefect.client.schemas.sorting import FlowRunSort

    wanted = FlowFilter(name=FlowFilterName(any_=["learn-experience"]))
    with get_client(sync_client=True) as client:
        found = client.read_flow_runs(flow_filter=wanted, sort=FlowRunSort.START_TIME_ASC)
    return [run.total_run_time.total_seconds() for run in found]


def _say(what: str, seconds: list[float], stages: list[float]) -> None:
    outside = [whole - inside for whole, inside in zip(seconds, stages, strict=True)]
    each = ", ".join(f"{value:.1f}" for value in outside)
    print(f"{what} outside its stages: {each} s; mean {sum(outside) / len(outside):.1f} s")


if __name__ == "__main__":
    main()
