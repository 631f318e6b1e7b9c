"""What the tests ask of a workspace: DVC's lock, and DVC itself."""

import os
import subprocess
import sys
from pathlib import Path

import yaml


def lock(workspace: Path) -> dict:
    """The stages in dvc.lock."""
    return yaml.safe_load((workspace / "dvc.lock").read_text())["stages"]


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
