"""Take away each server of a watch run in turn, when it begins and amid it: for half a minute, and for good.

Prefect, MLflow, PostgreSQL (behind both), S3 (inbox, DVC remote, artifacts) and the Git remote run as processes of their
own, with a worker that builds. A drawn class has arrived in the inbox. An undisturbed run of `evernorm watch --once` says
what must come of it and how long it takes. Then, server by server, twice a new workspace:

- away for good when the run begins: it must end with status 1 and a sentence, no traceback, and nothing changed; then a
  run amid which the server is away for so many seconds, from a random moment on, must end as the undisturbed one;
- away for good from a random moment of the run on: the same, but for what had been done by then; then a run that begins
  while the server is away for so many seconds must go on from there, and end as the undisturbed one.

    python benchmarks/outages.py [--seconds 30] [--seed 0] [--servers git,prefect,postgres,s3,mlflow]
"""

import argparse
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.fleet import evernorm, run
from benchmarks.kill_watch import SETTINGS
from infra.services.ports import free_ports
from infra.services.servers import S3, S3_PORTS, MLflow, Postgres, Prefect
from infra.services.service import Service, client_environment, stop
from infra.services.worker import Worker
from tests.helpers.photos import draw_photos

CLASS, POOL = "cloth", "cpu"
INBOX = "s3://inbox/new"
PATIENCE = 900.0  # seconds until a run counts as one that never ends


class GitRemote(Service):
    """Bare repositories, served to whoever asks."""

    def __init__(self, home: Path) -> None:
        super().__init__("git", home, tuple(free_ports()))

    @property
    def url(self) -> str:
        """What repositories' names are put behind."""
        return f"git://127.0.0.1:{self.ports[0]}"

    def command(self) -> list[str]:
        """The server."""
        where = ["--listen=127.0.0.1", f"--port={self.ports[0]}", f"--base-path={self.folder}", "--reuseaddr"]
        return ["git", "daemon", *where, "--export-all", "--enable=receive-pack"]

    def healthy(self) -> bool:
        """Whether it takes connections."""
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.ports[0])) == 0


@dataclass(frozen=True)
class Run:
    """How a run of the command ended.

    Attributes:
        status: Its exit status.
        said: What it said on stderr.
        seconds: How long it took.
        away: How long the server was away, until it was healthy again.
        missed: Whether it had ended before the server was taken away.
    """

    status: int
    said: str
    seconds: float
    away: float = 0.0
    missed: bool = False

    @property
    def waited_for(self) -> str:
        """What it said that it waits for, each once."""
        lines = dict.fromkeys(line for line in self.said.splitlines() if line.startswith("waiting"))
        return " | ".join(lines) or "nothing said"

    @property
    def sentence(self) -> str:
        """With what it gave up."""
        return self.said[self.said.rfind("evernorm: ") :].strip() if "evernorm: " in self.said else ""


