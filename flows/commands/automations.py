"""What a Prefect server does of its own accord for a workspace: it ends runs that fell silent, and tells people."""

from typing import TYPE_CHECKING, Any

from evernorm.errors import ParamsError
from flows.commands.watch import deployment_of
from tasks.fleet.news import LEARNED, REFUSED, WORKSPACE

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.events.schemas.automations import Automation, AutomationCore

    from tasks.workspace.workspace import Workspace

_HEARTBEAT = 30  # seconds, as prefect.yaml asks of the runs
_START = 300  # seconds from when a worker takes a run to its first heartbeat: a container's image may have to come first
_TAKEN = {f"prefect.flow-run.{state}" for state in ("Pending", "Submitting", "InfrastructurePending")}
_SUBJECTS = {
    "success": "evernorm: {{ event.resource.name }} is learned",
    "refusal": "evernorm: {{ event.resource.name }} is refused",
    "failure": "evernorm: {{ flow_run.name }}: {{ flow_run.state.name }}",
}
_NEWS = {"success": LEARNED, "refusal": REFUSED}
_FAILED = {f"prefect.flow-run.{state}" for state in ("Failed", "Crashed", "TimedOut")}


class Automations:
    """Those that a workspace asks for, and those of them that the server has.

    Args:
        client: Of the server.
        workspace: Whose `watch.notify` names the blocks.

    Raises:
        ParamsError: The server has no such blocks, or they notify nobody.
    """

    def __init__(self, client: "SyncPrefectClient", workspace: "Workspace") -> None:
        self.client, self.workspace = client, workspace
        self.prefix = f"evernorm {workspace.identity[:8]}: "
        faults = []
        self.wanted = {each.name: each for each in _when_silent()}
        for what, block in workspace.params.watch.notify.model_dump().items():
            if not block:
                continue
            if isinstance(found := self._block(block), str):
                faults.append(f"watch.notify.{what}: {found}")
            else:
                name = f"{self.prefix}{what} → {block}"
                self.wanted[name] = self._notification(name, what, found)
        if faults:
            raise ParamsError(
                "nobody can be told as params.yaml asks; make the blocks on the server's page (Blocks), or empty watch.notify",
                faults,
            )

    def differences(self) -> list[str]:
        """In what the server differs, a line each."""
        found = self._found()
        lines = [
            f"automation {name!r}: {'differs' if name in found else 'missing'}"
            for name, each in self.wanted.items()
            if name not in found or not _same(found[name], each)
        ]
        return lines + [
            f"automation {name!r}: no longer asked for" for name in found.keys() - self.wanted.keys()
        ]

    def bring(self) -> None:
        """Make, change and delete until nothing differs."""
        found = self._found()
        for name in found.keys() - self.wanted.keys():
            self.client.delete_automation(found[name].id)
        for name, each in self.wanted.items():
            if name not in found:
                self.client.create_automation(each)
            elif not _same(found[name], each):
                self.client.update_automation(found[name].id, each)

    def _found(self) -> "dict[str, Automation]":
        return {
            each.name: each
            for each in self.client.read_automations()
            if each.name in self.wanted or each.name.startswith(self.prefix)
        }

    def _block(self, block: str) -> Any:
        """The block's id, or what is wrong."""
        from prefect.exceptions import ObjectNotFound

        kind, name = block.split("/")
        try:
            document = self.client.read_block_document_by_name(name, kind, include_secrets=False)
        except ObjectNotFound:
            return f"the server has no block {block}"
        if document.block_schema is None or "notify" not in document.block_schema.capabilities:
            return f"{block} is no notification block"
        return document.id

    def _notification(self, name: str, what: str, block: Any) -> "AutomationCore":
        from prefect.events.actions import SendNotification
        from prefect.events.schemas.automations import AutomationCore, EventTrigger

        workspace = self.workspace
        if what in _NEWS:
            heard: dict[str, Any] = {"expect": {_NEWS[what]}, "match": {WORKSPACE: workspace.identity}}
            body = "{{ event.payload.said }}"
        else:
            # However it was deployed: by `evernorm deploy` or by `evernorm watch`.
            heard = {
                "expect": _FAILED,
                "match": {"prefect.resource.id": "prefect.flow-run.*"},
                "match_related": {
                    "prefect.resource.name": deployment_of(workspace),
                    "prefect.resource.role": "deployment",
                },
            }
            body = "{{ flow_run.state.message }}\n{{ flow_run|ui_url }}"
        trigger = EventTrigger.model_validate({**heard, "posture": "Reactive", "threshold": 1, "within": 0})
        action = SendNotification(
            block_document_id=block, subject=_SUBJECTS[what], body=f"{body}\n{workspace.root}"
        )
        return AutomationCore(name=name, trigger=trigger, actions=[action])


def _same(found: "Automation", wanted: "AutomationCore") -> bool:
    return found.enabled and all(
        getattr(found, what) == getattr(wanted, what) for what in ("trigger", "actions")
    )


def _when_silent() -> "list[AutomationCore]":
    """What takes a run for crashed whose machine is gone: no heartbeat for three of them (Prefect's zombie flows), or none at all."""
    from prefect.client.schemas.objects import StateType
    from prefect.events.actions import ChangeFlowRunState
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

    def automation(name: str, after: set[str], seconds: int, message: str) -> AutomationCore:
        trigger = EventTrigger.model_validate(
            {
                "after": after,
                "expect": {"prefect.flow-run.*"},
                "match": {"prefect.resource.id": "prefect.flow-run.*"},
                "match_related": {
                    "prefect.resource.id": "prefect.tag.evernorm",
                    "prefect.resource.role": "tag",
                },
                "for_each": {"prefect.resource.id"},
                "posture": Posture.Proactive,
                "threshold": 1,
                "within": seconds,
            }
        )
        crashed = ChangeFlowRunState(state=StateType.CRASHED, message=message)
        return AutomationCore(name=f"evernorm: {name}", trigger=trigger, actions=[crashed])

    beating = {"prefect.flow-run.heartbeat"}
    return [
        automation("runs that fell silent", beating, 3 * _HEARTBEAT, "its machine has fallen silent"),
        automation("runs that never began", _TAKEN, _START, "its machine took it and never began"),
    ]
