"""MTRMB on two drawn classes, with EfficientNet-lite0 and with a small transformer."""

import pytest

from evernorm.methods.learner import Learner
from evernorm.methods.memory.mtrmb import MtrmbDetector

NAMES = ("textile", "machined_part")
FAST = (
    "mtrmb.knowledge.rows=60",
    "mtrmb.prompts.epochs=3",
    "mtrmb.prompts.batch_size=4",
    "mtrmb.prompts.learning_rate=0.01",
    "mtrmb.prompts.stopping=last",
    "mtrmb.prompts.keys=3",
    "mtrmb.prompts.fusion_width=8",
)


@pytest.fixture(scope="package")
def mtrmb_with(learner_for, tiny_vit):
    """``mtrmb_with(*settings)``: a learner on the transformer."""
    return lambda *settings, **options: learner_for("mtrmb", *FAST, *settings, **{"on": tiny_vit, **options})


@pytest.fixture(scope="package")
def mtrmb(mtrmb_with) -> Learner:
    """60 rows, 3 keys, a common space of 8 columns, three epochs of training."""
    return mtrmb_with()


@pytest.fixture(scope="package")
def learned(mtrmb, lessons) -> MtrmbDetector:
    """MTRMB after cloth and metal."""
    return mtrmb.detector_of([mtrmb.learn(lessons[name]) for name in NAMES])
