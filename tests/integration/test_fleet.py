"""Deployments on a real Prefect server, and classes that real workers build in checkouts of their own."""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from tasks.fleet.snapshot import REFS
from tasks.workspace.workspace import Workspace
from tests.helpers.fleet import Worker, workers
from tests.helpers.prefect_api import prefect
from tests.helpers.warm import python
from tests.helpers.workspaces import dvc, git, kill_at, lock


def builds(repository: Path) -> dict[str, list]:
    """The runs of builders for a workspace, by class."""
    from prefect.client.schemas.filters import DeploymentFilter
    from prefect.client.schemas.sorting import FlowRunSort

    mine = DeploymentFilter.model_validate({"name": {"any_": [POOL]}})
    with prefect() as client:
        runs = client.read_flow_runs(deployment_filter=mine, sort=FlowRunSort.START_TIME_ASC)
    found: dict[str, list] = {}
    for run in runs:
        if run.parameters["repository"] == str(repository):
            found.setdefault(run.parameters["name"], []).append(run)
    return found


def alone(workspace: Path) -> dict:
    """The stages in dvc.lock of the first class."""
    return {name: stage for name, stage in lock(workspace).items() if name.endswith("@cloth")}


def wait_for_work(worker: Worker, folder: Path) -> None:
    """Wait until a build of the first class has its data."""
    deadline = time.monotonic() + 240
    while not list((folder / "checkouts").glob("*/0/data/cloth/train.json")):
        assert time.monotonic() < deadline, worker.log.read_text()
        time.sleep(0.1)


POOL = "builders"


@contextmanager
def hurried(name: str, seconds: float) -> Iterator[None]:
    """Beside one of our automations, the same for runs of these builders, which waits less long."""
    from prefect.events.schemas.automations import AutomationCore

    with prefect() as client:
        (automation,) = client.read_automations_by_name(name)
        mine = client.read_deployment_by_name(f"build-class/{POOL}").id
        related = {"prefect.resource.id": f"prefect.deployment.{mine}", "prefect.resource.role": "deployment"}
        less = {"match_related": related, "within": timedelta(seconds=seconds)}
        trigger = automation.trigger.model_copy(update=less)
        made = client.create_automation(
            AutomationCore(name=f"{name}, hurried", trigger=trigger, actions=automation.actions)
        )
        try:
            yield
        finally:
            client.delete_automation(made)


@pytest.fixture(scope="module")
def deployed(tmp_path_factory, fresh, evernorm, small, prefect_server):
    """A workspace without classes that has remotes and builders of a pool of its own, and its Git remote."""
    folder = tmp_path_factory.mktemp("deployed")
    workspace, origin = fresh(folder / "workspace"), folder / "origin.git"
    git(folder, "init", "-q", "--bare", origin)
    git(workspace, "remote", "add", "origin", str(origin))
    (folder / "remote").mkdir()
    dvc(workspace, "remote", "add", "-d", "storage", str(folder / "remote"))
    own = (workspace / "prefect.yaml").read_text()
    (workspace / "prefect.yaml").write_text(own.replace("name: cpu", f"name: {POOL}"))
    Workspace.open(workspace).configure(
        [*(each for each in small if each != "--set"), f"fleet.builders={POOL}"]
    )
    done = evernorm("deploy", "--workspace", workspace)
    assert f"build-class/{POOL} → pool {POOL}" in done.stdout
    return workspace, origin


@pytest.fixture
def empty(deployed, tmp_path):
    """A copy of that."""
    workspace, origin = tmp_path / "workspace", tmp_path / "origin.git"
    shutil.copytree(deployed[0], workspace, symlinks=True)
    shutil.copytree(deployed[1], origin)
    git(workspace, "remote", "set-url", "origin", str(origin))
    return workspace, origin


def test_two_workers_build_at_once_what_one_machine_builds_in_turn(empty, learned, evernorm, tmp_path):
    """The same bytes, each class in a checkout of its own at the same time; here only evaluation runs."""
    workspace, origin = empty
    with workers(POOL, 2, tmp_path) as started:
        done = evernorm("learn", "--data", learned[1], "--workspace", workspace, "--order", "cloth,metal")
        logs = [each.log.read_text() for each in started]
    assert "2 classes → workers of pool builders" in done.stderr, logs
    assert "is built here" not in done.stderr, logs
    assert 2 == sum(line.strip().startswith("evaluate ") for line in done.stderr.splitlines())
    assert lock(learned[0]) == lock(workspace)
    runs = {name: each[-1] for name, each in builds(origin).items()}
    assert {"cloth", "metal"} == set(runs)
    # Handed out together: when they begin is the workers' matter.
    assert max(run.created for run in runs.values()) < min(run.end_time for run in runs.values())
    assert {"COMPLETED"} == {run.state.type.value for run in runs.values()}
    told = json.loads(runs["cloth"].state.message)
    assert {"masks", "prompts", "knowledge", "weibull", "features"} == set(told)
    note = json.loads((workspace / ".evernorm/seconds/knowledge@cloth.json").read_text())
    assert {"seconds": told["knowledge"]} == note
    assert "are in sync" in dvc(workspace, "status", "--cloud")
    assert "" == git(origin, "for-each-ref", "refs/evernorm")  # nothing is left of what was handed over
    assert ["Learn metal, version 2", "Learn cloth, version 1"] == git(
        workspace, "log", "--format=%s", "-2"
    ).splitlines()


