"""Which version is champion: the gate decides on a candidate, a person may decide otherwise."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prefect import task

from evernorm.errors import RegistryError
from evernorm.files import read_json
from evernorm.params.groups import GateParams, Unmeasured
from tasks.outcome import ended
from tasks.retries import RETRIED
from tasks.tracking.exchange import champion_before, existing, standing_version
from tasks.tracking.figures import unmeasured, weak
from tasks.tracking.occasion import Occasion
from tasks.tracking.ownership import Registry, registry_of
from tasks.tracking.promotions import (
    Champion,
    Change,
    catch_up,
    change_champion,
    recorded,
    settle,
    standing,
)
from tasks.tracking.registry import CANDIDATE, CHAMPION, classes_of, data_of, described
from tasks.workspace.forget import forgotten
from tasks.workspace.workspace import Workspace

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

PASSED, REFUSED = "passed", "refused"
_NAMED = 10  # classes that are named in a line; the tags of the version name all


@dataclass(frozen=True)
class Decision:
    """What the gate made of a version.

    Attributes:
        model: Name of the registered model.
        version: Its number.
        alias: ``champion`` or ``candidate``.
        reasons: Why it was refused.
        unmeasured: What no bound says anything about, and why, by class.
        weak: The share of defects found, by class, where that is little.
        blamed: The classes, new to the champion, for which it was refused, and why; no other class is at fault.
    """

    model: str
    version: str
    alias: str
    reasons: tuple[str, ...]
    unmeasured: dict[str, str]
    weak: dict[str, float]
    blamed: dict[str, str]

    @property
    def refused(self) -> bool:
        """Whether it is not champion."""
        return self.alias != CHAMPION

    @property
    def told(self) -> str:
        """In a line: which version is what, and why."""
        remarks = f": {self.remarks}" if self.remarks else ""
        return f"{self.model} version {self.version} is {self.alias}{remarks}"

    @property
    def refusal(self) -> str:
        """What there is to say of a version that is not champion; empty for one that is."""
        return self.remarks if self.refused else ""

    @property
    def cure(self) -> str:
        """What a person can do about a refusal; empty where there is none."""
        if not self.refused:
            return ""
        drop = "".join(f"; `evernorm forget {name} --reason TEXT` drops {name}" for name in self.blamed)
        return f"`evernorm promote {self.version} --reason TEXT` serves it all the same{drop}"

    @property
    def remarks(self) -> str:
        """Why it was refused, what finds little, what was not measured, in a line; empty where there is nothing to say."""
        return "; ".join([*self.reasons, *_told(self.weak, self.unmeasured)])


@task(task_run_name="gate version {version}", **RETRIED)
def decide(workspace: Workspace, name: str, version: str, occasion: Occasion | None = None) -> Decision:
    """Make a version candidate, and champion if it keeps the bounds in params.yaml.

    Decided afresh each time: bounds may have changed, and a parameter changed back brings its bank back.

    Args:
        workspace: The workspace.
        name: The class learned last.
        version: The version with it.
        occasion: What a person has just done to the bank, if that is why there is a version.

    Raises:
        PassingError: MLflow is out of reach.
        RegistryError: MLflow refuses, or another champion was made meanwhile, or by hand.
    """
    with registry_of(workspace) as registry:
        seen = settle(registry)
        made = registry.version(version)
        metrics = read_json(workspace.paths.metrics(name))
        champion = registry.version(seen.version) if seen.version else None
        known = data_of(champion) if champion else {}
        new = _to_be_measured(data_of(made), known, occasion)
        lost = _lost(champion, metrics["classes"], {each.name for each in forgotten(workspace)})
        reasons = [*refusals(metrics, new, workspace.params.gate), *lost, *_taken_back(registry, version)]
        unknown, little = unmeasured(metrics), weak(metrics)
        remarks = _told(little, unknown)
        stands = seen.version == version
        if not stands and CANDIDATE not in made.aliases:
            registry.set_alias(CANDIDATE, version)
        if not reasons and not stands:
            kept = "keeps all bounds on what was measured" if unknown else "keeps all bounds"
            what, why = "gate", "; ".join([kept, *remarks])
            if occasion:
                what, why = occasion.what, occasion.reason
            change_champion(registry, what, version, why, seen)
        alias = CANDIDATE if reasons and not stands else CHAMPION
        fresh = [each for each in new if champion is None or each not in classes_of(champion)]
        blamed = blame(metrics, fresh, workspace.params.gate) if reasons and not stands else {}
        decision = Decision(registry.name, version, alias, tuple(reasons), unknown, little, blamed)
        tags = {"gate": REFUSED if reasons else PASSED, "gate.reason": decision.remarks}
        verdict = f"refused: {decision.remarks}" if reasons else "; ".join(["passed", *remarks])
        why = (made.description or "").partition("\n")[0]
        registry.describe(made, described(workspace, metrics, why, verdict))
        registry.set_tags(made, {**tags, "gate.unmeasured": ",".join(unknown), "gate.weak": ",".join(little)})
        return ended(decision, decision.refusal)


@task(task_run_name="refuse version {version}", **RETRIED)
def overtaken(workspace: Workspace, version: str) -> None:
    """Note of a version that another writer was first, so that its bank is nobody's to use.

    Raises:
        PassingError: MLflow is out of reach.
        RegistryError: MLflow refuses.
    """
    with registry_of(workspace) as registry:
        reason = "another writer of this workspace was first"
        registry.set_tags(registry.version(version), {"gate": REFUSED, "gate.reason": reason})


@task(task_run_name="promote version {version}", **RETRIED)
def promote(workspace: Workspace, version: str, reason: str, instead_of: str | None = None) -> Change | None:
    """Make a version champion because a person says so, whatever the gate said.

    Args:
        workspace: The workspace.
        version: Its number.
        reason: Why.
        instead_of: The champion that the person saw, if any.

    Returns:
        The change; None where the version is champion already.

    Raises:
        PassingError: MLflow is out of reach.
        RegistryError: No such version, it knows a class that was forgotten, or another change was faster.
    """
    with registry_of(workspace) as registry:
        _refuse_unusable(registry, workspace, version)
        catch_up(registry)
        seen = recorded(registry)  # not `settle`: this is how a champion set by hand gets its record
        if seen.version == version:
            _point(registry, version)
            return None
        if instead_of is not None and seen.version != instead_of:
            raise _overtaken(seen, instead_of)
        return change_champion(registry, "promote", version, reason, seen)


@task(task_run_name="bring back what version {version} knows", **RETRIED)
def bring_back(workspace: Workspace, version: str) -> list[str]:
    """Put classes that were set aside at the end of the stream, as a person has promoted a version with them.

    Raises:
        PassingError: MLflow is out of reach.
        RegistryError: No such version.
    """
    with registry_of(workspace) as registry:
        known = classes_of(registry.version(version))
    back = [name for name in workspace.params.set_aside if name in known]
    if back:
        workspace.configure(order=[*workspace.params.order, *back])
        for name in back:  # they were measured in another place of the stream
            workspace.paths.metrics(name).unlink(missing_ok=True)
        workspace.commit(f"Bring back {', '.join(back)}, known by version {version}")
    return back


@task(task_run_name="champion", **RETRIED)
def standing_champion(workspace: Workspace) -> str:
    """The champion's version.

    Raises:
        PassingError: MLflow is out of reach.
        RegistryError: There is none.
    """
    with registry_of(workspace) as registry:
        return standing_version(registry)


@task(task_run_name="roll back", **RETRIED)
def roll_back(workspace: Workspace, reason: str, from_version: str) -> Change:
    """Bring back the champion before the present one.

    Args:
        workspace: The workspace.
        reason: Why.
        from_version: The champion to be rolled back from.

    Returns:
        The change; a try before this one may have made it and not heard so.

    Raises:
        PassingError: MLflow is out of reach.
        RegistryError: There is none before, it knows a class that was forgotten, or another change was faster.
    """
    with registry_of(workspace) as registry:
        seen = settle(registry)
        if seen.version != from_version:
            changes = standing(registry)
            if (changes[-1].what, changes[-1].before) == ("rollback", from_version):
                return changes[-1]
            raise _overtaken(seen, from_version)
        before = champion_before(registry, from_version)
        _refuse_unusable(registry, workspace, before)
        return change_champion(registry, "rollback", before, reason, seen)


def _told(little: Mapping[str, float], lacking: Mapping[str, str]) -> list[str]:
    told = []
    for what, classes in (
        ("finds little", {name: f"{share:.0%} of defects" for name, share in little.items()}),
        ("not measured", lacking),
    ):
        if classes:
            first = [f"{name} ({how})" for name, how in list(classes.items())[:_NAMED]]
            more = f" and {len(classes) - _NAMED} more" if len(classes) > _NAMED else ""
            told.append(f"{what}: {', '.join(first)}{more}")
    return told


def blame(metrics: Mapping[str, Any], fresh: Sequence[str], gate: GateParams) -> dict[str, str]:
    """The classes for which a candidate is refused, and why; empty where none alone explains it.

    A bound on the whole bank is broken by the class that came last, if it came alone: the bank before kept it.

    Args:
        metrics: Of the candidate.
        fresh: The classes that the champion does not know at all.
        gate: The bounds.
    """
    of_all = refusals(metrics, [], gate)
    blamed = {}
    for name in fresh:
        own = refusals(metrics, [name], gate)[len(of_all) :]
        if own or (of_all and fresh == [name]):
            blamed[name] = "; ".join([*own, *(of_all if fresh == [name] else [])])
    return blamed


def refusals(metrics: Mapping[str, Any], new: Sequence[str], gate: GateParams) -> list[str]:
    """Why the gate refuses a candidate; empty where it passes.

    A figure that is undefined refuses nothing, unless `GateParams.unmeasured` says so.

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
            (f"detection rate of {name}", figures["detection_rate"], gate.min_detection_rate, True),
        ]
    broken = [
        f"{what} {value:.3f} is {'below' if at_least else 'above'} {bound}"
        for what, value, bound, at_least in checks
        if value is not None and (value < bound if at_least else value > bound)
    ]
    lacking = [name for name in unmeasured(metrics) if name in new]
    if gate.unmeasured is Unmeasured.REFUSE and lacking:
        broken.append(f"gate.unmeasured refuses {', '.join(lacking)} without good and defective test images")
    return broken


