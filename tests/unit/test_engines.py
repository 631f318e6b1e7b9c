"""Frozen passes on other engines than torch: the same features, from what is stored with a bank, without torch."""

import os
import subprocess
import sys

import numpy as np
import pytest

from evernorm.data.image import read_image
from evernorm.errors import MachineError, StateError
from evernorm.features.backbone import build_backbone
from evernorm.features.engine import choose_engine
from evernorm.features.frozen import FrozenBackbone, frozen_backbone
from evernorm.features.kit import CACHE, Kit
from evernorm.memory.entry import farthest_points
from evernorm.memory.routing import search
from evernorm.memory.scoring import top_scores
from evernorm.memory.search import NearestRows
from evernorm.methods.bank import load_bank, save_bank
from evernorm.metrics import auroc
from evernorm.params.groups import Device, FeatureParams, PassEngine
from evernorm.prompts.graphs import prompted_of
from evernorm.prompts.params import PromptKind, PromptParams
from evernorm.prompts.prompt import Prompt
from tests.helpers.processes import without_torch

ENGINES = [PassEngine.OPENVINO, PassEngine.ONNXRUNTIME]
LITE0 = FeatureParams(image_size=64, device=Device.CPU)
VIT = FeatureParams(backbone="test_vit", image_size=64, layers=(2, 5), weights="random", device=Device.CPU)


