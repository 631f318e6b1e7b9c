"""What params.yaml asks of this machine is looked for before anything is made, fetched or copied."""

import sys
from types import SimpleNamespace

import pytest
import torch

from evernorm.errors import EvernormError, MachineError, ParamsError, WeightsError
from evernorm.params.file import override, parse_params
from evernorm.params.groups import Params
from flows.commands.learn import learn_folder
from flows.commands.watch import watch_once
from tasks.workspace.checks import check_changed, check_machine
from tasks.workspace.workspace import Workspace

SMALL = ("features.image_size=64", "weibull.engine=scipy")
VIT = ("features.backbone=test_vit", "features.weights=random", *SMALL)


def params(*settings: str) -> Params:
    return parse_params(override(Params().model_dump(mode="json"), settings))


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        (("features.weights=/nowhere/w.pth",), WeightsError, "are no file"),
        (("features.backbone=resnet18",), WeightsError, "do not fit resnet18"),
        (("features.backbone=resnet19",), ParamsError, "cannot be built"),
        (("features.layers=[99]",), ParamsError, "levels 0 to"),
        ((*VIT, "method=ucad", "ucad.prompts.first_block=99"), ParamsError, "prompts.first_block is 99"),
        ((*VIT, "method=ucad", "masks.structure=sam"), WeightsError, "masks.sam.checkpoint is empty"),
    ],
)
def test_each_fault_is_told_as_what_it_is(settings, error, said):
    """Whatever the stages would stumble over, hours later."""
    with pytest.raises(error, match=said):
        check_machine(params(*SMALL, *settings))


def test_all_faults_are_told_at_once(monkeypatch):
    """Device, backbone, Weibull engine and segmenter, each with what to do."""
    monkeypatch.setitem(sys.modules, "libmr", None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    asked = ("features.device=cuda", "features.weights=none.pth", "method=ucad", "masks.structure=sam")
    with pytest.raises(ParamsError, match="4 parts cannot be had") as told:
        check_machine(params("features.image_size=64", *asked))
    said = "\n".join(told.value.faults)
    assert all(word in said for word in ("CUDA", "none.pth", "libmr is not installed", "sam.checkpoint"))


def test_what_a_method_does_not_use_is_not_asked_for():
    """PatchCoreCL asks for no structure, so it needs no SAM."""
    check_machine(params(*SMALL, "masks.structure=sam"))


@pytest.mark.parametrize("settings", [["features.weights=/nowhere/w.pth"], ["features.backbone=resnet18"]])
def test_nothing_is_made_for_a_machine_that_cannot_learn(settings, tmp_path, draw_photos):
    """Neither by `learn` nor by `watch`."""
    photos = draw_photos(tmp_path / "photos", names=("cloth",), train=5, good=1, defective=1)
    (tmp_path / "inbox").mkdir()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(WeightsError):
        learn_folder(photos, tmp_path / "w", None, settings, None)
    with pytest.raises(WeightsError):
        watch_once(tmp_path / "w", str(tmp_path / "inbox"), settings)
    assert before == sorted(tmp_path.rglob("*"))


def test_parameters_changed_by_hand_are_checked_by_the_flow(tmp_path):
    """Whoever starts it: a command, a deployment; what was learned with them is not looked at again."""
    workspace = Workspace.open_or_create(tmp_path / "w")
    workspace.configure(["features.weights=none.pth"], ["cloth"])
    with pytest.raises(EvernormError, match=r"none\.pth"):
        check_changed(workspace)
    workspace.commit("learned elsewhere")
    check_changed(workspace)
    workspace.configure(["gate.min_image_auroc=0"])
    check_changed(workspace)


def test_a_delivery_is_not_fetched_by_a_machine_that_cannot_learn_it(tmp_path, monkeypatch):
    """A worker without an engine leaves it for another one, and holds nothing against it."""
    from flows import watch

    workspace = Workspace.open_or_create(tmp_path / "w")
    monkeypatch.setitem(sys.modules, "libmr", None)
    delivery = SimpleNamespace(name="cloth", digest="0")
    monkeypatch.setattr(watch, "catch_up", lambda _: None)
    monkeypatch.setattr(watch, "claim", lambda _: None)
    monkeypatch.setattr(watch, "look_into", lambda _: ([delivery], []))
    monkeypatch.setattr(watch, "fetch_delivery", lambda *_: pytest.fail("fetched"))
    with pytest.raises(MachineError, match="libmr is not installed"):
        watch.watch_inbox.fn(workspace.root)
    assert "" == workspace.git("status", "--porcelain")
