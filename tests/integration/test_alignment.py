"""One scale for all classes, through the pipeline: an alignment is chosen for classes that were learned before."""

import json
import shutil

import pytest

from evernorm.files import read_json
from evernorm.methods.bank import load_bank
from evernorm.params.groups import AlignmentKind, Device, Guarantee
from tests.helpers.workspaces import lock

CHOICE = ("calibration.alignment=cada", "calibration.head.iterations=30", "calibration.guarantee=conformal")


@pytest.fixture(scope="module")
def aligned(tmp_path_factory, learned, small, open_gate, evernorm):
    """A copy of the learned workspace that was told to align, what that said, and its summary."""
    workspace = shutil.copytree(learned[0], tmp_path_factory.mktemp("aligned") / "w", symlinks=True)
    summary = workspace.parent / "summary.json"
    settings = [part for each in CHOICE for part in ("--set", each)]
    arguments = ("learn", "--data", learned[1], "--workspace", workspace, "--summary", summary)
    said = evernorm(*arguments, *small, *open_gate, *settings).stdout
    return workspace, said, json.loads(summary.read_text())


def test_no_image_is_seen_again(aligned, learned):
    """Only what scores mean is made anew."""
    before, after = lock(learned[0]), lock(aligned[0])
    changed = {name.partition("@")[0] for name in before if before[name] != after[name]}
    assert {"weibull", "evaluate"} == changed


def test_the_champion_answers_by_one_reading(aligned):
    """What is registered is what was asked for, with the images of both classes behind its threshold."""
    bank = load_bank(aligned[0] / "models/metal", Device.CPU)
    assert AlignmentKind.CADA is bank.alignment.params.alignment
    one, other = bank.readings
    assert one.threshold == other.threshold
    assert (2, Guarantee.CONFORMAL) == (one.classes, one.guarantee)
    assert read_json(aligned[0] / "metrics/metal.json")["bank_bytes"] == bank.bank_bytes
    assert bank.alignment.nbytes > 0


def test_a_person_reads_what_the_rate_is_worth(aligned, evernorm, tmp_path):
    """In the summary, and beside the table of thresholds."""
    workspace, _, summary = aligned
    for known in summary["normal_images"].values():
        assert 19 == known["needed"]
        assert "normal images of all 2 classes together" in known["promise"]
    said = evernorm("threshold", "cloth", "--workspace", workspace, "--out", tmp_path / "t.png").stdout
    assert "of all 2 classes together" in " ".join(said.split())


def test_the_classes_that_remain_are_aligned_anew(aligned, evernorm, tmp_path):
    """Without the one that is forgotten: its images are behind no threshold any more."""
    workspace = shutil.copytree(aligned[0], tmp_path / "w", symlinks=True)
    evernorm("forget", "cloth", "--reason", "sold", "--workspace", workspace)
    bank = load_bank(workspace / "models/metal", Device.CPU)
    (reading,) = bank.readings
    assert 1 == reading.classes
    assert 1 == len(bank.alignment.statistics)
