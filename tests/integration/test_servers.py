"""Everything on real servers: inbox and DVC remote on S3, MLflow over PostgreSQL, a schedule on Prefect."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tasks.tracking.ownership import Registry
from tasks.tracking.registry import champion_of
from tasks.workspace.workspace import Workspace
from tests.helpers.warm import python
from tests.helpers.workspaces import MODEL, changes, dvc, git


@pytest.fixture(scope="module")
def factory(tmp_path_factory, s3, mlflow_server, draw_photos, evernorm, small, open_gate):
    """A workspace that looks into an empty inbox every minute, the photos, and what its commands need to know."""
    folder = tmp_path_factory.mktemp("factory")
    photos = draw_photos(folder / "photos", names=("cloth", "metal", "blue"))
    for bucket in ("inbox", "storage"):
        s3.client().create_bucket(Bucket=bucket)
    workspace = Workspace.open_or_create(folder / "workspace").root
    dvc(workspace, "remote", "add", "-d", "storage", "s3://storage/dvc")
    env = {**s3.client_environment(), "MLFLOW_TRACKING_URI": mlflow_server.url}
    options = ("--set", "watch.cron=* * * * *", *small, *open_gate)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in env.items():
            patch.setenv(name, value)
        evernorm("watch", "--once", "--workspace", workspace, "--inbox", "s3://inbox/new", *options)
        yield workspace, photos


def champion(mlflow_server) -> str | None:
    from mlflow import MlflowClient

    version = champion_of(Registry(MlflowClient(mlflow_server.url), MODEL))
    return str(version.version) if version else None


def wait_for(what, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.5)


def begun(*arguments: object, log: Path, interpreter: str) -> subprocess.Popen:
    with log.open("wb") as stream:
        command = [interpreter, "-m", "flows.commands.cli", *map(str, arguments)]
        return subprocess.Popen(command, stdout=stream, stderr=stream, start_new_session=True)


def test_a_class_dropped_into_the_inbox_becomes_champion_with_nobody_touching_anything(
    factory, evernorm, mlflow_server, tmp_path
):
    """`evernorm watch` on its schedule: the next minute's run finds it, learns it, versions and promotes it."""
    workspace, photos = factory
    watcher = begun("watch", "--workspace", workspace, log=tmp_path / "log", interpreter=sys.executable)
    try:
        evernorm("pack", photos / "cloth", "s3://inbox/new")
        wait_for(lambda: champion(mlflow_server) == "1" or watcher.poll() is not None, 400)
        wait_for(lambda: not (workspace / ".evernorm/arriving.json").exists(), 60)
    finally:
        os.killpg(watcher.pid, signal.SIGINT)
        watcher.wait(60)
    assert "1" == champion(mlflow_server), (tmp_path / "log").read_text()
    assert ["Learn cloth, version 1", "An empty stream"] == git(workspace, "log", "--format=%s").splitlines()
    assert "are in sync" in dvc(workspace, "status", "--cloud")
    image = photos / "cloth/test/good/000.png"
    assert '"class": "cloth"' in evernorm("predict", image, "--workspace", workspace, "--json").stdout


def test_an_outage_is_waited_for(factory, evernorm, s3, mlflow_server, tmp_path):
    """S3 away in mid-run, inbox, remote and MLflow's artifacts with it: the run ends as if nothing had been."""
    workspace, photos = factory
    evernorm("pack", photos / "metal", "s3://inbox/new")
    run = begun("watch", "--once", "--workspace", workspace, log=tmp_path / "log", interpreter=python())
    wait_for(lambda: (workspace / "bank/metal/prompts").exists() or run.poll() is not None, 200)
    s3.stop()
    time.sleep(10)  # benchmarks/outages.py waits longer
    s3.start()
    assert 0 == run.wait(300), (tmp_path / "log").read_text()
    assert "2" == champion(mlflow_server)
    assert "are in sync" in dvc(workspace, "status", "--cloud")


def test_what_is_away_for_good_is_told_and_the_next_run_goes_on(factory, evernorm, mlflow_server, tmp_path):
    """One sentence, no traceback, champion and commits as before; nothing of the work is lost."""
    workspace, photos = factory
    evernorm("pack", photos / "blue", "s3://inbox/new")
    before = git(workspace, "rev-parse", "HEAD")
    run = begun("watch", "--once", "--workspace", workspace, log=tmp_path / "log", interpreter=python())
    wait_for(lambda: (workspace / "bank/blue/prompts").exists() or run.poll() is not None, 200)
    mlflow_server.stop()
    try:
        assert 1 == run.wait(300)
    finally:
        mlflow_server.start()
    said = (tmp_path / "log").read_text()
    assert f"evernorm: MLflow at {mlflow_server.url} is out of reach" in said
    assert "Traceback" not in said
    assert ("2", before) == (champion(mlflow_server), git(workspace, "rev-parse", "HEAD"))
    done = evernorm("watch", "--once", "--workspace", workspace)
    assert "Learned blue: continual-bank version 3 is champion" in done.stdout
    assert "up to date" in done.stderr


def test_the_champion_judges_where_mlflow_is_away(factory, evernorm, mlflow_server):
    """From a checked copy, which says its age; damaged or missing, it judges nothing."""
    workspace, photos = factory
    arguments = ("predict", photos / "cloth/test/good/000.png", "--workspace", workspace, "--json")
    shutil.rmtree(workspace / ".evernorm/champion", ignore_errors=True)
    before = evernorm(*arguments)
    assert "" == before.stderr
    copies = workspace / ".evernorm/champion"
    mlflow_server.stop()
    try:
        done = evernorm(*arguments)
        assert before.stdout == done.stdout
        assert "MLflow is out of reach: continual-bank version 3 judges, as fetched at 20" in done.stderr
        bank = next(copies.rglob("bank.json"))
        content = bank.read_bytes()
        bank.write_bytes(content + b" ")
        assert "is damaged; delete it" in evernorm(*arguments, check=False).stderr
        shutil.rmtree(copies)
        assert "is out of reach" in evernorm(*arguments, check=False).stderr
        status = evernorm("status", "--workspace", workspace).stdout
        assert "champion: not known, as MLflow at" in status
        assert "cloth   ?" in status
        status = evernorm("status", "--workspace", workspace, env={"MLFLOW_TRACKING_URI": ""}).stdout
        assert f"set MLFLOW_TRACKING_URI={mlflow_server.url}" in status
    finally:
        mlflow_server.start()


def test_no_secret_is_in_git_config_logs_runs_or_tags(factory, s3, mlflow_server):
    """What the servers' keys are is nowhere to be read in what is kept."""
    from mlflow import MlflowClient

    workspace, _ = factory
    client = MlflowClient(mlflow_server.url)
    kept = [git(workspace, "log", "-p", "--all")]
    kept += [path.read_text(errors="replace") for path in workspace.rglob("*") if _is_text(path, workspace)]
    experiments = [each.experiment_id for each in client.search_experiments()]
    kept += [str(run.to_dictionary()) for run in client.search_runs(experiments)]
    kept += [str(dict(each)) for each in client.search_model_versions("")]
    kept += [str(change) for change in changes(client)]
    for secret in (s3.key, s3.secret):
        assert not [text for text in kept if secret in text]
    private = [workspace / ".evernorm", workspace / ".dvc/config"]
    assert not [path for path in private if path.stat().st_mode & 0o002]


def _is_text(path: Path, workspace: Path) -> bool:
    heavy = {"cache", "objects", "data", "models", "features"}
    parts = set(path.relative_to(workspace).parts)
    return path.is_file() and not parts & heavy and path.suffix not in {".png", ".safetensors", ".npy"}