def test_a_killed_build_is_begun_again(empty, learned, tmp_path):
    """SIGKILL of the process in which a worker builds: its run is crashed, another takes its place, the end is the same.

    So is one of the writer before: what it had handed over is taken down by its next run.
    """
    workspace, origin = empty
    arguments = ("learn", "--data", learned[1], "--workspace", workspace)
    kill_at("flows.ahead.run_deployment", *arguments, "--order", "cloth")
    (left,) = git(origin, "for-each-ref", "--format=%(refname)", REFS).splitlines()
    theirs = f"{REFS}/theirs"  # of another writer, who is at work
    git(origin, "update-ref", theirs, left)
    command = [python(), "-m", "flows.commands.cli", *arguments]
    with workers(POOL, 1, tmp_path) as (worker,), (tmp_path / "said").open("wb") as said:
        learning = subprocess.Popen([*map(str, command), "--order", "cloth"], stdout=said, stderr=said)
        wait_for_work(worker, tmp_path)
        worker.kill(worker.flows())
        assert 0 == learning.wait(300), (tmp_path / "said").read_text()
    (runs,) = builds(origin).values()
    assert ["CRASHED", "COMPLETED"] == [run.state.type.value for run in runs]
    assert [theirs] == git(origin, "for-each-ref", "--format=%(refname)", REFS).splitlines()
    assert "is built here" not in (tmp_path / "said").read_text()
    assert alone(learned[0]) == lock(workspace)


def test_a_worker_that_dies_with_its_build_is_replaced(empty, learned, tmp_path):
    """Nobody says so: the build misses its heartbeats, counts as crashed, and is begun again by another worker."""
    workspace, origin = empty
    command = [python(), "-m", "flows.commands.cli", "learn", "--data", learned[1], "--workspace", workspace]
    # A beat is 30 s.
    with (tmp_path / "said").open("wb") as said, hurried("evernorm: runs that fell silent", 40):
        with workers(POOL, 1, tmp_path) as (worker,):
            learning = subprocess.Popen([*map(str, command), "--order", "cloth"], stdout=said, stderr=said)
            wait_for_work(worker, tmp_path)
            flows = worker.flows()
            worker.process.kill()
            worker.kill(flows)
        with workers(POOL, 1, tmp_path) as (worker,):
            assert 0 == learning.wait(400), (tmp_path / "said").read_text() + worker.log.read_text()
    (runs,) = builds(origin).values()
    assert ["CRASHED", "COMPLETED"] == [run.state.type.value for run in runs]
    assert "its machine has fallen silent" in runs[0].state.message
    assert alone(learned[0]) == lock(workspace)


def test_a_build_that_never_began_counts_as_crashed(deployed):
    """A worker that dies after it has taken a build and before its first heartbeat; the wait is made short here."""
    from prefect.states import Pending

    with prefect() as client, hurried("evernorm: runs that never began", 10):
        run = client.create_flow_run_from_deployment(
            client.read_deployment_by_name(f"build-class/{POOL}").id,
            parameters={"repository": "nowhere", "commit": "none", "name": "cloth"},
            state=Pending(),
        )
        client.set_flow_run_state(run.id, Pending(name="Submitting"))
        deadline = time.monotonic() + 90
        while not (state := client.read_flow_run(run.id).state).is_final():
            assert time.monotonic() < deadline, state
            time.sleep(0.5)
    assert ("CRASHED", "its machine took it and never began") == (state.type.value, state.message)


def test_what_a_worker_cannot_build_is_built_here(empty, learned, evernorm, tmp_path):
    """Without libmr on its machine it says so, and the class is no worse for it."""
    workspace, _ = empty
    (tmp_path / "without").mkdir()
    (tmp_path / "without/libmr.py").write_text("raise ImportError('no libmr on this machine')")
    with workers(POOL, 1, tmp_path, {"PYTHONPATH": str(tmp_path / "without")}):
        done = evernorm("learn", "--data", learned[1], "--workspace", workspace, "--order", "cloth")
    assert "cloth was not built by a worker" in done.stderr
    assert "libmr" in done.stderr
    assert alone(learned[0]) == lock(workspace)


