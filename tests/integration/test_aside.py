"""A class that the gate refuses stops no other: it is set aside, and comes back mended or promoted."""

import json
import shutil
from pathlib import Path

import pytest

from evernorm.files import read_json
from tests.helpers.workspaces import MODEL, git

SETTINGS = (
    "features.image_size=64",
    "patchcore_cl.knowledge.budget=150",
    "gate.min_image_auroc=0.3",
    "gate.min_routing_accuracy=0",
    "gate.max_forgetting=1",
    "gate.max_false_alarm_rate=1",
    "gate.min_detection_rate=0",
)
OPTIONS = tuple(word for setting in SETTINGS for word in ("--set", setting))
ORDER = ("--order", "cloth,blue,metal")


def swap(folder: Path) -> None:
    """Call what is good defective, and what is defective good: no memory can do well on that."""
    (defect,) = (path for path in (folder / "test").iterdir() if path.name != "good")
    shutil.rmtree(folder / "ground_truth", ignore_errors=True)
    (folder / "test/good").rename(folder / "test/other")
    defect.rename(folder / "test/good")
    (folder / "test/other").rename(defect)


def client_of(workspace: Path):
    from mlflow import MlflowClient

    return MlflowClient(f"sqlite:///{workspace / 'mlflow.db'}")


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def refused(tmp_path_factory, evernorm, draw_photos, learned_one) -> tuple[Path, Path, str]:
    """A workspace in which the second of three classes was refused, its photos, and what was said."""
    folder = tmp_path_factory.mktemp("aside")
    photos = draw_photos(folder / "photos", names=("cloth", "blue", "metal"))
    swap(photos / "blue")
    workspace = shutil.copytree(learned_one, folder / "workspace", symlinks=True)
    done = evernorm(
        "learn", "--data", photos, "--workspace", workspace, "--summary", folder / "s.json", *ORDER, *OPTIONS
    )
    return workspace, photos, done.stdout + done.stderr


def test_the_classes_after_it_are_served_without_it(refused, learned):
    """Champion is the bank that never learned it, to the byte."""
    workspace, _, said = refused
    client = client_of(workspace)
    champion = client.get_model_version_by_alias(MODEL, "champion")
    assert ("3", "cloth,metal") == (str(champion.version), champion.tags["evernorm.classes"])
    assert "image AUROC of blue" in client.get_model_version(MODEL, "2").tags["gate.reason"]
    assert "blue" in json.loads(champion.tags["evernorm.set_aside"])
    assert "blue is set aside (image AUROC of blue 0." in said
    summary = read_json(workspace.parent / "s.json")
    assert ["cloth", "metal"] == summary["classes"]
    assert summary["set_aside"]["blue"].startswith("image AUROC of blue 0.")
    assert files(learned[0] / "models/metal") == files(workspace / "models/metal")


def test_it_is_told_and_stays_aside_until_something_changes(refused, evernorm):
    """`status` says why; the same command again changes nothing."""
    workspace, photos, _ = refused
    assert "blue: set aside, image AUROC of blue 0." in evernorm("status", "--workspace", workspace).stdout
    before = git(workspace, "rev-parse", "HEAD")
    evernorm("learn", "--data", photos, "--workspace", workspace, *ORDER, *OPTIONS)
    assert before == git(workspace, "rev-parse", "HEAD")
    assert not git(workspace, "status", "--porcelain")
    assert 0 == evernorm("audit", "--workspace", workspace, check=False).returncode


def test_a_person_who_promotes_it_brings_it_back(refused, tmp_path, evernorm):
    """The version that was refused is champion, and then the bank of all classes."""
    workspace = shutil.copytree(refused[0], tmp_path / "workspace", symlinks=True)
    done = evernorm("promote", "2", "--reason", "wrongly sorted", "--workspace", workspace, "--yes")
    assert "champion: version 3 → 2\n" in done.stdout
    assert "set aside" not in evernorm("status", "--workspace", workspace).stdout
    champion = client_of(workspace).get_model_version_by_alias(MODEL, "champion")
    assert "cloth,metal,blue" == champion.tags["evernorm.classes"]


def test_mended_images_bring_it_back(refused, tmp_path, evernorm):
    """It is learned again, behind the others."""
    workspace = shutil.copytree(refused[0], tmp_path / "workspace", symlinks=True)
    photos = shutil.copytree(refused[1], tmp_path / "photos")
    swap(photos / "blue")
    evernorm("learn", "--data", photos, "--workspace", workspace, "--order", "cloth,metal,blue", *OPTIONS)
    champion = client_of(workspace).get_model_version_by_alias(MODEL, "champion")
    assert "cloth,metal,blue" == champion.tags["evernorm.classes"]
    assert "set aside" not in evernorm("status", "--workspace", workspace).stdout


def test_what_is_set_aside_forgets_a_class_too(refused, tmp_path, evernorm):
    """It was measured in a bank that knew the class; nothing of that is left."""
    workspace = shutil.copytree(refused[0], tmp_path / "workspace", symlinks=True)
    assert (workspace / "models/blue/calibration/cloth").is_dir()
    evernorm("forget", "cloth", "--reason", "sold", "--workspace", workspace)
    folders = ("data", "masks", "bank", "features", "models", "metrics")
    kept = {name: content for each in folders for name, content in files(workspace / each).items()}
    assert kept
    assert not [name for name in kept if "cloth" in name]
    assert not [name for name, content in kept.items() if name.endswith(".json") and b"cloth" in content]
    assert "cloth" not in (workspace / "dvc.lock").read_text()
    assert not git(workspace, "status", "--porcelain")
    assert "blue: set aside" in evernorm("status", "--workspace", workspace).stdout
    assert 0 == evernorm("audit", "--workspace", workspace, check=False).returncode
