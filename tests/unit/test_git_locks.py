"""Git's lock files: a killed run's are removed, a living person's are not."""

import os
import signal
import subprocess
import sys
import time

import pytest

from evernorm.errors import PipelineError
from tasks.workspace.workspace import Workspace

COMMIT = """
import sys
from pathlib import Path
from tasks.workspace.workspace import Workspace
workspace = Workspace.open(Path(sys.argv[1]))
with workspace.locked():
    workspace.git("commit", "-a", "-q", "-m", "cut short")
"""


def _with_notes(root):
    """A workspace with a file of the user's own, changed since it was committed."""
    workspace = Workspace.open_or_create(root)
    (root / "NOTES.md").write_text("mine")
    workspace.git("add", "NOTES.md")
    workspace.git("commit", "-q", "-m", "notes")
    (root / "NOTES.md").write_text("mine, changed")
    return workspace


def _until(happened):
    deadline = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def test_what_a_run_left_that_was_killed_while_git_wrote_is_removed(tmp_path):
    """Killed with its whole group in mid-commit: the next run goes on from there."""
    workspace = _with_notes(tmp_path / "w")
    hook = workspace.root / ".git/hooks/pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexec sleep 60\n")
    hook.chmod(0o755)
    run = subprocess.Popen([sys.executable, "-c", COMMIT, workspace.root], start_new_session=True)
    lock = workspace.root / ".git/index.lock"
    _until(lambda: lock.exists() or run.poll() is not None)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    assert lock.exists()
    hook.unlink()
    with workspace.locked():
        assert not lock.exists()
        workspace.git("add", "NOTES.md")


def test_a_person_who_is_committing_is_not_disturbed(tmp_path):
    """While their editor is open their lock stays, and the run is told who is at work."""
    workspace = _with_notes(tmp_path / "w")
    environment = {**os.environ, "GIT_EDITOR": "sleep 60 #"}
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-a"]
    (workspace.root / ".evernorm/git").touch()  # as if a run had been killed in a git command before
    person = subprocess.Popen(
        command, cwd=workspace.root, env=environment, start_new_session=True, stdout=subprocess.DEVNULL
    )
    lock = workspace.root / ".git/index.lock"
    try:
        _until(lock.exists)
        with (
            pytest.raises(PipelineError, match=rf"git \(process {person.pid}\) is at work"),
            workspace.locked(),
        ):
            pass
        assert lock.exists()
    finally:
        os.killpg(person.pid, signal.SIGKILL)
        person.wait()


def test_a_lock_that_no_run_of_ours_left_is_for_a_person_to_remove(tmp_path):
    """Its owner may be on another machine, where no process can be looked for."""
    workspace = Workspace.open_or_create(tmp_path / "w")
    lock = workspace.root / ".git/index.lock"
    lock.touch()
    with pytest.raises(PipelineError, match=r"index.lock was left by .*remove it"), workspace.locked():
        pass
    (workspace.root / ".evernorm/git").touch()  # the run was killed in a git command that began after that
    os.utime(lock, (time.time() - 60, time.time() - 60))
    with pytest.raises(PipelineError, match=r"index.lock was left by .*remove it"), workspace.locked():
        pass
    assert lock.exists()
    lock.unlink()
    with workspace.locked():
        pass
