"""The MLflow that keeps a workspace's history: noted once, another one refused, changed by a person alone."""

import pytest

from evernorm.errors import PipelineError
from tasks.faults import PassingError
from tasks.tracking.moving import move_tracking
from tasks.tracking.ownership import claim, registry_of
from tasks.tracking.registry import champion_of
from tasks.tracking.server import connected, noted_server
from tasks.workspace.workspace import Workspace


@pytest.fixture
def workspace(tmp_path):
    return Workspace.open_or_create(tmp_path / "workspace")


@pytest.fixture
def servers(tmp_path, monkeypatch):
    """``servers(name)`` names an MLflow, ``servers(None)`` none."""

    def name(which: str | None) -> str:
        uri = f"sqlite:///{tmp_path / str(which)}.db"
        if which is None:
            monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        else:
            monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        return uri

    return name


def test_a_workspace_notes_where_its_history_is_and_refuses_another(workspace, servers, monkeypatch):
    """None, too; whoever only looks notes nothing; each refusal says what to set. A person may move it, to one that is there."""
    uri = servers("here")
    with registry_of(workspace) as registry:
        assert champion_of(registry) is None
    assert noted_server(workspace) is None
    claim.fn(workspace)
    assert uri == noted_server(workspace)
    claim.fn(workspace)
    for other, says in ((None, "MLFLOW_TRACKING_URI is not set"), ("there", "MLFLOW_TRACKING_URI names")):
        servers(other)
        with pytest.raises(PipelineError, match=says) as refused, connected(workspace):
            pass
        assert f"set MLFLOW_TRACKING_URI={uri}" in str(refused.value)
        assert "evernorm move-tracking" in str(refused.value)
    assert not (workspace.root / "mlflow.db").exists()
    uri = servers("there")
    assert move_tracking(workspace) is None
    assert uri == noted_server(workspace)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")  # as the commands have it
    with pytest.raises(PassingError, match="out of reach"):
        move_tracking(workspace)
    assert uri == noted_server(workspace)


def test_its_own_database_is_noted_too(workspace, servers):
    """Wherever the workspace is: a copy of it has its own."""
    servers(None)
    claim.fn(workspace)
    assert "the workspace's own database" == noted_server(workspace)
    servers("there")
    with pytest.raises(PipelineError, match="unset MLFLOW_TRACKING_URI"), connected(workspace):
        pass


def test_no_password_is_noted(workspace, monkeypatch):
    """Nor is a slash at the end another server."""
    from tasks.tracking import server

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@mlflow.example/")
    server.remember(workspace)
    assert "http://mlflow.example" == noted_server(workspace)
    assert "secret" not in (workspace.root / ".evernorm/tracking.json").read_text()