class Factory:
    """The servers, a worker, and the inbox with a class."""

    def __init__(self, home: Path) -> None:
        self.home = home
        postgres = Postgres(home, free_ports()[0], ("mlflow", "prefect"))
        s3 = S3(home, free_ports(S3_PORTS)[0], ("dvc", "inbox", "mlflow"))
        runs = postgres.uri("psycopg2", "mlflow")
        mlflow = MLflow(home, free_ports()[0], runs, "s3://mlflow/artifacts", (postgres, s3))
        prefect = Prefect(home, free_ports()[0], postgres, ui=False)
        self.servers: dict[str, Service] = {
            "postgres": postgres,
            "s3": s3,
            "git": GitRemote(home),
            "mlflow": mlflow,
            "prefect": prefect,
        }
        self.worker = Worker(home, POOL, (prefect, mlflow, s3))
        self._offered = (prefect, mlflow, s3)

    def up(self) -> None:
        """Start everything, and let a class arrive."""
        for each in self.servers.values():
            each.start()
        os.environ.update(client_environment(self._offered), PREFECT_HOME=str(self.home / "prefect-home"))
        self.worker.start()
        draw_photos(self.home / "photos", names=(CLASS,))
        run(*evernorm("pack", self.home / "photos" / CLASS, INBOX))
        run(*evernorm("deploy", "--workspace", self.workspace("deployed")))

    def down(self) -> None:
        """End everything."""
        stop([self.worker])
        for each in reversed(self.servers.values()):
            each.stop()

    def workspace(self, name: str) -> Path:
        """An empty workspace with remotes of its own, so that nothing of another is found there."""
        from tasks.workspace.workspace import Workspace

        path = self.home / name
        workspace = Workspace.open_or_create(path)
        bare = self.servers["git"].folder / f"{name}.git"
        subprocess.run(["git", "init", "-q", "--bare", str(bare)], check=True)
        workspace.git("remote", "add", "origin", f"{self.servers['git'].url}/{name}.git")
        dvc = [sys.executable, "-m", "dvc", "remote", "add", "-q", "-d", "storage", f"s3://dvc/{name}"]
        subprocess.run(dvc, cwd=path, check=True)
        workspace.configure([*SETTINGS, f"registry.name={name}", f"fleet.builders={POOL}"])
        workspace.commit("Remotes, builders")
        return path

    def watch(self, workspace: Path, server: str = "", moment: float = 0, seconds: float | None = 0) -> Run:
        """Look into the inbox; the server is away from the moment on.

        Args:
            workspace: Where.
            server: Which is taken away; none if empty.
            moment: So many seconds after the run begins; 0: before it begins.
            seconds: For how long; None: until the run has ended.
        """
        service = self.servers[server] if server else None
        if service and not moment:
            service.stop()
        began = time.monotonic()
        taken = began
        command = evernorm("watch", "--once", "--workspace", workspace, "--inbox", INBOX)
        # Into files: a worker or a stage that lives on holds a pipe open.
        with (self.home / "said").open("w+") as said:
            watch = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said)
            ended: list[float] = []
            watcher = threading.Thread(
                target=lambda: (watch.wait(), ended.append(time.monotonic())), daemon=True
            )
            watcher.start()
            try:
                if service and moment:
                    watcher.join(moment)
                    taken = time.monotonic()
                    service.stop()
                if service:
                    watcher.join(PATIENCE if seconds is None else taken + seconds - time.monotonic())
                    if seconds is None:
                        self._end(watch, watcher)
                    time.sleep(max(0.0, taken + (seconds or 0) - time.monotonic()))
                    service.start()
                away = time.monotonic() - taken
                watcher.join(PATIENCE)
            finally:
                self._end(watch, watcher)
            said.seek(0)
            text = said.read()
        self._supervise()
        took = ended[0] - began
        return Run(watch.returncode, text, took, away if service else 0.0, missed=took < moment)

    def state(self, workspace: Path) -> dict[str, Any]:
        """What came of it."""
        from mlflow import MlflowClient

        from tasks.tracking.ownership import Registry
        from tasks.tracking.promotions import standing

        def git(*arguments: str) -> str:
            done = subprocess.run(
                ["git", *arguments], cwd=workspace, capture_output=True, text=True, check=True
            )
            return done.stdout.strip()

        client, name = MlflowClient(self.servers["mlflow"].url), workspace.name
        lock = workspace / "dvc.lock"
        stages = yaml.safe_load(lock.read_text())["stages"] if lock.is_file() else {}
        received = workspace / "received.json"
        bare = self.servers["git"].folder / f"{name}.git"
        remote = git("--git-dir", str(bare), "for-each-ref", "--format=%(refname) %(objectname)")
        head = git("rev-parse", "HEAD")
        return {
            "recorded": {stage: [out.get("md5") for out in each["outs"]] for stage, each in stages.items()},
            "commits": git("log", "--format=%s").splitlines(),
            "unclean": git("status", "--porcelain"),
            "versions": len(client.search_model_versions(f"name = '{name}'")),
            "champions": [change.after for change in standing(Registry(client, name))],
            "received": json.loads(received.read_text()) if received.is_file() else {},
            "pushed": remote == f"refs/heads/{git('branch', '--show-current')} {head}",
            "unfinished": (workspace / ".evernorm/arriving.json").exists(),
        }

    def _supervise(self) -> None:
        """A worker that gave up is started anew, as whoever supervises it would."""
        if not self.worker.alive:
            print("          (the worker had ended, and is started anew)", flush=True)
            self.worker.start()

    @staticmethod
    def _end(run: "subprocess.Popen[bytes]", watcher: threading.Thread) -> None:
        if watcher.is_alive():
            run.kill()
            watcher.join()


