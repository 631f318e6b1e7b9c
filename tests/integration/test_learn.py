"""The spine end to end: Prefect → DVC → MLflow on drawn photos with real weights."""

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import yaml
from PIL import Image

from evernorm.data.image import read_image
from evernorm.files import read_arrays, sha256_file
from evernorm.methods.bank import bank_digest, load_bank
from tasks.stages import STAGES
from tasks.tracking.summary import Summary
from tests.helpers.warm import python
from tests.helpers.workspaces import changes, dvc, lock

ROOT = Path(__file__).parents[2]


@pytest.fixture
def copy(learned, tmp_path):
    """A copy of the learned workspace to change, and the photos."""
    workspace, photos = learned
    shutil.copytree(workspace, tmp_path / "workspace", symlinks=True)
    shutil.copytree(photos, tmp_path / "photos")
    return tmp_path / "workspace", tmp_path / "photos"


def client(workspace: Path):
    from mlflow import MlflowClient

    return MlflowClient(f"sqlite:///{workspace / 'mlflow.db'}")


def test_the_summary_keeps_its_schema(learned):
    """Every key that others rely on is there and of its type; the schema file is that of the model."""
    summary = json.loads((learned[0].parent / "summary.json").read_text())
    schema = json.loads((ROOT / "docs" / "summary.schema.json").read_text())
    assert schema == Summary.model_json_schema()
    jsonschema.validate(summary, schema)
    assert ["cloth", "metal"] == summary["classes"]
    assert summary["matrix"]["image_auroc"][0][1] is None
    assert set(STAGES) == set(summary["stages"])
    assert {"name": "continual-bank", "version": "2", "alias": "champion"} == summary["registered"]
    assert {} == summary["not_measured"]
    for known in summary["normal_images"].values():
        assert 0 < known["number"] <= 12
        assert 0 <= known["false_alarm_rate"] < 0.5
        assert 20 == known["needed"]
    assert summary["per_class"]["cloth"]["pixel_aupro"] is not None


def test_every_class_has_all_stages_and_parts_not_chosen_leave_a_line(learned):
    """The pipeline's shape is the same for every method."""
    workspace, _ = learned
    assert {f"{stage}@{name}" for stage in STAGES for name in ("cloth", "metal")} == set(lock(workspace))
    assert {"structure": "none"} == json.loads((workspace / "masks/cloth/choice.json").read_text())
    assert {"trained": "none"} == json.loads((workspace / "bank/cloth/prompts/choice.json").read_text())


def test_everything_is_committed_and_nothing_secret_or_heavy(learned):
    """The state is one Git commit an experience: parameters, locks, metrics; no images, no banks."""
    workspace, _ = learned

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=workspace, capture_output=True, text=True, check=True
        ).stdout

    assert ["Learn metal, version 2", "Learn cloth, version 1", "An empty stream"] == git(
        "log", "--format=%s"
    ).splitlines()
    assert git("status", "--porcelain") == ""
    files = git("ls-files").splitlines()
    assert {"params.yaml", "dvc.yaml", "dvc.lock", "data/cloth.dvc", "metrics/metal.json"} <= set(files)
    assert not [name for name in files if name.endswith((".png", ".safetensors", ".npy", ".db"))]


