"""`evernorm threshold`: what a rate costs, and a rate of a class's own as a version of its own."""

import json
import shutil

import pytest
from mlflow import MlflowClient

from evernorm.files import read_json
from tasks.tracking.thresholds import thresholds_of
from tasks.workspace.workspace import Workspace
from tests.helpers.workspaces import git, lock


@pytest.fixture(scope="module")
def stricter(tmp_path_factory, learned, evernorm):
    """A workspace where cloth, learned first of two, was given a rate of its own, and what the command said."""
    workspace = shutil.copytree(learned[0], tmp_path_factory.mktemp("stricter") / "w", symlinks=True)
    picture = workspace.parent / "cloth.png"
    said = evernorm(
        "threshold",
        "cloth",
        "--rate",
        "0.2",
        "--reason",
        "a [cheap] check",
        "--workspace",
        workspace,
        "--out",
        picture,
    )
    return workspace, said.stdout, picture


def test_the_trade_off_is_printed_and_drawn_and_changes_nothing(learned, evernorm, tmp_path):
    """A row a rate, the present one marked, beside what test images measured."""
    workspace, _ = learned
    before = git(workspace, "rev-parse", "HEAD")
    said = evernorm("threshold", "cloth", "--workspace", workspace, "--out", tmp_path / "cloth.png").stdout
    assert "5.0% (now)" in said
    assert "is an extrapolation" in said
    assert (tmp_path / "cloth.png").read_bytes().startswith(b"\x89PNG")
    assert before == git(workspace, "rev-parse", "HEAD")
    there = thresholds_of(Workspace.open(workspace), "cloth")
    figures = read_json(workspace / "metrics/metal.json")["per_class"]["cloth"]
    (now,) = [each for each in there.choices if each.asked == there.present]
    assert (figures["false_alarm_rate"], figures["detection_rate"]) == (now.false_alarms, now.found)


def test_a_rate_of_a_class_is_a_new_version_with_the_reason(stricter, learned):
    """Champion, committed, its reason in the tags and the log; measured as the trade-off had said; no image seen again."""
    workspace, said, picture = stricter
    assert "20.0% (now)" in said
    assert "version 3 is champion" in said
    assert picture.is_file()
    client = MlflowClient(f"sqlite:///{workspace / 'mlflow.db'}")
    version = client.get_model_version_by_alias("continual-bank", "champion")
    assert ("3", "a [cheap] check", "cloth=0.2") == (
        str(version.version),
        version.tags["evernorm.reason"],
        version.tags["evernorm.threshold"],
    )
    first, gate = version.description.split("\n\n")[:2]
    assert "After setting the false-alarm rate of cloth to 0.2: a [cheap] check" == first
    assert gate.startswith("Gate: passed")
    assert "| cloth | " in version.description
    (change,) = client.search_model_versions(
        "name = 'continual-bank-promotions'", order_by=["version_number DESC"]
    )[:1]
    assert ("threshold", "a [cheap] check") == (change.tags["what"], change.tags["why"])
    message = git(workspace, "log", "-1", "--format=%s").strip()
    assert "Set the threshold of cloth, version 3: a [cheap] check" == message
    (promised,) = [
        each for each in thresholds_of(Workspace.open(learned[0]), "cloth", 0.2).choices if each.asked == 0.2
    ]
    figures = read_json(workspace / "metrics/metal.json")["per_class"]["cloth"]
    assert (promised.false_alarms, promised.found) == (figures["false_alarm_rate"], figures["detection_rate"])
    before, after = lock(learned[0]), lock(workspace)
    assert {"evaluate@cloth", "evaluate@metal"} == {name for name in after if before[name] != after[name]}


def test_the_served_bank_decides_by_it(stricter, learned, evernorm):
    """The threshold of an answer is the class's own; the other class's is as it was."""
    workspace, photos = stricter[0], learned[1]
    images = [photos / f"{name}/train/good/000.png" for name in ("cloth", "metal")]
    now, then = (
        json.loads(evernorm("predict", *images, "--workspace", place, "--json").stdout)
        for place in (workspace, learned[0])
    )
    assert ["cloth", "metal"] == [each["class"] for each in now]
    assert now[0]["threshold"] < then[0]["threshold"]
    assert now[1]["threshold"] == then[1]["threshold"]
    assert ["3", "2"] == [now[0]["version"], then[0]["version"]]


def test_learning_keeps_it_and_the_default_brings_the_bank_back(stricter, learned, tmp_path, evernorm, small):
    """A later run changes nothing; the rate of all again is a version with its own reason."""
    workspace = shutil.copytree(stricter[0], tmp_path / "w", symlinks=True)
    evernorm("learn", "--data", learned[1], "--workspace", workspace, "--order", "cloth,metal", *small)
    assert {"cloth": 0.2} == Workspace.open(workspace).params.own_rates
    out = ("--out", tmp_path / "t.png")
    again = evernorm(
        "threshold", "cloth", "--rate", "0.2", "--reason", "twice", "--workspace", workspace, *out
    )
    assert "has that rate already" in again.stdout
    back = evernorm("threshold", "cloth", "--default", "--reason", "enough", "--workspace", workspace, *out)
    assert "version 4 is champion" in back.stdout
    assert {} == Workspace.open(workspace).params.own_rates
    then, now = (read_json(each / "metrics/metal.json")["per_class"] for each in (learned[0], workspace))
    assert then == now


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("cable",), "'cable' is not in the bank, which knows cloth, metal"),
        (("cloth", "--rate", "0.1"), "say why the threshold changes"),
        (("cloth", "--reason", "x"), "say why the threshold changes"),
        (("cloth", "--rate", "1.5", "--reason", "x"), "expected a number between 0 and 1"),
        (("cloth", "--rate", "0.1", "--default", "--reason", "x"), "without --default"),
        (("cloth", "--out", "cloth.jpg"), "the picture is a PNG"),
    ],
)
def test_what_cannot_be_set_is_refused(learned, evernorm, arguments, said):
    """In a sentence, and nothing is changed."""
    before = (learned[0] / "params.yaml").read_bytes()
    refused = evernorm("threshold", *arguments, "--workspace", learned[0], check=False)
    assert 1 == refused.returncode
    assert said in refused.stderr
    assert before == (learned[0] / "params.yaml").read_bytes()
