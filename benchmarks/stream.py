"""What a long stream costs by the number of its classes: seconds of `evernorm learn` with nothing to do, and with one class more.

One drawn class is learned and its files are copied under other names, with the figures that a stream of that length
would have. DVC hashes them in one go (minutes for 300), a run without figures stands for their records, and all are noted as settled. The
first run makes a version; the two after it have nothing to do; then another class of the same size is learned.

    python benchmarks/stream.py [7 50 300]
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/helpers"))

from photos import draw_photos

SETTINGS = ("features.image_size=64", "patchcore_cl.knowledge.budget=150", "gate.min_image_auroc=0")
SEED, MORE = "cloth", "metal"
_COMMAND = (sys.executable, "-m", "flows.commands.cli", "learn")
FOLDERS = ("data", "masks", "bank", "features", "models")
_LEARN = "import sys; from pathlib import Path; from flows.commands.learn import learn_workspace; learn_workspace(Path(sys.argv[1]), None)"


def main(lengths: list[int]) -> None:
    """Print a table of the lengths."""
    with tempfile.TemporaryDirectory() as folder:
        seed = Path(folder) / "seed"
        photos = draw_photos(Path(folder) / "photos", names=(SEED,))
        options = [word for setting in SETTINGS for word in ("--set", setting)]
        subprocess.run(
            [*_COMMAND, "--data", photos, "--workspace", seed, *options], check=True, capture_output=True
        )
        more = draw_photos(Path(folder) / "more", names=(MORE,))
        print("classes  nothing to do, s  ratio  one more, s  of it evaluate  ratio  ratio of lengths")
        first = None
        for length in lengths:
            took = measure(Path(folder) / str(length), seed, more, length)
            first = first or took
            print(
                f"{length:7}  {took[0]:16.1f}  {took[0] / first[0]:5.1f}  {took[1]:11.1f}  {took[2]:14.1f}"
                f"  {took[1] / first[1]:5.1f}  {length / lengths[0]:16.1f}",
                flush=True,
            )


def measure(root: Path, seed: Path, more: Path, length: int) -> tuple[float, float, float]:
    """The seconds of a run with nothing to do, the better of two; of one that learns a class; of its evaluation."""
    stretch(root, seed, [f"class{number:03d}" for number in range(length)])
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", _LEARN, str(root)], check=True, capture_output=True)
        seconds.append(time.perf_counter() - started)
    started = time.perf_counter()
    done = subprocess.run(
        [*_COMMAND, "--data", more, "--workspace", root], check=False, capture_output=True, text=True
    )
    learning = time.perf_counter() - started
    assert done.returncode == 0, done.stderr
    evaluate = json.loads((root / f".evernorm/seconds/evaluate@{MORE}.json").read_text())["seconds"]
    shutil.rmtree(root)
    return min(seconds[1:]), learning, evaluate


def stretch(root: Path, seed: Path, names: list[str]) -> None:
    """Make a workspace that has learned these classes, all of them copies of one."""
    from flows.commands.environment import prepare

    prepare()
    from tasks.workspace.versions import record_versions
    from tasks.workspace.workspace import Workspace

    workspace = Workspace.open_or_create(root)
    workspace.configure(SETTINGS, names)
    record_versions(workspace.params, workspace.paths)
    metrics = json.loads((seed / "metrics" / f"{SEED}.json").read_text())
    for place, name in enumerate(names, 1):
        for folder in FOLDERS:
            shutil.copytree(seed / folder / SEED, root / folder / name)
        for manifest in (root / "data" / name).glob("*.json"):
            manifest.write_text(
                json.dumps({**json.loads(manifest.read_text()), "name": name, "display": name})
            )
        workspace.paths.metrics(name).write_text(json.dumps(stretched(metrics, names[:place])))
    link_all(workspace, names)
    hash_all(workspace)
    workspace.commit("Learn all")
    settle_all(workspace, names)


def stretched(metrics: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """The figures of a stream in which every class is like the first."""
    figures = metrics["per_class"][SEED]
    return {
        **metrics,
        "class": names[-1],
        "classes": names,
        "per_class": dict.fromkeys(names, figures),
        "row": {"image_auroc": dict.fromkeys(names, figures["image_auroc"])},
        "learned": {"image_auroc": dict.fromkeys(names, figures["image_auroc"])},
    }


def link_all(workspace: Any, names: list[str]) -> None:
    """Let each evaluation know the classes before it, and how their test images were routed, as one that measured them would."""
    from evernorm.files import read_arrays, write_arrays
    from tasks.stages.evaluate import _link

    links: list[dict[str, Any]] = []
    hints: dict[str, Any] = {}
    for name in names:
        folder = workspace.paths.bank(name, "evaluation")
        links.append({**_link(name, workspace.paths), "false_alarm_rate": None})
        hints |= {
            f"{name}/{key.partition('/')[2]}": array
            for key, array in read_arrays(folder / "hints.safetensors").items()
        }
        known = dict.fromkeys(names[: len(links)], 1.0)
        (folder / "links.json").write_text(json.dumps({"links": links, "learned": known, "best": known}))
        write_arrays(folder / "hints.safetensors", hints)


def hash_all(workspace: Any) -> None:
    """Write the .dvc files and dvc.lock as DVC would, stage after stage, but write dvc.lock once."""
    from dvc.dvcfile import load_file
    from dvc.repo import lock_repo

    from tasks.workspace.pipeline import track

    track(workspace, sorted(path for path in (workspace.root / "data").iterdir() if path.is_dir()))
    with workspace.dvc.ask("a benchmark") as repo, lock_repo(repo), repo.scm_context(quiet=True):
        file = load_file(repo, "dvc.yaml")
        stages = [file.stages[key] for key in file.stages]
        for stage in stages:
            stage.save(run_cache=False)
            stage.ignore_outs()
            for out in stage.outs:
                out.commit()
        file.dump_stages(stages, update_pipeline=False)
    workspace.dvc.close()


def settle_all(workspace: Any, names: list[str]) -> None:
    """Note classes as a run notes them that has learned, recorded and committed them."""
    from tasks.tracking import settled
    from tasks.tracking.keyed import experiment_of
    from tasks.tracking.runs import Recorded
    from tasks.tracking.server import connected

    with connected(workspace) as client:
        run = client.create_run(
            experiment_of(client, workspace), tags={"evernorm.complete": "true"}
        ).info.run_id
    recorded = Recorded(run, run, {"evaluate": 1.0})
    settled.settle.fn(workspace, dict.fromkeys(names, recorded))


if __name__ == "__main__":
    main([int(each) for each in sys.argv[1:]] or [7, 50, 300])
