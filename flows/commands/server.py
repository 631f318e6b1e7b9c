"""A Prefect server of the command's own, where none is named: it comes up while the command does other things.

Prefect would start one too, but only when the first flow begins, and imports its whole server to do so.
"""

import atexit
import os
import socket
import subprocess
import sys
import time
from functools import cache
from urllib.error import URLError
from urllib.request import urlopen

from evernorm.errors import PipelineError

_PATIENCE = 180.0  # seconds; a busy machine needs more than twenty


@cache
def start_server() -> "tuple[subprocess.Popen[bytes], str] | None":
    """Start it; the first call counts. It ends with this process. None where a server is named in PREFECT_API_URL."""
    if os.environ.get("PREFECT_API_URL"):
        return None
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [
        sys.executable,
        "-m",
        "prefect",
        "server",
        "start",
        "--no-ui",
        "--host",
        "127.0.0.1",
        "--port",
        port,
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    atexit.register(_stop, process)
    return process, f"http://127.0.0.1:{port}/api"


def server_url() -> str | None:
    """Its address, once it answers; None where one is named in PREFECT_API_URL.

    Raises:
        PipelineError: It does not come up.
    """
    started = start_server()
    if started is None:
        return None
    process, url = started
    deadline = time.monotonic() + _PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urlopen(f"{url}/health", timeout=5):  # noqa: S310
                return url
        except (URLError, TimeoutError, ConnectionError):
            time.sleep(0.05)
    raise PipelineError(
        "the Prefect server of this command's own does not come up; run `prefect server start` to see why"
    )


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
