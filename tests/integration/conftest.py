"""The command run as a user runs it, in workspaces under pytest's temporary folder."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
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


@pytest.fixture(scope="session", autouse=True)
def prefect_server(tmp_path_factory) -> Iterator[str]:
    """A real Prefect server on loopback, so that not every command starts one of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home = tmp_path_factory.mktemp("prefect")
    quiet = {"PREFECT_HOME": str(home), "DO_NOT_TRACK": "true", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    command = [
        sys.executable,
        "-m",
        "prefect",
        "server",
        "start",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--no-ui",
    ]
    with (home / "server.log").open("wb") as log:
        server = subprocess.Popen(command, env={**os.environ, **quiet}, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}/api"
    deadline = time.monotonic() + 120
    while True:
        try:
            urllib.request.urlopen(f"{url}/health", timeout=2).close()  # noqa: S310 (loopback)
            break
        except OSError:
            if server.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the Prefect server did not start: {(home / 'server.log').read_text()[-2000:]}")
            time.sleep(0.2)
    os.environ["PREFECT_API_URL"] = url
    yield url
    del os.environ["PREFECT_API_URL"]
    server.terminate()
    server.wait(timeout=30)


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
