"""What the tests ask of a workspace: DVC's lock, DVC itself, and to die at a given step."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import yaml

_KILLED = """
import os, pkgutil, signal, sys
owner, _, function = sys.argv.pop(1).rpartition(".")
setattr(pkgutil.resolve_name(owner), function, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
from flows.cli import main
main()
"""


def lock(workspace: Path) -> dict:
    """The stages in dvc.lock."""
    return yaml.safe_load((workspace / "dvc.lock").read_text())["stages"]


def kill_at(moment: str, *arguments: object) -> None:
    """Run ``evernorm …`` and kill it (SIGKILL) where the function named would be called."""
    command = [sys.executable, "-c", _KILLED, moment, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr


def git(workspace: Path, *arguments: str) -> str:
    """Run ``git …`` in the workspace and return what it printed."""
    done = subprocess.run(["git", *arguments], cwd=workspace, capture_output=True, text=True, check=True)
    return done.stdout


def dvc(workspace: Path, *arguments: str) -> str:
    """Run ``dvc …`` in the workspace and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=workspace,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
