"""A process that serves others: begun, waited for until it is healthy, ended with all that it started."""

import os
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from subprocess import DEVNULL
from typing import Any, ClassVar
from urllib.request import ProxyHandler, Request, build_opener

import psutil

from evernorm.errors import MachineError
from flows.commands.environment import NO_TELEMETRY

_QUIET = {
    **NO_TELEMETRY,
    # Five processes that wait for jobs of MLflow's own, which nothing here has.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}
_TAIL = 2000  # characters of a log


class Service(ABC):
    """One process and those it starts.

    Args:
        name: What it is called.
        home: The folder of its set.
        ports: What it listens on.
        behind: The services that it is a client of.

    Attributes:
        name: What it is called, also in `folder` and `log`.
        ports: What it listens on, on loopback; the first is the one that clients use.
        folder: What it stores.
        log: What it says; secrets are in its environment alone, never in its command.
        process: What was begun, or found running.
    """

    ending: ClassVar[signal.Signals] = signal.SIGTERM
    patience: ClassVar[float] = 180
    """Seconds in which it must become healthy."""

    def __init__(
        self, name: str, home: Path, ports: tuple[int, ...] = (), behind: Sequence["Service"] = ()
    ) -> None:
        self.name, self.ports, self.behind = name, ports, behind
        self.folder = home / name
        self.log = home / "logs" / f"{name}.log"
        self.process: psutil.Process | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients find it."""

    @abstractmethod
    def command(self) -> list[str]:
        """What is run, in `folder`."""

    @abstractmethod
    def healthy(self) -> bool:
        """Whether it does what it is for, now."""

    def client_environment(self) -> dict[str, str]:
        """The variables that its clients need, secrets among them."""
        return {}

    def environment(self) -> dict[str, str]:
        """With which it runs: with what the clients of those behind it need."""
        return {**os.environ, **_QUIET, **client_environment(self.behind)}

    def user(self) -> str | None:
        """As whom it runs, where that is another."""
        return None

    def ready(self) -> None:
        """What is done once it is healthy, each time; by default nothing."""
        return

    @property
    def alive(self) -> bool:
        """Whether its process is there."""
        try:
            return self.process is not None and self.process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def start(self) -> None:
        """Begin it and wait until it is healthy.

        Raises:
            MachineError: It ended, or was not healthy in time.
        """
        self.begin()
        self.wait()

    def begin(self) -> None:
        """Begin it; it outlives whoever began it."""
        for folder in (self.folder, self.log.parent):
            folder.mkdir(parents=True, exist_ok=True)
        options: dict[str, Any] = {"cwd": self.folder, "env": self.environment(), "user": self.user()}
        with self.log.open("ab") as log:
            self.process = psutil.Popen(
                self.command(), stdin=DEVNULL, stdout=log, stderr=log, start_new_session=True, **options
            )

    def wait(self) -> None:
        """Wait until it is healthy.

        Raises:
            MachineError: It ended, or was not healthy in time.
        """
        deadline = time.monotonic() + self.patience
        while not self.healthy():
            if not self.alive or time.monotonic() > deadline:
                said = self.log.read_text(errors="replace")[-_TAIL:].strip()
                how = "is not healthy" if self.alive else "ended"
                raise MachineError(f"{self.name} did not start: it {how}; {self.log} ends with\n{said}")
            time.sleep(0.2)
        self.ready()

    def tidy(self) -> None:
        """Remove what its process leaves when it has ended; by default nothing."""
        return

    def stop(self) -> None:
        """Ask it to end, wait, and end by force what is left; what it stored stays."""
        stop([self])

    def _family(self) -> list[psutil.Process]:
        if self.process is None:
            return []
        with suppress(psutil.NoSuchProcess):
            return [*self.process.children(recursive=True), self.process]
        return []


def stop(services: Sequence[Service], seconds: float = 15) -> None:
    """Ask all of them to end, at once, and after so many seconds end by force what is left."""
    families = []
    for each in services:
        families += each._family()
        if each.process is not None:
            with suppress(psutil.NoSuchProcess):
                each.process.send_signal(each.ending)
    _kill(psutil.wait_procs(families, timeout=seconds)[1])
    for each in services:
        each.process = None
        each.tidy()


def client_environment(services: Sequence[Service]) -> dict[str, str]:
    """The variables that a client of all of them needs, secrets among them."""
    return {name: value for each in services for name, value in each.client_environment().items()}


def answer(url: str, body: bytes | None = None) -> bytes | None:
    """What a service on loopback says to a request, no proxy in between; None: it does not answer, or refuses."""
    request = Request(url, body, {"Content-Type": "application/json"})  # noqa: S310 (http, as all of them)
    try:
        with build_opener(ProxyHandler({})).open(request, timeout=2) as response:
            said: bytes = response.read()
            return said
    except (OSError, HTTPException):
        return None


def _kill(processes: list[psutil.Process]) -> None:
    for each in processes:
        with suppress(psutil.NoSuchProcess):
            each.kill()
    psutil.wait_procs(processes)
