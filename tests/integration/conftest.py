"""The command run as a user runs it, in workspaces under pytest's temporary folder."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SMALL = ("features.image_size=64", "knowledge.budget=150", "gate.min_image_auroc=0")


def run(*arguments: object, check: bool = True, env: dict[str, str] | None = None, cwd: Path | None = None):
    """Run ``evernorm …`` and return what it printed; a failure shows its output."""
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**os.environ, "COLUMNS": "200", **(env or {})},
    )
    if check and done.returncode:
        pytest.fail(f"evernorm {' '.join(map(str, arguments))} failed:\n{done.stdout}\n{done.stderr}")
    return done


@pytest.fixture(scope="session")
def evernorm() -> Callable[..., subprocess.CompletedProcess[str]]:
    """``evernorm("learn", "--data", folder)``."""
    return run


@pytest.fixture(scope="session")
def small() -> tuple[str, ...]:
    """--set options of a stream that is learned in seconds."""
    return tuple(word for setting in SMALL for word in ("--set", setting))


@pytest.fixture(scope="session")
def learned(tmp_path_factory, small, draw_photos) -> tuple[Path, Path]:
    """A workspace that has learned two drawn classes, and the photos; tests may look, not touch."""
    folder = tmp_path_factory.mktemp("stream")
    photos = draw_photos(folder / "photos")
    run("learn", "--data", photos, "--workspace", folder / "workspace", "--summary", folder / "summary.json", *small)
    return folder / "workspace", photos