def test_mlflow_holds_a_parent_a_child_an_experience_pictures_data_and_versions(learned, tmp_path):
    """What people compare and audit is there."""
    workspace, _ = learned
    mlflow = client(workspace)
    experiment = mlflow.get_experiment_by_name("evernorm").experiment_id
    runs = mlflow.search_runs([experiment])
    parents = [run for run in runs if run.data.tags["evernorm.kind"] == "stream"]
    children = {
        run.data.tags["evernorm.class"]: run for run in runs if run.data.tags["evernorm.kind"] == "experience"
    }
    assert (1, {"cloth", "metal"}) == (len(parents), set(children))
    for step, name in enumerate(("cloth", "metal"), 1):
        run = children[name]
        assert run.data.tags["mlflow.parentRunId"] == parents[0].info.run_id
        assert run.data.tags["evernorm.git_dirty"] == "false"
        assert run.data.params["patchcore_cl.knowledge.budget"] == "150"
        assert set(STAGES) == set(json.loads(run.data.tags["evernorm.seconds"]))
        assert len(run.data.metrics) <= 12
        assert run.info.run_name.endswith(f"{name} · patchcore_cl")
        assert f"| {name} | " in run.data.tags["mlflow.note.content"]
        assert run.data.tags["mlflow.user"]
        table = json.loads(
            Path(mlflow.download_artifacts(run.info.run_id, "classes.json", tmp_path)).read_text()
        )
        place = table["columns"].index("image_auroc")
        assert all(row[place] is not None for row in table["data"])
        assert step == len(table["data"])
        assert [step] == [m.step for m in mlflow.get_metric_history(run.info.run_id, "mean_image_auroc")]
        pictures = {Path(item.path).name for item in mlflow.list_artifacts(run.info.run_id, "pictures")}
        assert {"accuracy_matrix.png", "alignment.png", "examples.png", "roc.png", "scores.png"} == pictures
        dvc_hash = yaml.safe_load((workspace / f"data/{name}.dvc").read_text())["outs"][0]["md5"]
        assert [dvc_hash] == [item.dataset.digest for item in run.inputs.dataset_inputs]
    assert 2 == len(mlflow.get_metric_history(parents[0].info.run_id, "mean_image_auroc"))
    pictures = {Path(item.path).name for item in mlflow.list_artifacts(parents[0].info.run_id, "pictures")}
    assert {"accuracy_matrix.png", "bank.png"} == pictures
    versions = mlflow.search_model_versions("name = 'continual-bank'")
    assert {"1", "2"} == {str(v.version) for v in versions}
    champion = mlflow.get_model_version_by_alias("continual-bank", "champion")
    assert ["1", "2"] == [each.after for each in changes(mlflow)]
    assert "2" == str(champion.version)


def test_the_registered_model_is_the_bank_that_dvc_versions(learned):
    """Byte by byte; and the pyfunc answers like the bank."""
    workspace, photos = learned
    mlflow = client(workspace)
    source = Path(
        mlflow.get_model_version_by_alias("continual-bank", "champion").source.removeprefix("file://")
    )
    served = source / "data" / "metal"
    files = sorted(path.relative_to(served) for path in served.rglob("*") if path.is_file())
    assert files
    for name in files:
        assert sha256_file(served / name) == sha256_file(workspace / "models/metal" / name)
    import pandas as pd
    from mlflow import pyfunc

    path = photos / "metal/test/good/000.png"
    expected = load_bank(served).predict([read_image(path)])[0]
    model = pyfunc.load_model(str(source))
    table = pd.DataFrame({"image": [base64.b64encode(path.read_bytes()).decode()]})
    answer = model.predict(table, params={"map": "full"})[0]
    assert (expected.routed_class, expected.score, expected.anomalous) == (
        answer["class"],
        answer["score"],
        answer["anomalous"],
    )
    np.testing.assert_array_equal(expected.map, np.array(answer["map"], np.float32))
    champion = mlflow.get_model_version_by_alias("continual-bank", "champion")
    assert champion.tags["evernorm.bank"] == answer["bank"] == bank_digest(served)


def test_predict_says_what_the_evaluation_said(learned, evernorm, tmp_path):
    """Scores of test images by the command equal those behind the metrics; pictures are written."""
    workspace, photos = learned
    images = sorted((photos / "metal/test/good").glob("*.png"))
    done = evernorm("predict", *images, "--workspace", workspace, "--out", tmp_path / "maps", "--json")
    answers = json.loads(done.stdout)
    outcomes = read_arrays(workspace / "bank/metal/evaluation/outcomes.safetensors")
    expected = outcomes["metal/scores"][~outcomes["metal/labels"]]
    np.testing.assert_allclose([a["score"] for a in answers], expected, rtol=1e-4, atol=1e-4)
    assert {"metal"} == {a["class"] for a in answers}
    for answer in answers:  # the image beside its map, with words above and a legend below
        height, width = read_image(Path(answer["picture"])).shape[:2]
        assert (2 * 256, True) == (width, height > 256)


