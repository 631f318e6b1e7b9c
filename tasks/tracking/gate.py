"""Which version is champion: the gate decides on a candidate, a person may decide otherwise."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import task

from evernorm.errors import RegistryError
from evernorm.files import read_json
from evernorm.params.groups import GateParams
from tasks.retries import RETRIED
from tasks.tracking.promotions import (
    NONE,
    Change,
    catch_up,
    change_champion,
    recorded,
    settle,
    standing,
    versions_there,
)
from tasks.tracking.registry import CANDIDATE, CHAMPION, MODEL, classes_of, data_of
from tasks.tracking.runs import connected
from tasks.workspace.forget import Forgotten, forgotten
from tasks.workspace.workspace import Workspace

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

PASSED, REFUSED = "passed", "refused"


@dataclass(frozen=True)
class Decision:
    """What the gate made of a version.

    Attributes:
        version: Its number.
        alias: ``champion`` or ``candidate``.
        reasons: Why it was refused.
    """

    version: str
    alias: str
    reasons: tuple[str, ...]


@task(task_run_name="gate version {version}", **RETRIED)
def decide(root: Path, name: str, version: str, forgot: Forgotten | None = None) -> Decision:
    """Make a version candidate, and champion if it keeps the bounds in params.yaml.

    Decided afresh each time: bounds may have changed, and a parameter changed back brings its bank back.

    Args:
        root: The workspace.
        name: The class learned last.
        version: The version with it.
        forgot: What has just been forgotten, if anything.

    Raises:
        PassingError: MLflow is out of reach.
        RegistryError: MLflow refuses, or another champion was made meanwhile, or by hand.
    """
    workspace = Workspace.open(root)
    with connected(workspace) as client:
        seen = settle(client)
        made = client.get_model_version(MODEL, version)
        metrics = read_json(workspace.paths.metrics(name))
        champion = client.get_model_version(MODEL, seen.version) if seen.version else None
        known = data_of(champion) if champion else {}
        new = [each for each, data in data_of(made).items() if known.get(each) != data]
        lost = _lost(champion, metrics["classes"], {each.name for each in forgotten(workspace)})
        reasons = [*refusals(metrics, new, workspace.params.gate), *lost, *_taken_back(client, version)]
        stands = seen.version == version
        if not stands and CANDIDATE not in made.aliases:
            client.set_registered_model_alias(MODEL, CANDIDATE, version)
        if not reasons and not stands:
            what, why = ("forget", forgot.reason) if forgot else ("gate", "keeps all bounds")
            change_champion(client, what, version, why, seen)
        _tag(client, made, {"gate": REFUSED if reasons else PASSED, "gate.reason": "; ".join(reasons)})
        return Decision(version, CANDIDATE if reasons and not stands else CHAMPION, tuple(reasons))


@task(task_run_name="promote version {version}", **RETRIED)
def promote(root: Path, version: str, reason: str) -> Change | None:
    """Make a version champion because a person says so, whatever the gate said.

    Returns:
        The change; None where the version is champion already.

    Raises:
        PassingError: MLflow is out of reach.
        RegistryError: No such version, it knows a class that was forgotten, or another change was faster.
    """
    workspace = Workspace.open(root)
    with connected(workspace) as client:
        _refuse_unusable(client, workspace, version)
        catch_up(client)
        seen = recorded(client)  # not `settle`: this is how a champion set by hand gets its record
        if seen.version == version:
            _point(client, version)
            return None
        return change_champion(client, "promote", version, reason, seen)


@task(task_run_name="champion", **RETRIED)
def standing_champion(root: Path) -> str:
    """The champion's version.

    Raises:
        PassingError: MLflow is out of reach.
        RegistryError: There is none.
    """
    with connected(Workspace.open(root)) as client:
        version = recorded(client).version
    if version is None:
        raise RegistryError("no version is champion; nothing was changed")
    return version


@task(task_run_name="roll back", **RETRIED)
def roll_back(root: Path, reason: str, from_version: str) -> Change:
    """Bring back the champion before the present one.

    Args:
        root: The workspace.
        reason: Why.
        from_version: The champion to be rolled back from.

    Returns:
        The change; a try before this one may have made it and not heard so.

    Raises:
        PassingError: MLflow is out of reach.
        RegistryError: There is none before, it knows a class that was forgotten, or another change was faster.
    """
    workspace = Workspace.open(root)
    with connected(workspace) as client:
        seen = settle(client)
        changes = standing(client)
        if seen.version != from_version:
            if (changes[-1].what, changes[-1].before) == ("rollback", from_version):
                return changes[-1]
            raise RegistryError(
                f"version {seen.version} became champion in the place of {from_version} meanwhile; look at it and "
                f"run again"
            )
        there = versions_there(client)
        line = [each for each in line_of_champions(changes) if each in there and each != seen.version]
        if not line:
            raise RegistryError(f"there is no champion before version {seen.version}; nothing was changed")
        _refuse_unusable(client, workspace, line[-1])
        return change_champion(client, "rollback", line[-1], reason, seen)


def line_of_champions(changes: list[Change]) -> list[str]:
    """The versions that a roll-back would go through, the present champion last."""
    line: list[str] = []
    for change in changes:
        if not line and change.before != NONE:
            line.append(change.before)
        if change.what == "rollback" and change.after in line:
            del line[line.index(change.after) + 1 :]
        else:
            line.append(change.after)
    return line


def refusals(metrics: Mapping[str, Any], new: Sequence[str], gate: GateParams) -> list[str]:
    """Why the gate refuses a candidate; empty where it passes. A figure that is undefined refuses nothing.

    Args:
        metrics: Of the candidate.
        new: The classes that the champion does not know, or learned from other images.
        gate: The bounds.
    """
    checks = [
        ("forgetting", metrics["forgetting"]["chaudhry"], gate.max_forgetting, False),
        ("routing accuracy", metrics["routing_accuracy"], gate.min_routing_accuracy, True),
    ]
    for name in new:
        figures = metrics["per_class"][name]
        checks += [
            (f"image AUROC of {name}", figures["image_auroc"], gate.min_image_auroc, True),
            (f"false-alarm rate of {name}", figures["false_alarm_rate"], gate.max_false_alarm_rate, False),
        ]
    return [
        f"{what} {value:.3f} is {'below' if at_least else 'above'} {bound}"
        for what, value, bound, at_least in checks
        if value is not None and (value < bound if at_least else value > bound)
    ]


def _lost(champion: "ModelVersion | None", known: Sequence[str], on_purpose: Set[str]) -> list[str]:
    """Classes that the champion knows and the candidate does not, but for those forgotten on purpose."""
    if champion is None:
        return []
    lost = [each for each in classes_of(champion) if each not in on_purpose and each not in known]
    return [f"the champion, version {champion.version}, also knows {', '.join(lost)}"] if lost else []


def _taken_back(client: "MlflowClient", version: str) -> list[str]:
    """A version that a person put another in the place of is not promoted again by itself."""
    concerned = [each for each in standing(client) if version in {each.before, each.after}]
    if not concerned or concerned[-1].before != version or concerned[-1].what not in {"rollback", "promote"}:
        return []
    return [
        f"taken back by {concerned[-1].by} ({concerned[-1].why}); only `evernorm promote {version}` brings it back"
    ]


def _refuse_unusable(client: "MlflowClient", workspace: Workspace, version: str) -> None:
    made = client.get_model_version(MODEL, version)
    if "evernorm.git_commit" not in made.tags:
        raise RegistryError(
            f"version {version} was never committed, as the run that made it was cut short; run `evernorm learn` again"
        )
    known = classes_of(made)
    if gone := [f"{each.name} ({each.reason})" for each in forgotten(workspace) if each.name in known]:
        raise RegistryError(
            f"version {version} knows what was forgotten: {', '.join(gone)}; learn the class again first"
        )


def _point(client: "MlflowClient", version: str) -> None:
    """Put the alias back where it was moved away by hand."""
    if CHAMPION not in client.get_model_version(MODEL, version).aliases:
        client.set_registered_model_alias(MODEL, CHAMPION, version)


def _tag(client: "MlflowClient", version: "ModelVersion", tags: Mapping[str, str]) -> None:
    for tag, value in tags.items():
        if version.tags.get(tag, "") != value:
            client.set_model_version_tag(MODEL, version.version, tag, value)
