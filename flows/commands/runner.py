"""How a command runs a flow: quietly, ended at once by Ctrl-C, faults of Prefect told in a sentence."""

import logging
import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from rich.console import Console

from evernorm.errors import PipelineError

T = TypeVar("T")


def run_flow(run: Callable[[], T]) -> T:
    """Run a flow so that Ctrl-C ends it at once.

    Raises:
        PipelineError: No Prefect server answers.
    """
    import httpx
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    def quietly() -> T:
        # The heartbeat costs a second at the end of every flow and watches for lost workers, not for us.
        with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
            return run()

    signal.signal(signal.SIGINT, _stop)
    # It tells, as a warning, that the end of a flow is still on its way to the server.
    logging.getLogger("EventsWorker").setLevel(logging.ERROR)
    try:
        # In a thread: in the main one DVC ignores Ctrl-C while a stage runs, and `_stop` would not be called.
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(quietly).result()
    except (httpx.HTTPError, RuntimeError) as error:
        unreachable = ("Failed to reach API", "attempting to connect to ephemeral Prefect API")
        if isinstance(error, RuntimeError) and not any(each in str(error) for each in unreachable):
            raise
        raise PipelineError(
            "no Prefect server answers; check PREFECT_API_URL, or unset it to start one here"
        ) from error


def _stop(_signal: int, _frame: object) -> None:
    """Ctrl-C: end at once with everything that was started."""
    kill_children()
    os.write(2, b"\nevernorm: stopped; the same command goes on from the last finished stage\n")
    os._exit(130)


def kill_children() -> None:
    """Kill whatever this process has started; a run may be killed at any point."""
    import psutil

    for child in psutil.Process().children(recursive=True):
        child.kill()


def say(line: str) -> None:
    """Print a line for a person, however long."""
    Console(highlight=False, markup=False, soft_wrap=True).print(line)
