"""What became of what arrived, told to the Prefect server as events, so that people can be notified (`evernorm deploy`)."""

from collections.abc import Sequence

from prefect.events import emit_event

from evernorm.files import read_json, write_json
from tasks.inbox.inbox import Refusal
from tasks.tracking.gate import Decision
from tasks.workspace.workspace import Workspace

LEARNED, REFUSED = "evernorm.class.learned", "evernorm.class.refused"
WORKSPACE = "evernorm.workspace"
_TOLD = ".evernorm/told.json"  # by name: what was said last of that which is left in the inbox


def tell_decision(workspace: Workspace, name: str, decision: Decision) -> None:
    """What the gate made of the version with a class."""
    _emit(
        workspace, REFUSED if decision.refused else LEARNED, name, f"{decision.told}\n{decision.cure}".strip()
    )


def tell_left(workspace: Workspace, refusals: Sequence[Refusal]) -> None:
    """What is left in the inbox, once, until something else is wrong with it."""
    told = left_in_inbox(workspace)
    left = {each.name: str(each) for each in refusals}
    for name, said in left.items():
        if told.get(name) != said:
            _emit(workspace, REFUSED, name, said)
    if left != told:
        write_json(workspace.root / _TOLD, left)


def left_in_inbox(workspace: Workspace) -> dict[str, str]:
    """What the last look left there, and why."""
    path = workspace.root / _TOLD
    told: dict[str, str] = read_json(path) if path.is_file() else {}
    return told


def _emit(workspace: Workspace, event: str, name: str, said: str) -> None:
    resource = {
        "prefect.resource.id": f"evernorm.class.{name}",
        "prefect.resource.name": workspace.display(name),
        WORKSPACE: workspace.identity,
    }
    emit_event(event, resource, payload={"said": said})
