"""Small learners on real weights: EfficientNet-lite0 at 64 pixels, drawn images."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from evernorm.data import synthetic
from evernorm.data.experience import Experience
from evernorm.features.backbone import TimmBackbone, build_backbone
from evernorm.methods.learner import Learner
from evernorm.methods.lesson import Lesson
from evernorm.methods.registry import learners
from evernorm.params.file import override, parse_params
from evernorm.params.groups import FeatureParams, SuperpixelParams
from evernorm.params.model import default_params
from evernorm.structure.superpixels import SuperpixelSegmenter

# 120 rows for every method with a budget; for UCAD 40 keys and 60 rows a class, and two epochs of training.
SMALL = (
    "weibull.engine=scipy",
    *(
        f"{method}.knowledge.budget=120"
        for method in ("patchcore_cl", "separate", "joint", "finetune", "replay")
    ),
    "ucad.knowledge.rows=60",
    "ucad.knowledge.keys=40",
    "ucad.prompts.epochs=2",
    "ucad.prompts.batch_size=4",
    "ucad.prompts.learning_rate=0.01",
    "ucad.prompts.stopping=last",
)


@pytest.fixture(scope="session")
def backbone() -> TimmBackbone:
    """EfficientNet-lite0 with its packaged weights, 8 × 8 patches of 152 columns."""
    return build_backbone(FeatureParams(image_size=64))


@pytest.fixture(scope="session")
def tiny_vit() -> TimmBackbone:
    """A vision transformer of 6 blocks of 64 channels, 4 × 4 patches, levels 2 and 5.

    Its weights are drawn five times wider than timm's, so that patches and attention differ visibly.
    """
    params = FeatureParams(backbone="test_vit", image_size=64, layers=(2, 5), weights="random")
    backbone = build_backbone(params)
    with torch.no_grad():
        for weight in backbone.network.parameters():
            if weight.ndim > 1:
                weight.mul_(5)
    return backbone


@pytest.fixture(scope="session")
def learner_for(backbone) -> Callable[..., Learner]:
    """``learner_for(method, *settings, on=backbone)``: a learner with small memories, set as on the command line."""

    def make(method: str, *settings: str, on: TimmBackbone = backbone) -> Learner:
        values = default_params().model_dump(mode="json")
        params = parse_params(override(values, [f"method={method}", *SMALL, *settings]))
        return learners()[method](params, on)

    return make


@pytest.fixture(scope="session")
def drawn() -> Callable[..., list[np.ndarray]]:
    """``drawn(kind, count, seed, defect)``: images of a drawn class."""

    def draw(kind: str, count: int, seed: int = 0, defect: str | None = None) -> list[np.ndarray]:
        rng = np.random.default_rng([seed, len(kind)])
        return [synthetic.draw(kind, rng, defect)[0] for _ in range(count)]

    return draw


@pytest.fixture(scope="session")
def experiences(tmp_path_factory, drawn) -> dict[str, Experience]:
    """Training views of three drawn classes of eight images: cloth, metal, and cloth in blue."""
    root: Path = tmp_path_factory.mktemp("classes")
    pictures = {"textile": drawn("textile", 8), "machined_part": drawn("machined_part", 8)}
    pictures["blue_textile"] = [image[..., ::-1] for image in drawn("textile", 8, seed=1)]
    views = {}
    for name, images in pictures.items():
        (root / name).mkdir()
        for number, image in enumerate(images):
            Image.fromarray(np.ascontiguousarray(image)).save(root / name / f"{number}.png")
        views[name] = Experience(name, root / name, tuple(f"{n}.png" for n in range(8)), ("",) * 8)
    return views


@pytest.fixture(scope="session")
def lessons(experiences) -> dict[str, Lesson]:
    """The same classes with the parts of their images, found once."""
    segmenter = SuperpixelSegmenter(SuperpixelParams(), 0.005)

    def lesson(view: Experience) -> Lesson:
        return Lesson(view, cache(lambda number: segmenter.segment(view.read(number)).labels))

    return {name: lesson(view) for name, view in experiences.items()}
