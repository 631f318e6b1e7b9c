"""What nothing has touched since a run was done with it costs the next run nothing; whatever touches it is seen."""

import subprocess
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import yaml

from tasks.tracking import settled as notes
from tasks.tracking.runs import Recorded
from tasks.workspace.pipeline import STAGES, reproduce
from tasks.workspace.workspace import Workspace

STAGE = """
  {stage}:
    foreach: ${{stream}}
    do:
      cmd: mkdir -p bank/${{key}} && cp data/${{key}}/train.json bank/${{key}}/{stage}.json
      deps: ["data/${{key}}/train.json", rules.txt]
      params: [seed]
      outs: ["bank/${{key}}/{stage}.json"]
"""


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A workspace of two classes whose stages copy a file."""
    workspace = Workspace.open_or_create(tmp_path_factory.mktemp("settled") / "w")
    stages = "".join(STAGE.format(stage=stage) for stage in STAGES)
    (workspace.root / "dvc.yaml").write_text(f"stages:\n{stages}")
    (workspace.root / "rules.txt").write_text("rules")
    workspace.configure(order=["cloth", "metal"])
    for name in ("cloth", "metal"):
        workspace.paths.data(name).mkdir()
        workspace.paths.training(name).write_text(name)
    return workspace


@pytest.fixture(autouse=True)
def tracking(monkeypatch):
    """MLflow has every run that is asked for, unless a test says otherwise."""
    there = SimpleNamespace(complete=True)

    @contextmanager
    def connected(_workspace):
        yield None

    monkeypatch.setattr(notes, "connected", connected)
    monkeypatch.setattr(notes, "is_complete", lambda _client, _run: there.complete)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://here")
    return there


def settle(workspace, *names):
    """Bring everything up to date and note it."""
    with workspace.dvc.ask("a test") as repo:
        repo.reproduce()
    recorded = {name: Recorded("stream", name, {"masks": 1.0}) for name in names}
    notes.settle.fn(workspace, recorded)
    return recorded


def settled(workspace):
    """The classes that would cost nothing now."""
    return list(notes.settled.fn(workspace, workspace.params.order))


def changed_lock(root):
    lock = yaml.safe_load((root / "dvc.lock").read_text())
    lock["stages"]["weibull@metal"]["outs"][0]["md5"] = "0" * 32
    (root / "dvc.lock").write_text(yaml.safe_dump(lock, sort_keys=False))


def removed_object(root):
    lock = yaml.safe_load((root / "dvc.lock").read_text())
    digest = lock["stages"]["weibull@metal"]["outs"][0]["md5"]
    (root / ".dvc/cache/files/md5" / digest[:2] / digest[2:]).unlink()


CHANGES = {
    "data": (lambda root: (root / "data/metal/train.json").write_text("other"), ["cloth"]),
    "an output": (lambda root: (root / "bank/metal/masks.json").unlink(), ["cloth"]),
    "an object of the cache": (removed_object, ["cloth"]),
    "the lock": (changed_lock, ["cloth"]),
    "a file that all read": (lambda root: (root / "rules.txt").write_text("other"), []),
    "a parameter": (lambda root: Workspace(root).configure(["seed=1"]), []),
    "the pipeline": (
        lambda root: (root / "dvc.yaml").write_text((root / "dvc.yaml").read_text() + "# other\n"),
        [],
    ),
    "the gate, which no stage reads": (
        lambda root: Workspace(root).configure(["gate.max_forgetting=1"]),
        None,
    ),
    "another class": (lambda root: Workspace(root).configure(order=["cloth", "metal", "blue"]), None),
    "the order": (lambda root: Workspace(root).configure(order=["metal", "cloth"]), []),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_was_touched_is_looked_at_again_and_what_follows_it(learned, what):
    """Data, results, DVC's lock and cache, parameters, the pipeline; and no more than that."""
    learned.configure(order=["cloth", "metal"])
    recorded = settle(learned, "cloth", "metal")
    assert recorded == notes.settled.fn(learned, ["cloth", "metal"])
    change, left = CHANGES[what]
    change(learned.root)
    assert (["cloth", "metal"] if left is None else left) == settled(learned)


def test_what_changed_while_a_run_was_at_work_is_not_noted(learned):
    """Its results are not of what lies there now, though nothing touches it after the run."""
    learned.configure(order=["cloth", "metal"])
    settle(learned, "cloth", "metal")
    learned.paths.training("metal").write_text("changed meanwhile")
    (learned.root / ".evernorm/settled.json").unlink()
    notes.settle.fn(learned, {name: Recorded("stream", name, {}) for name in ("cloth", "metal")})
    assert ["cloth"] == settled(learned)


def test_what_mlflow_has_lost_or_never_had_is_recorded_again(learned, tracking, monkeypatch):
    """Another server, or the same without its database."""
    learned.configure(order=["cloth", "metal"])
    settle(learned, "cloth", "metal")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@there")
    assert [] == settled(learned)
    settle(learned, "cloth", "metal")
    assert ["cloth", "metal"] == settled(learned)
    assert "secret" not in (learned.root / ".evernorm/settled.json").read_text()
    tracking.complete = False
    assert [] == settled(learned)


def test_dvc_is_opened_once_however_many_stages_there_are(learned, monkeypatch):
    """And sees what was changed in between."""
    from dvc.repo import Repo

    opened = []
    original = Repo.__init__
    monkeypatch.setattr(
        Repo, "__init__", lambda *given, **named: opened.append(1) or original(*given, **named)
    )
    workspace = Workspace.open(learned.root)
    with workspace.locked():
        for seed in (5, 6):
            workspace.configure([f"seed={seed}"])
            for stage in STAGES:
                reproduce.fn(workspace, stage, "cloth")
    assert [1] == opened
    assert (
        6
        == yaml.safe_load((workspace.root / "dvc.lock").read_text())["stages"]["masks@cloth"]["params"][
            "params.yaml"
        ]["seed"]
    )


def test_params_are_read_once_until_they_are_written(learned, monkeypatch):
    """By whomever: another process, or a person's editor."""
    from tasks.workspace import workspace as module

    read, original = [], module.load_params
    monkeypatch.setattr(module, "load_params", lambda path: read.append(1) or original(path))
    workspace = Workspace.open(learned.root)
    path = workspace.root / "params.yaml"
    path.write_text(path.read_text().replace("max_forgetting: 0.02", "max_forgetting: 0.03"))
    assert workspace.params == (before := workspace.params)
    path.write_text(f"{path.read_text()}\n# more\n")
    assert before == Workspace.open(learned.root).params
    assert [1, 1] == read


def test_git_is_told_a_name_only_where_it_commits(tmp_path, monkeypatch):
    """Every other question is one process."""
    workspace = Workspace.open_or_create(tmp_path / "w")
    asked, original = [], subprocess.run
    monkeypatch.setattr(
        subprocess, "run", lambda *given, **named: asked.append(1) or original(*given, **named)
    )
    assert workspace.committed(workspace.root / "params.yaml")
    assert [1] == asked
