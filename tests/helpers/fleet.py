"""Prefect workers that can be killed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from infra.services import worker
from tests.helpers.warm import python


class Worker(worker.Worker):
    """A worker with variables of its own."""

    def __init__(self, home: Path, pool: str, name: str, env: dict[str, str]) -> None:
        super().__init__(home, pool, name=name)
        self._env = env

    def command(self) -> list[str]:
        """Processes of its own for worker and flows (`-u`: not taken by the warm interpreter), not for their stages."""
        return [python(), "-u", *super().command()[1:]]

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "PREFECT_WORKER_QUERY_SECONDS": "1", **self._env}

    def flows(self) -> list[psutil.Process]:
        """The processes in which flows run now."""
        try:
            return self.process.children()
        except psutil.NoSuchProcess:
            return []

    def kill(self, family: list[psutil.Process] | None = None) -> None:
        """End the worker, or some of its flows, with all that they started, without a word."""
        for each in family or [self.process]:
            for child in [*each.children(recursive=True), each]:
                child.kill()

    def stop(self) -> None:
        """End it at once."""
        if self.alive:
            self.kill()
        self.process.wait()


@contextmanager
def workers(pool: str, count: int, folder: Path, env: dict[str, str] | None = None) -> Iterator[list[Worker]]:
    """So many workers of a pool, each with checkouts in the folder."""
    started = [Worker(folder, pool, f"{pool}-{number}", env or {}) for number in range(count)]
    try:
        for each in started:
            each.begin()
        yield started
    finally:
        for each in started:
            each.stop()
