"""What DVC takes to run one stage again, by the number of classes in dvc.lock: as it is used here, and as it comes.

One drawn class is learned, and what dvc.lock says of it is copied under other names. Its stage `weibull` is forced
three times each way; the least counts, the stage's own second or two included.

    python benchmarks/dvc_yaml.py [1 50 200]
"""

import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/helpers"))

from photos import draw_photos

CLASS, STAGE = "cloth", "weibull"
SETTINGS = ("features.image_size=64", "patchcore_cl.knowledge.budget=150", "gate.min_image_auroc=0")
TURNS = 3


def main(lengths: list[int]) -> None:
    """Print a table of the lengths."""
    from flows.commands.environment import prepare
    from tasks.workspace.workspace import Workspace

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "workspace"
        photos = draw_photos(Path(folder) / "photos", names=(CLASS,))
        options = [word for setting in SETTINGS for word in ("--set", setting)]
        command = [sys.executable, "-m", "flows.commands.cli", "learn", "--data", str(photos)]
        subprocess.run([*command, "--workspace", str(root), *options], check=True, capture_output=True)
        prepare()
        lock = (root / "dvc.lock").read_text()
        print("classes  dvc.lock, kB  as used here, s  as it comes, s  ratio  the stage, s")
        for length in lengths:
            workspace = Workspace.open(root)
            workspace.configure((), [CLASS, *(f"class{number:03d}" for number in range(1, length))])
            (root / "dvc.lock").write_text(stretched(lock, length))
            quick, known = (fastest(workspace, own) for own in (False, True))
            size = (root / "dvc.lock").stat().st_size / 1000
            note = root / f".evernorm/seconds/{STAGE}@{CLASS}.json"
            itself = json.loads(note.read_text())["seconds"]
            print(
                f"{length:7}  {size:12.0f}  {quick:15.2f}  {known:14.2f}  {known / quick:5.1f}  {itself:12.2f}",
                flush=True,
            )


def stretched(lock: str, length: int) -> str:
    """A dvc.lock in which as many classes are like the first."""
    head, stages = re.match(r"(.*?^stages:\n)(.*)", lock, re.MULTILINE | re.DOTALL).groups()  # type: ignore[union-attr]
    others = (stages.replace(CLASS, f"class{number:03d}") for number in range(1, length))
    return head + stages + "".join(others)


def fastest(workspace: Any, own: bool) -> float:
    """Seconds of the quickest turn."""
    from tasks.workspace.dvc_yaml import stand_ins

    seconds = []
    with workspace.dvc.ask("a benchmark") as repo:
        quick = {(owner, name): getattr(owner, name) for owner, name, _ in stand_ins()}
        for (owner, name), function in quick.items() if own else ():
            setattr(owner, name, function.__wrapped__)
        for _ in range(TURNS):
            started = time.perf_counter()
            repo.reproduce([f"{STAGE}@{CLASS}"], single_item=True, force=True)
            seconds.append(time.perf_counter() - started)
        for (owner, name), function in quick.items():
            setattr(owner, name, function)
    workspace.dvc.close()
    return min(seconds)


if __name__ == "__main__":
    main([int(each) for each in sys.argv[1:]] or [1, 50, 200])
