"""The audit finds every kind of damage, wherever it is, and names the place; what is whole yields nothing."""

import fcntl
import json
import os
import shutil
from pathlib import Path

import pytest

from evernorm.files import sha256_file
from tasks.audit.walk import audit
from tests.helpers.audits import CLASSES, IMAGE, flip, kept, located, mlflow_of, told
from tests.helpers.workspaces import MODEL

pytest_plugins = ("tests.helpers.audits",)

# What is damaged: two files of a kind with text of their own, where that is told, and the nodes it concerns.
PLACES: dict[str, tuple[tuple[str, str], str, tuple[str, str]]] = {
    "image": (
        ("data/cloth/train/good/000.png", "data/cloth/test/good/001.png"),
        "workspace",
        ("data/cloth", "data/cloth"),
    ),
    "defect mask": (
        ("data/cloth/ground_truth/hole/000_mask.png", "data/cloth/ground_truth/hole/001_mask.png"),
        "workspace",
        ("data/cloth", "data/cloth"),
    ),
    "manifest": (
        ("data/cloth/manifest.json", "data/metal/train.json"),
        "workspace",
        ("data/cloth", "data/metal"),
    ),
    "structure": (
        ("masks/metal/labels/train/good/000.png.png", "masks/metal/labels/train/good/001.png.png"),
        "workspace",
        ("masks@metal", "masks@metal"),
    ),
    "prompts": (
        ("bank/cloth/prompts/trained.safetensors", "bank/metal/prompts/trained.safetensors"),
        "workspace",
        ("prompts@cloth", "prompts@metal"),
    ),
    "knowledge": (
        ("bank/cloth/knowledge/entry.safetensors", "bank/metal/knowledge/lineage.json"),
        "workspace",
        ("knowledge@cloth", "knowledge@metal"),
    ),
    "weibull": (
        ("bank/cloth/weibull/weibull.json", "bank/metal/weibull/weibull.json"),
        "workspace",
        ("weibull@cloth", "weibull@metal"),
    ),
    "evaluation": (
        ("bank/cloth/evaluation/links.json", "features/metal/adapted.npy"),
        "workspace",
        ("evaluate@cloth", "features@metal"),
    ),
    "model": (("models/cloth/bank.json", "models/metal/bank.json"), "workspace", ("evaluate@cloth", "model")),
    "metrics": (
        ("metrics/cloth.json", "metrics/metal.json"),
        "workspace",
        ("evaluate@cloth", "evaluate@metal"),
    ),
    ".dvc file": (("data/cloth.dvc", "data/metal.dvc"), "workspace", ("data/cloth", "data/metal")),
    "dvc.lock": (("dvc.lock", "bank/start/carry/carry.json"), "workspace", ("commit", "commit")),
    "cached object": (
        (".dvc/cache/{data/cloth/train/good/000.png}", ".dvc/cache/{bank/metal/weibull/weibull.json}"),
        "cache",
        ("data/cloth", "weibull@metal"),
    ),
    "cached list": (
        (".dvc/cache/{data/cloth}", ".dvc/cache/{bank/metal/knowledge}"),
        "cache",
        ("data/cloth", "knowledge@metal"),
    ),
    "remote object": (
        ("../store/{data/metal/train/good/003.png}", "../store/{bank/cloth/knowledge/entry.safetensors}"),
        "remote store",
        ("data/metal", "knowledge@cloth"),
    ),
    "remote list": (
        ("../store/{masks/cloth}", "../store/{models/metal}"),
        "remote store",
        ("masks@cloth", "model"),
    ),
    "registered bank": (
        (
            "<bank>/data/metal/calibration/cloth/weibull.json",
            "<bank>/data/metal/calibration/metal/weibull.json",
        ),
        "artifact",
        ("version", "version"),
    ),
}


def spoil(first: Path, _second: Path) -> list[Path]:
    flip(first)
    return [first]


def delete(first: Path, _second: Path) -> list[Path]:
    first.unlink()
    return [first]


def swap(first: Path, second: Path) -> list[Path]:
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    return [first, second]


def add(first: Path, _second: Path) -> list[Path]:
    extra = first.with_name(f"extra{first.suffix}")
    shutil.copyfile(first, extra)
    return [extra]


def snapshot(folder: Path) -> dict[str, tuple[str, int]]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): (sha256_file(path), path.stat().st_mtime_ns) for path in files}


@pytest.mark.parametrize(("asked", "number"), [("champion", "2"), ("2", "2"), ("1", "1")])
def test_a_whole_workspace_yields_nothing_and_nothing_is_changed(audited, asked, number):
    """Every kind of thing was looked at; no file is another, none was even touched."""
    before = snapshot(audited.parent)
    report = audit(audited, asked)
    assert ("clean", (), ()) == (report.verdict, report.findings, report.unchecked)
    assert before == snapshot(audited.parent)
    assert report.subject is not None
    classes = CLASSES[: int(number)]
    assert (number, classes) == (report.subject.version, report.subject.classes)
    numbers = {(each.place, each.what): each.number for each in report.checked}
    known = len(classes)
    assert (6 * known, 10 * known + 7 * known, 4 * known) == (
        numbers["dvc.lock", "stages"],
        numbers["manifest", "images"],
        numbers["manifest", "masks"],
    )
    assert numbers["cache", "objects"] == numbers["remote store", "objects"]
    assert {"registry", "promotions", "git", "run", "lineage", "workspace", "artifact"} <= {
        place for place, _ in numbers
    }
    # The first version's evaluation and model are where they were: a class that is added moves nothing.
    assert ("workspace", "moved outputs") not in numbers


