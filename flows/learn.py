"""The stream and its experiences, as Prefect flows."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from prefect import flow, tags
from prefect.runtime import flow_run

from evernorm.methods.learner import StateKind
from evernorm.methods.registry import learners
from evernorm.words import counted
from flows.ahead import build_ahead
from flows.commands.console import Reporter
from flows.report import report
from tasks.fleet.writers import OvertakenError, push_commits
from tasks.inbox.arrivals import refuse_arriving
from tasks.outcome import ended, result_of
from tasks.stages import STAGES
from tasks.tracking.gate import Decision, decide, overtaken
from tasks.tracking.occasion import Occasion
from tasks.tracking.ownership import claim
from tasks.tracking.registry import register, stamp
from tasks.tracking.runs import Recorded, record, record_bank
from tasks.tracking.settled import settle, settled
from tasks.workspace.checks import check_changed
from tasks.workspace.pipeline import StageRun, push, reproduce
from tasks.workspace.versions import record_versions
from tasks.workspace.workspace import Workspace


@dataclass(frozen=True)
class Learned:
    """What came of one experience.

    Attributes:
        stages: How each stage went; empty where the class is settled.
        recorded: Its MLflow runs.
    """

    stages: tuple[StageRun, ...]
    recorded: Recorded

    @property
    def ran(self) -> list[StageRun]:
        """The stages that were not up to date."""
        return [stage for stage in self.stages if stage.ran]

    @property
    def settled(self) -> bool:
        """Whether nothing had touched the class since it was learned, recorded and committed."""
        return not self.stages


def _called() -> str:
    """What Prefect's page calls a run of a stream."""
    params = Workspace.open(Path(flow_run.parameters["root"])).params
    return f"{params.method}: learn {counted(len(params.order), 'class', 'classes')}"


@flow(name="learn-experience", flow_run_name="{workspace.params.method}: learn {name}")
def learn_experience(workspace: Workspace, name: str) -> Learned:
    """Learn one class: the stages that are not up to date, then the record."""
    stages = tuple(reproduce(workspace, stage, name) for stage in STAGES)
    return Learned(stages, record(workspace, name, stages))


@flow(name="learn-stream", flow_run_name=_called)
def learn_stream(root: Path, *, published: bool = True) -> tuple[dict[str, Learned], Decision | None]:
    """Learn every class of the stream in its order; what is learned already is only looked at.

    Args:
        root: The workspace.
        published: Whether banks become versions, which may become champion; False for an experiment.

    Returns:
        What came of each class, and of the last version.

    Raises:
        ForeignError: Another workspace has the registered model; nothing is learned then.
    """
    workspace = Workspace.open(root)
    with workspace.locked():
        refuse_arriving(workspace)
        check_changed(workspace)
        if published:
            claim(workspace)
        learned, decision = learn_from(workspace, 0, published=published)
        if not all(each.settled for each in learned.values()):
            record_bank(workspace)
        if published:
            report(workspace, [decision] if decision else [])
        return ended((learned, decision), decision.refusal if decision else "")


