"""UCAD after cloth and metal, and test images of both."""

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from evernorm.data import synthetic
from evernorm.data.experience import TestView
from evernorm.data.manifest import Record
from evernorm.methods.learner import Learner
from evernorm.methods.memory.ucad import UcadDetector
from tests.unit.ucad.banks import NAMES, squeezed


@pytest.fixture(scope="package")
def ucad(learner_for) -> Learner:
    """40 keys and 60 rows a class, two epochs of training."""
    return learner_for("ucad")


@pytest.fixture(scope="package")
def learned(ucad, lessons) -> UcadDetector:
    """UCAD after cloth and metal."""
    return ucad.detector_of([ucad.learn(lessons[name]) for name in NAMES])


@pytest.fixture(scope="package")
def exhaustive(learned, learner_for) -> UcadDetector:
    """The same bank, asking all classes for every image, as the paper does."""
    return learner_for("ucad", "ucad.evaluate.candidates=0").detector_of(learned.states)


@pytest.fixture(scope="package")
def with_margin(learner_for) -> Callable[..., UcadDetector]:
    """``with_margin(detector, margin)``: the same bank with another margin before an image is called unknown."""

    def change(detector, margin):
        return learner_for("ucad", f"ucad.evaluate.unknown_margin={margin}").detector_of(detector.states)

    return change


@pytest.fixture(scope="package")
def views(tmp_path_factory) -> dict[str, TestView]:
    """Four good and four defective test images of each class, on disk, not square."""
    root = tmp_path_factory.mktemp("tests")
    views = {}
    for kind in NAMES:
        rng, records = np.random.default_rng([5, len(kind)]), []
        (root / kind).mkdir()
        for number, defect in enumerate([None, synthetic.DEFECTS[kind][0]] * 4):
            image, mask = synthetic.draw(kind, rng, defect)
            for name, picture in ((f"{number}.png", image), (f"{number}_mask.png", mask)):
                Image.fromarray(squeezed(picture)).save(root / kind / name)
            records.append(
                Record(
                    path=f"{number}.png",
                    split="test",
                    label="anomalous" if defect else "good",
                    defect=defect or "good",
                    mask=f"{number}_mask.png" if defect else None,
                    mask_sha256="0" * 64 if defect else None,
                    sha256="0" * 64,
                    size=1,
                    width=256,
                    height=200,
                )
            )
        views[kind] = TestView(kind, root / kind, tuple(records))
    return views


@pytest.fixture(scope="package")
def noise() -> np.ndarray:
    """An image of nothing."""
    return np.random.default_rng(0).integers(0, 256, (100, 120, 3)).astype(np.uint8)
