"""A small detector on real weights: EfficientNet-lite0 at 64 pixels, drawn images."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from evernorm.data import synthetic
from evernorm.data.experience import Experience
from evernorm.features.backbone import TimmBackbone, build_backbone
from evernorm.methods.memory.remembered import Settings
from evernorm.params.groups import Engine, FeatureParams, KnowledgeParams, Routing, WeibullParams


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
def settings() -> Settings:
    """A budget of 120 rows."""
    return Settings(
        KnowledgeParams(budget=120), WeibullParams(engine=Engine.SCIPY), Routing.MEAN, seed=0, batch_size=4
    )


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
