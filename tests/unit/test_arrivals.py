"""Deliveries on their way into a workspace, without the learning: what is refused, given up, let alone."""

import json
import shutil

import pytest

from evernorm.errors import PipelineError
from evernorm.files import write_json
from flows.commands.learn import learn_folder
from flows.forget import show_forgotten
from flows.watch import _learn
from tasks.audit.working_tree import check_working_tree
from tasks.faults import UnfitError
from tasks.inbox.arrivals import (
    arriving,
    begin,
    check_delivery,
    fetch_delivery,
    give_up,
    let_go,
    look_into,
    place,
    refuse_arriving,
    refuse_unlearned,
    resume,
)
from tasks.inbox.delivery import pack
from tasks.tracking.gate import Decision
from tasks.workspace.forget import Forgotten
from tasks.workspace.workspace import Workspace


@pytest.fixture
def inbox(tmp_path, draw_photos):
    """``deliver(name)`` packs a small class into the inbox of a workspace; and the workspace."""
    photos = draw_photos(tmp_path / "photos", names=("cloth",), train=5, good=1, defective=1)
    folder = tmp_path / "inbox"
    folder.mkdir()
    workspace = Workspace.open_or_create(tmp_path / "workspace")
    (workspace.root / "dvc.yaml").write_text("stages: {}\n")  # only images are versioned here
    workspace.configure([f"watch.inbox={json.dumps(str(folder))}"])

    def deliver(name):
        shutil.copytree(photos / "cloth", tmp_path / f"of-{name}" / name)
        pack(tmp_path / f"of-{name}" / name, str(folder))
        return folder / name

    return workspace, deliver


def new(workspace):
    """What a watch would take in now, and what it would refuse."""
    found, refusals = look_into.fn(workspace)
    return {each.name: each for each in found}, {each.name: " ".join(each.faults) for each in refusals}


def taken(workspace, delivery):
    """Take a delivery in up to the learning."""
    assert [] == fetch_delivery.fn(workspace, delivery)
    manifest = check_delivery(workspace, delivery)
    begun = begin(workspace, delivery, manifest)
    place(workspace, begun, manifest)
    return begun


def as_learned(workspace, name):
    """As if the stages had run: figures that Git keeps."""
    write_json(workspace.paths.metrics(name), {"classes": [name]})
    workspace.commit(f"Learn {name}, version 1")


@pytest.mark.parametrize(("damaged", "whole"), [("Bottle", "bottle"), ("test", "cloth"), ("train", "good")])
def test_what_is_left_of_a_damaged_delivery_stops_no_other(inbox, damaged, whole):
    """Whatever their names: folders of a class in another tool's layout, or the same name in other case."""
    workspace, deliver = inbox
    path = deliver(damaged)
    (path / "train/good/000.png").write_bytes((path / "train/good/000.png").read_bytes()[::-1])
    (fault,) = fetch_delivery.fn(workspace, new(workspace)[0][damaged])
    assert "sha256 is" in fault
    if damaged.casefold() == whole.casefold():
        shutil.rmtree(path)  # packed anew under another name
    deliver(whole)
    found, _ = new(workspace)
    assert [] == fetch_delivery.fn(workspace, found[whole])
    assert whole == check_delivery(workspace, found[whole]).name


def test_names_that_stand_for_something_else_are_refused(inbox):
    """Before anything is fetched: `start` is where a stream begins."""
    workspace, _ = inbox
    folder = workspace.root.parent / "inbox/start"
    folder.mkdir()
    write_json(folder / "manifest.json", {})
    found, refusals = new(workspace)
    assert {} == found
    assert "no plain class name" in refusals["start"]


def test_a_class_that_differs_by_case_is_refused_until_the_other_is_gone(inbox):
    """It is not remembered: forgetting the other mends it."""
    workspace, deliver = inbox
    deliver("Cloth")
    workspace.configure(order=["cloth"])
    assert "differs from the class cloth only by case" in new(workspace)[1]["Cloth"]
    workspace.configure(order=[])
    assert {"Cloth"} == new(workspace)[0].keys()


def test_nothing_else_is_done_while_a_delivery_is_half_taken_in(inbox):
    """Learning by hand, and the audit of files that are on their way; each says what to do."""
    workspace, deliver = inbox
    deliver("metal")
    taken(workspace, new(workspace)[0]["metal"])
    with pytest.raises(
        PipelineError, match="delivery of metal is only half taken in; run `evernorm watch --once`"
    ):
        refuse_arriving(workspace)
    with pytest.raises(PipelineError, match="only half taken in"):
        learn_folder(workspace.root.parent / "of-metal", workspace.root, ["metal"], [], None)
    with pytest.raises(PipelineError, match="a run was cut short in it; run `evernorm watch --once` again"):
        check_working_tree(workspace.root, None, None, None)


def test_a_delivery_that_is_given_up_leaves_nothing_and_is_new_no_more(inbox):
    """A person's way out of one that can neither be learned nor refused."""
    workspace, deliver = inbox
    deliver("metal")
    before = workspace.git("ls-files")
    let_go(workspace, taken(workspace, new(workspace)[0]["metal"]), "no memory left")
    assert ((), None) == (workspace.params.order, arriving(workspace))
    assert ({}, {}) == new(workspace)
    assert {*before.splitlines(), "received.json"} == set(workspace.git("ls-files").splitlines())
    assert "Give up the delivery of metal: no memory left" == workspace.git("log", "-1", "--format=%s")
    assert not list(workspace.root.glob("*/metal*"))