def test_status_names_every_class(learned, evernorm):
    """What the bank knows, and which version is champion."""
    said = evernorm("status", "--workspace", learned[0]).stdout
    assert all(word in said for word in ("cloth", "metal", "champion: version 2"))


def test_a_second_run_learns_nothing_again(copy, evernorm, small):
    """Same commit, same lock, same runs and versions."""
    workspace, photos = copy
    before = (lock(workspace), (workspace / "dvc.lock").stat().st_mtime_ns)
    runs = {run.info.run_id: run for run in client(workspace).search_runs(["1"])}
    done = evernorm("learn", "--data", photos, "--workspace", workspace, *small)
    assert 2 == done.stderr.count("up to date")
    for run in client(workspace).search_runs(["1"]):
        old = runs[run.info.run_id]
        assert (old.info.end_time, old.data.tags) == (run.info.end_time, run.data.tags)
        history = client(workspace).get_metric_history(run.info.run_id, "mean_image_auroc")
        assert len(history) == len({metric.step for metric in history})
    assert before == (lock(workspace), (workspace / "dvc.lock").stat().st_mtime_ns)
    assert 3 == len(client(workspace).search_runs(["1"]))
    assert 2 == len(client(workspace).search_model_versions("name = 'continual-bank'"))


def test_a_new_class_runs_its_own_stages_only(copy, evernorm, small, draw_photos):
    """Learning a third class leaves the lock of the first two as it is and reads their images no more."""
    workspace, photos = copy
    draw_photos(photos, names=("blue",))
    before = lock(workspace)
    stamps = {path: path.stat().st_mtime_ns for path in (workspace / "features").rglob("*.npy")}
    # The backbone must not see an old image again: without them, learning still works.
    done = evernorm("learn", "--data", photos, "--workspace", workspace, *small)
    after = lock(workspace)
    assert {name: after[name] for name in before} == before
    assert {f"{stage}@blue" for stage in STAGES} == set(after) - set(before)
    assert stamps == {path: path.stat().st_mtime_ns for path in stamps}
    assert 2 == done.stderr.count("up to date")
    assert ["cloth", "metal", "blue"] == json.loads((workspace / "metrics/blue.json").read_text())["classes"]


def test_a_new_test_image_is_measured_and_teaches_nothing(copy, evernorm, small):
    """Learning depends on training images alone: entry and calibration stay, only what sees test images runs again."""
    workspace, photos = copy
    image = read_image(photos / "cloth/test/good/000.png")[::-1]
    Image.fromarray(np.ascontiguousarray(image)).save(photos / "cloth/test/good/100.png")
    before = lock(workspace)
    evernorm("learn", "--data", photos, "--workspace", workspace, *small)
    after = lock(workspace)
    changed = {name for name in before if before[name].get("deps") != after[name].get("deps")}
    assert {"features@cloth", "evaluate@cloth", "evaluate@metal"} == changed


def test_a_parameter_changed_back_brings_its_bank_back(copy, evernorm, small):
    """The champion is the bank that params.yaml describes; the bank of an early experience is no version."""
    workspace, photos = copy
    arguments = ("learn", "--data", photos, "--workspace", workspace, *small)
    evernorm(*arguments, "--set", "weibull.false_alarm_rate=0.2")
    evernorm(*arguments, "--set", "weibull.false_alarm_rate=0.05")
    assert ["1", "2", "3", "2"] == [each.after for each in changes(client(workspace))]
    assert "2" == str(client(workspace).get_model_version_by_alias("continual-bank", "champion").version)
    assert 3 == len(client(workspace).search_model_versions("name = 'continual-bank'"))


def test_a_rerun_gives_the_same_bytes(copy):
    """Forced to run again, every stage writes what it wrote before; in new interpreters, which order sets anew."""
    workspace, _ = copy
    before = lock(workspace)
    stages = [f"{stage}@metal" for stage in ("knowledge", "weibull", "features", "evaluate")]
    dvc(workspace, "repro", "--force", "--single-item", *stages, cold=True)
    assert before == lock(workspace)


