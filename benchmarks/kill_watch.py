"""Kill `evernorm watch --once` at random moments; each time the next run must end as an undisturbed one.

Two drawn classes arrive in an inbox. An undisturbed run says what must come of it and how long it takes. Then, again and
again: a new workspace, a run whose whole process group is killed (SIGKILL) at a random moment, a run that is left
alone, and the comparison: the same bytes in every file and in DVC's records, one run, version, promotion and commit a
class, everything in the remote, nothing left over.

    python benchmarks/kill_watch.py [--count 25] [--seed 0] [--keep]
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
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.fleet import evernorm, inbox_in

SETTINGS = (
    "features.image_size=64",
    "patchcore_cl.knowledge.budget=150",
    *(f"gate.{bound}" for bound in ("min_image_auroc=0", "min_routing_accuracy=0", "max_false_alarm_rate=1")),
)
CLASSES = ("cloth", "metal")
FOLDERS = ("data", "masks", "bank", "features", "models", "metrics")


def main() -> None:
    """Print a line a kill, then how many went wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", action="store_true", help="keep the workspaces that went wrong")
    options = parser.parse_args()
    chance = random.Random(options.seed)
    root = Path(tempfile.mkdtemp())
    inbox = inbox_in(root, CLASSES)
    started = time.monotonic()
    command = _command(_workspace(root / "undisturbed"), inbox)
    subprocess.run(command, check=True, capture_output=True)
    whole = time.monotonic() - started
    expected = _state(root / "undisturbed")
    print(
        f"undisturbed: {whole:.0f} s; {'; '.join(reversed(expected['commits']))}; champions {expected['champions']}",
        flush=True,
    )
    wrong = 0
    for number in range(options.count):
        workspace = _workspace(root / f"killed-{number}")
        moment = chance.uniform(0.02, 1.0) * whole
        where = _kill(_command(workspace, inbox), moment, workspace)
        done = subprocess.run(_command(workspace, inbox), check=False, capture_output=True, text=True)
        found = _state(workspace) if done.returncode == 0 else {"failed": done.stderr}
        differs = {key: value for key, value in found.items() if value != expected.get(key)}
        good = not differs
        wrong += not good
        print(
            f"{number + 1:3d}  killed after {moment:5.1f} s, {where}: {'ok' if good else differs}", flush=True
        )
        if good or not options.keep:
            shutil.rmtree(workspace)
            shutil.rmtree(_remote(workspace))
    print(f"{options.count} kills (seed {options.seed}): {wrong} went wrong")
    if not (wrong and options.keep):
        shutil.rmtree(root)
    sys.exit(wrong > 0)


def _workspace(path: Path) -> Path:
    """An empty workspace with a DVC remote beside it."""
    from tasks.workspace.workspace import Workspace

    Workspace.open_or_create(path)
    _remote(path).mkdir()
    dvc = [sys.executable, "-m", "dvc", "remote", "add", "-q", "-d", "storage", _remote(path)]
    subprocess.run(dvc, cwd=path, check=True)
    return path


def _remote(workspace: Path) -> Path:
    return workspace.with_name(f"{workspace.name}-remote")


def _command(workspace: Path, inbox: Path) -> list[str]:
    settings = [word for each in SETTINGS for word in ("--set", each)]
    return evernorm("watch", "--once", "--workspace", workspace, "--inbox", inbox, *settings)


def _kill(command: list[str], moment: float, workspace: Path) -> str:
    """Kill a run after so many seconds, and tell what it had come to."""
    process = subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        process.wait(moment)
        return "after its end"
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    lock = workspace / "dvc.lock"
    stages = list(yaml.safe_load(lock.read_text())["stages"]) if lock.is_file() else ["the start"]
    return f"after {stages[-1]}"


def _state(workspace: Path) -> dict[str, Any]:
    from mlflow import MlflowClient

    from evernorm.files import sha256_file
    from tasks.tracking.ownership import Registry
    from tasks.tracking.promotions import standing

    def said(*command: str) -> str:
        return subprocess.run(command, cwd=workspace, capture_output=True, text=True, check=True).stdout

    client = MlflowClient(f"sqlite:///{workspace / 'mlflow.db'}")
    stages = yaml.safe_load((workspace / "dvc.lock").read_text())["stages"]
    files = [path for folder in FOLDERS for path in (workspace / folder).rglob("*")]
    runs = client.search_runs([each.experiment_id for each in client.search_experiments()])
    return {
        "recorded": {name: [out.get("md5") for out in record["outs"]] for name, record in stages.items()},
        "bytes": {str(path.relative_to(workspace)): sha256_file(path) for path in files if path.is_file()},
        "commits": said("git", "log", "--format=%s").splitlines(),
        "unclean": said("git", "status", "--porcelain"),
        "versions": len(client.search_model_versions("name = 'continual-bank'")),
        "runs": sorted(run.data.tags.get("evernorm.class", "stream") for run in runs),
        "champions": [change.after for change in standing(Registry(client, "continual-bank"))],
        "received": json.loads((workspace / "received.json").read_text()),
        "remote": "in sync" in said(sys.executable, "-m", "dvc", "status", "--cloud"),
        "unfinished": (workspace / ".evernorm/arriving.json").exists(),
    }


if __name__ == "__main__":
    main()
