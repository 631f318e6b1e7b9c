"""Models of anomalib as a method: what they stand on, what is kept of them, what is refused."""

import random
import sys
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
from PIL import Image

from evernorm.errors import FitError, MachineError, ParamsError, StateError, WeightsError
from evernorm.features.backbone import build_backbone
from evernorm.methods.anomalib import library
from evernorm.methods.anomalib.adapter import Anomalib
from evernorm.methods.anomalib.model import STORED, Model
from evernorm.methods.anomalib.params import AnomalibParams
from evernorm.methods.anomalib.training import Schedule, train
from evernorm.params.file import override, parse_params
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


@pytest.fixture(scope="module")
def efficient_ad(tmp_path_factory, learner_for):
    """EfficientAd whose teacher's weights are drawn, and whose other images are noise."""
    import torch

    library.library()  # with the warnings of what it imports
    from anomalib.models.image.efficient_ad.torch_model import SmallPatchDescriptionNetwork

    folder = tmp_path_factory.mktemp("own")
    (folder / "efficientad_pretrained_weights").mkdir()
    (folder / "images/noise").mkdir(parents=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        teacher = SmallPatchDescriptionNetwork(8).state_dict()
    torch.save(teacher, folder / "efficientad_pretrained_weights/pretrained_teacher_small.pth")
    noise = np.random.default_rng(0).integers(0, 256, (4, 300, 300, 3), np.uint8)
    for number, image in enumerate(noise):
        Image.fromarray(image).save(folder / f"images/noise/{number}.png")
    settings = (
        "model=EfficientAd",
        f"weights={folder}",
        f"settings.imagenet_dir={folder / 'images'}",
        "settings.teacher_out_channels=8",
    )
    backbone = build_backbone(FeatureParams(image_size=256))
    return learner_for("anomalib", *(f"anomalib.prompts.{each}" for each in settings), on=backbone), teacher


class KilledError(Exception):
    """What ends a training early."""


def test_a_model_learns_with_weights_and_images_of_its_own(efficient_ad, drawn, tmp_path):
    """EfficientAd: its teacher is the one in the folder, its maps are scaled, and killed it goes on to the same bits."""
    learner, teacher = efficient_ad
    images, schedule = resized(learner, drawn("textile", 2)), Schedule(2, 32, 0)

    def trained(checkpoint=None, progress=None) -> dict[str, np.ndarray]:
        model = Model(learner.params, learner.backbone)
        train(model, images, schedule, checkpoint, progress)
        return model.arrays()

    def kill(done: int, _of: int) -> None:
        if done == 1:
            raise KilledError

    whole = trained()
    for name, value in teacher.items():
        np.testing.assert_array_equal(value, whole[f"{STORED}model.teacher.{name}"])
    assert whole[f"{STORED}model.quantiles.qb_st"] > whole[f"{STORED}model.quantiles.qa_st"] != 0
    with pytest.raises(KilledError):
        trained(tmp_path, kill)
    resumed = trained(tmp_path)
    assert {name: array.tobytes() for name, array in whole.items()} == {
        name: array.tobytes() for name, array in resumed.items()
    }


def test_results_depend_on_what_a_models_own_folders_hold(efficient_ad, tmp_path):
    """Other weights of the teacher, or an image more, and the stages are made anew."""
    params = efficient_ad[0].params
    folder, elsewhere = Path(params.own(AnomalibParams).prompts.weights), tmp_path / "own"
    copytree(folder, elsewhere)
    moved = (
        f"anomalib.prompts.weights={elsewhere}",
        f"anomalib.prompts.settings.imagenet_dir={elsewhere / 'images'}",
    )
    same = parse_params(override(params.model_dump(mode="json"), moved))
    assert Anomalib.sources(params) == Anomalib.sources(same)
    (elsewhere / "images/noise/0.png").unlink()
    fewer = Anomalib.sources(same)
    (elsewhere / "efficientad_pretrained_weights/pretrained_teacher_small.pth").write_bytes(b"others")
    assert 3 == len({Anomalib.sources(params), fewer, Anomalib.sources(same)})


@pytest.mark.parametrize(
    ("settings", "kind", "said"),
    [
        (("model=Patchcor",), ParamsError, "did you mean Patchcore"),
        (
            ("model=EfficientAd",),
            WeightsError,
            r"needs https\S+efficientad_pretrained_weights.zip, .* let anomalib.prompts.weights",
        ),
        (("model=Draem",), WeightsError, r"needs https\S+dtd\S+, which is not in datasets/dtd"),
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
