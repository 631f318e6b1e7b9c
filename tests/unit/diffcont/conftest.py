"""A network of a few hundred weights, and classes that are colours."""

import numpy as np
import pytest

from evernorm.methods.diffcont.diffcont import DiffCont
from evernorm.methods.diffcont.network import Network
from evernorm.methods.diffcont.params import DiffContPrompts
from evernorm.params.file import override, parse_params
from evernorm.params.model import default_params

SMALL = (
    "method=diffcont",
    "weibull.engine=scipy",
    "features.device=cpu",
    "diffcont.prompts.size=8",
    "diffcont.prompts.channels=[8, 8]",
    "diffcont.prompts.embedding=4",
    "diffcont.prompts.epochs=3",
    "diffcont.prompts.batch_size=4",
    "diffcont.prompts.replay.per_class=6",
    "diffcont.prompts.replay.steps=2",
)


class Pictures:
    """What a learner reads of an experience."""

    name, description = "red", ""

    def __init__(self, colour: int, count: int = 10) -> None:
        rng = np.random.default_rng(colour)
        self.pictures = rng.integers(0, 90, (count, 16, 16, 3), dtype=np.uint8)
        self.pictures[..., colour] += 150

    def __len__(self) -> int:
        return len(self.pictures)

    def read(self, number: int) -> np.ndarray:
        """One of them."""
        return self.pictures[number]


def built(*settings: str) -> DiffCont:
    """With these parameters."""
    return DiffCont(parse_params(override(default_params().model_dump(mode="json"), [*SMALL, *settings])))


@pytest.fixture(scope="session")
def learner_with():
    """``learner_with("diffcont.prompts.ema=0.9")``."""
    return built


@pytest.fixture(scope="session")
def lessons():
    """Two classes, each of a colour."""
    from evernorm.methods.lesson import Lesson

    return [Lesson(Pictures(colour)) for colour in range(2)]


@pytest.fixture(scope="session")
def first(learner_with, lessons):
    """The state after the first class."""
    return learner_with().learn(lessons[0])


@pytest.fixture
def network():
    """Of two classes."""
    return Network(3, DiffContPrompts(size=8, channels=(8, 8), embedding=4), 2, seed=1)