def test_a_class_that_was_learned_by_hand_meanwhile_is_not_given_up(inbox):
    """A run is killed before it noted that it has the delivery; what was learned since stays."""
    workspace, deliver = inbox
    deliver("metal")
    begun = taken(workspace, new(workspace)[0]["metal"])
    (workspace.root / "received.json").unlink()
    as_learned(workspace, "metal")
    assert resume(workspace) is None
    assert begun.name in workspace.params.order
    assert workspace.paths.manifest("metal").is_file()
    assert arriving(workspace) is None


def test_an_update_that_is_given_up_leaves_the_class_as_it_was(inbox):
    """Its images and figures are those of the commit."""
    workspace, deliver = inbox
    deliver("metal")
    taken(workspace, new(workspace)[0]["metal"])
    as_learned(workspace, "metal")
    (workspace.root / ".evernorm/arriving.json").unlink()
    before = workspace.paths.manifest("metal").read_bytes()
    supplied = workspace.root.parent / "of-metal/metal"
    (supplied / "test/hole/000.png").unlink()
    (supplied / "ground_truth/hole/000_mask.png").unlink()
    pack(supplied, str(workspace.root.parent / "inbox"))
    begun = taken(workspace, new(workspace)[0]["metal"])
    assert begun.update
    assert before != workspace.paths.manifest("metal").read_bytes()
    give_up(workspace, begun)
    assert before == workspace.paths.manifest("metal").read_bytes()
    assert "" == workspace.git("status", "--porcelain")


def test_a_class_that_no_longer_fits_its_parameters_is_not_blamed_on_a_delivery(inbox, monkeypatch):
    """The delivery waits as if it had not come; the error names the class that is at fault."""
    workspace, deliver = inbox
    deliver("metal")
    begun = taken(workspace, new(workspace)[0]["metal"])

    def failing(*_, **__):
        error = UnfitError("stage weibull@cloth failed: no tail")
        error.name = "cloth"
        raise error

    monkeypatch.setattr("flows.watch.learn_from", failing)
    with pytest.raises(
        PipelineError, match=r"cloth cannot be learned any more .* so metal waits: stage weibull@cloth"
    ):
        _learn(workspace, begun, 0, [], [])
    assert {"metal"} == new(workspace)[0].keys()


def test_a_fault_of_the_machine_refuses_no_delivery(inbox, monkeypatch):
    """Nothing is remembered against it, and the next run takes it in."""
    workspace, deliver = inbox
    deliver("metal")
    begun = taken(workspace, new(workspace)[0]["metal"])
    refusals = []

    def failing(*_, **__):
        raise PipelineError("stage weibull@metal failed: weibull.engine is libmr, but libmr is not installed")

    monkeypatch.setattr("flows.watch.learn_from", failing)
    with pytest.raises(PipelineError, match="libmr is not installed"):
        _learn(workspace, begun, 0, [], refusals)
    assert [] == refusals
    assert begun == resume(workspace)  # goes on from there
    give_up(workspace, begun)
    found, refused = new(workspace)
    assert ({"metal"}, {}) == (found.keys(), refused)


def test_a_fault_of_the_images_refuses_the_delivery_until_it_changes(inbox, monkeypatch):
    """It is remembered by what was delivered and with which parameters."""
    workspace, deliver = inbox
    deliver("metal")
    begun = taken(workspace, new(workspace)[0]["metal"])
    refusals = []

    def failing(*_, **__):
        error = UnfitError("stage weibull@metal failed: copies of one another")
        error.name = "metal"
        raise error

    monkeypatch.setattr("flows.watch.learn_from", failing)
    _learn(workspace, begun, 0, [], refusals)
    assert ["metal"] == [each.name for each in refusals]
    found, refused = new(workspace)
    assert (set(), True) == (set(found), "copies of one another" in refused["metal"])
    workspace.configure(["seed=1"])
    assert {"metal"} == new(workspace)[0].keys()


def test_a_class_whose_images_are_half_brought_in_is_told_by_name(inbox):
    """A run of `learn` was killed while it copied them; nothing is learned on top of that."""
    workspace, deliver = inbox
    deliver("metal")
    taken(workspace, new(workspace)[0]["metal"])
    as_learned(workspace, "metal")
    refuse_unlearned(workspace)
    (workspace.root / "data/metal.dvc").unlink()
    with pytest.raises(
        PipelineError, match="metal: in the stream, but not learned; run `evernorm learn` again"
    ):
        refuse_unlearned(workspace)


def test_what_was_forgotten_is_named_in_the_inbox_too(inbox, monkeypatch, capsys):
    """Where its delivery lies, and that it is not taken in again by itself."""
    workspace, deliver = inbox
    place = deliver("metal")
    taken(workspace, new(workspace)[0]["metal"])
    monkeypatch.setattr("flows.forget.versions_that_know", lambda *_: [])
    decision = Decision("continual-bank", "2", "champion", (), {}, {}, {})
    for name, said in (("metal", True), ("cloth", False)):
        show_forgotten(workspace, Forgotten(name, "sold", "2026-01-01"), decision)
        assert said == (f"the inbox, {place}: delete it there" in capsys.readouterr().out)
