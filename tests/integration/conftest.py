"""The command run as a user runs it, in workspaces under pytest's temporary folder."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from infra.services.ports import free_ports
from infra.services.servers import POSTGRES, S3, S3_PORTS, MLflow
from tests.helpers import backends
from tests.helpers.warm import python, warm_interpreter
from tests.helpers.workspaces import outlive_stages

SMALL = (
    "features.image_size=64",
    "patchcore_cl.knowledge.budget=150",
    "gate.min_image_auroc=0",
    "gate.min_detection_rate=0",
)
OPEN_GATE = (
    "gate.min_image_auroc=0",
    "gate.min_routing_accuracy=0",
    "gate.max_forgetting=1",
    "gate.max_false_alarm_rate=1",
    "gate.min_detection_rate=0",
)
# Epochs enough to be killed between two of them; no margin, so that two classes suffice to tell a third from.
UCAD = (
    "method=ucad",
    "features.image_size=64",
    "ucad.prompts.epochs=20",
    "ucad.prompts.stopping=last",
    "ucad.evaluate.unknown_margin=0",
    *OPEN_GATE,
)

_EMPTY = """
import sys
from pathlib import Path
from tasks.tracking.server import connected
from tasks.workspace.workspace import Workspace
with connected(Workspace.open_or_create(Path(sys.argv[1]))):
    pass
"""


def pytest_itemcollected(item: pytest.Item) -> None:
    """Everything in this folder takes processes and seconds."""
    item.add_marker(pytest.mark.integration)


def run(
    *arguments: object,
    check: bool = True,
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
    cold: bool = False,
):
    """Run ``evernorm …`` and return what it printed; a failure shows its output; `cold` is as slow as for a user."""
    done = subprocess.run(
        [sys.executable if cold else python(), "-m", "flows.commands.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**os.environ, "COLUMNS": "200", **(env or {})},
    )
    if check and done.returncode:
        pytest.fail(f"evernorm {' '.join(map(str, arguments))} failed:\n{done.stdout}\n{done.stderr}")
    return done


def _options(settings: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(word for setting in settings for word in ("--set", setting))


@pytest.fixture(scope="session")
def evernorm() -> Callable[..., subprocess.CompletedProcess[str]]:
    """``evernorm("learn", "--data", folder)``."""
    return run


@pytest.fixture(scope="session")
def small() -> tuple[str, ...]:
    """--set options of a stream that is learned in seconds."""
    return _options(SMALL)


@pytest.fixture(scope="session")
def open_gate() -> tuple[str, ...]:
    """--set options with which every candidate becomes champion."""
    return _options(OPEN_GATE)


@pytest.fixture(scope="session")
def ucad() -> tuple[str, ...]:
    """--set options of a stream that is learned with UCAD in seconds."""
    return _options(UCAD)


@pytest.fixture(scope="session", autouse=True)
def prefect_server(run_folder, tmp_path_factory) -> Iterator[str]:
    """A real Prefect server on loopback, one for all workers: starting one costs as much as learning several classes."""
    url, users = run_folder / "prefect.url", run_folder / "prefect.users"
    with (
        (run_folder / "prefect.lock").open("w") as lock,
        users.open("w") as using,
        ExitStack() as mine,
    ):
        fcntl.flock(lock, fcntl.LOCK_EX)
        started = not url.exists()
        if started:
            server = mine.enter_context(backends.prefect_server(tmp_path_factory.mktemp("prefect")))
            url.write_text(server.url)
        fcntl.flock(using, fcntl.LOCK_SH)
        fcntl.flock(lock, fcntl.LOCK_UN)
        os.environ["PREFECT_API_URL"] = url.read_text()
        yield os.environ["PREFECT_API_URL"]
        del os.environ["PREFECT_API_URL"]
        fcntl.flock(using, fcntl.LOCK_UN)
        if started:
            # Whoever comes later starts another; those who use this one are waited for, also those that crash.
            fcntl.flock(lock, fcntl.LOCK_EX)
            url.unlink()
            fcntl.flock(using, fcntl.LOCK_EX)


@pytest.fixture(scope="session", autouse=True)
def warm(prefect_server) -> Iterator[None]:
    """The interpreter of the commands."""
    with warm_interpreter():
        yield


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory, s3) -> Iterator[MLflow]:
    """A real MLflow server on loopback: PostgreSQL behind it, artifacts in the S3 server."""
    if POSTGRES is None:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    with backends.postgres("mlflow") as database:
        runs, home = database.uri("psycopg2", "mlflow"), tmp_path_factory.mktemp("mlflow")
        server = MLflow(home, free_ports()[0], runs, "s3://mlflow/artifacts", (database, s3))
        with backends.running(server):
            yield server


@pytest.fixture(scope="session")
def s3(tmp_path_factory) -> Iterator[S3]:
    """A real S3 server on loopback; a test that stops it starts it again."""
    with backends.running(S3(tmp_path_factory.mktemp("s3"), free_ports(S3_PORTS)[0], ("mlflow",))) as server:
        yield server


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory) -> Path:
    """The folder that all workers of this run see."""
    base: Path = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def once(run_folder) -> Callable[[str, Callable[[Path], None]], Path]:
    """``once(name, make)``: a folder that one of the workers makes for all; tests may look, not touch."""

    def folder(name: str, make: Callable[[Path], None]) -> Path:
        with (run_folder / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (run_folder / f"{name}.made").exists():
                shutil.rmtree(run_folder / name, ignore_errors=True)  # of a worker that failed to
                (run_folder / name).mkdir()
                make(run_folder / name)
                (run_folder / f"{name}.made").touch()
        return run_folder / name

    return folder


@pytest.fixture(scope="session")
def fresh(once) -> Callable[[Path], Path]:
    """``fresh(root)``: an empty workspace with MLflow's database, which takes seconds to make."""

    def make(folder: Path) -> None:
        command = [python(), "-c", _EMPTY, str(folder / "workspace")]
        subprocess.run(command, check=True, capture_output=True)

    def copy(root: Path) -> Path:
        return Path(shutil.copytree(once("empty", make) / "workspace", root, symlinks=True))

    return copy


