"""Two workers against one: how long eight classes take to be built ahead, and what the writer waits for.

The classes of a folder, and one more that has every other training image of the first, are learned by
`evernorm learn` with `fleet.builders` set and everything else as by default, by one worker and then by two, each with one
thread and with checkouts that are empty. Both runs must leave the same bytes.

    python benchmarks/two_workers.py --data FOLDER [--order bottle,pan]
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from fleet import OPEN_GATE, POOL, evernorm, made, run, servers, workspace_in

from infra.services.service import stop
from infra.services.worker import Worker


def main() -> None:
    """Print what each run took, and the ratio of what it took to build."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--order", help="only these classes of the folder, and half of the first")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="two-workers-") as folder:
        photos = _photos(options.data, options.order.split(",") if options.order else [], Path(folder))
        with servers(Path(folder)) as worker:
            took, left = {}, {}
            for count in (1, 2):
                took[count], left[count] = _learn(Path(folder) / f"by-{count}", photos, worker, count)
    print(f"built {took[1] / took[2]:.2f} times as fast by two; same bytes: {left[1] == left[2]}")
    sys.exit(left[1] != left[2])


def _photos(data: Path, names: list[str], folder: Path) -> Path:
    """The classes of a folder, and one with half of the training images of the first of them."""
    photos = folder / "photos"
    names = names or sorted(path.name for path in data.iterdir() if (path / "train").is_dir())
    for name in names:
        shutil.copytree(data / name, photos / name)
    half = shutil.copytree(data / names[0], photos / f"{names[0]}_half")
    for path in sorted((half / "train" / "good").iterdir())[1::2]:
        path.unlink()
    return photos


def _learn(
    place: Path, photos: Path, worker: Callable[[str], Worker], count: int
) -> tuple[float, dict[str, Any]]:
    """The seconds from the first class handed out to the last handed back, and what was made."""
    workspace = workspace_in(place, [f"fleet.builders={POOL}", *OPEN_GATE])
    if count == 1:
        run(*evernorm("deploy", "--workspace", workspace))
    workers = [worker(f"{POOL}-{number}") for number in range(count)]
    try:
        for each in workers:
            each.start()
        before, began, started = os.getloadavg()[0], time.time(), time.monotonic()
        done = subprocess.run(
            evernorm("learn", "--data", photos, "--workspace", workspace),
            check=False,
            capture_output=True,
            text=True,
        )
        whole = time.monotonic() - started
    finally:
        stop(workers)
    if done.returncode or "is built here" in done.stderr:
        sys.exit(f"not all was built by workers:\n{done.stdout}{done.stderr}")
    builds = _builds(place / "origin.git")
    first, back = min(asked for asked, _ in builds.values()), {name: end for name, (_, end) in builds.items()}
    seconds = workspace / ".evernorm" / "seconds"
    evaluated = [json.loads(path.read_text())["seconds"] for path in seconds.glob("evaluate@*.json")]
    handed = ", ".join(
        f"{name} {end - began:.0f}" for name, end in sorted(back.items(), key=lambda each: each[1])
    )
    building = max(back.values()) - first
    print(
        f"workers: {count}, cores: {os.cpu_count()}, load {before:.1f} before and {os.getloadavg()[0]:.1f} at the end: "
        f"handed out after {first - began:.0f} s, built in {building:.0f} s, all in {whole:.0f} s, of which evaluation "
        f"{sum(evaluated):.0f} s; handed back after (s) {handed}",
        flush=True,
    )
    return building, made(workspace)


def _builds(origin: Path) -> dict[str, tuple[float, float]]:
    """When each class was handed out and back."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import DeploymentFilter

    mine = DeploymentFilter.model_validate({"name": {"any_": [POOL]}})
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(deployment_filter=mine)

    def seconds(moment: datetime | None) -> float:
        assert moment is not None
        return moment.timestamp()

    return {
        each.parameters["name"]: (seconds(each.created), seconds(each.end_time))
        for each in runs
        if each.parameters["repository"] == str(origin)
    }


if __name__ == "__main__":
    main()