def main() -> None:
    """Print a case's result, what it said that it waits for, and with what it gave up; then how many went wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--servers", default="git,prefect,postgres,s3,mlflow", help="which are taken away")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the servers are ended with it
    root = Path(tempfile.mkdtemp(prefix="outages-"))
    root.chmod(0o711)  # PostgreSQL may run as another user
    factory = Factory(root)
    try:
        factory.up()
        wrong = _measure(factory, options.servers.split(","), options.seconds, random.Random(options.seed))
    finally:
        factory.down()
        shutil.rmtree(root, ignore_errors=True)
    sys.exit(wrong > 0)


def _measure(factory: Factory, servers: list[str], seconds: float, chance: random.Random) -> int:
    workspace = factory.workspace("undisturbed")
    undisturbed = factory.watch(workspace)
    if undisturbed.status:
        sys.exit(undisturbed.said)
    expected, whole = factory.state(workspace), undisturbed.seconds
    print(
        f"undisturbed: {whole:.0f} s; {'; '.join(reversed(expected['commits']))}; "
        f"champions {expected['champions']}; pushed {expected['pushed']}; unclean {expected['unclean']!r}",
        flush=True,
    )
    cases = wrong = 0
    for server in servers:
        for first in ("at the start", "amid the run"):
            workspace = factory.workspace(f"{server}-{first.split()[-1]}")
            before = factory.state(workspace)
            moment = 0.0 if first == "at the start" else chance.uniform(0.15, 0.7) * whole
            done = factory.watch(workspace, server, moment, None)
            gave_up = _given_up(done, before, factory.state(workspace), begun=bool(moment))
            _tell(f"{server} away for good {first}, after {moment:.0f} s", done, gave_up)
            print(f"    {done.sentence}", flush=True)
            moment = 0.0 if moment else chance.uniform(0.15, 0.7) * whole
            done = factory.watch(workspace, server, moment, seconds)
            faults = _differences(done, factory.state(workspace), expected)
            if moment and not done.missed:  # the machine may have been slower at first
                whole = min(whole, done.seconds - done.away)
            _tell(
                f"{server} then away after {moment:.0f} s of the next run, for {done.away:.0f} s",
                done,
                faults,
            )
            cases, wrong = cases + 2, wrong + bool(gave_up) + bool(faults)
    print(f"{cases} cases: {wrong} went wrong")
    return wrong


def _differences(done: Run, found: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """In what a run is otherwise than the undisturbed one."""
    if done.status:
        return [f"status {done.status}: {done.said[-600:]}"]
    if done.missed:
        return ["it had ended before"]
    return [f"{key}: {value}" for key, value in found.items() if value != expected[key]]


def _given_up(done: Run, before: dict[str, Any], found: dict[str, Any], *, begun: bool) -> list[str]:
    """What is wrong with how a run gave up; one that had not begun must have changed nothing."""
    faults = [] if done.status == 1 else [f"status {done.status}: {done.said[-600:]}"]
    faults += ["a traceback"] if "Traceback" in done.said else []
    faults += [] if done.sentence else ["no sentence"]
    if not begun:
        faults += [f"{key}: {value}" for key, value in found.items() if value != before[key]]
    if len(found["champions"]) > len([each for each in found["commits"] if "version" in each]):
        faults.append(f"champions {found['champions']} of commits {found['commits']}")
    return faults


def _tell(case: str, done: Run, faults: list[str]) -> None:
    print(f"{case}: {done.seconds:.0f} s, {'; '.join(faults) or 'ok'}\n    {done.waited_for}", flush=True)


if __name__ == "__main__":
    main()
