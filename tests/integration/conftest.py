"""The command run as a user runs it, in workspaces under pytest's temporary folder."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from backends import POSTGRES, MLflowServer, PrefectServer
from servers import S3Server

SMALL = ("features.image_size=64", "knowledge.budget=150", "gate.min_image_auroc=0")
OPEN_GATE = (
    "gate.min_image_auroc=0",
    "gate.min_routing_accuracy=0",
    "gate.max_forgetting=1",
    "gate.max_false_alarm_rate=1",
)
# Epochs enough to be killed between two of them; no margin, so that two classes suffice to tell a third from.
UCAD = (
    "method=ucad",
    "features.image_size=64",
    "prompts.epochs=20",
    "prompts.stopping=last",
    "weibull.unknown_margin=0",
    *OPEN_GATE,
)


def run(*arguments: object, check: bool = True, env: dict[str, str] | None = None, cwd: Path | None = None):
    """Run ``evernorm …`` and return what it printed; a failure shows its output."""
    done = subprocess.run(
        [sys.executable, "-m", "flows.commands.cli", *map(str, arguments)],
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
def prefect_server(tmp_path_factory) -> Iterator[str]:
    """A real Prefect server on loopback, so that not every command starts one of its own."""
    server = PrefectServer(tmp_path_factory.mktemp("prefect"))
    server.start()
    os.environ["PREFECT_API_URL"] = server.url
    yield server.url
    del os.environ["PREFECT_API_URL"]
    server.stop()


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory, s3) -> Iterator[MLflowServer]:
    """A real MLflow server on loopback: PostgreSQL behind it, artifacts in the S3 server."""
    if POSTGRES is None:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    s3.client().create_bucket(Bucket="mlflow")
    server = MLflowServer(tmp_path_factory.mktemp("mlflow"), "s3://mlflow/artifacts", s3.env())
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def s3(tmp_path_factory) -> Iterator[S3Server]:
    """A real S3 server on loopback; a test that stops it starts it again."""
    server = S3Server(tmp_path_factory.mktemp("s3"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def learned(tmp_path_factory, small, draw_photos) -> tuple[Path, Path]:
    """A workspace that has learned two drawn classes, and the photos; tests may look, not touch."""
    folder = tmp_path_factory.mktemp("stream")
    photos = draw_photos(folder / "photos")
    run(
        "learn",
        "--data",
        photos,
        "--workspace",
        folder / "workspace",
        "--summary",
        folder / "summary.json",
        *small,
    )
    return folder / "workspace", photos


@pytest.fixture(scope="session")
def adapted(tmp_path_factory, ucad, draw_photos) -> tuple[Path, Path]:
    """A workspace that has learned two drawn classes with UCAD, and photos of three; tests may look, not touch."""
    folder = tmp_path_factory.mktemp("adapted")
    photos = draw_photos(folder / "photos", names=("cloth", "metal", "blue"))
    workspace, summary = folder / "workspace", folder / "summary.json"
    arguments = ("learn", "--data", photos, "--workspace", workspace, "--order", "cloth,metal")
    (folder / "said.txt").write_text(run(*arguments, "--summary", summary, *ucad).stdout)
    return workspace, photos


@pytest.fixture(scope="session")
def three_adapted(tmp_path_factory, adapted, ucad) -> Path:
    """A copy of it that has learned the third class too; tests may look, not touch."""
    workspace = tmp_path_factory.mktemp("three") / "workspace"
    shutil.copytree(adapted[0], workspace, symlinks=True)
    run("learn", "--data", adapted[1], "--workspace", workspace, "--order", "cloth,metal,blue", *ucad)
    return workspace


@pytest.fixture(scope="session")
def interrupted(tmp_path_factory, adapted, ucad) -> tuple[Path, int]:
    """A workspace that learned one class with UCAD, killed between two epochs and begun again; and how many those were."""
    workspace = tmp_path_factory.mktemp("interrupted") / "workspace"
    arguments = ["learn", "--data", str(adapted[1]), "--workspace", str(workspace), "--order", "cloth", *ucad]
    training = workspace / ".evernorm/training/cloth"

    def epochs() -> int:
        histories = [json.loads(path.read_text()) for path in training.glob("*/history.json")]
        return max((len(each["loss"]) for each in histories), default=0)

    process = subprocess.Popen(
        [sys.executable, "-m", "flows.commands.cli", *arguments],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 240
    while epochs() < 3 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = epochs()
    # A training that began anew would write its first epoch here, and fail.
    (checkpoint,) = training.iterdir()
    (checkpoint / "epoch-0001.safetensors").mkdir()
    run(*arguments)
    return workspace, done
