"""Models of anomalib as a method: what they stand on, what is kept of them, what is refused."""

import random
import sys

import numpy as np
import pytest

from evernorm.errors import FitError, MachineError, ParamsError, StateError, WeightsError
from evernorm.features.backbone import build_backbone
from evernorm.methods.anomalib import library
from evernorm.methods.anomalib.model import STORED, Model
from evernorm.params.groups import FeatureParams

PATCHCORE = (
    "anomalib.prompts.settings.coreset_sampling_ratio=0.2",
    "anomalib.prompts.settings.num_neighbors=1",
)
FOLDS = "anomalib.prompts.folds=8"
RESNET = FeatureParams(backbone="resnet18", image_size=64, weights="random")


@pytest.fixture(scope="module")
def patchcore(learner_for):
    """PatchCore on EfficientNet-lite0."""
    return learner_for("anomalib", *PATCHCORE)


@pytest.fixture(scope="module")
def textile(patchcore, lessons):
    """A class it has learned."""
    return patchcore.learn(lessons["textile"])


def resized(learner, images) -> np.ndarray:
    """As a model sees them."""
    return learner.look(images)["images"]


def test_patchcore_remembers_patches_that_the_backbone_sees(patchcore, textile, lessons):
    """Every row of its memory is a patch of one of all the images, as evernorm's backbone gives it."""
    memory = textile.trained[f"{STORED}model.memory_bank"]
    images = list(lessons["textile"].experience.images())
    patches = patchcore.backbone.features(images).reshape(8, -1, 152)
    assert (round(0.2 * 8 * 64), 152) == memory.shape
    near = np.array([[np.abs(each - row).max(axis=1).min() for each in patches] for row in memory])
    np.testing.assert_allclose(0, near.min(axis=1), atol=1e-3)
    assert 8 == len({*near.argmin(axis=1)})


def test_its_score_is_the_farthest_patch(patchcore, textile, drawn):
    """With one neighbour, as PatchCore's own: worked by hand."""
    images = drawn("textile", 3, seed=4)
    memory = textile.trained[f"{STORED}model.memory_bank"]
    features = patchcore.backbone.features(images)
    distances = np.linalg.norm(features[:, :, None] - memory[None, None], axis=3).min(axis=2)
    raw, places = patchcore.model_of(textile.trained).scores(resized(patchcore, images))
    np.testing.assert_allclose(distances.max(axis=1), raw, rtol=1e-3)
    assert (3, 64 * 64) == places.shape


def test_nothing_of_the_backbone_is_kept_twice(patchcore, textile):
    """And what is kept is told by what the model has learned, whatever the rest was built with."""
    kept = [name for name in textile.trained if ".blocks.4." in name or ".conv_stem." in name]
    assert [] == kept
    model = Model(patchcore.params, patchcore.backbone, stored=True)
    with pytest.raises(StateError, match="no Patchcore of these settings"):
        model.load({**textile.trained, f"{STORED}extra": np.zeros(1, np.float32)})


def test_an_image_tells_what_scores_mean_by_a_model_that_did_not_know_it(learner_for, textile, lessons):
    """With as many parts as images, each by PatchCore of the others: worked by hand. The bank keeps no more of them."""
    learner = learner_for(
        "anomalib", *PATCHCORE[1:], "anomalib.prompts.settings.coreset_sampling_ratio=1", FOLDS
    )
    state = learner.learn(lessons["textile"])
    features = learner.backbone.features(list(lessons["textile"].experience.images()))
    expected = [
        np.linalg.norm(each[:, None] - np.delete(features, number, axis=0).reshape(1, -1, 152), axis=2)
        .min(axis=1)
        .max()
        for number, each in enumerate(features)
    ]
    np.testing.assert_allclose(expected, state.evidence["scores"][0], rtol=1e-3)
    assert 8 == state.evidence["peaks"].size == textile.evidence["scores"].size
    (kept,) = learner.detector_of([state]).kept()
    assert all(name.startswith(STORED) for name in kept.trained)
    assert not learner.exchangeable


def test_too_few_images_are_told(patchcore, lessons, monkeypatch):
    """Before anything is learned."""
    monkeypatch.setattr(patchcore, "_see", lambda _lesson: {"images": np.zeros((4, 64, 64, 3), np.uint8)})
    with pytest.raises(FitError, match="textile has 4 training images; what scores mean takes 5 at least"):
        patchcore.train(lessons["textile"])


