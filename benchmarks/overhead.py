"""What the pipeline costs beside the work: seconds of an experience outside its stages, and of a watch with nothing to do.

Three drawn classes arrive in an inbox, one after another, with a Prefect server of its own, a DVC remote and MLflow on
SQLite. A stage's seconds are those of its process, from its start to its end. The first experience also imports MLflow and
DVC and makes MLflow's database.

    python benchmarks/overhead.py
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / "tests" / each) for each in ("helpers", "integration")]

from backends import PrefectServer
from photos import draw_photos

SETTINGS = ("features.image_size=64", "knowledge.budget=150", "gate.min_image_auroc=0")
CLASSES = ("cloth", "metal", "blue")


def main() -> None:
    """Learn three classes, then look again."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        server = PrefectServer(root)
        server.start()
        os.environ["PREFECT_API_URL"] = server.url
        try:
            _measure(root)
        finally:
            server.stop()


def _measure(root: Path) -> None:
    from flows.environment import prepare

    prepare()
    from flows.runner import run_flow
    from flows.watch import watch_inbox
    from tasks.delivery import pack
    from tasks.workspace import Workspace

    inbox = root / "inbox"
    inbox.mkdir()
    draw_photos(root / "photos", names=CLASSES)
    workspace = Workspace.open_or_create(root / "workspace")
    workspace.configure([*SETTINGS, f"watch.inbox={inbox}"])
    remote = ["remote", "add", "-q", "-d", "storage", str(root / "remote")]
    subprocess.run([sys.executable, "-m", "dvc", *remote], cwd=workspace.root, check=True)

    def watch() -> float:
        started = time.perf_counter()
        run_flow(lambda: watch_inbox(workspace.root))
        return time.perf_counter() - started

    outside = []
    for name in CLASSES:
        pack(root / "photos" / name, str(inbox))
        whole = watch()
        notes = (workspace.root / ".evernorm/seconds").glob(f"*@{name}.json")
        outside.append(whole - sum(json.loads(note.read_text())["seconds"] for note in notes))
    print(f"outside the stages: {', '.join(f'{each:.1f} s' for each in outside)}")
    print(f"mean of an experience: {sum(outside) / len(outside):.1f} s")
    print(f"a watch with nothing to do: {watch():.1f} s")


if __name__ == "__main__":
    main()
