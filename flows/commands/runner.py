"""How a command runs a flow: quietly, ended at once by a signal, faults of Prefect told in a sentence."""

import atexit
import gc
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from rich.console import Console

from flows.commands.server import server_url, start_server
from flows.commands.stopping import LostServerError, stop_on_signals

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

T = TypeVar("T")
_WIDE = 1000
_RUN = "evernorm-run"  # name of the thread in which flows run


def run_flow(run: "Callable[[], State[T]]") -> T:
    """Run a flow so that Ctrl-C and SIGTERM end it at once, with all that it has started.

    Args:
        run: Calls the flow with ``return_state=True``.

    Returns:
        Its result, refused or not.

    Raises:
        LostServerError: The Prefect server answers no more.
        PipelineError: None answered to begin with.
    """
    start_server()
    reach_server()
    import dvc.repo  # noqa: F401  what every flow needs, while the server comes up
    import httpx
    import mlflow  # noqa: F401
    from prefect import tags
    from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    from tasks.outcome import result_of

    # The heartbeat costs a second at the end of every flow and watches for lost workers, not for us.
    wanted: dict[Any, Any] = {PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}

    def quietly() -> T:
        with temporary_settings(wanted), tags("evernorm"):
            return result_of(run())

    stop_on_signals()
    atexit.register(gc.freeze)  # to look through all that was imported once more at the end takes a second
    # It tells, as a warning, that the end of a flow is still on its way to the server.
    logging.getLogger("EventsWorker").setLevel(logging.ERROR)
    logging.raiseExceptions = (
        False  # of what a server that is away never hears, Prefect would speak on stderr
    )
    tell_outages()
    if url := server_url():
        wanted[PREFECT_API_URL] = url
    try:
        # In a thread: in the main one DVC ignores Ctrl-C while a stage runs, and no handler would be called.
        with ThreadPoolExecutor(1, _RUN) as pool:
            return pool.submit(quietly).result()
    except (httpx.HTTPError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "Failed to reach API" not in str(error):
            raise
        raise LostServerError(_unanswered()) from error


def reach_server() -> None:
    """Wait until the Prefect server answers that is named in PREFECT_API_URL, if one is.

    Raises:
        PassingError: It does not.
        PipelineError: It refuses.
    """
    if not os.environ.get("PREFECT_API_URL"):
        return
    import httpx
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    from evernorm.errors import PipelineError
    from tasks.faults import PassingError
    from tasks.retries import waited

    def ask() -> None:
        try:
            client.read_flows(
                limit=1
            )  # by the server's database, which its own word on its health does not ask
        except httpx.HTTPError as error:
            refused = isinstance(error, httpx.HTTPStatusError) and error.response.status_code < 500
            raise (PipelineError if refused else PassingError)(_unanswered()) from error

    with get_client(sync_client=True) as client, temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
        waited(ask)


def tell_outages() -> None:
    """From now on a person is told when the run waits for Prefect's server, which its client says for debugging alone."""
    client = logging.getLogger("prefect.client")
    client.setLevel(logging.DEBUG)
    client.addFilter(_tell_waiting)


def _tell_waiting(record: logging.LogRecord) -> bool:
    from tasks.retries import tell_waiting

    # Not for what Prefect does beside the run, for which nobody waits, nor for one moment in which a server is busy.
    said = record.getMessage()
    waits = "Another attempt will be made" in said and "This is attempt 1/" not in said
    if waits and (record.threadName or "").startswith(_RUN):
        tell_waiting(_unanswered())
    return True


def _unanswered() -> str:
    if os.environ.get("PREFECT_API_URL"):
        return "no Prefect server answers, or it has lost its database; check PREFECT_API_URL, or unset it to start one here"
    return "the Prefect server that was started here does not answer; see what `prefect server start` says"


def table_console(*, markup: bool = True) -> Console:
    """Where tables go: as wide as the terminal; as they need where there is none, so that no name is cut."""
    console = Console(highlight=False, markup=markup)
    return console if console.is_terminal else Console(highlight=False, markup=markup, width=_WIDE)


def say(line: str) -> None:
    """Print a line for a person, however long."""
    Console(highlight=False, markup=False, soft_wrap=True).print(line)
