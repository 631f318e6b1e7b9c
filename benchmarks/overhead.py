"""What the pipeline costs beside the work: seconds of an experience outside its stages, and of a watch with nothing to do.

Three drawn classes are taken from an inbox, with a Prefect server of its own, a DVC remote and MLflow on SQLite. A stage's
seconds are those of its process, from its start to its end.

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
    for name in CLASSES:
        pack(root / "photos" / name, str(inbox))
    workspace = Workspace.open_or_create(root / "workspace")
    workspace.configure([*SETTINGS, f"watch.inbox={inbox}"])
    remote = ["remote", "add", "-q", "-d", "storage", str(root / "remote")]
    subprocess.run([sys.executable, "-m", "dvc", *remote], cwd=workspace.root, check=True)

    started = time.perf_counter()
    run_flow(lambda: watch_inbox(workspace.root))
    whole = time.perf_counter() - started
    notes = (workspace.root / ".evernorm/seconds").glob("*.json")
    stages = sum(json.loads(note.read_text())["seconds"] for note in notes)
    started = time.perf_counter()
    run_flow(lambda: watch_inbox(workspace.root))
    idle = time.perf_counter() - started
    each = (whole - stages) / len(CLASSES)
    print(f"{len(CLASSES)} classes: {whole:.1f} s, {stages:.1f} s of it in the stages")
    print(f"outside the stages, an experience: {each:.1f} s")
    print(f"a watch with nothing to do: {idle:.1f} s")


if __name__ == "__main__":
    main()
