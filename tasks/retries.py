"""When Prefect tries a task again."""

from typing import Any, Final

from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State

from tasks.faults import PassingError


def is_passing(_task: object, _run: object, state: State[Any]) -> bool:
    """Prefect's question whether to retry: only for what can pass."""
    return isinstance(state.result(raise_on_failure=False), PassingError)


# For every task that reaches a server: an outage of a minute is waited for; DVC is the only cache.
RETRIED: Final[Any] = {
    "cache_policy": NO_CACHE,
    "retries": 6,
    "retry_delay_seconds": [1, 2, 5, 10, 20, 30],
    "retry_condition_fn": is_passing,
}
