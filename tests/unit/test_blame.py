"""Whose fault it is that a stage failed: that of the images refuses a delivery, that of the machine does not."""

import pytest

from evernorm.errors import PipelineError
from tasks.faults import UnfitError
from tasks.workspace.pipeline import reproduce
from tasks.workspace.versions import record_versions
from tasks.workspace.workspace import Workspace

# A stage that does what it is given, as DVC runs it.
STAGE = """
import sys
from evernorm.errors import *
from evernorm.calibration.evt import fit_high
from evernorm.params.groups import Engine
from tasks.stages.stage import main

def weibull(name, params, paths):
    {does}

main(weibull)
"""
PIPELINE = """
stages:
  weibull:
    foreach: {cloth: 1}
    do:
      cmd: python failing.py ${key}
      deps: [failing.py]
"""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """One class, and a pipeline of one stage."""
    workspace = Workspace.open_or_create(tmp_path_factory.mktemp("failing") / "w")
    workspace.configure(order=["cloth"])
    record_versions(workspace.params, workspace.paths)
    (workspace.root / "dvc.yaml").write_text(PIPELINE)
    return workspace


@pytest.mark.parametrize(
    ("does", "said", "unfit"),
    [
        ("fit_high([2.0, 2.0, 2.0], 2, Engine.SCIPY)", "a tail without spread", True),
        ("raise DataError('0.png: no image')", "0.png: no image", True),
        ("sys.modules['libmr'] = None; fit_high([1.0, 2.0, 3.0], 2)", "libmr is not installed", False),
        ("raise TrainingError('the loss is nan')", "the loss is nan", False),
        ("raise WeightsError('no such weights')", "no such weights", False),
        ("raise StateError('disk full')", "disk full", False),
        ("raise MemoryError", "failed to run", False),
    ],
)
def test_only_what_a_stage_says_of_the_images_makes_a_class_unfit(workspace, does, said, unfit):
    """A missing package, weights that are gone, a full disk, a training that diverged: another try may do better."""
    (workspace.root / "failing.py").write_text(STAGE.format(does=does))
    with pytest.raises(PipelineError, match=said) as caught:
        reproduce.fn(workspace, "weibull", "cloth")
    assert unfit == isinstance(caught.value, UnfitError)
    if unfit:
        assert "cloth" == caught.value.name
