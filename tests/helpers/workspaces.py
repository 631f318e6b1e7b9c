"""What the tests ask of a workspace: DVC's lock, DVC itself, and to die at a given step."""

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import yaml

from tasks.workspace.paths import LOCK_FILE
from tests.helpers.warm import python

MODEL = "continual-bank"

_KILLED = """
import os, pkgutil, signal, sys
owner, _, function = sys.argv.pop(1).rpartition(".")
said = sys.argv.pop(1)
owner = pkgutil.resolve_name(owner)
called = getattr(owner, function)
def die(*arguments, **options):
    if said in str((arguments[1:], options)):
        os.kill(os.getpid(), signal.SIGKILL)
    return called(*arguments, **options)
setattr(owner, function, die)
from flows.commands.cli import main
main()
"""


def lock(workspace: Path) -> dict:
    """The stages in dvc.lock."""
    return yaml.safe_load((workspace / "dvc.lock").read_text())["stages"]


def changes(client) -> list:
    """The changes of the champion that took effect, in order."""
    from tasks.tracking.ownership import Registry
    from tasks.tracking.promotions import standing

    return standing(Registry(client, MODEL))


def kill_at(moment: str, *arguments: object, said: str = "") -> None:
    """Run ``evernorm …`` and kill it (SIGKILL) where the function named would be called, and told this."""
    command = [python(), "-c", _KILLED, moment, said, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr


def outlive_stages(workspace: Path) -> None:
    """Wait until no stage writes: one that was warm dies a little later than the command that was killed."""
    with (workspace / LOCK_FILE).open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)


def git(workspace: Path, *arguments: str) -> str:
    """Run ``git …`` in the workspace and return what it printed."""
    done = subprocess.run(["git", *arguments], cwd=workspace, capture_output=True, text=True, check=True)
    return done.stdout


def dvc(workspace: Path, *arguments: str, cold: bool = False) -> str:
    """Run ``dvc …`` in the workspace and return what it printed; `cold` is as slow as for a user."""
    interpreter = sys.executable if cold else python()
    done = subprocess.run(
        [interpreter, "-m", "dvc", *arguments],
        cwd=workspace,
        env={**os.environ, "PATH": f"{Path(interpreter).parent}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
