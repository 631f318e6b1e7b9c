"""One MLflow server, many workspaces: each has a registered model of its own, and nobody touches another's."""

import pytest

from evernorm.errors import RegistryError
from tasks.audit.registry import model_name
from tasks.tracking.gate import promote, standing_champion
from tasks.tracking.history import changes_of
from tasks.tracking.ownership import OWNER, ForeignError, claim, registry_of
from tasks.tracking.promotions import change_champion, settle
from tasks.tracking.registry import champion_of, register, stamp
from tasks.tracking.runs import Recorded
from tasks.workspace.workspace import Workspace


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A client of an MLflow that every workspace uses."""
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path / 'server.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    return MlflowClient(uri)


@pytest.fixture
def workspaces(tmp_path):
    """Production, and a second workspace."""
    return [Workspace.open_or_create(tmp_path / name) for name in ("production", "second")]


def add_version(client, workspace, model="continual-bank", of_run=True):
    """A version as a workspace makes it, of a run that bears its id."""
    experiment = client.get_experiment_by_name("e")
    number = experiment.experiment_id if experiment else client.create_experiment("e")
    run = client.create_run(number, tags={"evernorm.key": f"experience:{workspace.identity}:cloth:0"})
    return client.create_model_version(
        model,
        source="file:///nowhere",
        run_id=run.info.run_id if of_run else None,
        tags={"evernorm.git_commit": "0"},
    )


def test_a_second_workspace_is_refused_and_the_champion_stays(server, workspaces):
    """Before anything is made; it is told what to do, and that works."""
    production, second = workspaces
    claim.fn(production)
    add_version(server, production)
    with registry_of(production) as registry:
        change_champion(registry, "gate", "1", "first", settle(registry))
    before = [dict(each) for each in server.search_registered_models()]
    attempts = (
        lambda: claim.fn(second),
        lambda: register.fn(second, "cloth", Recorded("a", "b", {})),
        lambda: promote.fn(second, "1", "mine"),
        lambda: standing_champion.fn(second),
        lambda: changes_of(second),
    )
    for attempt in attempts:
        with pytest.raises(ForeignError, match=r"continual-bank .* belongs to another .*registry.name"):
            attempt()
    assert before == [dict(each) for each in server.search_registered_models()]
    second.configure(["registry.name=second"])
    claim.fn(second)
    with registry_of(second) as registry:
        assert champion_of(registry) is None
        add_version(server, second, "second")
        change_champion(registry, "gate", "1", "first", settle(registry))
    names = {"continual-bank", "continual-bank-promotions", "second", "second-promotions"}
    assert names == {each.name for each in server.search_registered_models()}
    claim.fn(production)


def test_the_log_of_promotions_belongs_to_a_workspace_too(server, workspaces):
    """A model whose log is another's is not to be had."""
    production, second = workspaces
    claim.fn(production)
    server.delete_registered_model("continual-bank")
    with pytest.raises(ForeignError, match=r"continual-bank-promotions of .* belongs to another"):
        claim.fn(second)
    assert ["continual-bank-promotions"] == [each.name for each in server.search_registered_models()]


def test_what_was_registered_before_there_were_owners_is_adopted_by_its_workspace(server, workspaces):
    """Also where it has no versions; another workspace is refused, and a run of nobody's is reason enough."""
    production, second = workspaces
    for name in ("continual-bank", "continual-bank-promotions"):
        server.create_registered_model(name)
        add_version(server, production, name)
    with registry_of(production) as registry:  # whoever only reads may go on as before
        assert champion_of(registry) is None
    with pytest.raises(ForeignError, match=r"its versions 1 do not come from this one"):
        claim.fn(second)
    assert {} == server.get_registered_model("continual-bank").tags
    claim.fn(production)
    for name in ("continual-bank", "continual-bank-promotions"):
        assert {OWNER: production.identity} == server.get_registered_model(name).tags
    second.configure(["registry.name=second"])
    server.create_registered_model("second")
    claim.fn(second)
    second.configure(["registry.name=third"])
    server.create_registered_model("third")
    add_version(server, second, "third", of_run=False)
    with pytest.raises(ForeignError, match=f"give it the tag {OWNER} with the value {second.identity}"):
        claim.fn(second)
    server.set_registered_model_tag("third", OWNER, second.identity)
    claim.fn(second)


def test_runs_of_an_experiment_are_tied_to_its_commit_without_a_version(server, workspaces):
    """There is no registered model then, and none is made."""
    run = server.create_run(server.create_experiment("e"))
    (workspaces[0].root / "dvc.lock").write_text("schema: '2.0'\n")
    stamp.fn(workspaces[0], [run.info.run_id])
    tags = server.get_run(run.info.run_id).data.tags
    assert workspaces[0].head == tags["evernorm.git_commit"]
    assert [] == list(server.search_registered_models())


def test_an_alias_that_no_version_has_is_no_champion(server, workspaces):
    """Neither where there is a model, nor where there is none; an alias that was asked for is refused by the caller."""
    with registry_of(workspaces[0]) as registry:
        assert champion_of(registry) is None
    claim.fn(workspaces[0])
    with pytest.raises(RegistryError, match="no version is champion"):
        standing_champion.fn(workspaces[0])


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("registry: {name: mine}\nseed: nonsense\n", "mine"),
        ("seed: 1\n", "continual-bank"),
        ("registry: {name: a/b}\n", "continual-bank"),
        ("{a: [", "continual-bank"),
        ("text", "continual-bank"),
    ],
)
def test_an_audit_finds_its_model_whatever_else_params_yaml_says(tmp_path, text, name):
    """What is damaged is to be found by the audit, and must not hide the rest from it."""
    (tmp_path / "params.yaml").write_text(text)
    assert name == model_name(tmp_path)
