"""The servers behind the pipeline, as the tests need them: gone without a trace when they have been used."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TypeVar

from infra.services.ports import free_ports
from infra.services.servers import POSTGRES, Postgres, Prefect
from infra.services.service import Service

S = TypeVar("S", bound=Service)


@contextmanager
def running(service: S) -> Iterator[S]:
    """A service from when it is healthy until it is not needed any more."""
    try:
        service.start()
        yield service
    finally:
        service.stop()


@contextmanager
def postgres(*databases: str) -> Iterator[Postgres]:
    """PostgreSQL on a free port."""
    home = Path(tempfile.mkdtemp(prefix="postgresql-"))
    home.chmod(0o711)  # where we are root it is another user, who may not look into pytest's folders
    try:
        with running(Postgres(home, free_ports()[0], databases)) as server:
            yield server
    finally:
        shutil.rmtree(home)


@contextmanager
def prefect_server(home: Path) -> Iterator[Prefect]:
    """A Prefect server without pages on a free port, over PostgreSQL where that is installed."""
    with (
        postgres("prefect") if POSTGRES else nullcontext() as database,
        running(Prefect(home, free_ports()[0], database, ui=False)) as server,
    ):
        yield server
