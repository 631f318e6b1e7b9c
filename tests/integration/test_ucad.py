"""UCAD through the pipeline: what each stage leaves, what is trained again and what is not, unknown products."""

import base64
import json
import shutil
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from PIL import Image

from evernorm.data.image import read_image
from evernorm.files import read_arrays
from evernorm.methods.bank import load_bank
from flows.commands.predict import predict_images
from tasks.stages import STAGES
from tasks.tracking.matrix import matrix_of
from tasks.tracking.summary import Summary
from tasks.workspace.paths import Paths
from tasks.workspace.workspace import Workspace
from tests.helpers.workspaces import dvc, lock

ROOT = Path(__file__).parents[2]
CLASSES = ("cloth", "metal")
LEARNED_ONCE = (
    "masks/{}",
    "bank/{}/prompts",
    "bank/{}/knowledge",
    "bank/{}/weibull",
    "bank/{}/carry",
    "features/{}",
)


@pytest.fixture
def copy(adapted, tmp_path):
    """A copy of the workspace that learned two classes, to change."""
    return shutil.copytree(adapted[0], tmp_path / "workspace", symlinks=True)


def files(workspace: Path, *folders: str) -> dict[str, bytes]:
    paths = [path for each in folders for path in (workspace / each).rglob("*") if path.is_file()]
    assert paths
    return {str(path.relative_to(workspace)): path.read_bytes() for path in paths}


def read(path: Path):
    return json.loads(path.read_text())


def trained(workspace: Path, name: str) -> tuple[dict, dict]:
    """The prompt of a class, and how it was trained."""
    arrays = read_arrays(workspace / "bank" / name / "prompts/trained.safetensors")
    history = {
        key.removeprefix("history."): value for key, value in arrays.items() if key.startswith("history.")
    }
    return {key: value for key, value in arrays.items() if not key.startswith("history.")}, history


def mlflow_of(workspace: Path):
    from mlflow import MlflowClient

    return MlflowClient(f"sqlite:///{workspace / 'mlflow.db'}")


def experiences(workspace: Path) -> dict:
    runs = mlflow_of(workspace).search_runs(["1"], "tags.`evernorm.kind` = 'experience'")
    return {run.data.tags["evernorm.class"]: run for run in runs}


@pytest.mark.parametrize("name", CLASSES)
def test_every_stage_leaves_its_outputs(adapted, name):
    """Structure of the training images alone, prompt and its history, keys and rows of the size asked for, tails."""
    workspace, _ = adapted
    params = Workspace.open(workspace).params
    assert {f"{stage}@{name}" for stage in STAGES} <= set(lock(workspace))

    masks = workspace / "masks" / name
    assert {"structure": "superpixels"} == read(masks / "choice.json")
    images = {f"{each}.png" for each in files(workspace / "data" / name, "train")}
    assert images == {each.removeprefix("labels/") for each in files(masks, "labels")}
    report = read(masks / "report.json")
    assert (10, [], []) == (report["images"], report["without"], report["crowded"])

    prompts = workspace / "bank" / name / "prompts"
    assert {"trained": "ucad"} == read(prompts / "choice.json")
    prompt, history = trained(workspace, name)
    assert [f"block.{number:03d}" for number in range(len(prompt))] == sorted(prompt)
    assert all(np.abs(value).max() > 0 for value in prompt.values())
    assert ([], [20], 20) == (history["held_out"].tolist(), history["kept"].tolist(), len(history["loss"]))
    assert history["loss"][-1] < history["loss"][0]

    knowledge = workspace / "bank" / name / "knowledge"
    entry = read_arrays(knowledge / "entry.safetensors")
    rows, keys = entry["rows"], entry["keys"]
    assert (params.ucad.knowledge.rows, params.ucad.knowledge.keys) == (len(rows), len(keys))
    assert rows.shape[1] == keys.shape[1]
    tail = read(workspace / "bank" / name / "weibull/weibull.json")["routing"]
    assert 0 < tail["unit"] <= tail["threshold"]
    # Nothing is handed on: no class depends on another before it is evaluated.
    assert {f"bank/{name}/carry/carry.json"} == set(files(workspace, f"bank/{name}/carry"))
    for stage in ("prompts", "knowledge", "weibull"):
        deps = {dep["path"] for dep in lock(workspace)[f"{stage}@{name}"]["deps"]}
        assert not any(other in dep for dep in deps for other in set(CLASSES) - {name})


def test_no_lineage_names_device_or_batch_size(adapted):
    """Neither is part of a result, so another machine writes the same bytes."""
    for stage in ("prompts", "knowledge"):
        features = read(adapted[0] / "bank/cloth" / stage / "lineage.json")["params"]["features"]
        assert "tf_efficientnet_lite0" == features["backbone"]
        assert set() == {"device", "batch_size"} & set(features)


