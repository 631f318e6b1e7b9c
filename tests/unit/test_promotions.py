"""The gate, and the log of who was champion, in a real registry."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from evernorm.errors import PipelineError, RegistryError
from evernorm.params.groups import GateParams, Unmeasured
from tasks.tracking.exchange import line_of_champions
from tasks.tracking.figures import unmeasured, weak
from tasks.tracking.gate import (
    Decision,
    _to_be_measured,
    promote,
    refusals,
    roll_back,
)
from tasks.tracking.keyed import experiment_of
from tasks.tracking.occasion import Occasion
from tasks.tracking.ownership import Registry, claim, registry_of
from tasks.tracking.promotions import (
    Champion,
    champion_of,
    change_champion,
    read_log,
    recorded,
    settle,
    standing,
)
from tasks.tracking.registry import CHAMPION
from tasks.tracking.server import connected
from tasks.workspace.workspace import Workspace

# Waits until the other is ready too, then promotes the version it is given against the champion it saw.
RIVAL = """
import sys, time
from pathlib import Path
from mlflow import MlflowClient
from evernorm.errors import RegistryError
from tasks.tracking.ownership import Registry
from tasks.tracking.promotions import change_champion, settle
uri, version, folder = sys.argv[1:]
registry = Registry(MlflowClient(uri), "bank")
seen = settle(registry)
(Path(folder) / version).touch()
while len(list(Path(folder).iterdir())) < 2:
    time.sleep(0.005)
try:
    change_champion(registry, "gate", version, "best", seen)
except RegistryError as error:
    sys.exit(f"lost: {error}")
