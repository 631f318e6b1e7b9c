"""The servers behind the pipeline, started for real: Prefect, and MLflow with PostgreSQL."""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.helpers.servers import free_ports

POSTGRES = next(
    (path.parent for path in sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)), None
)
_QUIET = {
    "DO_NOT_TRACK": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # Five processes that wait for jobs of MLflow's own, which nothing here has.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}


class _Server:
    """A process, and those it starts."""

    _process: "subprocess.Popen[bytes] | None" = None

    def stop(self) -> None:
        """End it; what it stored stays."""
        if self._process is not None:
            _end(self._process)
            self._process = None


class Postgres(_Server):
    """A PostgreSQL server with its data in a folder of its own."""

    def __init__(self, log: Path) -> None:
        self._log = log
        (self._port,) = free_ports(1)
        # It refuses to run as root, and other users may not look into pytest's folders.
        self._user = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        self._folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
        shutil.chown(self._folder, self._user)

    def uri(self, driver: str) -> str:
        """Where its database is, for SQLAlchemy."""
        return f"postgresql+{driver}://tests@127.0.0.1:{self._port}/postgres"

    def start(self) -> None:
        """Start it and wait until it answers."""
        assert POSTGRES is not None
        data = self._folder / "data"
        if not data.exists():
            command = [POSTGRES / "initdb", "-D", data, "-U", "tests", "--auth=trust", "--no-sync"]
            subprocess.run(command, user=self._user, cwd=self._folder, check=True, capture_output=True)
        command = [str(POSTGRES / "postgres"), "-D", str(data), "-p", str(self._port)]
        command += ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={self._folder}"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, user=self._user, cwd=self._folder, stdout=log, stderr=log
            )
        ready = [POSTGRES / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self._port)]
        deadline = time.monotonic() + 60
        while subprocess.run(ready, check=False).returncode:
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.1)

    def remove(self) -> None:
        """End it and remove what it stored."""
        self.stop()
        shutil.rmtree(self._folder)


class PrefectServer(_Server):
    """A Prefect server; over PostgreSQL where that is installed, as SQLite lets many who write wait for a minute."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (self._port,) = free_ports(1)
        self._database = Postgres(folder / "postgres.log") if POSTGRES else None

    @property
    def url(self) -> str:
        """What PREFECT_API_URL is set to."""
        return f"http://127.0.0.1:{self._port}/api"

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [sys.executable, "-m", "prefect", "server", "start", "--no-ui"]
        command += ["--host", "127.0.0.1", "--port", str(self._port)]
        env = {**os.environ, **_QUIET, "PREFECT_HOME": str(self.folder)}
        if self._database:
            self._database.start()
            env["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = self._database.uri("asyncpg")
        self._process = _started(command, env, self.folder / "server.log", f"{self.url}/health")

    def remove(self) -> None:
        """End it and remove what it stored."""
        self.stop()
        if self._database:
            self._database.remove()


class MLflowServer(_Server):
    """An MLflow server with its runs in PostgreSQL and its artifacts in a place that only it has the keys of."""

    def __init__(self, folder: Path, artifacts: str, env: dict[str, str]) -> None:
        self.folder, self._artifacts, self._env = folder, artifacts, env
        (self._port,) = free_ports(1)
        self._database = Postgres(folder / "postgres.log")

    @property
    def url(self) -> str:
        """What MLFLOW_TRACKING_URI is set to."""
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start database and server, and wait until they answer."""
        self._database.start()
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self._port)]
        command += ["--workers", "1", "--backend-store-uri", self._database.uri("psycopg2")]
        command += ["--artifacts-destination", self._artifacts]
        env = {**os.environ, **_QUIET, **self._env}
        self._process = _started(command, env, self.folder / "mlflow.log", f"{self.url}/health")

    def stop(self) -> None:
        """End server and database; what they stored stays."""
        super().stop()
        self._database.stop()

    def remove(self) -> None:
        """End it and remove the database."""
        self.stop()
        self._database.remove()


@contextmanager
def mlflow_pages(database: str, folder: Path) -> Iterator[str]:
    """MLflow's pages over a database that is there; their address. Logs go into the folder."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--workers", "1", "--backend-store-uri", database]
    url = f"http://127.0.0.1:{port}"
    process = _started(command, {**os.environ, **_QUIET}, folder / "mlflow.log", f"{url}/health")
    try:
        yield url
    finally:
        _end(process)


def _started(command: list[str], env: dict[str, str], log: Path, health: str) -> "subprocess.Popen[bytes]":
    with log.open("ab") as stream:
        process = subprocess.Popen(command, env=env, stdout=stream, stderr=stream)
    deadline = time.monotonic() + 180
    while True:
        try:
            urllib.request.urlopen(health, timeout=2).close()  # noqa: S310 (loopback)
            return process
        except OSError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[2]} did not start: {log.read_text()[-2000:]}") from error
            time.sleep(0.2)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a server with the workers it started."""
    family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    process.terminate()
    _, alive = psutil.wait_procs(family, timeout=15)
    for each in alive:
        each.kill()
    process.wait()
