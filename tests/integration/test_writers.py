"""Two checkouts of one workspace on two machines, both writing: the Git remote lets one of them win."""

import os
import shutil
import stat
import subprocess

import pytest
from mlflow import MlflowClient

from tasks.tracking.ownership import Registry
from tasks.tracking.registry import champion_of, classes_of
from tests.helpers.warm import python
from tests.helpers.workspaces import MODEL, dvc, git


@pytest.fixture
def writers(learned_one, tmp_path, monkeypatch):
    """Two checkouts that know one class, the Git remote, and the MLflow of both."""
    one, two, origin = (tmp_path / name for name in ("one", "two", "origin.git"))
    shutil.copytree(learned_one, one, symlinks=True)
    git(tmp_path, "init", "-q", "--bare", "-b", "main", origin)
    git(one, "remote", "add", "origin", str(origin))
    dvc(one, "remote", "add", "-d", "storage", str(tmp_path / "storage"))
    git(one, "-c", "user.name=me", "-c", "user.email=me@here", "commit", "-qam", "Remotes")
    git(one, "push", "-q", "origin", "main")
    dvc(one, "push", "--run-cache")
    git(tmp_path, "clone", "-q", origin, two)
    (two / ".evernorm").mkdir()
    shutil.copy(one / ".evernorm/workspace.json", two / ".evernorm")
    dvc(two, "pull", "--run-cache")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{one}/mlflow.db")
    return one, two, origin, Registry(MlflowClient(os.environ["MLFLOW_TRACKING_URI"]), MODEL)


def subjects(origin) -> list[str]:
    """What the Git remote has, the latest first."""
    return [line for line in git(origin, "log", "--format=%s", "main").splitlines() if "Learn" in line]


def test_of_two_writers_one_wins_and_the_other_goes_on_from_there(
    writers, learned, evernorm, draw_photos, small, open_gate, tmp_path
):
    """Nothing of the slower one is served; its next run learns on top of the faster one's, and both end alike."""
    one, two, origin, registry = writers
    photos = draw_photos(tmp_path / "photos", names=("cloth", "metal", "blue"))
    settings = (*small, *open_gate)
    learn = ("learn", "--data", photos, "--order")
    # Just before the second pushes, the first learns another class.
    faster = [python(), "-m", "flows.commands.cli", *learn, "cloth,blue", "--workspace", one, *settings]
    hook = two / ".git/hooks/pre-push"
    hook.write_text(f'#!/bin/sh\nrm "$0"\nunset GIT_DIR\n{" ".join(map(repr, map(str, faster)))} >&2\n')
    hook.chmod(hook.stat().st_mode | stat.S_IXUSR)
    done = evernorm(*learn, "cloth,metal", "--workspace", two, *settings, check=False)
    assert 1 == done.returncode, done.stderr
    assert "another writer was first: 'Learn blue, version 3'" in done.stderr
    assert "Traceback" not in done.stderr
    assert ["Learn blue, version 3", "Learn cloth, version 1"] == subjects(origin)
    assert 3 == int(champion_of(registry).version)
    assert "refused" == registry.version("2").tags["gate"]
    assert "evernorm.git_commit" not in registry.version("2").tags

    lost = git(two, "rev-parse", "HEAD").strip()
    done = evernorm(*learn, "cloth,metal", "--workspace", two, *settings)
    assert ["Learn metal, version 4", "Learn blue, version 3"] == subjects(origin)[:2]
    assert ["cloth", "blue", "metal"] == classes_of(champion_of(registry))
    assert f"commit refs/evernorm/overtaken/{lost}" in git(
        two, "for-each-ref", "--format=%(objecttype) %(refname)"
    )
    ran = [line for line in done.stderr.splitlines() if line.strip().startswith(("knowledge", "evaluate"))]
    assert not any("knowledge" in line for line in ran), "what was built is in the run cache"
    assert 0 == evernorm("audit", "--workspace", two, check=False).returncode

    # What was set in the first meanwhile stays.
    evernorm("watch", "--once", "--workspace", one, "--inbox", _inbox(tmp_path))
    git(two, "-c", "user.name=me", "-c", "user.email=me@here", "commit", "-q", "--allow-empty", "-m", "Ahead")
    git(two, "push", "-q")
    evernorm("watch", "--once", "--workspace", one)
    assert git(origin, "rev-parse", "main") == git(one, "rev-parse", "HEAD")
    assert " M params.yaml\n" == git(one, "status", "--porcelain")  # where its inbox is
    assert "inbox" in git(one, "diff", "params.yaml")
    assert "are in sync" in dvc(one, "status", "--cloud")


def test_what_is_changed_here_is_not_lost_to_another_writer(writers, evernorm):
    """Said, with what to do; nothing is taken over."""
    one, two, _, _ = writers
    git(one, "-c", "user.name=me", "-c", "user.email=me@here", "commit", "-q", "--allow-empty", "-m", "Ahead")
    git(one, "push", "-q", "origin", "main")
    (two / "metrics/cloth.json").write_text("{}")
    before = git(two, "rev-parse", "HEAD")
    done = evernorm("threshold", "cloth", "--rate", "0.1", "--reason", "why", "--workspace", two, check=False)
    assert 1 == done.returncode
    assert (
        "another writer has gone ahead on main of the Git remote origin, and here metrics/cloth.json differ"
        in done.stderr
    )
    assert before == git(two, "rev-parse", "HEAD")
    assert "{}" == (two / "metrics/cloth.json").read_text()


def test_another_history_is_refused(writers, evernorm, tmp_path):
    """A Git remote that holds something else."""
    one, _, _, _ = writers
    other = tmp_path / "other"
    subprocess.run(["git", "init", "-q", "-b", "main", other], check=True)
    git(
        other, "-c", "user.name=me", "-c", "user.email=me@here", "commit", "-q", "--allow-empty", "-m", "Else"
    )
    git(one, "remote", "set-url", "origin", str(other))
    done = evernorm("threshold", "cloth", "--rate", "0.1", "--reason", "why", "--workspace", one, check=False)
    assert 1 == done.returncode
    assert "main of the Git remote origin has another history" in done.stderr


def _inbox(folder):
    (folder / "inbox").mkdir()
    return folder / "inbox"