"""


UNKNOWN = {"image_auroc": None, "false_alarm_rate": None, "detection_rate": None}


def metrics(**changes):
    per_class = {
        "a": {"image_auroc": 0.5, "false_alarm_rate": 0.9, "detection_rate": 0.5},
        "b": {"image_auroc": 0.9, "false_alarm_rate": 0.1, "detection_rate": 0.9},
    }
    figures = {"per_class": per_class, "forgetting": {"chaudhry": 0.001}, "routing_accuracy": 1.0}
    return {**figures, **changes}


@pytest.mark.parametrize(
    ("changes", "reasons"),
    [
        ({}, []),
        ({"forgetting": {"chaudhry": 0.03}}, ["forgetting 0.030 is above 0.02"]),
        (
            {"per_class": {"b": {"image_auroc": 0.4, "false_alarm_rate": 0.5, "detection_rate": 0.5}}},
            ["image AUROC of b 0.400 is below 0.6", "false-alarm rate of b 0.500 is above 0.3"],
        ),
        ({"routing_accuracy": 0.5}, ["routing accuracy 0.500 is below 0.95"]),
        (
            {"per_class": {"b": {"image_auroc": 0.9, "false_alarm_rate": 0.0, "detection_rate": 0.01}}},
            ["detection rate of b 0.010 is below 0.05"],
        ),
        ({"routing_accuracy": None, "per_class": {"b": UNKNOWN}}, []),
    ],
)
def test_the_gate_names_every_bound_that_is_broken(changes, reasons):
    """Only new classes count by themselves; what is undefined refuses nothing."""
    assert reasons == refusals(metrics(**changes), ["b"], GateParams())


def test_what_nobody_measured_is_told_and_refused_where_that_is_asked_for():
    """Which test images are missing, of every class; an old one without any refuses nothing."""
    good, defective = {**UNKNOWN, "false_alarm_rate": 0.0}, {**UNKNOWN, "detection_rate": 1.0}
    known = metrics()["per_class"]["b"]
    found = metrics(per_class={"none": UNKNOWN, "good": good, "defective": defective, "both": known})
    assert {
        "none": "no test images",
        "good": "no defective test images",
        "defective": "no good test images",
    } == unmeasured(found)
    assert [] == refusals(found, ["none", "good"], GateParams())
    refuse = GateParams(unmeasured=Unmeasured.REFUSE)
    assert [] == refusals(found, ["both"], refuse)
    (told,) = refusals(found, ["none", "both", "good"], refuse)
    assert "gate.unmeasured refuses none, good" in told


def test_a_class_that_finds_little_is_told_of_without_a_refusal():
    """Also an old one; what nobody measured is none of them."""
    figures = {"image_auroc": 0.9, "false_alarm_rate": 0.0}
    found = metrics(
        per_class={
            "some": {**figures, "detection_rate": 0.2},
            "most": {**figures, "detection_rate": 0.9},
            "none": UNKNOWN,
        }
    )
    assert {"some": 0.2} == weak(found)
    assert [] == refusals(found, ["some", "most", "none"], GateParams())
    decision = Decision("bank", "1", "champion", (), unmeasured(found), weak(found), {})
    assert "finds little: some (20% of defects); not measured: none (no test images)" == decision.remarks


@pytest.fixture
def registry(tmp_path):
    """An MLflow registry with four versions and no champion."""
    from mlflow import MlflowClient

    registry = Registry(MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}"), "bank")
    registry.client.create_registered_model(registry.name)
    registry.client.create_registered_model(registry.log)
    for _ in range(4):
        registry.client.create_model_version(registry.name, source=tmp_path.as_uri())
    return registry


@contextmanager
def versions(folder: Path, count: int) -> Iterator[tuple[Workspace, Registry]]:
    """A new workspace that has so many versions, and its registry."""
    workspace = Workspace.open_or_create(folder / "workspace")
    claim.fn(workspace)
    with registry_of(workspace) as registry:
        for _ in range(count):
            tags = {"evernorm.git_commit": "0"}
            registry.client.create_model_version(registry.name, source=folder.as_uri(), tags=tags)
        yield workspace, registry


def test_promotion_loses_against_a_champion_it_has_not_seen(registry):
    """Two candidates judged against the same champion cannot both win; the log keeps both."""
    change_champion(registry, "gate", "1", "first", settle(registry))
    seen = settle(registry)
    change_champion(registry, "gate", "2", "better", seen)
    with pytest.raises(
        RegistryError, match=r"to follow champion 1, but .* made version 2 champion meanwhile"
    ):
        change_champion(registry, "gate", "3", "best", seen)
    assert "2" == str(champion_of(registry).version) == settle(registry).version
    assert [True, True, False] == [entry.stands for entry in read_log(registry)[0]]
    assert ["1", "2"] == [change.after for change in standing(registry)]


def test_of_two_processes_one_wins(registry, tmp_path):
    """Whoever is second is told so, and alias and log agree on the first."""
    change_champion(registry, "gate", "1", "first", settle(registry))
    (tmp_path / "ready").mkdir()
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    rivals = [
        subprocess.Popen(
            [sys.executable, "-c", RIVAL, uri, version, str(tmp_path / "ready")],
            stderr=subprocess.PIPE,
            text=True,
        )
        for version in ("2", "3")
    ]
    said = {version: rival.communicate(timeout=120)[1] for version, rival in zip("23", rivals, strict=True)}
    (winner,) = [version for version, rival in zip("23", rivals, strict=True) if rival.returncode == 0]
    (loser,) = set("23") - {winner}
    assert f"lost: version {loser} was to follow champion 1" in said[loser]
    assert winner == settle(registry).version == str(champion_of(registry).version)


def test_every_change_can_be_read_back(registry):
    """Who, what, why, when, from, to; in MLflow's own pages too."""
    change_champion(registry, "gate", "1", "keeps all bounds", settle(registry))
    change_champion(registry, "promote", "3", "the customer asked", settle(registry))
    first, second = standing(registry)
    assert ("none", "1", "gate") == (first.before, first.after, first.what)
    assert ("1", "3", "the customer asked") == (second.before, second.after, second.why)
    assert "@" in second.by
    assert first.at <= second.at
    shown = registry.client.get_model_version(registry.log, "2")
    assert shown.description.startswith("**promote**: version 1 → 3\n\nthe customer asked\n\n")
    assert second.by in shown.description
    assert not [tag for tag in shown.tags.values() if tag.startswith("{")]
    assert ("1", "3") == (shown.tags["before"], shown.tags["after"])


def test_a_workspace_that_was_moved_is_told_so(tmp_path):
    """Rather than that its bank is missing, or that new artifacts go to the old place."""
    workspace = Workspace.open_or_create(tmp_path / "before")
    with connected(workspace) as client:
        experiment_of(client, workspace)
    workspace.root.rename(tmp_path / "after")
    with (
        pytest.raises(PipelineError, match=r"was moved from .*before to .*after"),
        connected(Workspace.open(tmp_path / "after")),
    ):
        pass
    (tmp_path / "before").symlink_to(tmp_path / "after")
    with connected(Workspace.open(tmp_path / "after")) as client:
        assert client.get_experiment_by_name("evernorm") is not None


def test_a_promotion_cut_short_is_finished(registry):
    """The record is written before the alias; whoever comes next sets it."""
    change_champion(registry, "gate", "1", "first", settle(registry))
    change_champion(registry, "gate", "2", "better", settle(registry))
    registry.set_alias(CHAMPION, "1")
    registry.client.delete_model_version_tag(registry.log, "2", "applied")
    assert "2" == settle(registry).version == str(champion_of(registry).version)
    assert 2 == len(standing(registry))