def _to_be_measured(
    data: Mapping[str, str], known: Mapping[str, str], occasion: Occasion | None
) -> list[str]:
    """The classes whose own bounds count: other images than the champion's, or a threshold of their own just set."""
    concerned = occasion.concerns if occasion else None
    return [each for each in data if known.get(each) != data[each] or each == concerned]


def _lost(champion: "ModelVersion | None", known: Sequence[str], on_purpose: Set[str]) -> list[str]:
    """Classes that the champion knows and the candidate does not, but for those forgotten on purpose."""
    if champion is None:
        return []
    lost = [each for each in classes_of(champion) if each not in on_purpose and each not in known]
    return [f"the champion, version {champion.version}, also knows {', '.join(lost)}"] if lost else []


def _taken_back(registry: Registry, version: str) -> list[str]:
    """A version that a person put another in the place of is not promoted again by itself."""
    concerned = [each for each in standing(registry) if version in {each.before, each.after}]
    if not concerned or concerned[-1].before != version or concerned[-1].what not in {"rollback", "promote"}:
        return []
    return [
        f"taken back by {concerned[-1].by} ({concerned[-1].why}); only `evernorm promote {version}` brings it back"
    ]


def _overtaken(stands: Champion, expected: str) -> RegistryError:
    return RegistryError(
        f"version {stands.version} became champion in the place of {expected} meanwhile; look at it and run again"
    )


def _refuse_unusable(registry: Registry, workspace: Workspace, version: str) -> None:
    made = existing(registry, version)
    if "evernorm.git_commit" not in made.tags:
        raise RegistryError(
            f"version {version} was never committed, as the run that made it was cut short; run `evernorm learn` again"
        )
    known = classes_of(made)
    if gone := [f"{each.name} ({each.reason})" for each in forgotten(workspace) if each.name in known]:
        raise RegistryError(
            f"version {version} knows what was forgotten: {', '.join(gone)}; learn the class again first"
        )


def _point(registry: Registry, version: str) -> None:
    """Put the alias back where it was moved away by hand."""
    if CHAMPION not in registry.version(version).aliases:
        registry.set_alias(CHAMPION, version)