def learn_from(
    workspace: Workspace,
    first: int,
    subject: str = "",
    *,
    published: bool = True,
    built: Collection[str] = (),
) -> tuple[dict[str, Learned], Decision | None]:
    """Learn the classes of the stream from a place on; the bank becomes a version each time it grows.

    A class in the midst of those that are learned already makes no version: its bank is nobody's to use.

    Args:
        workspace: Held by the caller.
        first: Place of the first class to learn or look at.
        subject: How the commit of the last version begins; otherwise it names the classes that were learned.
        published: See `learn_stream`.
        built: Classes that builders have built already.
    """
    record_versions(workspace.params, workspace.paths)
    order = workspace.params.order[first:]
    build_ahead(workspace, [name for name in order if name not in built])
    reporter = Reporter(len(order))
    learned: dict[str, Learned] = {}
    fresh: dict[str, Learned] = {}  # since the last version
    decision = None
    for name, learn in experiences(workspace, order):
        started = time.perf_counter()
        reporter.begin(workspace.display(name))
        with tags("evernorm", workspace.params.method, name):
            learned[name] = fresh[name] = learn()
        news = any(each.ran for each in fresh.values()) or not (
            learned[name].settled or workspace.committed(workspace.paths.metrics(name))
        )
        if (news or name == order[-1]) and workspace.learned()[-1] == name:
            changed = [each for each in fresh if fresh[each].ran] or [name]
            message = subject if subject and name == order[-1] else f"Learn {', '.join(changed)}"
            decision = (publish if published else keep)(workspace, fresh, message)
            fresh = {}
        reporter.end(learned[name].ran, decision if not fresh else None, time.perf_counter() - started)
        if not fresh and decision is not None and (left := set_aside(workspace, decision.blamed)):
            reporter.tell_aside(left)
            if left.keys() - {name}:  # what came after them is measured anew, without them
                again, decision = learn_from(workspace, 0, subject)
                return learned | again, decision
    return learned, decision


def set_aside(workspace: Workspace, blamed: Mapping[str, str]) -> dict[str, str]:
    """Keep the classes for which the gate refused a version out of all later ones, so that they stop no other.

    Only where entries are independent: then the bank without a class is the one that never learned it.

    Args:
        workspace: Held by the caller.
        blamed: The classes and why.

    Returns:
        Those that were set aside, with their reasons.
    """
    if not blamed or learners()[workspace.params.method].traits.state is not StateKind.INDEPENDENT:
        return {}
    workspace.configure(aside={**workspace.params.set_aside, **blamed})
    workspace.commit("\n\n".join([f"Set aside {', '.join(blamed)}", *blamed.values()]))
    push_commits(workspace)
    return dict(blamed)


def experiences(workspace: Workspace, names: Sequence[str]) -> Iterator[tuple[str, Callable[[], Learned]]]:
    """What is to be called for each class, one after another; for those that are settled it costs nothing.

    Args:
        workspace: Held by the caller.
        names: Classes, in the order of the stream.
    """
    known = settled(workspace, names)
    for name in names:
        if name in known:
            yield name, partial(Learned, (), known[name])
        else:
            yield name, partial(learn_experience, workspace, name)


def keep(workspace: Workspace, learned: Mapping[str, Learned], message: str) -> None:
    """Commit an experiment and tie its runs to that; nobody is served by it.

    Args:
        workspace: Held by the caller.
        learned: What came of each class since the last commit.
        message: Of the commit.
    """
    unsettled = {each: learned[each].recorded for each in learned if not learned[each].settled}
    workspace.commit(message)
    stamp(workspace, [each.run for each in unsettled.values()])
    if unsettled:
        settle(workspace, unsettled)


def publish(
    workspace: Workspace, learned: Mapping[str, Learned], message: str, occasion: Occasion | None = None
) -> Decision:
    """Make the bank after the last of these experiences a version, and let the gate decide on it.

    Data and bank are in the remote, and the commit that describes them is made, before anyone can be served
    by the version: what cannot be audited is never champion, and of two writers only one has a version decided on.

    Args:
        workspace: Held by the caller.
        learned: What came of each class since the last version.
        message: Of the commit; the version's number is put behind it.
        occasion: What a person has just done to the bank, if that is why there is a version.

    Raises:
        OvertakenError: Another writer was faster; the version is refused.
    """
    name = list(learned)[-1]
    unsettled = {each: learned[each].recorded for each in learned if not learned[each].settled}
    version = register(workspace, name, learned[name].recorded, occasion)
    push(workspace)
    workspace.commit(f"{message}, version {version}" + (f": {occasion.reason}" if occasion else ""))
    try:
        push_commits(workspace)
    except OvertakenError:
        overtaken(workspace, version)
        raise
    stamp(workspace, [each.run for each in unsettled.values()], version)
    if unsettled:
        settle(workspace, unsettled)
    return result_of(decide(workspace, name, version, occasion, return_state=True))