def test_mlflow_holds_losses_unknown_products_and_pictures_of_the_training(adapted, tmp_path):
    """A point an epoch; how often products are taken for unknown; pictures that show something."""
    workspace, _ = adapted
    client = mlflow_of(workspace)
    for name, run in experiences(workspace).items():
        losses = trained(workspace, name)[1]["loss"].tolist()
        points = client.get_metric_history(run.info.run_id, "prompt/loss")
        assert list(enumerate(losses, 1)) == sorted((point.step, point.value) for point in points)
        unknown = read(Path(client.download_artifacts(run.info.run_id, "metrics.json", tmp_path)))["unknown"]
        assert None not in (unknown["good_rate"], unknown["defective_rate"])
        for picture in ("structure.png", "prompt.png"):
            with Image.open(
                client.download_artifacts(run.info.run_id, f"pictures/{picture}", tmp_path)
            ) as image:
                assert 300 < min(image.size) <= max(image.size) < 4000
                assert image.convert("L").getextrema() == (0, 255)
    # One class is left out and the other is left: no figure for a bank of one.
    first, last = (experiences(workspace)[name].data.tags["mlflow.note.content"] for name in CLASSES)
    assert "unknown products" not in first
    assert "unknown products recognised 100.0%" in last


def test_the_summary_tells_of_unknown_products(adapted):
    """In the JSON file by its schema, and in words."""
    summary = read(adapted[0].parent / "summary.json")
    jsonschema.validate(summary, read(ROOT / "docs/summary.schema.json"))
    assert ("ucad", list(CLASSES)) == (summary["method"], summary["classes"])
    assert Summary(**summary).unknown is not None
    assert 1 == summary["unknown"]["recognised"]
    assert set(CLASSES) == set(summary["unknown"]["per_class"])
    # Keys, prompt and knowledge of each class.
    arrays = [trained(adapted[0], name)[0] for name in CLASSES]
    arrays += [read_arrays(adapted[0] / f"bank/{name}/knowledge/entry.safetensors") for name in CLASSES]
    assert sum(array.nbytes for each in arrays for array in each.values()) == summary["bank_bytes"]
    said = " ".join((adapted[0].parent / "said.txt").read_text().split())
    assert "left-out classes called unknown 100.0%" in said
    assert "learned classes called unknown" in said


def test_the_registered_model_answers_as_predict_does(adapted, evernorm, tmp_path, capsys, monkeypatch):
    """Known and unknown products; an unknown one has a name, but no figures and no picture."""
    import pandas as pd
    from mlflow import pyfunc

    workspace, photos = adapted
    noise = tmp_path / "noise [red].png"
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    Image.fromarray(pixels).save(noise)
    images = [photos / name / "test/good/000.png" for name in (*CLASSES, "blue")] + [noise]
    done = evernorm("predict", *images, "--workspace", workspace, "--out", tmp_path / "maps", "--json")
    answers = json.loads(done.stdout)
    source = mlflow_of(workspace).get_model_version_by_alias("continual-bank", "champion").source
    texts = [base64.b64encode(path.read_bytes()).decode() for path in images]
    served = pyfunc.load_model(source).predict(pd.DataFrame({"image": texts}), params={"map": "full"})
    figures = ("score", "probability", "p_value")
    assert list(CLASSES) == [answer["class"] for answer in answers[:2]]
    for answer, other in zip(answers[:2], served[:2], strict=True):
        assert (answer["class"], answer["anomalous"]) == (other["class"], other["anomalous"])
        np.testing.assert_allclose([answer[key] for key in figures], [other[key] for key in figures])
        np.testing.assert_allclose(answer["map_max"], np.max(other["map"]))
    for answer, other in zip(answers[2:], served[2:], strict=True):
        assert (None, True, True) == (answer["class"], answer["unknown"], answer["anomalous"])
        assert {None} == {answer[key] for key in (*figures, "map_max", "map_threshold", "picture")}
        assert (None, True, True) == (other["class"], other["unknown"], other["anomalous"])
        assert {None} == {other[key] for key in (*figures, "map", "region")}
    assert 2 == len(list((tmp_path / "maps").iterdir()))
    monkeypatch.setenv("COLUMNS", "300")
    predict_images(images, None, workspace, workspace / "models/metal", as_json=False)
    lines = [line for line in capsys.readouterr().out.splitlines() if ".png" in line]
    assert [False, False, True, True] == ["unknown class" in line for line in lines]
    assert "noise [red].png" in lines[3]


def test_a_third_class_leaves_the_first_two_as_they_were(adapted, three_adapted):
    """Every entry of dvc.lock, and every byte of structure, prompts, knowledge, tails and features."""
    before, after = lock(adapted[0]), lock(three_adapted)
    assert before == {stage: after[stage] for stage in before}
    assert {f"{stage}@blue" for stage in STAGES} == set(after) - set(before)
    folders = [folder.format(name) for folder in LEARNED_ONCE for name in CLASSES]
    assert files(adapted[0], *folders) == files(three_adapted, *folders)
    matrix = matrix_of(Paths(three_adapted), "blue")
    assert matrix_of(Paths(adapted[0]), "metal") == matrix[:2]
    assert [1, 2, 3] == [len(row) for row in matrix]


