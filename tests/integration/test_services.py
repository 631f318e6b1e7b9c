"""What `make up` and `make down` do, with servers for real on free ports."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import boto3
import httpx
import psutil
import pytest

from evernorm.errors import MachineError
from infra.services import plan, together
from infra.services.ports import free_ports
from infra.services.servers import POSTGRES, S3_PORTS
from infra.services.service import Service, answer

ROOT = Path(__file__).parents[2]


class Page(Service):
    """A server that is up in a moment."""

    @property
    def url(self):
        return f"http://127.0.0.1:{self.ports[0]}"

    def command(self):
        return [sys.executable, "-S", "-m", "http.server", "--bind", "127.0.0.1", str(self.ports[0])]

    def healthy(self):
        return answer(self.url) is not None


class Broken(Page):
    """One that ends at once, with a word."""

    def command(self):
        return [sys.executable, "-S", "-c", "print('no room for me'); raise SystemExit(3)"]


@pytest.fixture
def pages(tmp_path):
    """Two stages of a page each; whatever runs of them is ended."""
    stages = [[Page(name, tmp_path, tuple(free_ports()))] for name in ("first", "second")]
    yield stages
    for (page,) in stages:
        page.stop()


def test_what_runs_is_left_and_what_is_missing_is_started(pages, tmp_path):
    """Up twice starts nothing twice; up after one was killed starts that one."""
    (first,), (second,) = pages
    said: list[str] = []
    together.up(tmp_path, pages, said.append)
    assert [f"first started: {first.url} (process {first.process.pid})"] == said[:1]
    ran = first.process, second.process
    said.clear()
    together.up(tmp_path, pages, said.append)
    assert ["first runs already", "second runs already"] == [line.split(":")[0] for line in said]
    second.process.kill()
    second.process.wait()
    said.clear()
    assert not together.status(pages, said.append)
    assert [f"first is healthy: {first.url} (process {first.process.pid})", "second is down"] == said
    said.clear()
    together.up(tmp_path, pages, said.append)
    assert ["first runs already", "second started"] == [line.split(":")[0] for line in said]
    assert (ran[0] == first.process, ran[1] == second.process) == (True, False)
    assert {"first", "second"} == set(together.running(tmp_path))
    assert (first.process, first.ports) == together.running(tmp_path)["first"]


def test_what_was_started_is_ended_when_one_fails(pages, tmp_path):
    """The log's end is told; what ran before goes on."""
    (first,), (second,) = pages
    together.up(tmp_path, [[first]], print)
    broken = Broken("broken", tmp_path, tuple(free_ports()))
    with pytest.raises(
        MachineError, match=r"broken did not start: it ended; .*broken\.log ends with\nno room for me"
    ):
        together.up(tmp_path, [[first], [second], [broken]], print)
    assert (first.alive, second.alive, broken.alive) == (True, False, False)
    assert {"first"} == set(together.running(tmp_path))


def test_a_port_in_use_is_told_before_anything_starts(pages, tmp_path):
    """With the port, who has it, and what to do."""
    (first,), (second,) = pages
    with socket.create_server(("127.0.0.1", second.ports[0])), pytest.raises(MachineError) as caught:
        together.up(tmp_path, pages, print)
    (fault,) = caught.value.faults
    assert f"port {second.ports[0]}, which second needs, is in use by" in fault
    assert f"(process {os.getpid()})" in fault
    assert 'choose another: make up PORTS="second=' in fault
    assert not first.alive


def test_one_that_hangs_is_told(pages, tmp_path):
    """It is not started a second time."""
    (first,), _ = pages
    together.up(tmp_path, [[first]], print)
    first.process.suspend()
    try:
        with pytest.raises(
            MachineError, match=r"first runs \(process \d+\) and is not healthy; see .*first\.log"
        ):
            together.up(tmp_path, [[first]], print)
    finally:
        first.process.resume()


