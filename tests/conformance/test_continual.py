"""Ways on that a method offers beside its default, through the stages: the same bank as in memory."""

from shutil import copytree

import numpy as np
import pytest

from evernorm.data.experience import Experience
from evernorm.methods.bank import load_bank
from evernorm.methods.learner import NOTHING
from evernorm.methods.lesson import Lesson
from evernorm.methods.registry import learners
from evernorm.params.file import override, parse_params
from evernorm.params.groups import Device
from tasks.stages.learning import experience_of
from tasks.workspace.paths import Paths
from tests.conformance.conftest import params_of, through_stages
from tests.conformance.drawn import CLASSES, draw

TWO = CLASSES[:2]


@pytest.mark.parametrize("setting", ["joint", "separate", "finetune"])
def test_a_network_goes_on_as_it_is_told(setting, paths, backbone, tmp_path):
    """Stage by stage, through files; the bank that is read again answers as the one in memory."""
    paths = Paths(copytree(paths.root, tmp_path / "workspace"))
    values = params_of("revdist", TWO).model_dump(mode="json")
    params = parse_params(override(values, [f"revdist.prompts.continual={setting}"]))
    through_stages(params, paths)
    learner, states = learners()["revdist"](params, backbone), []
    views: list[Experience] = [experience_of(name, paths) for name in TWO]
    for place, view in enumerate(views):
        lesson = Lesson(view, earlier=tuple(views[:place]) if learner.looks_back else ())
        states.append(learner.learn(lesson, states[-1].carry if states else NOTHING))
    images = [image for name in TWO for image in draw(name, 2, seed=3)]
    expected, found = learner.detector_of(states), load_bank(paths.model(TWO[-1]), Device.CPU)
    assert expected.bank_bytes == found.bank_bytes
    for one, other in zip(expected.predict(images), found.predict(images), strict=True):
        assert one.routed_class == other.routed_class
        np.testing.assert_allclose(one.score, other.score, atol=1e-3)
        np.testing.assert_allclose(one.map, other.map, atol=1e-3)
