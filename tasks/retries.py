"""What is waited for: an outage of a minute, of whatever server."""

import math
from collections.abc import Callable
from time import monotonic, sleep
from typing import Any, Final, TypeVar

from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from rich.console import Console

from tasks.faults import PassingError

T = TypeVar("T")
_DELAYS: Final = (1, 2, 5, 10, 20, 30)  # seconds
_told: dict[str, float] = {}  # when what was said last


def is_passing(_task: object, _run: object, state: State[Any]) -> bool:
    """Prefect's question whether to retry: only for what can pass."""
    error = state.result(raise_on_failure=False)
    if not isinstance(error, PassingError):
        return False
    tell_waiting(error.message)
    return True


# For every task that reaches a server; DVC is the only cache.
RETRIED: Final[Any] = {
    "cache_policy": NO_CACHE,
    "retries": len(_DELAYS),
    "retry_delay_seconds": [*_DELAYS],
    "retry_condition_fn": is_passing,
}


def waited(call: Callable[[], T]) -> T:
    """What a call gives, which is no task as there is no run yet, or no Prefect server; tried again as a task is.

    Raises:
        PassingError: It has not passed.
    """
    for delay in _DELAYS:
        try:
            return call()
        except PassingError as error:
            tell_waiting(error.message)
            sleep(delay)
    return call()


def tell_waiting(why: str) -> None:
    """Say that nothing hangs, and what is waited for; the same once an outage."""
    now = monotonic()
    if now < _told.get(why, -math.inf) + sum(_DELAYS):
        return
    _told[why] = now
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    console.print(f"waiting: {why}", style="yellow")