def test_a_promotion_cut_short_is_finished_by_promoting_again(tmp_path):
    """The record says that it was applied, so that an audit finds nothing."""
    with versions(tmp_path, 1) as (workspace, registry):
        change_champion(registry, "gate", "1", "first", settle(registry))
        registry.client.delete_registered_model_alias(registry.name, CHAMPION)
        registry.client.delete_model_version_tag(registry.log, "1", "applied")
        assert promote.fn(workspace, "1", "it is the first") is None
        assert "1" == str(champion_of(registry).version)
        assert [True] == [entry.applied for entry in read_log(registry)[0]]


def test_a_champion_that_was_deleted_is_told_with_what_to_do(tmp_path):
    """The command that is named works; a roll-back passes over what is gone."""
    with versions(tmp_path, 4) as (workspace, registry):
        for version in ("1", "2", "3", "4"):
            change_champion(registry, "gate", version, "better", settle(registry))
        for version in ("2", "4"):
            registry.client.delete_model_version(registry.name, version)
        with pytest.raises(
            RegistryError, match=r"version 4, .* was deleted. .* `evernorm promote 3 --reason"
        ):
            settle(registry)
        assert promote.fn(workspace, "3", "4 is gone") is not None
        assert "3" == settle(registry).version
        assert "1" == roll_back.fn(workspace, "alarms", "3").after
        for version in ("1", "3"):
            registry.client.delete_model_version(registry.name, version)
        with pytest.raises(RegistryError, match=r"version 1, .* was deleted. Learn again"):
            settle(registry)


def test_a_champion_set_by_hand_stops_the_gate_until_a_person_says_which_is_right(registry):
    """It is neither overwritten nor taken for granted."""
    change_champion(registry, "gate", "1", "first", settle(registry))
    registry.set_alias(CHAMPION, "4")
    with pytest.raises(RegistryError, match=r"changed by hand.*evernorm promote 4"):
        settle(registry)
    assert "4" == str(champion_of(registry).version)
    change_champion(registry, "promote", "4", "it was me", recorded(registry))
    assert "4" == settle(registry).version


def test_a_champion_from_before_there_was_a_log_is_the_first(registry):
    """An older workspace goes on."""
    registry.set_alias(CHAMPION, "2")
    assert Champion("2", "none") == settle(registry)
    change_champion(registry, "gate", "3", "better", settle(registry))
    assert ["2"] == [change.before for change in standing(registry)]


def test_a_log_that_was_tampered_with_names_the_record(registry):
    """Altered, deleted in the middle: each is named, and a person's promotion gets things going again."""
    for version in ("1", "2", "3"):
        change_champion(registry, "gate", version, "better", settle(registry))
    assert [] == read_log(registry)[1]
    registry.client.set_model_version_tag(registry.log, "2", "why", "because")
    assert [f"{registry.log} version 2: altered since it was written"] == read_log(registry)[1]
    registry.client.delete_model_version(registry.log, "2")
    assert [f"{registry.log} version 2: deleted"] == read_log(registry)[1]
    with pytest.raises(RegistryError, match="changed by hand"):
        settle(registry)
    change_champion(registry, "promote", "3", "the log was damaged", recorded(registry))
    assert "3" == settle(registry).version


def test_the_line_of_champions_goes_back_step_by_step(registry):
    """A second roll-back goes further back, not to where the first came from."""
    for what, version in (("gate", "1"), ("gate", "2"), ("gate", "3"), ("rollback", "2"), ("rollback", "1")):
        change_champion(registry, what, version, "so", settle(registry))
    assert ["1"] == line_of_champions(standing(registry))
    change_champion(registry, "gate", "4", "so", settle(registry))
    assert ["1", "4"] == line_of_champions(standing(registry))


def test_a_roll_back_that_is_tried_again_is_made_once(tmp_path):
    """The answer to the first try may be lost; a champion that another made meanwhile is left alone."""
    with versions(tmp_path, 3) as (workspace, registry):
        for version in ("1", "2", "3"):
            change_champion(registry, "gate", version, "better", settle(registry))
        first, second = (roll_back.fn(workspace, "too many alarms", "3") for _ in range(2))
        assert ("3", "2", first) == (first.before, first.after, second)
        assert 4 == len(standing(registry))
        change_champion(registry, "promote", "1", "the best", settle(registry))
        with pytest.raises(RegistryError, match="version 1 became champion in the place of 3 meanwhile"):
            roll_back.fn(workspace, "too many alarms", "3")
        assert 5 == len(standing(registry))


def test_a_threshold_that_a_person_sets_is_measured_against_the_bounds():
    """Though the images of its class are those of the champion."""
    data = {"cloth": "1", "metal": "2"}
    assert [] == _to_be_measured(data, data, None)
    assert ["metal"] == _to_be_measured(data, {"cloth": "1", "metal": "1"}, None)
    assert ["cloth"] == _to_be_measured(data, data, Occasion.threshold("cloth", 0.95, "x"))