@pytest.fixture(scope="session")
def learned(once, small, draw_photos) -> tuple[Path, Path]:
    """A workspace that has learned two drawn classes, and the photos; tests may look, not touch."""

    def make(folder: Path) -> None:
        photos = draw_photos(folder / "photos")
        arguments = ("learn", "--data", photos, "--workspace", folder / "workspace")
        run(*arguments, "--summary", folder / "summary.json", *small)

    folder = once("learned", make)
    return folder / "workspace", folder / "photos"


@pytest.fixture(scope="session")
def learned_one(once, fresh, learned, small) -> Path:
    """A workspace that has learned the first of these classes; tests may look, not touch."""

    def make(folder: Path) -> None:
        arguments = ("learn", "--data", learned[1], "--workspace", fresh(folder / "workspace"))
        run(*arguments, "--order", "cloth", *small)

    return once("learned_one", make) / "workspace"


@pytest.fixture(scope="session")
def three_learned(once, learned, small, open_gate, draw_photos) -> Path:
    """A copy of `learned` that has learned a third class too, beside the photos; tests may look, not touch."""

    def make(folder: Path) -> None:
        photos = draw_photos(folder / "photos", names=("cloth", "metal", "blue"))
        workspace = shutil.copytree(learned[0], folder / "workspace", symlinks=True)
        options = ("--order", "cloth,metal,blue", *small, *open_gate)
        run("learn", "--data", photos, "--workspace", workspace, *options)

    return once("three_learned", make) / "workspace"


@pytest.fixture(scope="session")
def adapted(once, fresh, ucad, draw_photos) -> tuple[Path, Path]:
    """A workspace that has learned two drawn classes with UCAD, and photos of three; tests may look, not touch."""

    def make(folder: Path) -> None:
        photos = draw_photos(folder / "photos", names=("cloth", "metal", "blue"))
        workspace = fresh(folder / "workspace")
        arguments = ("learn", "--data", photos, "--workspace", workspace, "--order", "cloth,metal")
        said = run(*arguments, "--summary", folder / "summary.json", *ucad).stdout
        (folder / "said.txt").write_text(said)

    folder = once("adapted", make)
    return folder / "workspace", folder / "photos"


@pytest.fixture(scope="session")
def three_adapted(once, adapted, ucad) -> Path:
    """A copy of it that has learned the third class too; tests may look, not touch."""

    def make(folder: Path) -> None:
        workspace = shutil.copytree(adapted[0], folder / "workspace", symlinks=True)
        run("learn", "--data", adapted[1], "--workspace", workspace, "--order", "cloth,metal,blue", *ucad)

    return once("three_adapted", make) / "workspace"


@pytest.fixture(scope="session")
def interrupted(once, fresh, adapted, ucad) -> tuple[Path, int]:
    """A workspace that learned one class with UCAD, killed between two epochs and begun again; and how many those were."""

    def make(folder: Path) -> None:
        arguments = [
            "learn",
            "--data",
            adapted[1],
            "--workspace",
            fresh(folder / "workspace"),
            "--order",
            "cloth",
            *ucad,
        ]
        training = folder / "workspace/.evernorm/training/cloth"

        def epochs() -> int:
            histories = [json.loads(path.read_text()) for path in training.glob("*/history.json")]
            return max((len(each["loss"]) for each in histories), default=0)

        process = subprocess.Popen(
            [python(), "-m", "flows.commands.cli", *map(str, arguments)],
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 240
        while epochs() < 3 and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        outlive_stages(folder / "workspace")
        (folder / "epochs.txt").write_text(str(epochs()))
        # A training that began anew would write its first epoch here, and fail.
        (checkpoint,) = training.iterdir()
        (checkpoint / "epoch-0001.safetensors").mkdir()
        run(*arguments)

    folder = once("interrupted", make)
    return folder / "workspace", int((folder / "epochs.txt").read_text())
