"""How a run ends that did its work and whose result was refused: as Prefect shows it, not green."""

from typing import TypeVar, cast

from prefect.client.schemas.objects import State
from prefect.states import Failed

T = TypeVar("T")
_REFUSED = "Refused"


def ended(result: T, refusal: str) -> T:
    """What a flow or task returns: its result, in a state of its own where there is a refusal.

    Args:
        result: What it found.
        refusal: Why that was refused; empty where it was not.
    """
    # Prefect takes the result out of the state for whoever asks by `result_of`.
    return cast(T, Failed(name=_REFUSED, message=refusal, data=result)) if refusal else result


def result_of(state: State[T]) -> T:
    """The result of a flow or task that was called with ``return_state=True``, refused or not.

    Raises:
        Exception: What it raised.
    """
    return cast(T, state.result(raise_on_failure=state.name != _REFUSED))
