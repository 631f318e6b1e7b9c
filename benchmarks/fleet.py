"""A fleet on one machine for benchmarks: servers, workers of the pool `cpu`, and workspaces with remotes."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))

from infra.services.ports import free_ports
from infra.services.servers import POSTGRES, MLflow, Postgres, Prefect
from infra.services.service import Service, client_environment, stop
from infra.services.worker import Worker

POOL = "cpu"
BUILDS = "refs/evernorm/builds"
FOLDERS = ("data", "masks", "bank", "features", "models", "metrics")
OPEN_GATE = (
    *(f"gate.{bound}=0" for bound in ("min_image_auroc", "min_routing_accuracy", "min_detection_rate")),
    *(f"gate.{bound}=1" for bound in ("max_forgetting", "max_false_alarm_rate")),
)


@contextmanager
def servers(home: Path) -> "Iterator[Callable[..., Worker]]":
    """Prefect and MLflow, over PostgreSQL where that is installed; gives what makes a worker of a name, and of a pool.

    Workers, their flows and what else is started from here have one thread each.
    """
    home.chmod(0o711)  # PostgreSQL is another user where we are root
    database = Postgres(home, free_ports()[0], ("mlflow", "prefect")) if POSTGRES else None
    begun: list[Service] = []
    try:
        if database is not None:
            begun.append(database)
            database.start()
        runs = database.uri("psycopg2", "mlflow") if database else f"sqlite:///{home / 'mlflow.db'}"
        behind = (database,) if database else ()
        offered = (
            Prefect(home, free_ports()[0], database, ui=False),
            MLflow(home, free_ports()[0], runs, str(home / "artifacts"), behind),
        )
        for server in offered:
            begun.append(server)
            server.begin()
        for server in offered:
            server.wait()
        os.environ.update(client_environment(offered))
        os.environ["OMP_NUM_THREADS"] = "1"
        yield lambda name, pool=POOL: Worker(home, pool, offered, name)
    finally:
        for each in reversed(begun):
            stop([each])


def workspace_in(place: Path, settings: Sequence[str]) -> Path:
    """An empty workspace in a folder, with a Git and a DVC remote beside it and a registered model of its own."""
    from tasks.workspace.workspace import Workspace

    place.mkdir()
    workspace = Workspace.open_or_create(place / "workspace")
    workspace.configure([*settings, f"registry.name={place.name}"])
    run("git", "init", "-q", "--bare", "-b", "main", place / "origin.git")
    workspace.git("remote", "add", "origin", str(place / "origin.git"))
    (place / "storage").mkdir()
    with workspace.dvc.ask("dvc remote") as repo, repo.config.edit("repo") as config:
        config["remote"] = {"storage": {"url": str(place / "storage")}}
        config["core"]["remote"] = "storage"
    workspace.dvc.close()
    return workspace.root


def inbox_in(root: Path, names: Sequence[str]) -> Path:
    """An inbox with drawn classes, packed."""
    from tests.helpers.photos import draw_photos

    draw_photos(root / "photos", names=names)
    inbox = root / "inbox"
    inbox.mkdir()
    for name in names:
        run(*evernorm("pack", root / "photos" / name, inbox))
    return inbox


def evernorm(*arguments: object) -> list[str]:
    """The command ``evernorm …``."""
    return [sys.executable, "-m", "flows.commands.cli", *map(str, arguments)]


def run(*command: object, cwd: Path | None = None) -> str:
    """Run a command that has to succeed; what it printed."""
    done = subprocess.run([*map(str, command)], cwd=cwd, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def made(workspace: Path) -> dict[str, Any]:
    """What does not depend on who has built it: DVC's records and the bytes of every file."""
    from evernorm.files import sha256_file

    files = [path for folder in FOLDERS for path in (workspace / folder).rglob("*")]
    return {
        "records": yaml.safe_load((workspace / "dvc.lock").read_text())["stages"],
        "bytes": {str(path.relative_to(workspace)): sha256_file(path) for path in files if path.is_file()},
    }