def test_builders_need_remotes_and_a_deployment(deployed, fresh, learned, evernorm, tmp_path):
    """Said in a sentence; nothing is learned."""
    workspace = fresh(tmp_path / "workspace")
    arguments = ("learn", "--data", learned[1], "--workspace", workspace, "--order", "cloth")
    done = evernorm(*arguments, "--set", "fleet.builders=builders", check=False)
    assert 1 == done.returncode
    assert "builders need remotes" in done.stderr
    lacking = shutil.copytree(deployed[0], tmp_path / "lacking", symlinks=True)
    arguments = ("learn", "--data", learned[1], "--workspace", lacking, "--order", "cloth")
    done = evernorm(*arguments, "--set", "fleet.builders=elsewhere", check=False)
    assert 1 == done.returncode
    assert "fleet.builders is 'elsewhere', and no builders of that name are deployed" in done.stderr
    assert "Traceback" not in done.stderr


def test_deploying_twice_changes_nothing_and_a_check_says_what_differs(empty, evernorm, tmp_path):
    """Pools, schedule, events, parameters: as prefect.yaml and params.yaml say."""
    workspace, inbox = empty[0], tmp_path / "inbox"
    inbox.mkdir()
    Workspace.open(workspace).configure([f"watch.inbox={inbox}", "watch.cron=0 4 * * *"])
    identity = Workspace.open(workspace).identity[:8]
    check = ("deploy", "--check", "--workspace", workspace)
    done = evernorm(*check, check=False)
    assert 1 == done.returncode
    assert f"watch-inbox/inbox-{identity}: missing" in done.stdout
    first = evernorm("deploy", "--workspace", workspace).stdout
    assert (
        f"inbox-{identity} → pool writer, schedule 0 4 * * *, events evernorm.class.arrived of {inbox}"
        in first
    )
    assert "the server has what prefect.yaml asks for\n" == evernorm(*check).stdout
    with prefect() as client:
        before = client.read_deployment_by_name(f"watch-inbox/inbox-{identity}")
    assert first == evernorm("deploy", "--workspace", workspace).stdout
    with prefect() as client:
        assert before == client.read_deployment_by_name(f"watch-inbox/inbox-{identity}")
    assert {"root": str(workspace)} == before.parameters
    Workspace.open(workspace).configure(["watch.cron=0 5 * * *"])
    done = evernorm(*check, check=False)
    assert 1 == done.returncode
    assert "schedule is 0 4 * * *, prefect.yaml asks for 0 5 * * *" in done.stdout


def test_what_is_announced_is_built_at_once_and_learned_in_turn(empty, learned, evernorm, tmp_path):
    """`pack --announce` starts a look long before the schedule would; the deployed writer asks builders as any other does.

    The same bytes and commits as without builders; nothing is left of where the deliveries were put together.
    """
    workspace, origin = empty
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    Workspace.open(workspace).configure([f"watch.inbox={inbox}", "watch.cron=0 4 1 1 *"])
    (workspace / "prefect.yaml").write_text(
        (workspace / "prefect.yaml").read_text().replace("writer", "writers")
    )
    evernorm("deploy", "--workspace", workspace)
    before = git(workspace, "log", "--format=%s").splitlines()
    evernorm("pack", learned[1] / "cloth", inbox)
    evernorm("pack", learned[1] / "metal", inbox, "--announce")
    with workers("writers", 1, tmp_path) as (worker,), workers(POOL, 2, tmp_path):
        deadline = time.monotonic() + 240
        while "Learn metal, version 2" != git(workspace, "log", "-1", "--format=%s").strip():
            assert time.monotonic() < deadline, worker.log.read_text()
            time.sleep(0.5)
        while (workspace / ".evernorm/arriving.json").exists():
            time.sleep(0.2)
        log = worker.log.read_text()
    assert 1 == log.count("2 classes → workers of pool builders")
    assert 1 == log.count("→ workers of pool")
    assert "is built here" not in log
    assert lock(learned[0]) == lock(workspace)
    cloth, metal = (builds(origin)[name][-1] for name in ("cloth", "metal"))
    assert max(cloth.created, metal.created) < min(cloth.end_time, metal.end_time)
    subjects = ["Learn metal, version 2", "Learn cloth, version 1", *before]
    assert subjects == git(workspace, "log", "--format=%s").splitlines()
    assert not (workspace / ".evernorm/beside").exists()
    assert "" == git(workspace, "status", "--porcelain")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("deploy",), "deployments are kept by a Prefect server: start one"),
        (
            ("pack", "photos", "inbox", "--announce"),
            "--announce tells a Prefect server: name it in PREFECT_API_URL",
        ),
    ],
)
def test_without_a_server_it_is_said(arguments, said, evernorm, tmp_path):
    """In a sentence."""
    done = evernorm(*arguments, check=False, env={"PREFECT_API_URL": ""}, cwd=tmp_path)
    assert (1, "") == (done.returncode, done.stdout)
    assert said in done.stderr