def on(params: FeatureParams, engine: PassEngine) -> FeatureParams:
    return params.model_copy(update={"engine": engine})


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """Nothing that another run left."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv(CACHE, str(folder))
        yield folder


@pytest.fixture(scope="module")
def images(drawn):
    return drawn("textile", 3)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("params", [LITE0, VIT], ids=["lite0", "vit"])
def test_features_are_those_of_torch(params, engine, images):
    """Within 1e-4 of the largest, the same bytes again, and of an image alone."""
    torchs, found = build_backbone(params), frozen_backbone(on(params, engine))
    assert isinstance(found, FrozenBackbone)
    assert (torchs.grid, torchs.dim, torchs.digest) == (found.grid, found.dim, found.digest)
    wanted, features = torchs.features(images), found.features(images)
    assert np.abs(features - wanted).max() < 1e-4 * np.abs(wanted).max()
    np.testing.assert_array_equal(features, found.features(images))
    np.testing.assert_array_equal(features[[1]], found.features([images[1]]))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("params", "kind", "first", "keys"),
    [
        (LITE0, PromptKind.ADDITIVE, 0, ()),
        (LITE0, PromptKind.ADDITIVE, 3, ()),
        (LITE0, PromptKind.NONE, 0, ()),
        (VIT, PromptKind.PREFIX, 0, (5,)),
        (VIT, PromptKind.PREFIX, 3, (2,)),
    ],
)
def test_prompted_features_are_those_of_torch(params, kind, first, keys, engine, images):
    """Prompts are inputs of the graph: each image has its own."""
    prompts = PromptParams(kind=kind, first_block=first, length=3)
    torchs = prompted_of(build_backbone(params), prompts, keys)
    found = prompted_of(frozen_backbone(on(params, engine)), prompts, keys)
    assert (torchs.kind, torchs.shapes, torchs.key_dim) == (found.kind, found.shapes, found.key_dim)
    rng = np.random.default_rng(0)
    each = [
        Prompt(
            found.kind,
            {block: rng.normal(0, 0.3, shape).astype(np.float32) for block, shape in found.shapes.items()},
        )
        for _ in images
    ]
    (begun, wanted_keys), (other, other_keys) = torchs.begin(images), found.begin(images)
    wanted, features = torchs.finish(begun, each), found.finish(other, each)
    assert np.abs(other_keys - wanted_keys).max() < 1e-4 * np.abs(wanted_keys).max()
    assert np.abs(features - wanted).max() < 1e-4 * np.abs(wanted).max()
    if found.shapes:
        assert np.abs(features - found.finish(other, each[::-1])).max() > 1e-3 * np.abs(wanted).max()


@pytest.mark.parametrize("method", ["patchcore_cl", "ucad", "mtrmb"])
def test_a_bank_is_served_without_torch(method, learner_for, lessons, tmp_path, images):
    """Learned on an engine, loaded by another process in which neither torch nor timm nor onnx can be imported."""
    learner = learner_for(method, on=frozen_backbone(on(LITE0, PassEngine.OPENVINO)))
    detector = learner.detector_of([learner.learn(lessons[name]) for name in ("textile", "machined_part")])
    save_bank(detector, tmp_path / "bank")
    np.save(tmp_path / "images.npy", np.stack(images))
    wanted = [prediction.to_json() for prediction in detector.predict(images)]
    code = (
        "import numpy as np; from evernorm import load_bank;"
        "print([p.to_json() for p in load_bank(sys.argv[1] + '/bank').predict(list(np.load(sys.argv[1] + '/images.npy')))])"
    )
    said = without_torch(code, tmp_path)
    assert 0 == said.returncode, said.stderr
    assert str(wanted) == said.stdout.strip()


@pytest.mark.parametrize("engine", [PassEngine.TORCH, *ENGINES])
def test_a_bank_answers_alike_on_every_engine(engine, learner_for, lessons, tmp_path, images):
    """Whichever it was learned on."""
    learner = learner_for("patchcore_cl")  # learned by torch
    detector = learner.detector_of([learner.learn(lessons["textile"])])
    save_bank(detector, tmp_path)
    answers = load_bank(tmp_path, Device.CPU, engine).predict(images)
    for one, other in zip(detector.predict(images), answers, strict=True):
        assert (one.routed_class, one.anomalous) == (other.routed_class, other.anomalous)
        assert one.score == pytest.approx(other.score, abs=1e-3)


def test_a_kit_is_made_once_and_mended(cache, monkeypatch):
    """Another process finds it; a damaged one is made again; one in a bank is refused."""
    monkeypatch.setenv(CACHE, str(cache / "own"))
    frozen_backbone(on(LITE0, PassEngine.OPENVINO))
    (folder,) = (each for each in (cache / "own" / "kits").iterdir() if each.is_dir())
    monkeypatch.setattr("evernorm.features.frozen.build_backbone", None)  # nothing is built again
    kit = frozen_backbone(on(LITE0, PassEngine.ONNXRUNTIME)).kit
    assert folder == kit.folder
    monkeypatch.undo()
    monkeypatch.setenv(CACHE, str(cache / "own"))
    graph = folder / "patches.onnx"
    whole = graph.read_bytes()
    graph.write_bytes(whole[:-100])
    with pytest.raises(StateError, match="damaged"):
        Kit.of(folder, "backbone")
    frozen_backbone(on(LITE0, PassEngine.OPENVINO))
    assert whole == graph.read_bytes()  # the same bytes, too


def test_what_is_not_there_is_said(monkeypatch):
    """By its name, with what to do."""
    monkeypatch.setattr("evernorm.features.engine._installed", lambda engine: engine is PassEngine.TORCH)
    with pytest.raises(
        MachineError, match=r"features\.engine is openvino, which is not installed: `pip install openvino`"
    ):
        choose_engine(PassEngine.OPENVINO, Device.CPU)
    assert choose_engine(PassEngine.AUTO, Device.CPU) is PassEngine.TORCH
    monkeypatch.setattr("evernorm.features.engine._installed", lambda engine: True)
    assert choose_engine(PassEngine.AUTO, Device.CPU) is PassEngine.OPENVINO
    assert choose_engine(PassEngine.AUTO, Device.CUDA) is PassEngine.TORCH
    with pytest.raises(MachineError, match=r"features\.device is cuda"):
        choose_engine(PassEngine.OPENVINO, Device.CUDA)
    monkeypatch.setattr("evernorm.features.engine._installed", lambda engine: False)
    with pytest.raises(MachineError, match="pip install openvino"):
        choose_engine(PassEngine.AUTO, Device.CPU)


def test_real_images_are_ranked_alike(shared_data):
    """Image AUROC within .001 on photographs, on the class that is hardest to tell."""
    folder = shared_data / "extrusion"
    train = sorted((folder / "train" / "good").iterdir())[:30]
    test = [path for kind in ("good", "over") for path in sorted((folder / "test" / kind).iterdir())[:25]]
    images = [read_image(path) for path in (*train, *test)]
    labels = np.array(["good" not in path.parts for path in test])
    figures = {}
    for engine in (PassEngine.TORCH, *ENGINES):
        features = frozen_backbone(FeatureParams(engine=engine, device=Device.CPU)).features(images)
        flat = features[: len(train)].reshape(-1, features.shape[2])
        memory = NearestRows(flat[farthest_points(flat, 300)])
        distances, _ = search(features[len(train) :], memory)
        figures[engine] = auroc(labels, top_scores(distances.reshape(len(test), -1)))
    assert all(abs(figures[engine] - figures[PassEngine.TORCH]) <= 1e-3 for engine in ENGINES), figures


@pytest.mark.parametrize("imported", ["features", "anomalib"])
def test_nobody_is_told_of_it(imported, tmp_path):
    """OpenVINO tells its makers when it is imported, and leaves a mark in the home; ours does neither."""
    code = {
        "features": "from evernorm.features.frozen import frozen_backbone as f; from evernorm.params.groups import *;"
        "import numpy as np; f(FeatureParams(image_size=64, engine='openvino')).features([np.zeros((9, 9, 3), np.uint8)])",
        "anomalib": "from evernorm.methods.anomalib.library import library; library(); import openvino",
    }[imported]
    said = subprocess.run(
        [sys.executable, "-c", f"{code}; import sys; print(sys.modules['openvino_telemetry'])"],
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "None" == said.stdout.strip()
    assert not (tmp_path / "intel").exists()