# What nothing names is no damage among objects, nor beside dvc.lock.
@pytest.mark.parametrize(
    ("kind", "harm"),
    [
        (kind, harm)
        for kind in PLACES
        for harm in (spoil, delete, swap, add)
        if harm is not add or not kind.startswith(("cached", "remote", "dvc.lock"))
    ],
)
def test_damage_is_found_and_its_place_is_named(audited, kind, harm):
    """A flipped bit, a file that is gone, two that were swapped, one too many: these files and no others."""
    names, place, nodes = PLACES[kind]
    first, second = (located(audited, name) for name in names)
    with kept(first, second, first.with_name(f"extra{first.suffix}")):
        harmed = harm(first, second)
        report = audit(audited, "2")
    assert (report.verdict, report.unchecked) == ("findings", ())
    assert {place} == {finding.place for finding in report.findings}
    assert len(harmed) == len(report.findings)
    for path in harmed:
        (finding,) = [each for each in report.findings if str(path).endswith(each.what.split(" ")[0])]
        if harm is not add or kind not in {"metrics", ".dvc file"}:  # these would be of a class of their own
            assert nodes[path == second] in finding.nodes
        assert (finding.found in {"missing", "deleted"}) == (harm is delete)
        assert finding.found != finding.expected


def test_the_figures_of_the_run_are_those_of_the_commit(audited):
    """In MLflow's metrics.json."""
    run = mlflow_of(audited).get_model_version(MODEL, "2").run_id
    figures = audited / f"mlartifacts/{run}/artifacts/metrics.json"
    with kept(figures):
        figures.write_text(figures.read_text().replace('"routing_accuracy": 1.0', '"routing_accuracy": 0.9'))
        assert {("artifact", f"run {run} metrics.json")} == told(audit(audited))
        figures.unlink()
        assert {("artifact", f"run {run} metrics.json")} == told(audit(audited))
    bank = located(audited, "<bank>")
    elsewhere = bank.rename(bank.with_name("elsewhere"))
    try:
        assert {("artifact", "version 2")} == told(audit(audited))
    finally:
        elsewhere.rename(bank)
    loader = located(audited, "<bank>/MLmodel")
    with kept(loader):
        loader.write_text(loader.read_text().replace("evernorm.serve", "evil.serve"))
        assert {("artifact", "MLmodel loader_module")} == told(audit(audited))


def test_a_list_that_no_place_holds_leaves_its_files_unknown(audited):
    """That they could not be checked is told beside what is damaged."""
    cached, there = (located(audited, f"{place}/{{data/cloth}}") for place in (".dvc/cache", "../store"))
    with kept(cached, there):
        cached.write_text("[]")
        there.unlink()
        report = audit(audited)
    assert {"cache", "remote store"} == {place for place, _ in told(report)}
    assert ["objects"] == [each.place for each in report.unchecked]
    assert "files of data/cloth" in report.unchecked[0].why


def test_damage_in_all_places_at_once_is_listed_at_once(audited):
    """An image and its object in the cache and in the remote; what the manifest says cannot be compared, and is not."""
    places = (".dvc/cache", "../store")
    paths = [audited / IMAGE, *(located(audited, f"{place}/{{{IMAGE}}}") for place in places)]
    with kept(*paths):
        for path in paths:
            flip(path)
        report = audit(audited)
    assert {"cache", "workspace", "remote store"} == {place for place, _ in told(report)}
    assert {"data/cloth"} == {node for finding in report.findings for node in finding.nodes}


def test_edited_parameters_are_no_damage(audited):
    """params.yaml is the user's; so is what lies beside the outputs."""
    beside = audited / "notes.txt"
    with kept(audited / "params.yaml", beside):
        (audited / "params.yaml").write_text((audited / "params.yaml").read_text() + "\n# mine\n")
        beside.write_text("mine")
        assert audit(audited).verdict == "clean"


def test_names_of_any_bytes_are_told_in_a_line(audited):
    """A file that was slipped in under a name that is no text."""
    path = audited / "masks/metal" / os.fsdecode(b"\xff\n\x1b[31m.png")
    with kept(path):
        path.write_bytes(b"")
        report = audit(audited)
    assert {("workspace", r"masks/metal/\udcff\n\x1b[31m.png")} == told(report)
    assert json.loads(report.model_dump_json())["findings"]


def test_a_workspace_that_is_learned_in_is_not_judged(audited):
    """Its files are on their way from one commit to the next; everything else is checked."""
    with (audited / ".evernorm/lock").open("a") as handle, kept(audited / IMAGE):
        fcntl.flock(handle, fcntl.LOCK_EX)
        flip(audited / IMAGE)
        report = audit(audited)
    assert ("incomplete", ()) == (report.verdict, report.findings)
    assert ["workspace"] == [each.place for each in report.unchecked]
    assert "is learning in it" in report.unchecked[0].why
    assert any(each.place == "artifact" for each in report.checked)
