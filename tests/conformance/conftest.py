"""Every registered method, learned in memory and by the stages, on three drawn classes."""

import os
import sys
from collections.abc import Callable
from contextlib import chdir
from functools import cache
from pathlib import Path
from shutil import copytree

import pytest
from PIL import Image

from tests.conformance.drawn import CLASSES, PLUGIN, draw

sys.path.append(str(PLUGIN))  # as an installed distribution would be, before the registry is asked
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(PLUGIN), os.environ.get("PYTHONPATH")]))

from evernorm.data import synthetic
from evernorm.data.validate import validate
from evernorm.features.backbone import Backbone
from evernorm.features.frozen import frozen_backbone
from evernorm.methods.detector import Detector
from evernorm.methods.learner import NOTHING, ClassState, Learner, StateKind
from evernorm.methods.lesson import Lesson
from evernorm.methods.registry import learners
from evernorm.params.file import override, parse_params
from evernorm.params.groups import Device, Params, stream_of
from evernorm.params.model import default_params
from evernorm.structure.segmenter import build_segmenter
from tasks.stages.learning import experience_of
from tasks.workspace.paths import Paths

SETTINGS = (
    "features.image_size=64",
    "weibull.engine=scipy",
    "features.device=cpu",
    "calibration.head.iterations=5",
)
# What takes minutes by default, by method.
FEWER = {
    "ucad": ("prompts.epochs=5",),
    "mtrmb": ("prompts.epochs=5",),
    "diffcont": (
        "prompts.size=8",
        "prompts.channels=[8, 16]",
        "prompts.embedding=8",
        "prompts.epochs=4",
        "prompts.replay.per_class=4",
        "prompts.replay.steps=3",
    ),
    "revdist": ("prompts.iterations=6", "prompts.batch_size=4"),
    "uniad": (
        "prompts.iterations=6",
        "prompts.batch_size=4",
        "prompts.sizes.width=16",
        "prompts.sizes.heads=2",
        "prompts.sizes.layers=1",
    ),
    "recontrast": ("prompts.iterations=6", "prompts.batch_size=4"),
    "anomalib": ("prompts.model=Stfpm", "prompts.epochs=3", "prompts.folds=2"),
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes `method` is run for each of them, nothing excepted by name."""
    if "method" in metafunc.fixturenames:
        metafunc.parametrize("method", list(learners()), scope="session")


def params_of(method: str, names: tuple[str, ...] = CLASSES) -> Params:
    """Small enough to be learned in a second."""
    few = [f"{method}.{setting}" for setting in FEWER.get(method, ())]
    values = override(default_params().model_dump(mode="json"), [*SETTINGS, *few, f"method={method}"])
    linked = learners()[method].traits.state is not StateKind.INDEPENDENT
    return parse_params({**values, "stream": stream_of(names, linked=linked)})


@pytest.fixture(scope="session")
def photos(tmp_path_factory) -> Path:
    """Three classes of eight normal images, with a few test images."""
    root: Path = tmp_path_factory.mktemp("conformance") / "photos"
    for name in CLASSES:
        kinds = {
            "train/good": draw(name, 8),
            "test/good": draw(name, 3, seed=5),
            "test/bad": draw(name, 2, seed=6, defect=synthetic.DEFECTS[name.removeprefix("blue_")][0]),
        }
        for place, images in kinds.items():
            (root / name / place).mkdir(parents=True)
            for number, image in enumerate(images):
                Image.fromarray(image).save(root / name / place / f"{number}.png")
    return root


@pytest.fixture(scope="session")
def paths(photos, tmp_path_factory) -> Paths:
    """The classes as a workspace holds them, with what the first class stands on."""
    from evernorm.files import START, write_json
    from tasks.workspace.data import _copy

    paths = Paths(tmp_path_factory.mktemp("workspace"))
    for name, manifest in validate(photos, CLASSES).items():
        paths.data(name).parent.mkdir(exist_ok=True)
        _copy(photos / name, paths.data(name), manifest)
    write_json(paths.bank(START, "carry") / "carry.json", {"classes": []})
    write_json(paths.bank(START, "evaluation") / "links.json", {"links": [], "learned": {}, "best": {}})
    return paths


@pytest.fixture(scope="session")
def backbone() -> Backbone:
    """EfficientNet-lite0 with its packaged weights, once for all methods."""
    params = default_params().features
    return frozen_backbone(params.model_copy(update={"image_size": 64, "device": Device.CPU}))


@pytest.fixture(scope="session")
def learner(method, backbone) -> Learner:
    """The method's learner."""
    return learners()[method](params_of(method), backbone)


@pytest.fixture(scope="session")
def lessons(method, learner, paths) -> list[Lesson]:
    """What the method may see of the three classes."""
    views = [experience_of(name, paths) for name in CLASSES]
    segmenter = build_segmenter(learner.params.masks, CLASSES[0], Device.CPU)
    cumulative = learner.traits.state is StateKind.CUMULATIVE

    def parts(view) -> Callable | None:
        labels = cache(lambda number: segmenter.segment(view.read(number)).labels)
        return labels if learner.traits.structured else None

    return [
        Lesson(view, parts(view), tuple(views[:place]) if cumulative else ())
        for place, view in enumerate(views)
    ]


@pytest.fixture(scope="session")
def states(learner, lessons) -> list[ClassState]:
    """The three classes, learned in memory."""
    learned: list[ClassState] = []
    for lesson in lessons:
        learned.append(learner.learn(lesson, learned[-1].carry if learned else NOTHING))
    return learned


@pytest.fixture(scope="session")
def detector(learner, states) -> Detector:
    """The bank of the three classes."""
    return learner.detector_of(states)


@pytest.fixture(scope="session")
def staged(method, paths, tmp_path_factory) -> Paths:
    """The same, learned by the stages, one function after another."""
    paths = Paths(copytree(paths.root, tmp_path_factory.mktemp(method) / "workspace"))
    through_stages(params_of(method), paths)
    return paths


def through_stages(params: Params, paths: Paths) -> None:
    """Learn the classes of the stream, in its order."""
    from tasks.stages import STAGES
    from tasks.workspace.versions import check_versions, record_versions

    record_versions(params, paths)
    check_versions(params, paths)
    with chdir(paths.root):
        for name in params.order:
            for stage in STAGES:
                module = __import__(f"tasks.stages.{stage}", fromlist=[stage])
                getattr(module, stage)(name, params, paths)