@pytest.fixture(scope="module")
def reverse_distillation(learner_for):
    """On a ResNet whose weights are drawn; by the number of epochs."""
    settings = (
        "prompts.folds=2",
        "prompts.model=ReverseDistillation",
        "prompts.settings.anomaly_map_mode=multiply",
    )
    common = (*(f"anomalib.{each}" for each in settings), "features.weights=random")
    backbone = build_backbone(RESNET)
    return lambda epochs: learner_for("anomalib", *common, f"anomalib.prompts.epochs={epochs}", on=backbone)


def test_a_model_with_gradients_learns_what_is_normal(reverse_distillation, lessons):
    """Reverse distillation gives back the cloth that it has seen better than before, and its encoder is not changed."""
    learner, lesson = reverse_distillation(6), lessons["textile"]
    images = resized(learner, list(lesson.experience.images()))
    before = Model(learner.params, learner.backbone)
    trained = learner.train(lesson)
    assert learner.model_of(trained).scores(images).places.mean() < 0.8 * before.scores(images).places.mean()
    assert not [
        name for name in trained if ".encoder." in name and "layer3" not in name and "layer4" not in name
    ]


def test_what_is_drawn_elsewhere_changes_nothing_and_is_not_changed(reverse_distillation, lessons, capfd):
    """The same bytes again, the world's own randomness as it was, and nothing printed."""
    import torch

    learner = reverse_distillation(1)
    one = learner.train(lessons["textile"])
    torch.manual_seed(5)
    random.seed(5)
    before = torch.random.get_rng_state(), random.getstate()
    other = learner.train(lessons["textile"])
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert before[1] == random.getstate()
    assert {name: array.tobytes() for name, array in one.items()} == {
        name: array.tobytes() for name, array in other.items()
    }
    assert ("", "") == capfd.readouterr()


def test_a_damaged_checkpoint_is_told(reverse_distillation, lessons, tmp_path):
    """With what to do."""
    (tmp_path / "fold0").mkdir()
    (tmp_path / "fold0/epoch.ckpt").write_bytes(b"none")
    with pytest.raises(StateError, match="holds no state of this training"):
        reverse_distillation(1).train(lessons["textile"], checkpoint=tmp_path)


@pytest.mark.parametrize(
    ("settings", "kind", "said"),
    [
        (("model=Patchcor",), ParamsError, "did you mean Patchcore"),
        (("model=EfficientAd",), WeightsError, "nothing is downloaded here"),
        (("model=Ganomaly",), ParamsError, "no anomaly map"),
        (("model=WinClip",), ParamsError, "does not learn"),
        (("model=Csflow",), WeightsError, "torchvision's EfficientNet_B5"),
        (("model=ReverseDistillation",), ParamsError, "features.backbone 'tf_efficientnet_lite0'"),
    ],
)
def test_a_model_that_does_not_fit_is_refused_before_anything_is_made(learner_for, settings, kind, said):
    """By an error of ours that says what to do."""
    with pytest.raises(kind, match=said):
        learner_for("anomalib", *(f"anomalib.prompts.{each}" for each in settings)).check()


def test_weights_that_evernorm_was_not_told_of_are_never_fetched(learner_for, monkeypatch):
    """A model that names a network of its own is told how to get its weights."""
    monkeypatch.setattr(library.model_class("Patchcore"), "__init__", _of_another)
    with pytest.raises(WeightsError, match=r"set features\.backbone to resnet18, and features\.weights"):
        learner_for("anomalib").check()


def _of_another(_self, **_settings) -> None:
    import timm

    timm.create_model("resnet18.a1_in1k", pretrained=True)


def test_all_faults_of_settings_are_told_at_once(learner_for):
    """What there is no such setting for, what is of another type, what evernorm sets."""
    settings = ("num_neighbours=3", "coreset_sampling_ratio=much", "backbone=resnet18", "evaluator=true")
    with pytest.raises(ParamsError) as refused:
        learner_for("anomalib", *(f"anomalib.prompts.settings.{each}" for each in settings)).check()
    said = "\n".join(refused.value.faults)
    assert 4 == len(refused.value.faults)
    for fault in (
        "settings.num_neighbours: unknown; Patchcore has layers, coreset_sampling_ratio, num_neighbors",
        "settings.coreset_sampling_ratio is 'much'",
        "settings.backbone: the frozen network is set by features.backbone",
        "settings.evaluator: images are prepared and scores are read as for every method",
    ):
        assert fault in said


def test_a_missing_library_says_how_to_get_it(learner_for, monkeypatch):
    """And what is asked of it is not said to be wrong."""
    monkeypatch.setitem(sys.modules, "anomalib", None)
    monkeypatch.setitem(sys.modules, "anomalib.models", None)
    library.library.cache_clear()
    with pytest.raises(MachineError, match=r"pip install 'evernorm\[anomalib\]'"):
        learner_for("anomalib").check()
    library.library.cache_clear()