def services(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "infra.services", "--home", str(home), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def test_ports_that_are_none_are_all_told(tmp_path):
    """And nothing is started."""
    done = services(tmp_path, "up", "perfect=4200", "s3=http")
    assert 1 == done.returncode
    assert 2 == done.stderr.count("expected one of postgres, s3, mlflow, prefect, '=' and a port")


@pytest.fixture
def home():
    """A folder that PostgreSQL's user may enter; whatever runs there is ended."""
    folder = Path(tempfile.mkdtemp(prefix="services-"))
    folder.chmod(0o711)
    yield folder
    services(folder, "down")
    shutil.rmtree(folder)


@pytest.mark.slow
def test_the_whole_set_comes_up_serves_and_goes_down(home):
    """Servers that reach one another, workers that are known, no secret said or logged, nothing left."""
    ports = free_ports(S3_PORTS + 3)
    names = ("s3", "postgres", "mlflow", "prefect")
    places = (ports[0], *ports[S3_PORTS:])
    up = services(home, "up", *(f"{name}={port}" for name, port in zip(names, places, strict=True)))
    assert 0 == up.returncode, up.stderr
    found = together.running(home)
    assert {"s3", "mlflow", "prefect", "cpu", "writer"} <= set(found)
    assert (POSTGRES is not None) == ("postgres" in found)
    lines = (home / "environment").read_text().split("\n")
    variables = dict(line.removeprefix("export ").split("=", 1) for line in lines if line)
    for name in ("PREFECT_API_URL", "MLFLOW_TRACKING_URI", "AWS_ENDPOINT_URL"):
        assert f"export {name}={variables[name]}" in up.stdout
    assert 0o600 == (home / "environment").stat().st_mode & 0o777

    # MLflow keeps artifacts in S3, for a client that has no key.
    artifacts = f"{variables['MLFLOW_TRACKING_URI']}/api/2.0/mlflow-artifacts/artifacts"
    assert httpx.put(f"{artifacts}/some/file.txt", content=b"kept").is_success
    storage = boto3.client(
        "s3",
        endpoint_url=variables["AWS_ENDPOINT_URL"],
        region_name=variables["AWS_REGION"],
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
    )
    assert b"kept" == storage.get_object(Bucket="mlflow", Key="artifacts/some/file.txt")["Body"].read()
    assert {"dvc", "inbox", "mlflow"} <= {each["Name"] for each in storage.list_buckets()["Buckets"]}

    status = services(home, "status")
    assert (0, len(found)) == (status.returncode, status.stdout.count(" is healthy: "))
    down = services(home, "down")
    assert (0, set(found)) == (down.returncode, set(down.stdout.strip().removeprefix("ended: ").split(", ")))
    assert not [process for process, _ in found.values() if process.is_running()]
    assert not [each.pid for each in psutil.process_iter() if str(home) in " ".join(_words(each))]
    assert "nothing runs" == services(home, "down").stdout.strip()

    secrets = [variables["AWS_ACCESS_KEY_ID"], variables["AWS_SECRET_ACCESS_KEY"]]
    secrets += [file.read_text() for file in home.glob("postgres/password")]
    said = [up.stdout, up.stderr, *(log.read_text(errors="replace") for log in (home / "logs").iterdir())]
    assert {f"{name}.log" for name in found} == {log.name for log in (home / "logs").iterdir()}
    assert not [text for text in said for secret in secrets if secret in text]


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def test_a_machine_gets_what_it_has(tmp_path, monkeypatch):
    """A worker of the pool gpu where there is a GPU; SQLite, said, where there is no PostgreSQL."""
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho 'GPU 0: NVIDIA H100 (UUID: GPU-1)'\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert ["cpu", "gpu", "writer"] == [each.name for each in plan.plan(tmp_path, {}).stages[-1]]
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho 'No devices were found'\nexit 6\n")
    monkeypatch.setattr(plan, "POSTGRES", None)
    less = plan.plan(tmp_path, {})
    assert ["cpu", "writer"] == [each.name for each in less.stages[-1]]
    assert ["s3"] == [each.name for each in less.stages[0]]
    assert ("PostgreSQL is not installed", "no GPU here") == tuple(
        remark.split(" (")[0] for remark in less.remarks
    )
