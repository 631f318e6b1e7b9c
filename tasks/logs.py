"""What a run says on Prefect's page."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from evernorm.files import write_bytes

_EVERY = 5.0  # seconds
Log = logging.Logger | logging.LoggerAdapter[Any]


def run_log() -> Log:
    """The log of the flow or task run under way; one that nobody reads outside of a run."""
    from prefect.exceptions import MissingContextError
    from prefect.logging import get_run_logger

    try:
        return get_run_logger()
    except MissingContextError:
        return logging.getLogger("evernorm")


@contextmanager
def progress_told(file: Path, log: Log) -> Iterator[None]:
    """Log what another process writes into a file about how far it is, every few seconds.

    Args:
        file: One line of text; there, and empty, as long as somebody reads it.
        log: Of the run that waits for that process.
    """
    done = threading.Event()

    def tell() -> None:
        last = ""
        while not done.wait(_EVERY):
            said = file.read_text(encoding="utf-8") if file.is_file() else ""
            if said and said != last:
                log.info(said)
                last = said

    write_bytes(file, b"")
    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        file.unlink(missing_ok=True)
