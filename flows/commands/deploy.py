"""What `evernorm deploy` does: work pools and deployments on a Prefect server, from the workspace's prefect.yaml."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evernorm.errors import ParamsError, PipelineError
from evernorm.files import write_json
from flows.commands.automations import Automations
from flows.commands.environment import prepare
from flows.commands.runner import say
from flows.commands.watch import check_cron

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.responses import DeploymentResponse

    from tasks.workspace.workspace import Workspace

FILE = "prefect.yaml"
_EXPECTED = "expected deployments as `prefect deploy` reads them"
DIFFERS = 1
"""Exit status of a check that found something."""


@dataclass(frozen=True)
class Wanted:
    """A deployment as prefect.yaml has it.

    Attributes:
        name: With its flow: ``flow/name``.
        pool: Its work pool.
        values: What else is compared, by what people call it.
    """

    name: str
    pool: str
    values: Mapping[str, Any]


def deploy(root: Path, *, check: bool) -> int:
    """Bring the server up to date with the workspace's prefect.yaml, or say what differs.

    Args:
        root: The workspace.
        check: Only say.

    Returns:
        0, or `DIFFERS`.

    Raises:
        ParamsError: No server is named; prefect.yaml, or what the workspace fills in, is at fault.
        PipelineError: The server does not answer, or refuses.
    """
    if not os.environ.get("PREFECT_API_URL"):
        raise ParamsError(
            "deployments are kept by a Prefect server: start one with `prefect server start` and name it in PREFECT_API_URL"
        )
    prepare(root)
    from tasks.workspace.workspace import Workspace

    workspace = Workspace.open(root)
    file = _filled(workspace)
    wanted = _wanted(file, workspace.root / FILE)
    with _answering() as client:
        automations = Automations(client, workspace)
        found = _differences(client, wanted)
        if check:
            found += automations.differences()
            for line in found or ["the server has what prefect.yaml asks for"]:
                say(line)
            return DIFFERS if found else 0
        _make_pools(client, {each.pool for each in wanted})
        automations.bring()
        if found:
            _register(workspace.root, file)
        left = _differences(client, wanted) + automations.differences()
    if left:
        raise PipelineError(f"the server took {FILE}, but not as it is: {'; '.join(left)}")
    for each in wanted:
        told = [f"{what} {each.values[what]}" for what in ("schedule", "events") if each.values[what]]
        say(f"{each.name} → {', '.join([f'pool {each.pool}', *told])}")
    if not workspace.params.watch.inbox:
        say(
            "not deployed: what looks into the inbox, as none is named yet (evernorm watch --once --inbox PLACE)"
        )
    for pool in sorted({each.pool for each in wanted}):
        say(f"a worker: {Path(sys.executable).parent / 'prefect'} worker start --pool {pool}")
    return 0


def _filled(workspace: "Workspace") -> dict[str, Any]:
    """prefect.yaml with its placeholders filled in; without what asks for an inbox, where there is none."""
    from prefect.utilities.templating import apply_values

    from evernorm.params.yaml12 import YAMLError, load
    from tasks.inbox.inbox import place_of

    watch, file = workspace.params.watch, workspace.root / FILE
    check_cron(watch.cron)
    if not file.is_file():
        raise ParamsError(f"{file} is missing; take it from another workspace, or from evernorm's repository")
    stand_for = {
        "EVERNORM_ID": workspace.identity[:8],
        "EVERNORM_WORKSPACE": str(workspace.root),
        "EVERNORM_CRON": watch.cron,
        "EVERNORM_INBOX": place_of(watch.inbox) if watch.inbox else "",
    }
    os.environ.update(stand_for)  # where Prefect looks for them
    try:
        values = load(file.read_bytes())
        entries = [
            each for each in values["deployments"] if watch.inbox or "$EVERNORM_INBOX" not in json.dumps(each)
        ]
    except (YAMLError, KeyError, TypeError) as error:
        raise ParamsError(f"{file}: {error}; {_EXPECTED}") from error
    filled: dict[str, Any] = apply_values({**values, "deployments": entries}, {})
    return filled


def _wanted(filled: Mapping[str, Any], file: Path) -> list[Wanted]:
    from prefect.flows import load_flow_from_entrypoint

    try:
        return [
            Wanted(
                name=f"{load_flow_from_entrypoint(each['entrypoint']).name}/{each['name']}",
                pool=each["work_pool"]["name"],
                values={
                    "flow": each["entrypoint"],
                    "parameters": each.get("parameters", {}),
                    "tags": each.get("tags", []),
                    "job variables": each["work_pool"].get("job_variables", {}),
                    "schedule": ", ".join(schedule["cron"] for schedule in each.get("schedules", [])),
                    "runs at once": (each.get("concurrency_limit") or {}).get("limit"),
                    "events": ", ".join(
                        f"{', '.join(trigger['expect'])} of {' '.join(trigger['match'].values())}"
                        for trigger in each.get("triggers", [])
                    ),
                },
            )
            for each in filled["deployments"]
        ]
    except (KeyError, TypeError, AttributeError, ImportError) as error:
        raise ParamsError(f"{file}: {type(error).__name__} {error}; {_EXPECTED}") from error


@contextmanager
def _answering() -> "Iterator[SyncPrefectClient]":
    import httpx
    from prefect.client.orchestration import get_client

    try:
        with get_client(sync_client=True) as client:
            yield client
    except (httpx.HTTPError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "Failed to reach API" not in str(error):
            raise
        raise PipelineError(f"no Prefect server answers at PREFECT_API_URL ({error}); check it") from error


def _differences(client: "SyncPrefectClient", wanted: list[Wanted]) -> list[str]:
    """In what the server differs, a line each."""
    from prefect.exceptions import ObjectNotFound

    lines = []
    for each in wanted:
        try:
            client.read_work_pool(each.pool)
        except ObjectNotFound:
            lines.append(f"work pool {each.pool}: missing")
        try:
            there = client.read_deployment_by_name(each.name)
        except ObjectNotFound:
            lines.append(f"{each.name}: missing")
            continue
        present = {"pool": there.work_pool_name, **_values(client, there)}
        for what, value in {"pool": each.pool, **each.values}.items():
            if present[what] != value:
                lines.append(
                    f"{each.name}: {what} is {present[what] or 'none'}, prefect.yaml asks for {value or 'none'}"
                )
    return list(dict.fromkeys(lines))


def _values(client: "SyncPrefectClient", there: "DeploymentResponse") -> dict[str, Any]:
    """What is compared of a deployment that the server has."""
    limit = there.global_concurrency_limit
    return {
        "flow": there.entrypoint,
        "parameters": there.parameters,
        "tags": there.tags,
        "job variables": there.job_variables,
        "schedule": ", ".join(
            f"{each.schedule.cron}{'' if each.active else ' (paused)'}"  # type: ignore[union-attr]
            for each in there.schedules
        ),
        "runs at once": limit.limit if limit else None,
        "events": ", ".join(
            f"{', '.join(sorted(trigger['expect']))} of {' '.join(map(str, trigger['match'].values()))}"
            for trigger in _triggers(client, there)
        ),
    }


def _triggers(client: "SyncPrefectClient", there: "DeploymentResponse") -> list[dict[str, Any]]:
    automations = client.read_resource_related_automations(f"prefect.deployment.{there.id}")
    return [each.trigger.model_dump(mode="json") for each in automations if each.enabled]


def _make_pools(client: "SyncPrefectClient", names: set[str]) -> None:
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

    for name in sorted(names):
        try:
            client.read_work_pool(name)
        except ObjectNotFound:
            with suppress(ObjectAlreadyExists):  # another was faster
                client.create_work_pool(WorkPoolCreate(name=name, type="process"))


def _register(root: Path, filled: Mapping[str, Any]) -> None:
    file = root / ".evernorm" / FILE
    write_json(file, filled)  # JSON is YAML
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(file)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stdout + done.stderr).strip().splitlines() or ["nothing was said"]
        raise PipelineError(f"prefect deploy failed in {root}: {said[-1].strip()}")