def test_a_parameter_and_a_method_changed_and_changed_back_come_from_the_run_cache(learned_one, tmp_path):
    """The second time costs a checkout, not a computation."""
    workspace = shutil.copytree(learned_one, tmp_path / "workspace", symlinks=True)
    params = workspace / "params.yaml"
    original, before = params.read_text(), lock(workspace)
    for old, new in (
        ("false_alarm_rate: 0.05", "false_alarm_rate: 0.01"),
        ("method: patchcore_cl", "method: finetune"),
    ):
        params.write_text(original.replace(old, new))
        assert params.read_text() != original
        assert "Running stage 'evaluate@cloth'" in dvc(workspace, "repro")
        assert before != lock(workspace)
        params.write_text(original)
        restored = dvc(workspace, "repro")
        assert "is cached - skipping run" in restored
        assert "Running stage" not in restored
        assert before == lock(workspace)


def test_an_empty_stream_is_valid(tmp_path):
    """A workspace without classes: DVC has nothing to do and says so."""
    from tasks.workspace.workspace import Workspace

    workspace = Workspace.open_or_create(tmp_path / "w")
    assert "Data and pipelines are up to date.\n" == dvc(workspace.root, "repro")
    assert "" == dvc(workspace.root, "stage", "list")


@pytest.mark.parametrize(("moment", "cold"), [("knowledge", False), ("evaluate", True)])
def test_a_killed_run_goes_on_from_the_last_finished_stage(
    moment, cold, tmp_path, small, learned, learned_one, evernorm
):
    """SIGKILL of the whole process group in mid-stage; the next run ends with the bytes of an undisturbed one."""
    shutil.copytree(learned_one, tmp_path / "w", symlinks=True)
    arguments = ["learn", "--data", str(learned[1]), "--workspace", str(tmp_path / "w"), *small]
    process = subprocess.Popen(
        [sys.executable if cold else python(), "-m", "flows.commands.cli", *arguments],
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    finished = f"{STAGES[STAGES.index(moment) - 1]}@metal:"
    locked = tmp_path / "w/dvc.lock"
    deadline = time.monotonic() + 240
    while process.poll() is None and time.monotonic() < deadline:
        if locked.is_file() and finished in locked.read_text():
            break
        time.sleep(0.05)
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGKILL)
    assert -signal.SIGKILL == process.wait()
    assert not (tmp_path / "w/bank/metal/evaluation").exists()
    _, cloth, metal = evernorm(*arguments).stderr.split("/2] ")
    assert "up to date" in cloth
    ran = [stage for stage in STAGES if f"{stage} " in metal.splitlines()[1]]
    assert list(STAGES[STAGES.index(moment) :]) == ran
    expected, found = lock(learned[0]), lock(tmp_path / "w")
    for stage, record in expected.items():
        assert record["outs"] == found[stage]["outs"], stage
    assert 2 == len(client(tmp_path / "w").search_model_versions("name = 'continual-bank'"))
    assert 3 == len(client(tmp_path / "w").search_runs(["1"]))


def test_ctrl_c_stops_at_once_and_says_how_to_go_on(tmp_path, small, draw_photos):
    """The whole foreground group gets the signal; nothing is left running and no noise is printed."""
    photos = draw_photos(tmp_path / "photos")
    command = [
        sys.executable,
        "-m",
        "flows.commands.cli",
        "learn",
        "--data",
        str(photos),
        "--workspace",
        str(tmp_path / "w"),
        *small,
    ]
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while (
        not (tmp_path / "w/bank/cloth/prompts").exists()
        and time.monotonic() < deadline
        and process.poll() is None
    ):
        time.sleep(0.05)
    time.sleep(1)
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert 130 == process.returncode
    assert "stopped; the same command goes on" in said
    assert "Traceback" not in said.rpartition("evernorm: stopped")[2]


def test_two_runs_cannot_learn_in_one_workspace(copy, evernorm, small):
    """The second is told who is at work, and changes nothing."""
    from tasks.workspace.workspace import Workspace

    workspace, photos = copy
    with Workspace.open(workspace).locked():
        done = evernorm("learn", "--data", photos, "--workspace", workspace, *small, check=False)
    assert done.returncode == 1
    assert f"process {os.getpid()} is learning" in done.stderr