def test_a_killed_training_goes_on_from_its_last_epoch(adapted, interrupted):
    """SIGKILL of the process group between two epochs; what follows ends with the bytes of an undisturbed run."""
    workspace, epochs = interrupted
    assert 3 <= epochs < 20
    expected, found = lock(adapted[0]), lock(workspace)
    assert {f"{stage}@cloth" for stage in STAGES} == set(found)
    assert {stage: expected[stage] for stage in found} == found
    assert not (workspace / ".evernorm/training/cloth").exists()


def test_a_forced_training_gives_the_same_bytes(copy):
    """Structure and prompt once more, in new interpreters."""
    before = lock(copy)
    assert "Running stage 'prompts@cloth'" in dvc(copy, "repro", "--force", "prompts@cloth", cold=True)
    assert before == lock(copy)


def test_another_method_and_back_trains_nothing_again(copy):
    """PatchCoreCL leaves records of one line; UCAD comes back from DVC's run cache."""
    params, before = copy / "params.yaml", lock(copy)
    original = params.read_text()
    params.write_text(original.replace("method: ucad", "method: patchcore_cl"))
    assert "Running stage 'knowledge@cloth'" in dvc(copy, "repro", "knowledge@cloth")
    assert {"structure": "none"} == read(copy / "masks/cloth/choice.json")
    assert {"rows", "rows_grid", "descriptors"} == set(
        read_arrays(copy / "bank/cloth/knowledge/entry.safetensors")
    )
    params.write_text(original)
    restored = dvc(copy, "repro", "knowledge@cloth")
    assert ("Running stage" in restored, "is cached - skipping run" in restored) == (False, True)
    assert before == lock(copy)


def test_sam_without_a_checkpoint_says_how_to_get_one(copy, adapted, evernorm):
    """In a sentence, before a stage runs; parameters, prompts, banks, figures, commits and versions stay."""
    folders = ("bank", "models", "metrics", "data")
    settings = (copy / "params.yaml").read_bytes()
    before = (lock(copy), files(copy, *folders), (copy / ".git/refs/heads/main").read_text())
    arguments = ("learn", "--data", adapted[1], "--workspace", copy, "--order", "cloth,metal")
    done = evernorm(*arguments, "--set", "masks.structure=sam", check=False)
    assert (1, "") == (done.returncode, done.stdout)
    for said in ("masks.sam.checkpoint is empty", "sam_vit_b_01ec64.pth", "superpixels"):
        assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert settings == (copy / "params.yaml").read_bytes()
    assert before == (lock(copy), files(copy, *folders), (copy / ".git/refs/heads/main").read_text())
    assert 2 == len(mlflow_of(copy).search_model_versions("name = 'continual-bank'"))


@pytest.mark.slow
def test_a_vision_transformer_is_learned_and_stored_in_the_papers_shapes(
    tmp_path, fresh, draw_photos, evernorm, open_gate
):
    """ViT-B/16 (random weights): keys and knowledge of at most 196 x 768, six prompts of 768, or six prefixes."""
    photos = draw_photos(tmp_path / "photos", names=("cloth",), train=6, good=1, defective=1)
    settings = {
        "method": "ucad",
        "features.backbone": "vit_base_patch16_224",
        "features.weights": "random",
        "ucad.prompts.epochs": 1,
        "ucad.prompts.batch_size": 2,
        "ucad.prompts.stopping": "loss",
    }
    options = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    workspace = fresh(tmp_path / "w")
    evernorm("learn", "--data", photos, "--workspace", workspace, *options, *open_gate)
    entry = read_arrays(workspace / "bank/cloth/knowledge/entry.safetensors")
    assert (196, 768) == entry["keys"].shape == entry["rows"].shape
    prompt, history = trained(workspace, "cloth")
    assert {f"block.00{number}": (768,) for number in range(6)} == {
        block: value.shape for block, value in prompt.items()
    }
    # The images held out are measured before the first epoch and after each.
    run = experiences(workspace)["cloth"].info.run_id
    points = mlflow_of(workspace).get_metric_history(run, "prompt/held_out")
    held_out = history["held_out"].tolist()
    assert [(0, held_out[0]), (1, held_out[1])] == sorted((point.step, point.value) for point in points)
    outcomes = read_arrays(workspace / "bank/cloth/evaluation/outcomes.safetensors")
    expected = outcomes["cloth/scores"][~outcomes["cloth/labels"]][0]
    image = read_image(photos / "cloth/test/good/000.png")
    (prediction,) = load_bank(workspace / "models/cloth").predict([image])
    np.testing.assert_allclose(prediction.score, expected, rtol=1e-3, atol=1e-3)
    Workspace.open(workspace).configure(["ucad.prompts.kind=prefix"])
    dvc(workspace, "repro", "prompts@cloth")
    prefix, _ = trained(workspace, "cloth")
    assert {f"block.00{number}": (2, 5, 768) for number in range(6)} == {
        block: value.shape for block, value in prefix.items()
    }
