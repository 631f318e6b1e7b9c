"""Prefect workers, started for real."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil


class Worker:
    """A worker of a pool that runs one flow at a time, each in a process of its own."""

    def __init__(self, pool: str, name: str, folder: Path, env: dict[str, str] | None = None) -> None:
        self.log = folder / f"{name}.log"
        command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool, "--name", name]
        with self.log.open("wb") as stream:
            self.process = subprocess.Popen(
                [*command, "--limit", "1", "--type", "process"],
                env={**os.environ, **(env or {})},
                cwd=folder,
                stdout=stream,
                stderr=stream,
            )

    def flows(self) -> list[psutil.Process]:
        """The processes in which flows run now."""
        try:
            return psutil.Process(self.process.pid).children()
        except psutil.NoSuchProcess:
            return []

    def kill(self, family: list[psutil.Process] | None = None) -> None:
        """End the worker, or some of its flows, with all that they started, without a word."""
        for each in family or [psutil.Process(self.process.pid)]:
            for child in [*each.children(recursive=True), each]:
                child.kill()

    def stop(self) -> None:
        """End it."""
        if self.process.poll() is None:
            self.kill()
        self.process.wait()


@contextmanager
def workers(pool: str, count: int, folder: Path, env: dict[str, str] | None = None) -> Iterator[list[Worker]]:
    """So many workers of a pool, each with checkouts in the folder."""
    env = {"EVERNORM_CHECKOUTS": str(folder / "checkouts"), **(env or {})}
    started = [Worker(pool, f"{pool}-{number}", folder, env) for number in range(count)]
    try:
        yield started
    finally:
        for each in started:
            each.stop()
