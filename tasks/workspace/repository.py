"""DVC in this process, quiet: its faults reach the user through evernorm's errors."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dvc.repo import Repo


@contextmanager
def open_repo(root: Path) -> "Iterator[Repo]":
    """Open the DVC repository of a workspace, from inside it: DVC takes paths from the current directory."""
    from dvc.repo import Repo

    _prepare()
    root = root.resolve()
    with chdir(root), Repo(str(root)) as repo:
        yield repo


def lock_is_whole(path: Path) -> bool:
    """Whether a dvc.lock is missing or can be read; DVC writes it in place, so a kill can cut it short."""
    import yaml
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from voluptuous import Invalid

    if not path.is_file():
        return True
    try:
        # The C loader, as the file grows with the stream.
        COMPILED_LOCKFILE_SCHEMA(yaml.load(path.read_bytes(), yaml.CSafeLoader))
    except (yaml.YAMLError, Invalid):
        return False
    return True


def init_repo(root: Path) -> None:
    """Make a DVC repository in a Git repository, with telemetry and update checks off."""
    from dvc.repo import Repo

    _prepare()
    if not (root / ".dvc" / "config").is_file():
        Repo.init(str(root)).close()
    with Repo(str(root)) as repo, repo.config.edit("repo") as config:
        config["core"] = {
            **config.get("core", {}),
            "analytics": False,
            "check_update": False,
            "autostage": False,
        }


def _prepare() -> None:
    """Stages run the interpreter of this process, also where its environment is not activated."""
    scripts = str(Path(sys.executable).parent)
    if not os.environ.get("PATH", "").startswith(scripts):
        os.environ["PATH"] = os.pathsep.join([scripts, os.environ.get("PATH", "")])
    logging.getLogger("dvc").setLevel(logging.CRITICAL)
