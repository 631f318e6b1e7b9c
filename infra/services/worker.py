"""Workers of Prefect's work pools."""

import json
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from infra.services.service import Service, answer

_ASKS = "2"
"""Seconds between two questions for work; Prefect's own ten would be half of what an arrival waits."""


class Worker(Service):
    """A worker of a pool that runs one flow at a time, each in a process of its own; the pool is made if it is missing.

    Args:
        home: Where its folder, its log and the checkouts of its builds are.
        pool: Whose runs it takes.
        behind: What its flows reach; Prefect is among them, or in PREFECT_API_URL.
        name: Of this one on this machine; by default its pool's.
    """

    ending = signal.SIGINT

    def __init__(
        self, home: Path, pool: str, behind: Sequence[Service] = (), name: str | None = None
    ) -> None:
        super().__init__(name or pool, home, (), behind)
        self._pool, self._checkouts = pool, home / "checkouts"

    @property
    def url(self) -> str:
        """The server that it asks."""
        return self.environment()["PREFECT_API_URL"]

    def command(self) -> list[str]:
        """The worker."""
        command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", self._pool]
        return [*command, "--name", self._known_as, "--limit", "1", "--type", "process"]

    def environment(self) -> dict[str, str]:
        """With what its flows need."""
        own = {"EVERNORM_CHECKOUTS": str(self._checkouts), "PREFECT_WORKER_QUERY_SECONDS": _ASKS}
        return super().environment() | own

    def healthy(self) -> bool:
        """Whether the server has heard of it since it was begun."""
        said = answer(f"{self.url}/work_pools/{self._pool}/workers/filter", b"{}")
        return said is not None and any(self._is_me(each) for each in json.loads(said))

    @property
    def _known_as(self) -> str:
        return f"{self.name}-{socket.gethostname()}"

    def _is_me(self, told: Mapping[str, str]) -> bool:
        if self.process is None or told["name"] != self._known_as or told["status"] != "ONLINE":
            return False
        return datetime.fromisoformat(told["last_heartbeat_time"]).timestamp() > self.process.create_time()
