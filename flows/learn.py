"""The stream and its experiences, as Prefect flows."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from prefect import flow

from flows.commands.console import Reporter
from tasks.inbox.arrivals import refuse_arriving
from tasks.tracking.gate import Decision, decide
from tasks.tracking.registry import register, stamp
from tasks.tracking.runs import Recorded, record
from tasks.workspace.forget import Forgotten
from tasks.workspace.pipeline import STAGES, StageRun, push, reproduce
from tasks.workspace.workspace import Workspace


@dataclass(frozen=True)
class Learned:
    """What came of one experience.

    Attributes:
        stages: How each stage went.
        recorded: Its MLflow runs.
    """

    stages: tuple[StageRun, ...]
    recorded: Recorded

    @property
    def ran(self) -> list[StageRun]:
        """The stages that were not up to date."""
        return [stage for stage in self.stages if stage.ran]


@flow(name="learn-experience", flow_run_name="learn {name}")
def learn_experience(root: Path, name: str) -> Learned:
    """Learn one class: the stages that are not up to date, then the record."""
    stages = tuple(reproduce(root, stage, name) for stage in STAGES)
    return Learned(stages, record(root, name, stages))


@flow(name="learn-stream")
def learn_stream(root: Path) -> tuple[dict[str, Learned], Decision | None]:
    """Learn every class of the stream in its order; what is learned already is only looked at.

    Returns:
        What came of each class, and of the last version.
    """
    workspace = Workspace.open(root)
    with workspace.locked():
        refuse_arriving(workspace)
        return learn_from(workspace, 0)


def learn_from(
    workspace: Workspace, first: int, subject: str = ""
) -> tuple[dict[str, Learned], Decision | None]:
    """Learn the classes of the stream from a place on; the bank becomes a version each time it grows.

    A class in the midst of those that are learned already makes no version: its bank is nobody's to use.

    Args:
        workspace: Held by the caller.
        first: Place of the first class to learn or look at.
        subject: How the commit of the last version begins; otherwise it names the classes that were learned.
    """
    order = workspace.params.order[first:]
    reporter = Reporter(len(order))
    learned: dict[str, Learned] = {}
    fresh: dict[str, Learned] = {}  # since the last version
    decision = None
    for name in order:
        started = time.perf_counter()
        reporter.begin(name)
        learned[name] = fresh[name] = learn_experience(workspace.root, name)
        news = any(each.ran for each in fresh.values()) or not workspace.committed(
            workspace.paths.metrics(name)
        )
        if workspace.learned()[-1] == name and (news or name == order[-1]):
            changed = [each for each in fresh if fresh[each].ran] or [name]
            message = subject if subject and name == order[-1] else f"Learn {', '.join(changed)}"
            decision = publish(workspace, fresh, message)
            fresh = {}
        reporter.end(learned[name].ran, decision if not fresh else None, time.perf_counter() - started)
    return learned, decision


def publish(
    workspace: Workspace, learned: Mapping[str, Learned], message: str, forgot: Forgotten | None = None
) -> Decision:
    """Make the bank after the last of these experiences a version, and let the gate decide on it.

    Data and bank are in the remote, and the commit that describes them is made, before anyone can be served
    by the version: what cannot be audited is never champion.

    Args:
        workspace: Held by the caller.
        learned: What came of each class since the last version.
        message: Of the commit; the version's number is put behind it.
        forgot: What has just been forgotten, if anything.
    """
    root, name = workspace.root, list(learned)[-1]
    version = register(root, name, learned[name].recorded, forgot)
    push(root)
    workspace.commit(f"{message}, version {version}" + (f": {forgot.reason}" if forgot else ""))
    stamp(root, [each.recorded.run for each in learned.values()], version)
    return decide(root, name, version, forgot)
